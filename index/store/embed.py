"""The embedding job around its items: plan them, prepare the store's folder, and finish the store with a manifest.

    items = plan_items(config)
    for item in prepare_store(config, items):     # those not done yet
        embed_item(item, config)
    finish_store(config, items)

A run that was killed at any point and started again gives the same bytes. A source that has grown gives more items, and
so the store more parts; no row id changes. The items are run by the caller, in any process and any order.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from index.corpus.samples import PassedOver, ShardItem
from index.corpus.sources import Corpus, list_corpus
from index.errors import BadInput, StoreInvalid
from index.files import exists, hash_json, join, list_names, read_bytes, remove_partial
from index.outputs import claim_folder, release_unused_claim, remove_folder
from index.parquet import read_parquet
from index.store.done_items import DoneItems, remove_copy
from index.store.embed_item import EmbedConfig, embed_item, hashed_config, is_done
from index.store.embed_remarks import remarks, why_nothing
from index.store.grown_corpus import arrange_items
from index.store.markers import ItemSummary
from index.store.store_manifest import Manifest, Part, part_paths, read_manifest, write_manifest
from index.store.store_model import HINT_NAME

__all__ = [
    "CONFIG_NAME",
    "NO_OUTPUT",
    "EmbedConfig",
    "ItemSummary",
    "StoreSummary",
    "begun_with",
    "embed_item",
    "finish_store",
    "is_done",
    "plan_corpus",
    "plan_items",
    "prepare_store",
]

# The claim of the store's folder: the configuration that decides its bytes.
CONFIG_NAME = "embed.json"
# Beside the claim, what a run writes before there are any embeddings.
NO_OUTPUT = (HINT_NAME,)
_READERS = 16  # threads that read from an object store
_NAMES = 6  # files that were passed over, in a message


@dataclass(frozen=True)
class StoreSummary:
    """The finished store's counts: read = rows + the sum of rejected.

    Attributes:
        without_caption: rows with an empty caption, which no search of captions returns; a store without any caption
            has no text vectors.
        passed_over: files of the corpus that are no part of any sample, by kind.
        remarks: what could be read by other options, in lines for people.
    """

    path: str
    parts: int
    dim: int
    read: int
    rows: int
    rejected: Mapping[str, int]  # by reason
    captions_cut: int  # rows whose caption is longer than the text tower's context
    duplicate_keys: int  # rows whose key an earlier row has as well
    without_caption: int = 0
    passed_over: Mapping[str, int] = field(default_factory=dict)
    remarks: Sequence[str] = ()


def begun_with(out: str) -> dict[str, Any]:
    """The options that a store was begun with, of which something is embedded; empty when there is none."""
    try:
        begun = json.loads(read_bytes(join(out, CONFIG_NAME)))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return begun if isinstance(begun, dict) and list_names(join(out, "done")) else {}


def plan_corpus(config: EmbedConfig) -> Corpus:
    """The source, listed: its items in order, those that are embedded already with their numbers in the store.

    Raises:
        BadInput: an empty or unclear source, or files that were embedded are gone or have changed.
    """
    corpus = list_corpus(config.source, config.shard_size, config.reading)
    return replace(corpus, items=arrange_items(corpus, config, hash_json(hashed_config(config))))


def plan_items(config: EmbedConfig) -> list[ShardItem]:
    """The items of `plan_corpus`."""
    return plan_corpus(config).items


def prepare_store(config: EmbedConfig, items: Sequence[ShardItem]) -> list[ShardItem]:
    """Make the store's folder ready and return the items that are not done yet: none when the store is complete.

    Raises:
        OutputExists: the folder holds something else, or a store of another configuration (the message says which).
        BadInput: the model is unknown, or the source has changed since its finished items were embedded.
    """
    from index.encoder.loading import check_model

    if not items:
        raise BadInput(f"{config.source}: holds no images")
    check_model(config.model)
    claim = hashed_config(config)
    if exists(join(config.out, CONFIG_NAME)):
        # Options that are not in a claim because they have their default are compared too.
        claim = {
            **dict.fromkeys(("key_rule", "image_ext", "caption_ext", "caption_field", "caption_encoding")),
            **claim,
        }
    claim_folder(config.out, CONFIG_NAME, claim, values=True, besides=NO_OUTPUT)
    for kind_path in part_paths(0).values():
        remove_partial(join(config.out, kind_path.rpartition("/")[0]))
    for folder in (config.out, join(config.out, "done")):
        remove_partial(folder)
    done = DoneItems(config.out)
    for item in items:
        marker = done.markers.get(item.number)
        if marker is not None and marker.signature != item.signature:
            raise BadInput(
                f"{config.source}: item {item.number} ({item.paths[0]}) is not what was embedded into {config.out}; "
                "embed a changed source into another --out"
            )
    if done.markers.keys() - {item.number for item in items}:
        raise BadInput(f"{config.source}: has {len(items)} items, {config.out} has more; use another --out")
    undone = done.undone(items, config)
    if done.doubted or any(item.number in done.copied for item in undone):
        remove_copy(config.out)
    return undone


def finish_store(
    config: EmbedConfig, items: Sequence[ShardItem], passed_over: PassedOver | None = None
) -> StoreSummary:
    """Write the manifest over all items.

    passed_over: files of the source that are in no item, for the summary.

    Raises:
        StoreInvalid: an item is not done, or items were embedded with different weights (the message names one).
        BadInput: no image at all could be embedded (the message counts the reasons). The store without rows is deleted,
            so that a corrected command can use its folder.
    """
    parts: list[Part] = []
    rejected: Counter[str] = Counter()
    passed: Counter[str] = Counter(passed_over.counts if passed_over is not None else {})
    names = list(passed_over.names) if passed_over is not None else []
    model: Mapping[str, Any] | None = None
    first_row = captions_cut = without_caption = 0
    done = DoneItems(config.out)
    for item in items:
        marker = done.markers.get(item.number)
        if marker is None or marker.signature != item.signature:
            raise StoreInvalid(f"{config.out}: item {item.number} is not embedded yet; run the same command again")
        model = marker.model if model is None else model
        if marker.model != model:
            raise StoreInvalid(f"{config.out}: item {item.number} was embedded with other weights than item 0")
        summary = marker.summary
        parts.append(Part(f"{item.number:04d}", first_row, summary.rows, summary.read, marker.files))
        first_row += summary.rows
        captions_cut += summary.captions_cut
        without_caption += summary.without_caption
        rejected.update(summary.rejected)
        passed.update(summary.passed_over)
        names += summary.passed_names[: _NAMES - len(names)] if len(names) < _NAMES else []
    read = sum(part.read for part in parts)
    reasons = dict(sorted(rejected.items()))
    if model is None or first_row == 0:
        why = _why_not_finite(config) if rejected["encoder_nan"] else ""
        _delete_empty(config.out)
        kind = items[0].kind if items else ""
        raise BadInput(why_nothing(config.source, read, reasons, passed, names, config.reading, kind) + why)
    if without_caption == first_row:  # a store of images only, though the files of zeros are there
        parts = [replace(part, files={k: f for k, f in part.files.items() if k != "text"}) for part in parts]
    plain = hashed_config(config)
    before = _finished_before(config.out)
    if before is not None and before.parts == tuple(parts):
        duplicate_keys = int(before.totals["duplicate_keys"])
    else:
        duplicate_keys = _count_duplicate_keys(config.out, parts)
    summary_of_all = StoreSummary(
        path=config.out,
        parts=len(parts),
        dim=int(model["dim"]),
        read=read,
        rows=first_row,
        rejected=reasons,
        captions_cut=captions_cut,
        duplicate_keys=duplicate_keys,
        without_caption=without_caption,
        passed_over=dict(sorted(passed.items())),
        remarks=remarks(reasons, passed, config.reading, items[0].kind),
    )
    manifest = Manifest(
        kind="embedded",
        dim=summary_of_all.dim,
        dtype="float16",
        unit_length=True,
        model=model,
        corpus_root=items[0].root,
        parts=tuple(parts),
        config=plain,
        config_hash=hash_json(plain),
        totals={
            "read": read,
            "rows": first_row,
            "rejected": reasons,
            "captions_cut": captions_cut,
            "duplicate_keys": summary_of_all.duplicate_keys,
        },
    )
    if manifest != before:
        write_manifest(config.out, manifest)
    numbers = [item.number for item in items]
    if before is None or before.parts != manifest.parts or not done.is_copied(numbers):
        done.write_copy(numbers)
    return summary_of_all


def _finished_before(out: str) -> Manifest | None:
    """The manifest that an earlier run wrote; None where there is none, or it cannot be read."""
    try:
        return read_manifest(out)
    except StoreInvalid:
        return None


def _delete_empty(out: str) -> None:
    """Delete a store without any row, and its claim."""
    for folder in {"done", *(path.partition("/")[0] for path in part_paths(0).values())}:
        remove_folder(join(out, folder))
    release_unused_claim(out, CONFIG_NAME, NO_OUTPUT)


def _why_not_finite(config: EmbedConfig) -> str:
    """What made the encoder give inf or NaN: a weight, or numbers beyond the range of the precision."""
    import torch

    from index.encoder.loading import load_encoder

    weights = load_encoder(replace(config.model, precision="fp32"), "cpu").model.state_dict()
    broken = [name for name, weight in weights.items() if not bool(torch.isfinite(weight).all())]
    if broken:
        return f"; the model's own weights hold inf or NaN ({broken[0]}): use an undamaged copy of them"
    remedy = "--precision fp32" if config.model.precision != "fp32" else "another model"
    return f"; the model computes inf or NaN in {config.model.precision}, though its weights are finite: use {remedy}"


def _count_duplicate_keys(out: str, parts: Sequence[Part]) -> int:
    """Rows whose key an earlier row has too.

    Keys are compared by 8-byte hashes: 3 GB for 400 million keys, among which two differing keys share a hash with a
    probability of 0.4%.
    """

    def hash_keys(part: Part) -> npt.NDArray[np.uint64]:
        keys = read_parquet(join(out, part.files["metadata"].path), ["key"])["key"].to_pylist()
        packed = b"".join(blake2b((key or "").encode(), digest_size=8).digest() for key in keys)
        return np.frombuffer(packed, dtype=np.uint64)

    with ThreadPoolExecutor(_READERS) as pool:
        together = np.concatenate(list(pool.map(hash_keys, parts)))
    return len(together) - len(np.unique(together))
