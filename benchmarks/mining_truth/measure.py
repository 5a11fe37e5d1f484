"""What the sets of each strategy have in common, by the truth of their scenes: a store, its sets, and their figures."""

from __future__ import annotations

import json
import time
from collections import Counter
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.mining_truth.claims import CLAIMS, VARIANTS, Truth, level_balance, mean_axes, subjects_reached
from benchmarks.mining_truth.edited_scenes import write_edits
from index.errors import ClipmineError
from index.store.embedding_store import EmbeddingStore
from jobs.mine_job import run_mine
from mining.sets.image_sets import ImageSets
from mining.strategies.context import MiningConfig
from scenes.world.scene import from_json

# As in the demo: the small CLIP puts drawn scenes closer together than a large CLIP puts photographs.
NEAR_DUPLICATES = 0.985
# An edit for each EDITED scenes.
EDITED = 10
_SHARD = 1_000


def make_store(folder: Path, scenes: int) -> str:
    """Draw, embed and index scenes and edits of some of them; returns the store's path."""
    from index.encoder.model_spec import ModelSpec
    from index.graph.build import IndexConfig
    from index.store.embed import EmbedConfig
    from jobs.embed_job import run_embed
    from jobs.index_job import run_index
    from scenes.tars import write_split

    model = Path(__file__).resolve().parents[2] / "scenes/models/clip"
    write_split("corpus", folder / "corpus", scenes, shard_size=_SHARD, progress=lambda _: None)
    write_edits(folder / "corpus", scenes, scenes // EDITED, _SHARD)
    run_embed(EmbedConfig(str(folder / "corpus"), str(folder / "store"), ModelSpec(model_dir=str(model))))
    run_index(IndexConfig(str(folder / "store")))
    return str(folder / "store")


def mine(store: EmbeddingStore, name: str, wanted: int, folder: Path) -> ImageSets | None:
    """The sets of one strategy; None when it cannot run, with the reason printed."""
    strategy = name.partition(":")[0]
    config = MiningConfig(
        str(store.path),
        str(folder / f"pairs_{name.replace(': ', '_').replace(' ', '_')}"),
        ((strategy, 1.0),),
        sets=wanted,
        near_duplicates=NEAR_DUPLICATES,
        entity="truth.objects.entity",
        **VARIANTS.get(name, {}),
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
    """The truth of each set, from the scenes that its members' metadata describe."""
    return [Truth(each, tuple(from_json(dict(member.extra["truth"])) for member in each.members)) for each in sets]


def common_types(store: EmbeddingStore) -> frozenset[str]:
    """Types that appear in two scenes or more."""
    counts: Counter[str] = Counter()
    for _, table in store.iter_metadata(["extra"]):
        for text in table["extra"].to_pylist():
            truth = json.loads(text)["truth"]
            counts.update({thing["type"] for thing in from_json_things(truth)})
    return frozenset(name for name, count in counts.items() if count > 1)


def from_json_things(truth: str | dict[str, Any]) -> list[dict[str, Any]]:
    """The objects of a scene, whose JSON may be text."""
    things: list[dict[str, Any]] = (json.loads(truth) if isinstance(truth, str) else truth)["objects"]
    return things


def figures_of(name: str, found: dict[str, list[Truth]], sets: ImageSets, types: frozenset[str]) -> dict[str, float]:
    """A strategy's row of the table.

    `by_chance` says what each of its sets claims of as many random scenes: the same claim, judged by the same rule.
    """
    truths = found[name]
    scenes = cycle([scene for truth in found.get("random", []) for scene in truth.scenes])
    claim = CLAIMS[name][1]
    summary, asked = sets.manifest["strategies"][0], sets.manifest["config"]["levels"]
    supply = {level: count for level, count in summary["supply"].items() if asked is None or int(level) in asked}

    def share(holds: list[bool]) -> float:
        return round(sum(holds) / max(1, len(holds)), 3)

    return {
        "sets": len(truths),
        "precision": share([claim(truth) for truth in truths]),
        "by_chance": share([claim(truth.said_of([next(scenes) for _ in truth.scenes])) for truth in truths]),
        "image_similarity": round(float(np.median([truth.each.image_sim for truth in truths])), 3),
        "coverage": round(subjects_reached(truths, types), 3),
        "subject": share([bool(truth.subjects) for truth in truths]),
        "place": share([truth.same_place for truth in truths]),
        "axes": round(mean_axes(truths), 2),
        "one_difference": share([truth.one_difference for truth in truths]),
        "same_picture": share([truth.same_picture for truth in truths]),
        "level_balance": round(level_balance(summary["levels"], supply, summary["wanted"]), 2),
    }


def print_table(figures: dict[str, dict[str, float]]) -> None:
    """Print the figures as the table of docs/mining.md."""
    print(
        "\n| strategy | claims | sets | precision | by chance | image similarity | one difference | same picture | "
        "subject in common | place in common | axes that differ, of 6 | coverage | level balance |\n"
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|"
    )
    for name, each in figures.items():
        print(
            f"| {name} | {CLAIMS[name][0]} | {each['sets']:,.0f} | {each['precision']:.3f} | {each['by_chance']:.3f} | "
            f"{each['image_similarity']:.2f} | {each['one_difference']:.3f} | {each['same_picture']:.3f} | "
            f"{each['subject']:.2f} | {each['place']:.2f} | {each['axes']:.1f} | {each['coverage']:.2f} | "
            f"{each['level_balance']:.2f} |"
        )
    print()
