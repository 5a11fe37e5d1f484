"""Forgetting rows of a store: every reader hides them at once; `index.store.compact` overwrites them in the files.

Row ids do not change: a forgotten row keeps its id, its vector reads as zeros and its metadata as nulls. The images are
in the corpus, which is not changed.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import fspath

import numpy as np

from index.errors import BadInput
from index.files import write_atomic
from index.store.embedding_store import EmbeddingStore
from index.store.find_rows import FoundRows, Named, find_rows
from index.store.output_register import HoldingOutput, holding_outputs

__all__ = ["ForgetReport", "forget_rows"]


@dataclass(frozen=True)
class ForgetReport:
    """Counts of `forget_rows`, what no row has, and the outputs that hold forgotten rows.

    unknown_keys, unknown_urls, unknown_sha256: what was given and no row has, or what compaction has erased. outputs:
    selections, exports, image sets and models made from this store that hold any of its forgotten rows, as far as the
    store knows them (`index.store.output_register`).
    """

    forgotten: int  # rows forgotten by this call
    already: int  # rows that had been forgotten before
    unknown_keys: tuple[str, ...]
    unknown_urls: tuple[str, ...] = ()
    unknown_sha256: tuple[str, ...] = ()
    outputs: tuple[HoldingOutput, ...] = ()


def forget_rows(
    store: EmbeddingStore,
    keys: Iterable[str] | None = None,
    row_ids: Sequence[int] | None = None,
    *,
    urls: Iterable[str] | None = None,
    sha256: Iterable[str] | None = None,
) -> ForgetReport:
    """Forget the rows with these keys, URLs and SHA-256 sums of image files (all rows of each) and these row ids.

    Texts are compared exactly, but for blanks at their ends and the case of a sum: `http://a.org/1.jpg` and
    `https://a.org/1.jpg` are two URLs. Stores that are open already hide the rows from their next call on.

    Raises:
        BadInput: nothing given, a row id that the store does not have, or not one of all texts is in the store (and no
            row id was given).
    """
    columns: dict[Named, Iterable[str]] = {"key": keys or (), "url": urls or (), "sha256": sha256 or ()}
    given = {name: values for name, texts in columns.items() if (values := [text for text in texts if text.strip()])}
    ids = [np.asarray(row_ids if row_ids is not None else (), dtype=np.int64)]
    if not given and not len(ids[0]):
        raise BadInput("nothing to forget: give keys, URLs, SHA-256 sums or row ids")
    if len(ids[0]) and (ids[0].min() < 0 or ids[0].max() >= store.rows):
        raise BadInput(f"{store.path}: its rows are 0 to {store.rows - 1}, not {ids[0].min()} to {ids[0].max()}")
    found = find_rows(store, given)
    if not len(ids[0]) and not any(len(each.rows) for each in found.values()):
        raise BadInput(_nothing_found(store, found))
    asked = np.unique(np.concatenate([*ids, *(each.rows for each in found.values())]))
    new = asked[~store.is_forgotten(asked)]
    if len(new):
        stream = io.BytesIO()
        np.save(stream, new, allow_pickle=False)
        data = stream.getvalue()
        # Named by its content: two writers at once never write the same file, and forgetting twice adds no second file.
        write_atomic(fspath(store.path / "forgotten" / f"forgotten_{hashlib.sha256(data).hexdigest()[:16]}.npy"), data)
        store.forgotten_rows.ask()
    missing = {name: each.missing for name, each in found.items()}
    return ForgetReport(
        len(new),
        len(asked) - len(new),
        missing.get("key", ()),
        missing.get("url", ()),
        missing.get("sha256", ()),
        holding_outputs(store),
    )


def _nothing_found(store: EmbeddingStore, found: Mapping[Named, FoundRows]) -> str:
    words = {"key": "keys", "url": "URLs", "sha256": "SHA-256 sums"}
    parts = [
        f"{len(each.missing)} {words[name]} (the first is {each.missing[0]!r:.200})" for name, each in found.items()
    ]
    without = [words[name] for name, each in found.items() if not each.any_value]
    why = f"; its rows have no {' and no '.join(without)}" if without else ""
    return f"{store.path}: has no row with any of the {' or the '.join(parts)}{why}"
