"""The demo's mining: image sets of every strategy, and the sets that the report shows."""

from __future__ import annotations

from index.store.embedding_store import EmbeddingStore
from index.store.read_image import read_image
from jobs.demo.report_pairs import MinedSet, PairStrip
from jobs.demo.settings import ENTITY, NEAR_DUPLICATES, STRATEGY_SETS, strategy_mix
from jobs.mine_job import run_mine
from mining.sets.image_sets import ImageSets
from mining.strategies.context import MiningConfig
from mining.strategies.registry import STRATEGIES, parse_mix

__all__ = ["gather_strips", "mine_demo"]

SHOWN = 4  # sets of a strategy in the report


def mine_demo(store: str, out: str) -> ImageSets:
    """Mine STRATEGY_SETS sets of each strategy from `store` into `out`."""
    mix = parse_mix(strategy_mix())
    config = MiningConfig(
        store,
        out,
        mix,
        sets=STRATEGY_SETS * len(mix),
        near_duplicates=NEAR_DUPLICATES,
        entity=ENTITY,
    )
    return run_mine(config)


def gather_strips(store: EmbeddingStore, sets: ImageSets) -> list[PairStrip]:
    """SHOWN sets of each strategy, spread over its levels: stored sets go through the levels in turn."""
    strips = []
    for summary in sets.manifest["strategies"]:
        name = summary["strategy"]
        own = sets.filter(strategy=name) if summary["made"] else sets[:0]
        cycle = max(SHOWN, len(summary["levels"]))
        places = [place * cycle // SHOWN for place in range(SHOWN)]
        some = [own[place] for place in places if place < len(own)]
        shown = [
            MinedSet(
                [
                    (read_image(store, member.row_id), str(member.caption))
                    for member in each.members
                    if member.row_id is not None
                ],
                each.level,
                each.reasons,
            )
            for each in some
        ]
        strips.append(PairStrip(name, STRATEGIES[name][2], summary["made"], shown))
    return strips
