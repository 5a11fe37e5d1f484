"""From a configuration to everything that a run trains with: checked data, the model, and where inputs come from.

Knows the parts and how they fit; the loop is `customize.clip.train.train`'s.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from customize.clip.model_folder import LoadedModel, load_base
from customize.clip.strategies import AppliedStrategy, apply_strategy, check_strategy, set_training
from customize.clip.train.augment import released_transform
from customize.clip.train.config import CustomizeConfig
from customize.clip.train.distributed import Peers
from customize.clip.train.image_inputs import ImageInputs, Pixels, StoreImages
from customize.clip.train.pairs import Pairs, gather_pairs
from customize.clip.train.prefix_cache import KeptPrefix, build_prefix, can_keep_prefix, prefix_fits
from customize.clip.train.text_cache import LockedTexts, StoreTexts, compute_texts
from index.corpus.sources import list_items
from index.encoder.loading import default_device
from index.encoder.model_spec import ModelSpec, check_same_model
from index.errors import BadInput, ModelMismatch
from index.files import hash_json, join, make_folder
from index.outputs import claim_folder
from index.store.embedding_store import EmbeddingStore
from index.store.store_model import store_model
from retrieval.selection import Selection

__all__ = ["Run", "prepare_run"]

# A kept prefix costs a pass over the images: it pays from the second epoch on.
WORTH_KEEPING = 2
OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Run:
    """A run, ready to train. `finished`: it was done before, so the model is not loaded again."""

    config: CustomizeConfig
    peers: Peers
    spec: ModelSpec
    device: str
    identity: str  # of all that decides the trained weights
    pairs: Pairs
    total_steps: int
    loaded: LoadedModel
    applied: AppliedStrategy
    images: ImageInputs
    texts: LockedTexts | None  # None: the text tower runs
    selection: Selection | None
    store: EmbeddingStore | None


def prepare_run(config: CustomizeConfig, peers: Peers, on_progress: OnProgress | None = None) -> Run | None:
    """Check, load and prepare; None when this very run was completed before.

    Raises:
        BadInput: what the user gave cannot be used (an empty selection, a strategy that the model can't take, ...).
        ModelMismatch: the selection's store was made with another model than the one to customize.
        OutputExists: `config.out` holds another run.
    """
    check_strategy(config.strategy)
    peers.check_batch(config.batch, config.accumulate)
    selection = Selection.open(config.selection) if config.selection is not None else None
    store = _open_store(config, selection)
    spec = _base(config, store)
    device = config.device or default_device()
    loaded = load_base(spec, device)
    if selection is not None:
        _check_model(selection, loaded)
    applied = apply_strategy(loaded.model, config.strategy, gated_blocks=config.gated_blocks, seed=config.seed)
    identity = config.identity(spec, _data_hash(config, selection))
    work = join(config.out, "work")
    finished = False
    if peers.first:
        finished = claim_folder(config.out, "run.json", identity)
        if not finished:
            make_folder(work)
            gather_pairs(join(work, "pairs.arrow"), selection=selection, store=store, tars=config.tars)
    peers.wait()
    if peers.any(finished):
        return None
    pairs = Pairs.open(join(work, "pairs.arrow"))
    if store is not None and pairs.row_ids is None:
        store = None  # these tars do not say which rows of it they are
    total = config.total_steps(len(pairs))
    set_training(loaded.model, applied.strategy)
    if config.grad_checkpoint:
        loaded.model.set_grad_checkpointing(True)
    parts = _Parts(config, peers, device, work, pairs, store, loaded, applied)
    texts, images = _texts(parts), _images(parts, total, on_progress)
    return Run(
        config, peers, spec, device, hash_json(identity), pairs, total, loaded, applied, images, texts, selection, store
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


def _check_model(selection: Selection, loaded: LoadedModel) -> None:
    """What was retrieved with one model can train another, but not with the store's embeddings."""
    try:
        check_same_model(selection.manifest["store"]["model"], loaded.fingerprint, f"the store of {selection.path}")
    except ModelMismatch as error:
        raise ModelMismatch(
            f"{error}; or export the selection, and customize the other model on its tars (--tars DIR)"
        ) from error


def _data_hash(config: CustomizeConfig, selection: Selection | None) -> str:
    """What was selected, wherever it lies now; of tars their names and sizes."""
    if selection is not None:
        return hash_json({**selection.manifest, "store": selection.manifest["store"]["identity"]})
    return hash_json([item.signature for item in list_items(str(config.tars))])


@dataclass(frozen=True)
class _Parts:
    """What inputs are made of; `store` is None where its rows are not known."""

    config: CustomizeConfig
    peers: Peers
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
    if parts.peers.first:
        compute_texts(pairs, loaded.model, loaded.tokenizer, path, parts.device)
    parts.peers.wait()
    return compute_texts(pairs, loaded.model, loaded.tokenizer, path, parts.device)


def _images(parts: _Parts, total_steps: int, on_progress: OnProgress | None) -> ImageInputs:
    config, peers, pairs, store, loaded = parts.config, parts.peers, parts.pairs, parts.store, parts.loaded
    if config.augment == "released":
        return Pixels(pairs, released_transform(_preprocess_cfg(loaded)), config.seed)
    strategy, frozen = parts.applied.strategy, parts.applied.frozen_image_blocks
    if strategy.locks_image and store is not None and _is_of(store, loaded):
        return StoreImages(pairs, store)
    keep = config.cache_prefix
    possible = can_keep_prefix(loaded.model, frozen)
    if keep and not possible:
        raise BadInput(
            f"--cache-prefix: with strategy {strategy.name} this model has no frozen blocks before the first trained "
            "one that open_clip's own vision transformer could skip; leave it out"
        )
    if keep is None:
        pays = total_steps * config.batch >= WORTH_KEEPING * len(pairs)
        keep = possible and pays and peers.any(prefix_fits(loaded.model, len(pairs), parts.work))
    if not keep:
        return Pixels(pairs, loaded.preprocess, None)
    show = None if on_progress is None else lambda done, of: on_progress("keep activations", done, of)
    build_prefix(
        pairs, loaded.model, loaded.preprocess, frozen, parts.work, parts.device, (peers.rank, peers.count), show
    )
    peers.wait()
    return KeptPrefix(pairs, parts.work, frozen)


def _is_of(store: EmbeddingStore, loaded: LoadedModel) -> bool:
    """Whether the store's embeddings are this model's."""
    try:
        check_same_model(store.fingerprint, loaded.fingerprint, os.fspath(store.path))
    except ModelMismatch:
        return False
    return True


def _preprocess_cfg(loaded: LoadedModel) -> dict[str, Any]:
    from dataclasses import asdict

    from open_clip.transform import PreprocessCfg

    return asdict(PreprocessCfg(**loaded.model.visual.preprocess_cfg))
