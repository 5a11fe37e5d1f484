"""The demo's mining: sets of every strategy from its store, and those that its page shows."""

from __future__ import annotations

from index.store.embedding_store import EmbeddingStore
from index.store.read_image import read_image
from jobs.demo.report_pairs import MinedSet, PairStrip
from jobs.mine_job import run_mine
from mining.sets.image_sets import ImageSets
from mining.strategies.context import MiningConfig
from mining.strategies.registry import STRATEGIES

__all__ = ["STRATEGY_SETS", "gather_strips", "mine_demo"]

# Sets of each strategy: enough that levels are filled, few enough for a demo.
STRATEGY_SETS = 200
# Sets a strategy on the page.
SHOWN = 4


def mine_demo(store: str, out: str, near_duplicates: float) -> ImageSets:
    """Mine sets of all strategies in equal shares; individuals are known from the scenes' truth."""
    mix = tuple((name, 1 / len(STRATEGIES)) for name in STRATEGIES)
    config = MiningConfig(
        store,
        out,
        mix,
        sets=STRATEGY_SETS * len(mix),
        near_duplicates=near_duplicates,
        entity="truth.objects.entity",
    )
    return run_mine(config)


def gather_strips(store: EmbeddingStore, sets: ImageSets) -> list[PairStrip]:
    """Sets of each strategy: they are in the order of seeded chance, level by level, so the first go through all."""
    strips = []
    for summary in sets.manifest["strategies"]:
        name = summary["strategy"]
        own = sets.filter(strategy=name)
        cycle = max(SHOWN, len(summary["levels"]))
        places = [place * cycle // SHOWN for place in range(SHOWN)]
        some = [own[place] for place in places if place < len(own)]
        shown = [
            MinedSet(
                [(read_image(store, member.row_id), str(member.caption)) for member in each.members],
                each.level,
                each.reasons,
            )
            for each in some
        ]
        strips.append(PairStrip(name, STRATEGIES[name][2], summary["made"], shown))
    return strips
