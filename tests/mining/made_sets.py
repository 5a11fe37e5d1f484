"""Image sets and selections of chosen rows over a small real store, for the tests of what reads them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from index.store.embedding_store import EmbeddingStore
from mining.sets.annotation import Annotation, Annotator, Turn
from mining.sets.image_set import ImageSet, Member
from mining.sets.image_sets import ImageSets
from mining.sets.layouts import SETS_SCHEMA
from mining.sets.sources import files_source, store_source
from mining.sets.store_members import members_table, mined_set_ids
from mining.sets.write_sets import ImageSetsWriter, write_image_sets
from retrieval.selection import FORMAT, SELECTION_SCHEMA, describe_store
from tests.retrieval.stores import jpeg, make_store, random_unit

Rows = Sequence[Sequence[int]]


def sets_table(rows: Rows, source: str = "store-0123456789ab", **columns: Sequence[Any]) -> pa.Table:
    """SETS_SCHEMA for sets of these rows: of strategy random, level 0, unless `columns` say otherwise."""
    count = len(rows)
    values: dict[str, Any] = {
        "set_id": mined_set_ids(source, pa.array(rows, pa.list_(pa.int64()))),
        "strategy": ["random"] * count,
        "level": [0] * count,
        "size": [len(each) for each in rows],
        "image_sim": [0.5] * count,
        "text_sim": [None] * count,
        "shared_nouns": [[]] * count,
        "axis": [None] * count,
        "concept": [None] * count,
        "entity": [None] * count,
        "reasons": [["drawn by chance"]] * count,
        "difficulty": [0.0] * count,
        "split": [None] * count,
        "extra": [None] * count,
        **columns,
    }
    return pa.table([pa.array(values[field.name], field.type) for field in SETS_SCHEMA], schema=SETS_SCHEMA)


def write_sets(
    folder: Path, rows: Rows, *, store: EmbeddingStore | None = None, images: int = 12, **columns: Sequence[Any]
) -> ImageSets:
    """FOLDER/pairs over `store`, by default one made in FOLDER with as many images."""
    store = store or make_store(folder, random_unit(images))
    out = folder / "pairs"
    source = store_source(store, out)
    sets = sets_table(rows, source.name, **columns)
    members = members_table(store, source.name, sets["set_id"], pa.array(rows, pa.list_(pa.int64())))
    return write_image_sets(out, sets, members, [source], {"seed": 0})


def write_foreign_sets(
    folder: Path,
    names: Sequence[Sequence[str]],
    *,
    collection: str = "photos",
    texts: Sequence[str] = (),
    out: str = "foreign",
    **fields: Sequence[Any],
) -> ImageSets:
    """FOLDER/`out`: a set `foreign-0`, `foreign-1`, ... for each list of files, which are made in FOLDER/COLLECTION.

    texts: what an annotation of each set says; none for the sets after the last text. fields: of ImageSet, a value a
    set. A file's picture depends on its name alone.
    """
    root, target = folder / collection, folder / out
    source = files_source(collection, root, target, licence="CC BY 4.0")
    sets = []
    for place, own in enumerate(names):
        for name in own:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(file_of(name))
        members = tuple(foreign_member(source.name, position, name) for position, name in enumerate(own))
        set_id = f"foreign-{place}"
        said = (annotation(set_id, texts[place], images=range(len(own))),) if place < len(texts) else ()
        more = {name: values[place] for name, values in fields.items()}
        sets.append(
            ImageSet(**{"set_id": set_id, "strategy": collection, "members": members, "annotations": said, **more})
        )
    writer = ImageSetsWriter(target)
    writer.add_sets(sets)
    return writer.finish([source], {})


def file_of(name: str) -> bytes:
    """The picture that `write_foreign_sets` makes for a file of this name."""
    return jpeg(int(hashlib.sha256(name.encode()).hexdigest()[:8], 16))


def foreign_member(source: str, position: int, path: str) -> Member:
    """A member that is the file `path` of a source of `write_foreign_sets`."""
    data = file_of(path)
    return Member(
        position,
        source,
        path=path,
        bytes=len(data),
        caption=f"caption of {path}",
        sha256=hashlib.sha256(data).hexdigest(),
        extra={"box": [0, 0, 1, 1]},
    )


def annotation(
    set_id: str,
    text: str,
    kind: str = "comparison",
    annotator: str = "model",
    *,
    images: Sequence[int] = (0, 1),
    parent: str | None = None,
    **content: Any,
) -> Annotation:
    """The question "What differs?" after the images, and `text` as the answer."""
    turns = (Turn("user", (*images, "What differs?")), Turn("assistant", (text,)))
    return Annotation.make(set_id, kind, Annotator(annotator, "1", parameters={"t": 0.2}), turns, content, parent)


def texts_of(each: ImageSet) -> list[str]:
    """The last turn of each annotation of a set."""
    return [said.turns[-1].text for said in each.annotations]


def many_pairs(images: int, pairs: int, seed: int = 0) -> list[list[int]]:
    """Distinct pairs of `images` row ids, by chance."""
    chance = np.random.default_rng(seed)
    drawn = np.unique(np.sort(chance.integers(0, images, (pairs * 2, 2)), axis=1), axis=0)
    drawn = drawn[drawn[:, 0] < drawn[:, 1]]
    return [[int(one), int(other)] for one, other in drawn[chance.permutation(len(drawn))[:pairs]]]


def write_test_selection(store: EmbeddingStore, folder: Path, concepts: Mapping[str, Sequence[int]]) -> str:
    """Write FOLDER with the rows of each concept; returns its path."""
    pairs = [(row, name) for name, rows in concepts.items() for row in rows]
    table = pa.table({"row_id": [row for row, _ in pairs], "concept": [name for _, name in pairs]})
    for field in SELECTION_SCHEMA:
        if field.name not in table.column_names:
            table = table.append_column(field.name, pa.nulls(len(pairs), field.type))
    (folder / "rows").mkdir(parents=True)
    pq.write_table(table.select(SELECTION_SCHEMA.names).cast(SELECTION_SCHEMA), folder / "rows/rows_0000.parquet")
    manifest = {
        "format": FORMAT,
        "version": 1,
        "store": describe_store(store, str(folder)),
        "rows": {"count": len(pairs), "parts": [{"file": "rows/rows_0000.parquet", "rows": len(pairs)}]},
        "reserve": {"count": 0, "parts": []},
        "concepts": [{"name": name, "rows": len(rows)} for name, rows in concepts.items()],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return str(folder)
