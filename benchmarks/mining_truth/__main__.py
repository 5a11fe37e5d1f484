"""Mining on the scenes world, where the truth of every pair is known: what strategies claim, and how often it holds.

Run as: python -m benchmarks.mining_truth [--quick] [--store STORE]

Every strategy mines the same number of sets from one store of drawn scenes and edits of a tenth of them;
`scenes.comparing.compare` then gives the truth of each set. Precision is the share of sets for which the strategy's
claim holds; by chance is the share for which the claim of the set, its axis or nouns say, holds for a random pair.
Coverage is the share of the corpus's subjects (types in two scenes or more) that its sets reach. Captions of the scenes
are partly wrong, as on the web, which lowers the precision of strategies that read them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from pathlib import Path

# Least precision over random and least level balance of every strategy that makes a claim; most pairs of one picture;
# the image similarity of `attribute`, and how often it names what differs.
TARGETS = {
    "precision_over_random": 1.5,
    "same_picture": 0.02,
    "level_balance": 0.8,
    "attribute_image_similarity": 0.85,
    "attribute_precision": 0.9,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2,000 scenes and 200 sets a strategy")
    parser.add_argument("--store", help="an existing store of drawn scenes with its indexes")
    parser.add_argument("--sets", type=int, help="sets a strategy (default: 1,000; 200 with --quick)")
    args = parser.parse_args()
    from benchmarks.mining_truth.claims import CLAIMS
    from benchmarks.mining_truth.measure import common_types, figures_of, make_store, mine, print_table, truths_of
    from index.store.embedding_store import EmbeddingStore

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
        "same_picture": max(each["same_picture"] for each in claiming),
        "level_balance": min(each["level_balance"] for each in claiming),
        "attribute_image_similarity": figures.get("attribute", {}).get("image_similarity", 0.0),
        "attribute_precision": figures.get("attribute", {}).get("precision", 0.0),
    }
    holds = (
        worst["same_picture"] <= TARGETS["same_picture"]
        and all(worst[name] >= TARGETS[name] for name in TARGETS if name != "same_picture")
        and set(figures) == set(CLAIMS)
    )
    said = {"name": "mining_truth", "figures": {**figures, "worst": worst}, "targets": TARGETS, "holds": holds}
    print(json.dumps(said))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
