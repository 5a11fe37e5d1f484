"""Whether the strategies asked for can run on a store, said before anything is done. Knows what each needs."""

from __future__ import annotations

from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from mining.strategies.anchors import minable_rows
from mining.strategies.context import Mining, MiningConfig
from mining.strategies.registry import STRATEGIES, get_strategy

__all__ = ["check_strategies"]


def check_strategies(config: MiningConfig, store: EmbeddingStore) -> None:
    """Raises BadInput that names each strategy which cannot run, why, and what to do.

    Also for a store or selection with fewer than two rows, and MissingDependency for a package that is not installed.
    """
    for name, _ in config.strategies:
        get_strategy(name)
    minable_rows(Mining(config, "", 0, ""), store)
    reasons = [reason for name, _ in config.strategies if (reason := _why_not(name, config, store)) is not None]
    if reasons:
        raise BadInput("; ".join(reasons))


def _why_not(name: str, config: MiningConfig, store: EmbeddingStore) -> str | None:
    if name == "identity" and config.entity is None:
        return "identity needs --entity FIELD, which names the individual in the metadata, as in truth.objects.entity"
    needs_text = name == "contrast" or (name == "diverse" and config.selection is None)
    if needs_text and not store.has_text:
        without = [each for each in STRATEGIES if each not in ("contrast", "diverse")]
        return (
            f"{name} needs text embeddings and {store.path} has none: embed the captions too"
            + (", give it the concepts of a --selection" if name == "diverse" else "")
            + f", or choose from {', '.join(without)}"
        )
    return None
