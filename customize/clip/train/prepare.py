"""Prepares a run: opens and checks the data, loads the model, applies the strategy, and chooses what steps read.

`customize.clip.train.loop` trains the prepared run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from customize.clip.model_folder import LoadedModel, load_base
from customize.clip.strategies import AppliedStrategy, apply_strategy, check_strategy, has_sigmoid_loss, set_training
from customize.clip.train.accumulate import check_accumulate
from customize.clip.train.augment import augmentation_of, mild_transform, released_transform
from customize.clip.train.config import CustomizeConfig, Precision
from customize.clip.train.distributed import Worker
from customize.clip.train.image_inputs import ImageInputs, Pixels, StoreImages
from customize.clip.train.pairs import Pairs, gather_pairs
from customize.clip.train.prefix_cache import CachedPrefix, build_prefix, can_cache_prefix, prefix_bytes, prefix_fits
from customize.clip.train.text_cache import LockedTexts, StoreTexts, compute_texts
from index.corpus.sources import list_items
from index.encoder.loading import usable_device
from index.encoder.model_spec import ModelSpec, check_same_model
from index.errors import BadInput, ModelMismatch
from index.files import exists, hash_json, join, make_folder, read_bytes, write_atomic
from index.outputs import claim_folder
from index.store.embedding_store import EmbeddingStore
from index.store.store_model import store_model
from retrieval.selection import Selection

__all__ = ["CLAIM", "NO_OUTPUT", "Run", "prepare_run"]

CLAIM = "run.json"
# What a run writes before it has a checkpoint or a cache, by paths in its folder.
INPUTS = "inputs.json"  # what a run chose to read, for when it continues
NO_OUTPUT = ("tensorboard", INPUTS, "work/pairs.arrow", "work/steps.json", "work/texts.npy")

# The cache of the frozen prefix costs one pass over the images, so it saves time from the second epoch on.
WORTH_CACHING = 2
OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Run:
    """A prepared run.

    Attributes:
        spec: the model that training starts from.
        identity: hash of all that decides the trained weights.
        loaded: the model after the strategy was applied, on `device`.
        texts: where the embeddings of a locked text tower come from; None: the text tower runs.
        held_out: the pairs that are not trained on; empty where there are none.
        selection, store: None for tars; the store also where the tars do not name its rows.
    """

    config: CustomizeConfig
    worker: Worker
    spec: ModelSpec
    device: str
    identity: str
    pairs: Pairs
    held_out: Pairs
    total_steps: int
    loaded: LoadedModel
    applied: AppliedStrategy
    images: ImageInputs
    texts: LockedTexts | None
    selection: Selection | None
    store: EmbeddingStore | None


def prepare_run(config: CustomizeConfig, worker: Worker, on_progress: OnProgress | None = None) -> Run | None:
    """Prepare a run on this worker; None when the same run was completed before.

    Raises:
        BadInput: data, model or strategy cannot be used (an empty selection, a strategy not for this model, ...).
        ModelMismatch: the selection's store was made with another model.
        OutputExists: `config.out` holds another run.
    """
    check_strategy(config.strategy)
    worker.check_batch(config.batch_size, config.accumulate)
    selection = Selection.open(config.selection, store=config.store) if config.selection is not None else None
    store = _open_store(config, selection)
    spec = _base(config, store)
    device = usable_device(config.device)
    asked, config = config, replace(config, precision=_precision(config.precision, device))
    loaded = load_base(spec, device)
    if selection is not None:
        _check_model(selection, loaded)
    applied = apply_strategy(loaded.model, config.strategy, gated_blocks=config.gated_blocks, seed=config.seed)
    set_training(loaded.model, applied.strategy)
    check_accumulate(loaded.model, config.accumulate)
    data, loss = _data_hash(config, selection), {"loss": "sigmoid"} if has_sigmoid_loss(loaded.model) else {}
    identity = {**config.identity(spec, data), **loss}
    former = asked.as_before()
    if former is not None and _is_claimed(config.out, earlier := {**former.identity(spec, data), **loss}):
        config, identity = replace(config, augment=former.augment), earlier
    work = join(config.out, "work")
    finished = False
    if worker.first:
        finished = claim_folder(config.out, CLAIM, identity, besides=NO_OUTPUT)
        if not finished:
            make_folder(work)
            gather_pairs(
                join(work, "pairs.arrow"),
                selection=selection,
                store=store,
                tars=config.tars,
                hold_out=config.hold_out,
                seed=config.seed,
            )
    worker.barrier()
    if worker.any_of(finished):
        return None
    pairs = Pairs.open(join(work, "pairs.arrow"))
    if store is not None and pairs.row_ids is None:
        store = None  # these tars do not name their rows in it
    if config.augment == "auto":
        config = replace(config, augment=augmentation_of(len(pairs)))
    total = config.total_steps(len(pairs))
    if config.grad_checkpoint:
        loaded.model.set_grad_checkpointing(True)
    parts = _Parts(config, worker, device, work, pairs, store, loaded, applied)
    texts, images = _texts(parts), _images(parts, total, on_progress)
    return Run(
        config,
        worker,
        spec,
        device,
        hash_json(identity),
        pairs,
        Pairs.open(pairs.path, "held_out"),
        total,
        loaded,
        applied,
        images,
        texts,
        selection,
        store,
    )


def _open_store(config: CustomizeConfig, selection: Selection | None) -> EmbeddingStore | None:
    if selection is not None:
        return selection.store(config.store)
    return EmbeddingStore.open(config.store) if config.store is not None else None


def _base(config: CustomizeConfig, store: EmbeddingStore | None) -> ModelSpec:
    if config.model is not None:
        return config.model
    if store is None:
        raise BadInput(
            "customize which model? name one of open_clip's (--model ViT-B-32 --pretrained openai) or a "
            "folder (--model-dir)"
        )
    return store_model(store.path)


def _is_claimed(out: str, identity: dict[str, Any]) -> bool:
    """Whether `out` was claimed by a run of this identity."""
    path = join(out, CLAIM)
    return exists(path) and json.loads(read_bytes(path)).get("job") == hash_json(identity)


def _precision(asked: Precision, device: str) -> Precision:
    if asked != "auto":
        return asked
    return "bf16" if device.startswith("cuda") else "fp32"


def _check_model(selection: Selection, loaded: LoadedModel) -> None:
    """Refuse another model than the store's, since the store's embeddings would not be those of that model."""
    try:
        check_same_model(selection.manifest["store"]["model"], loaded.fingerprint, f"the store of {selection.path}")
    except ModelMismatch as error:
        raise ModelMismatch(
            f"{error}; or export the selection, and customize the other model on its tars (--tars DIR)"
        ) from error


def _data_hash(config: CustomizeConfig, selection: Selection | None) -> str:
    """Hash of the data, wherever it lies: what was selected, or the names and sizes of the tars."""
    if selection is not None:
        return hash_json(selection.identity)
    return hash_json([item.signature for item in list_items(str(config.tars))])


@dataclass(frozen=True)
class _Parts:
    """What the inputs of a run are chosen from; `store` is None where the pairs' rows in it are not known."""

    config: CustomizeConfig
    worker: Worker
    device: str
    work: str
    pairs: Pairs
    store: EmbeddingStore | None
    loaded: LoadedModel
    applied: AppliedStrategy


def _texts(parts: _Parts) -> LockedTexts | None:
    pairs, store, loaded = parts.pairs, parts.store, parts.loaded
    if not parts.applied.strategy.locks_text:
        return None
    if store is not None and store.has_text and _is_of(store, loaded):
        return StoreTexts(pairs, store)
    path = join(parts.work, "texts.npy")
    if parts.worker.first:
        compute_texts(pairs, loaded.model, loaded.tokenizer, path, parts.device)
    parts.worker.barrier()
    return compute_texts(pairs, loaded.model, loaded.tokenizer, path, parts.device)


def _images(parts: _Parts, total_steps: int, on_progress: OnProgress | None) -> ImageInputs:
    config, worker, pairs, store, loaded = parts.config, parts.worker, parts.pairs, parts.store, parts.loaded
    if config.augment != "none":
        transform = released_transform if config.augment == "released" else mild_transform
        return Pixels(pairs, transform(_preprocess_cfg(loaded)), config.seed)
    strategy, frozen = parts.applied.strategy, parts.applied.frozen_image_blocks
    if strategy.locks_image and store is not None and _is_of(store, loaded):
        return StoreImages(pairs, store)
    cache = config.cache_prefix
    possible = can_cache_prefix(loaded.model, frozen)
    if cache and not possible:
        raise BadInput(
            f"--cache-prefix: with strategy {strategy.name} this model has no frozen blocks of open_clip's own vision "
            "transformer below the first trained one; leave it out"
        )
    if cache is None:
        pays = total_steps * config.batch_size >= WORTH_CACHING * len(pairs)
        earlier = _decision(parts)
        cache = possible and pays and worker.any_of(prefix_fits(loaded.model, len(pairs), parts.work))
        if earlier is not None:
            cache = earlier
    if worker.first:
        write_atomic(join(config.out, INPUTS), json.dumps({"cache_prefix": cache}) + "\n")
    if not cache:
        return Pixels(pairs, loaded.preprocess, None)
    show = None if on_progress is None else lambda done, of: on_progress("cache activations", done, of)
    build_prefix(pairs, loaded.model, loaded.preprocess, frozen, parts.work, parts.device, worker, show)
    worker.barrier()
    return CachedPrefix(pairs, parts.work, frozen)


def _decision(parts: _Parts) -> bool | None:
    """Whether this run, before it was stopped, chose to cache activations; None where it had not begun.

    Losses from cached activations and from pixels differ in their fourth digit, so a run keeps its choice.

    Raises BadInput where the cache was chosen, is gone, and no longer fits on the disk.
    """
    path = join(parts.config.out, INPUTS)
    chosen = bool(json.loads(read_bytes(path))["cache_prefix"]) if exists(path) else None
    if not parts.worker.any_of(chosen is not None):
        return None
    cached = parts.worker.any_of(bool(chosen))
    model, count = parts.loaded.model, len(parts.pairs)
    if cached and not parts.worker.any_of(prefix_fits(model, count, parts.work, share=1.0)):
        raise BadInput(
            f"{parts.work}: the run's cached activations are gone, and no disk is left for their "
            f"{prefix_bytes(model, count):,} bytes; make room, or go on from pixels with --no-cache-prefix, which "
            "changes the losses slightly"
        )
    return cached


def _is_of(store: EmbeddingStore, loaded: LoadedModel) -> bool:
    """Whether the store was embedded with this model."""
    try:
        check_same_model(store.fingerprint, loaded.fingerprint, os.fspath(store.path))
    except ModelMismatch:
        return False
    return True


def _preprocess_cfg(loaded: LoadedModel) -> dict[str, Any]:
    from open_clip.transform import PreprocessCfg

    return asdict(PreprocessCfg(**loaded.model.visual.preprocess_cfg))
