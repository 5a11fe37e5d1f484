"""The strategies by name, and a mix of them as the command line writes it: `similar:0.5,attribute:0.5`.

Each strategy is a plain function in the module of its name, `strategy(ctx, map_items) -> Candidates`; modules are
imported when they are called for. Knows no strategy's inside.
"""

from __future__ import annotations

import importlib

from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from mining.strategies.context import MiningConfig, MiningContext, Strategy
from mining.strategies.minable import minable_rows

__all__ = ["STRATEGIES", "check_strategies", "get_strategy", "parse_mix"]

# name: (module, function, what it pairs)
STRATEGIES = {
    "similar": ("mining.strategies.similar", "similar", "neighbours in image space that are not the same picture"),
    "diverse": ("mining.strategies.diverse", "diverse", "one concept, different pictures: close captions, far images"),
    "identity": (
        "mining.strategies.identity",
        "identity",
        "one individual in different pictures, by a field of the metadata",
    ),
    "overlap": ("mining.strategies.overlap", "overlap", "captions that share nouns, over levels of overlap"),
    "contrast": ("mining.strategies.contrast", "contrast", "alike in one way and not in the other: images or captions"),
    "attribute": ("mining.strategies.attribute", "attribute", "one axis of the captions differs, the rest agrees"),
    "random": ("mining.strategies.random_pairs", "random_pairs", "pairs by chance, the baseline"),
}


def get_strategy(name: str) -> Strategy:
    """The strategy of that name; BadInput lists the valid ones."""
    if name not in STRATEGIES:
        raise BadInput(f"unknown strategy {name!r}: choose from {', '.join(STRATEGIES)}")
    module, function, _ = STRATEGIES[name]
    strategy: Strategy = getattr(importlib.import_module(module), function)
    return strategy


def parse_mix(text: str) -> tuple[tuple[str, float], ...]:
    """`similar:0.5,attribute:0.5` as ((name, share), ...), shares made to add up to 1; no share given counts as 1.

    Raises BadInput for an unknown strategy, one named twice, or a share that is no number above 0.
    """
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, _, share = (piece.strip() for piece in part.partition(":"))
        if name not in STRATEGIES:
            raise BadInput(f"unknown strategy {name!r}: choose from {', '.join(STRATEGIES)}")
        if name in shares:
            raise BadInput(f"--strategy names {name} twice; give it one share")
        try:
            shares[name] = float(share) if share else 1.0
        except ValueError:
            shares[name] = 0.0
        if not 0 < shares[name] < float("inf"):
            raise BadInput(f"--strategy {part.strip()}: a share is a number above 0, as in similar:0.5,attribute:0.5")
    total = sum(shares.values())
    return tuple((name, share / total) for name, share in shares.items())


def check_strategies(config: MiningConfig, store: EmbeddingStore) -> None:
    """Raises BadInput that names each strategy which cannot run, why, and what to do.

    Also for a store or selection with fewer than two rows, and MissingDependency for a package that is not installed.
    """
    for name, _ in config.strategies:
        get_strategy(name)
    minable_rows(MiningContext(config, "", 0, ""), store)
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
