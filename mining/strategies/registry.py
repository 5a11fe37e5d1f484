"""The strategies by name, the mix of them on a command line, and what each needs to run on a store.

A strategy is a function `strategy(ctx, map_items) -> Candidates` in the module of its name, imported when it is used.
To add one, write its module, list it in STRATEGIES, and say in `_why_not` what it needs.
"""

from __future__ import annotations

import importlib

from index.errors import BadInput
from index.files import is_local
from index.store.embedding_store import EmbeddingStore
from mining.strategies.bands import BANDS
from mining.strategies.context import HELD_OUT, TRAIN, MiningConfig, MiningContext, Strategy
from mining.strategies.minable import holds_out_individuals, minable_rows

__all__ = ["STRATEGIES", "check_strategies", "get_strategy", "parse_mix"]

# Shares are scaled to add up to 1; a larger one could overflow.
MOST_SHARE = 1_000_000

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
    "attribute": ("mining.strategies.attribute", "attribute", "look-alikes that differ in one attribute of one object"),
    "groups": ("mining.strategies.groups", "groups", "several images of one concept that differ, for group captions"),
    "random": ("mining.strategies.random_pairs", "random_pairs", "random pairs, the baseline"),
}
# The highest level of each strategy that has a fixed number of them, from 1; overlap has any from 1, random none.
HIGHEST_LEVEL = dict.fromkeys(("similar", "diverse", "identity", "contrast", "attribute", "groups"), BANDS)
# Strategies that have one more with `--ceiling`.
WITH_CEILING = ("similar", "attribute")
# Strategies whose workers map files of the working folder into memory; it is beside the result.
MAPPED = ("overlap",)


def get_strategy(name: str) -> Strategy:
    """The strategy of that name. Raises BadInput, which lists the valid names."""
    if name not in STRATEGIES:
        raise BadInput(f"unknown strategy {name!r}: choose from {', '.join(STRATEGIES)}")
    module, function, _ = STRATEGIES[name]
    strategy: Strategy = getattr(importlib.import_module(module), function)
    return strategy


def parse_mix(text: str) -> tuple[tuple[str, float], ...]:
    """`similar:0.5,attribute:0.5` as ((name, share), ...), scaled to add up to 1; a strategy without a share has 1.

    Raises BadInput for an unknown strategy, one named twice, or a share that is not a number above 0.
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
        if not 0 < shares[name] <= MOST_SHARE:
            raise BadInput(
                f"--strategy {part.strip()}: a share is a number above 0 and up to {MOST_SHARE:,}, as in "
                "similar:0.5,attribute:0.5"
            )
    total = sum(shares.values())
    return tuple((name, share / total) for name, share in shares.items())


def check_strategies(config: MiningConfig, store: EmbeddingStore) -> None:
    """Check, before any work, that all strategies of `config` can run on the store.

    Raises BadInput that names each strategy which cannot, why, and what to do, also where it has none of the levels
    asked for; and for an unknown strategy or a store or selection with fewer than two rows, on each side of a hold-out.
    """
    for name, _ in config.strategies:
        get_strategy(name)
    for split in (TRAIN, HELD_OUT) if config.hold_out else (None,):
        minable_rows(MiningContext(config, "", 0, "", split), store)
    reasons = [reason for name, _ in config.strategies if (reason := _why_not(name, config, store)) is not None]
    reasons += [reason for name, _ in config.strategies if (reason := _no_such_level(name, config)) is not None]
    if reasons:
        raise BadInput("; ".join(reasons))


def _why_not(name: str, config: MiningConfig, store: EmbeddingStore) -> str | None:
    if name == "identity" and config.entity is None:
        return "identity needs --entity FIELD, which names the individual in the metadata, as in truth.objects.entity"
    if name == "identity" and config.order and config.hold_out and not holds_out_individuals(config):
        return (
            "identity with --order and --hold-out: a story is held out as a whole, which a mix cannot do; mine the "
            "stories in a run of their own"
        )
    if name in MAPPED and not is_local(config.out):
        return f"{name} maps files of its working folder into memory, and --out {config.out} is remote; choose a folder"
    by_concept = name in ("diverse", "groups")
    needs_text = name == "contrast" or (by_concept and config.selection is None)
    if needs_text and not store.has_text:
        without = [each for each in STRATEGIES if each not in ("contrast", "diverse", "groups")]
        return (
            f"{name} needs text embeddings and {store.path} has none: embed the captions too"
            + (", give it the concepts of a --selection" if by_concept else "")
            + f", or choose from {', '.join(without)}"
        )
    return None


def _no_such_level(name: str, config: MiningConfig) -> str | None:
    """Why a strategy can give no set where it has none of `config.levels`."""
    if config.levels is None or name == "random":
        return None
    asked = ",".join(map(str, config.levels))
    if name not in HIGHEST_LEVEL:
        return None if max(config.levels) > 0 else f"{name} has levels from 1 on, the number of nouns, and not {asked}"
    highest = HIGHEST_LEVEL[name] + (name in WITH_CEILING and config.ceiling is not None)
    if set(config.levels) & set(range(1, highest + 1)):
        return None
    more = f" ({highest + 1} with --ceiling)" if name in WITH_CEILING and config.ceiling is None else ""
    return f"{name} has the levels 1-{highest}{more}, and --levels {asked} has none of them"
