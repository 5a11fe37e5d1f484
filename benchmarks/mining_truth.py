"""Mining on the scenes world, where the truth of every pair is known: what strategies claim, and how often it holds.

Run as: python benchmarks/mining_truth.py [--quick] [--store STORE]

Every strategy mines the same number of sets from one store of drawn scenes; `scenes.comparing.compare` then says what is
true of each. Precision is the share of sets for which the strategy's claim holds, beside the share of random pairs for
which the same holds; coverage is the share of the corpus's subjects (types in two scenes or more) that its sets reach.
The scenes' captions are partly wrong, as on the web, which is what costs the strategies that read them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mining_truth_claims import CLAIMS, Truth, level_balance, mean_axes, subjects_reached

from index.errors import ClipmineError
from index.store.embedding_store import EmbeddingStore
from jobs.mine_job import run_mine
from mining.sets.image_sets import ImageSets
from mining.strategies.context import MiningConfig
from scenes.world.scene import from_json

# As the demo, whose model puts its drawn scenes closer together than a large CLIP puts photographs.
NEAR_DUPLICATES = 0.985
# Precision over random at least, for every strategy that claims something; near-duplicates let through at most.
TARGETS = {"precision_over_random": 1.5, "near_duplicates": 0.02, "level_balance": 0.8}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2,000 scenes and 200 sets a strategy")
    parser.add_argument("--store", help="a store of drawn scenes that is there already, with its indexes")
    parser.add_argument("--sets", type=int, help="a strategy (1,000; 200 with --quick)")
    args = parser.parse_args()
    wanted = args.sets or (200 if args.quick else 1_000)
    with tempfile.TemporaryDirectory() as folder:
        store = EmbeddingStore.open(args.store or make_store(Path(folder), 2_000 if args.quick else 20_000))
        print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores; {store.rows:,} scenes, {wanted} sets each")
        mined = {name: mine(store, name, wanted, Path(folder)) for name in CLAIMS}
        types = common_types(store)
        found = {name: truths for name, sets in mined.items() if sets is not None and (truths := truths_of(sets))}
        figures = {name: figures_of(name, found, mined[name], types) for name in found}  # type: ignore[arg-type]
    print_table(figures)
    claiming = [each for name, each in figures.items() if name != "random"]
    worst = {
        "precision_over_random": min(each["precision"] / max(each["by_chance"], 1e-3) for each in claiming),
        "near_duplicates": max(each["near_duplicates"] for each in claiming),
        "level_balance": min(each["level_balance"] for each in claiming),
    }
    holds = (
        worst["precision_over_random"] >= TARGETS["precision_over_random"]
        and worst["near_duplicates"] <= TARGETS["near_duplicates"]
        and worst["level_balance"] >= TARGETS["level_balance"]
        and set(figures) == set(CLAIMS)
    )
    said = {"name": "mining_truth", "figures": {**figures, "worst": worst}, "targets": TARGETS, "holds": holds}
    print(json.dumps(said))
    return 0


def make_store(folder: Path, scenes: int) -> str:
    """Draw, embed and index scenes: the beginning of `clipmine demo`."""
    from index.encoder.model_spec import ModelSpec
    from index.graph.build import IndexConfig
    from index.store.embed import EmbedConfig
    from jobs.embed_job import run_embed
    from jobs.index_job import run_index
    from scenes.tars import write_split

    model = Path(__file__).resolve().parent.parent / "scenes/models/clip"
    write_split("corpus", folder / "corpus", scenes, shard_size=1_000, progress=lambda _: None)
    run_embed(EmbedConfig(str(folder / "corpus"), str(folder / "store"), ModelSpec(model_dir=str(model))))
    run_index(IndexConfig(str(folder / "store")))
    return str(folder / "store")


def mine(store: EmbeddingStore, name: str, wanted: int, folder: Path) -> ImageSets | None:
    """The sets of one strategy alone; None, with the reason printed, where it cannot run."""
    config = MiningConfig(
        str(store.path),
        str(folder / f"pairs_{name}"),
        ((name, 1.0),),
        sets=wanted,
        near_duplicates=NEAR_DUPLICATES,
        entity="truth.objects.entity",
    )
    started = time.monotonic()
    try:
        sets = run_mine(config)
    except (ClipmineError, ModuleNotFoundError) as error:
        print(f"{name}: {error}")
        return None
    print(f"{name}: {len(sets):,} sets in {time.monotonic() - started:.1f} s")
    return sets


def truths_of(sets: ImageSets) -> list[Truth]:
    return [Truth(each, tuple(from_json(member.scene) for member in each.members)) for each in sets]


def common_types(store: EmbeddingStore) -> frozenset[str]:
    """Types that two scenes or more show."""
    counts: Counter[str] = Counter()
    for _, table in store.iter_metadata(["extra"]):
        for text in table["extra"].to_pylist():
            truth = json.loads(text)["truth"]
            counts.update({thing["type"] for thing in from_json_things(truth)})
    return frozenset(name for name, count in counts.items() if count > 1)


def from_json_things(truth: str | dict[str, Any]) -> list[dict[str, Any]]:
    things: list[dict[str, Any]] = (json.loads(truth) if isinstance(truth, str) else truth)["objects"]
    return things


def figures_of(name: str, found: dict[str, list[Truth]], sets: ImageSets, types: frozenset[str]) -> dict[str, float]:
    """A strategy's row of the table; `by_chance` is how often its claim holds for random pairs."""
    truths, chance = found[name], found.get("random", [])
    claim = CLAIMS[name][1]
    summary = sets.manifest["strategies"][0]

    def share(holds: list[bool]) -> float:
        return round(sum(holds) / max(1, len(holds)), 3)

    # An individual, a noun or an axis is claimed of each set by name; a random pair has no name, so any will do.
    by_chance = {"identity": lambda truth: bool(truth.individuals), "overlap": lambda truth: bool(truth.subjects)}
    return {
        "sets": len(truths),
        "precision": share([claim(truth) for truth in truths]),
        "by_chance": share([by_chance.get(name, _chance_claim(name))(truth) for truth in chance]),
        "coverage": round(subjects_reached(truths, types), 3),
        "subject": share([bool(truth.subjects) for truth in truths]),
        "place": share([truth.same_place for truth in truths]),
        "axes": round(mean_axes(truths), 2),
        "near_duplicates": share([truth.one_picture for truth in truths]),
        "level_balance": round(level_balance(summary["levels"], summary["supply"]), 2),
    }


def _chance_claim(name: str) -> Any:
    if name == "attribute":  # the subject is shared and exactly one axis differs, whichever
        return lambda truth: bool(truth.subjects) and len(truth.axes) == 1
    if name == "contrast":  # a subject in common, and another picture
        return lambda truth: bool(truth.subjects) and len(truth.axes) >= 2
    return CLAIMS[name][1]


def print_table(figures: dict[str, dict[str, float]]) -> None:
    print(
        "\n| strategy | claims | sets | precision | by chance | coverage | subject in common | place in common | "
        "axes that differ, of 6 | one picture | level balance |\n|---|---|---|---|---|---|---|---|---|---|---|"
    )
    for name, each in figures.items():
        print(
            f"| {name} | {CLAIMS[name][0]} | {each['sets']:,.0f} | {each['precision']:.3f} | {each['by_chance']:.3f} | "
            f"{each['coverage']:.2f} | {each['subject']:.2f} | {each['place']:.2f} | {each['axes']:.1f} | "
            f"{each['near_duplicates']:.3f} | {each['level_balance']:.2f} |"
        )
    print()


if __name__ == "__main__":
    raise SystemExit(main())
