"""Write the sets that were chosen, with their similarities, members and reference texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from index.store.embedding_store import EmbeddingStore
from mining.select.choose import Proposals
from mining.select.summary import StrategySummary
from mining.sets.annotation import Annotation, Annotator, Turn
from mining.sets.image_sets import ImageSets
from mining.sets.sources import store_source
from mining.sets.store_members import members_table, mined_set_ids
from mining.sets.write_sets import ImageSetsWriter
from mining.strategies.context import MiningConfig
from mining.strategies.neighbors.similarity import set_similarity

__all__ = ["CAPTIONS", "GROUP_QUESTION", "write_mined"]

RowIds = npt.NDArray[np.int64]

# Who wrote the reference texts, and what they answer.
CAPTIONS = Annotator("captions")
GROUP_QUESTION = "What do these images have in common?"
# The columns of CANDIDATES_SCHEMA that a set keeps as they are.
_COPIED = ("shared_nouns", "axis", "concept", "entity", "reasons", "level", "difficulty", "extra")
# The number of sets written at a time: their captions and metadata take a few hundred MB at most.
_WRITTEN = 50_000


def write_mined(
    config: MiningConfig,
    store: EmbeddingStore,
    table: pa.Table,
    sets: Proposals,
    made: RowIds,
    image_sim: npt.NDArray[np.float32],
    summaries: Sequence[StrategySummary],
    notes: Sequence[str],
) -> ImageSets:
    """Write the sets at the places `made` to `config.out`, the manifest last.

    table: all proposals, CANDIDATES_SCHEMA. image_sim: float32 of all proposals. notes: for the manifest.
    """
    names = pa.array([summary.strategy for summary in summaries])
    splits = pa.array([summary.split for summary in summaries], pa.string())
    writer = ImageSetsWriter(config.out)
    source = store_source(store, config.out)
    for start in range(0, len(made), _WRITTEN):
        places = made[start : start + _WRITTEN]
        some = table.take(pa.array(places))
        text_sim = pa.nulls(len(places), pa.float32())
        if store.has_text:
            values, _ = set_similarity(store, "text", sets.members[places])
            text_sim = pa.array(values, mask=~np.isfinite(values))
        columns: dict[str, Any] = {
            **{name: some[name] for name in _COPIED},
            "set_id": mined_set_ids(source.name, some["rows"]),
            "strategy": names.take(pa.array(sets.strategy[places])),
            "split": splits.take(pa.array(sets.strategy[places])),
            "size": pa.array((sets.members[places] >= 0).sum(axis=1).astype(np.int32)),
            "image_sim": pa.array(image_sim[places]),
            "text_sim": text_sim,
        }
        members = members_table(store, source.name, columns["set_id"], some["rows"], some["member_captions"])
        writer.add(pa.table(columns), members, _references(columns["set_id"], sets.members[places], some["reference"]))
    asked = {name: value for name, value in asdict(config).items() if name not in ("store", "out", "strict")}
    return writer.finish(
        [source],
        {
            "seed": config.seed,
            "config": asked,
            "strategies": [asdict(summary) for summary in summaries],
            "notes": list(notes),
            "shortfall": [sentence for summary in summaries if (sentence := summary.shortfall())],
        },
    )


def _references(set_ids: pa.Array, members: RowIds, references: pa.ChunkedArray) -> list[Annotation]:
    """The texts that strategies took from captions, as group captions by the annotator `captions`."""
    found = []
    for set_id, size, text in zip(
        set_ids.to_pylist(), (members >= 0).sum(axis=1).tolist(), references.to_pylist(), strict=True
    ):
        if text:
            asked = Turn("user", (*range(size), GROUP_QUESTION))
            found.append(Annotation.make(set_id, "group_caption", CAPTIONS, (asked, Turn("assistant", (text,)))))
    return found
