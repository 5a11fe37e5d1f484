"""The full pipeline on drawn scenes: scenes -> tars -> store -> indexes -> selection -> pairs, a customized CLIP.

Each stage calls the function that its `clipmine` command calls; `jobs.demo.by_hand` lists the same run as commands.
Run again after an interruption, the demo continues where it stopped.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from index.errors import BadInput
from index.files import write_atomic
from jobs.demo.by_hand import commands
from jobs.demo.clock import StageClock
from jobs.demo.report import ConceptHits, Hit, RecallCurve, Report, Stage, render_report
from jobs.demo.settings import (
    CONCEPTS,
    EXCLUDED,
    HELD_OUT,
    MODE,
    MODEL,
    NEAR_DUPLICATES,
    SHARD,
    TEMPLATES,
    K,
)
from jobs.progress import Progress, duration

if TYPE_CHECKING:
    from index.store.embedding_store import EmbeddingStore
    from jobs.demo.report_customize import CustomizeReport
    from mining.sets.image_sets import ImageSets
    from retrieval.export.export import ExportSummary
    from retrieval.selection import Selection

SHOWN = 8  # pictures a concept and search mode in the report
_WHAT = {
    "several-prompts": "found by several prompts of one concept: kept once",
    "forgotten": "forgotten rows",
    "min-score": "scores below the lowest cosine",
    "both-modes": "found by T2I and T2T: kept once",
    "unknown-size": "images of unknown size",
    "min-side": "images that are too small",
    "exclude": "near-duplicates of the evaluation set's images",
    "cross-concept": "found by several concepts: kept for the one that ranks it highest",
    "exact-duplicates": "images with the same bytes as a better-ranked one",
    "near-duplicates": "near-duplicates of a better-ranked image",
    "cap": "beyond the most rows for each concept",
}


@dataclass(frozen=True)
class DemoSummary:
    """What the demo made, and the seconds that each stage took."""

    out: str
    report: str
    scenes: int
    rows: int
    selected: int
    exported: int
    mined: int
    zero_shot_before: float
    zero_shot_after: float
    seconds: float
    stages: dict[str, float]


def run_demo(
    out: str = "demo", *, scenes: int = 20_000, executor: str = "ray", workers: int | None = None
) -> DemoSummary:
    """Run every stage into the folder `out` and write `out/report.html`.

    scenes: number of drawn scenes in the corpus, at least K. Raises BadInput for fewer, and what the stages raise.
    """
    if scenes < K:
        raise BadInput(f"--scenes {scenes}: the demo needs at least {K}")
    from index.encoder.model_spec import ModelSpec
    from index.graph.build import IndexConfig
    from index.store.embed import EmbedConfig
    from index.store.embedding_store import EmbeddingStore
    from jobs.demo.customize_stage import customize_demo, draw_held_out
    from jobs.demo.pairs_stage import mine_demo
    from jobs.embed_job import run_embed
    from jobs.index_job import run_index
    from retrieval.concepts import load_concepts
    from retrieval.export.export import export_selection
    from retrieval.retrieve import retrieve
    from retrieval.rules import Rules
    from scenes.tars import write_split
    from scenes.world.splits import group_of

    root = Path(out)
    root.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    _claim(root, scenes)
    clock = StageClock(root / "stages.json")
    model = ModelSpec(model_dir=MODEL)
    store, excluded, selected, tars = (str(root / name) for name in ("store", "test_store", "selection", "export"))

    def draw() -> int:
        for split, count, folder in (("corpus", scenes, "corpus"), ("test", EXCLUDED, "test_corpus")):
            with Progress(f"draw {split}", count, unit="scenes") as progress:
                write_split(
                    split,
                    root / folder,
                    count,
                    shard_size=SHARD,
                    workers=workers or 2,
                    progress=lambda more, shown=progress, total=count: shown.reach(shown.done + more, total),  # type: ignore[misc]
                )
        draw_held_out([concept.name for concept in load_concepts(CONCEPTS)], root / "held_out", HELD_OUT)
        return scenes + EXCLUDED

    clock.run("draw", "scenes with known truth, as webdataset tars", int, draw)

    def embed(folder: str, target: str) -> Any:
        config = EmbedConfig(source=str(root / folder), out=target, model=model)
        return run_embed(config, executor=executor, workers=workers)

    embedded = clock.run(
        "embed", f"image and text embeddings ({executor})", lambda done: done.store.rows, lambda: embed("corpus", store)
    )
    clock.run(
        "embed the evaluation set",
        "near-duplicates of its images are not selected",
        lambda done: done.store.rows,
        lambda: embed("test_corpus", excluded),
    )
    clock.run(
        "index",
        "HNSW for images and texts, recall measured",
        lambda _: 2 * embedded.store.rows,
        lambda: run_index(IndexConfig(store=store), executor="local", workers=workers),
    )
    rules = Rules(near_duplicates=NEAR_DUPLICATES, exclude=excluded, exclude_threshold=NEAR_DUPLICATES)

    def select() -> Selection:
        with Progress("retrieve", unit="queries") as progress:
            return retrieve(
                store,
                CONCEPTS,
                out=selected,
                mode=MODE,
                k=min(K, scenes),
                templates=TEMPLATES,
                rules=rules,
                on_progress=progress.reach,
            )

    def export() -> ExportSummary:
        with Progress("export", unit="rows") as progress:
            return export_selection(selected, tars, on_progress=progress.reach)

    selection = clock.run(
        "retrieve",
        "T2I and T2T for every concept and prompt, then the filters",
        lambda done: done.hits,
        select,
    )
    exported = clock.run("export", "the selection as webdataset tars", lambda done: done.exported, export)
    pairs = clock.run(
        "mine",
        "pairs of every strategy, with their reasons",
        len,
        lambda: mine_demo(store, str(root / "pairs")),
    )
    customized = clock.run(
        "customize",
        "the small CLIP on the selection; zero-shot accuracy on held-out pictures before and after",
        lambda done: done.seen,
        lambda: customize_demo(store, selected, root, lambda name: _GROUP_TEXT[group_of(name)]),
    )
    opened = EmbeddingStore.open(store)
    page = root / "report.html"
    write_atomic(
        str(page),
        render_report(
            _report(
                opened,
                selection,
                exported.exported,
                pairs,
                customized,
                list(clock.stages.values()),
                commands(out, scenes, executor, workers),
            )
        ),
    )
    return DemoSummary(
        out=str(root),
        report=str(page),
        scenes=scenes,
        rows=opened.rows,
        selected=selection.rows,
        exported=exported.exported,
        mined=len(pairs),
        zero_shot_before=round(customized.before, 4),
        zero_shot_after=round(customized.after, 4),
        seconds=round(time.monotonic() - started, 1),
        stages={name: stage.seconds for name, stage in clock.stages.items()},
    )


def _claim(root: Path, scenes: int) -> None:
    """Record the number of scenes in the folder; BadInput when the folder was made with another number."""
    path = root / "demo.json"
    if path.exists():
        made = json.loads(path.read_text())["scenes"]
        if made != scenes:
            raise BadInput(f"{root}: holds a demo of {made} scenes; remove it, or choose another --out")
        return
    write_atomic(str(path), json.dumps({"scenes": scenes}))


def _report(
    store: EmbeddingStore,
    selection: Selection,
    exported: int,
    pairs: ImageSets,
    customized: CustomizeReport,
    stages: Sequence[Stage],
    commands: Sequence[str],
) -> Report:
    from jobs.demo.pairs_stage import gather_strips
    from scenes.world.splits import group_of

    found = _search(store, selection.concepts)
    counts = selection.counts
    concepts = [
        ConceptHits(name, _GROUP_TEXT[group_of(name)], found["t2i"][place], found["t2t"][place], counts[name])
        for place, name in enumerate(selection.concepts)
    ]
    seconds = sum(stage.seconds for stage in stages)
    return Report(
        title="Clipmine: data for a concept list, from a corpus of drawn scenes",
        summary=[
            (f"{store.rows:,}", "rows embedded"),
            (f"{len(selection.concepts)}", "concepts"),
            (f"{selection.rows:,}", "rows selected"),
            (f"{exported:,}", "images exported"),
            (f"{len(pairs):,}", "pairs mined"),
            (f"{customized.before:.0%} to {customized.after:.0%}", "zero-shot, customized"),
            (duration(seconds), "in all"),
        ],
        stages=stages,
        curves=_curves(store),
        concepts=concepts,
        rules=[(rule, _WHAT.get(rule, ""), lost) for rule, lost in selection.losses.items()],
        hits=selection.hits,
        selected=selection.rows,
        plans=[f"{plan['mode']}: {plan['method']}, because {plan['why']}" for plan in _plans(selection)],
        commands=commands,
        pairs=gather_strips(store, pairs),
        customized=customized,
    )


def _plans(selection: Selection) -> list[dict[str, Any]]:
    plans: list[dict[str, Any]] = selection.manifest["search"]["plans"]
    return plans


_GROUP_TEXT = {
    "frequent": "frequent in pretraining",
    "medium": "occasional in pretraining",
    "rare": "rare in pretraining, common in this corpus",
    "absent": "rare in pretraining, absent from this corpus",
    "made_up": "a made-up name",
}


def _search(store: EmbeddingStore, concepts: Sequence[str]) -> dict[str, list[list[Hit]]]:
    """The SHOWN best rows of each concept by T2I and by T2T, each with whether the scene shows the concept."""
    from index.store.read_image import read_image
    from retrieval.search.retriever import Retriever

    retriever = Retriever(store)
    found: dict[str, list[list[Hit]]] = {}
    for mode in ("t2i", "t2t"):
        result = retriever.search([f"a photo of a {name}" for name in concepts], SHOWN, mode=mode)
        found[mode] = []
        for name, scores, rows in zip(concepts, result.scores, result.row_ids, strict=True):
            seen = store.metadata(rows, ["caption", "extra"]).to_pylist()
            found[mode].append(
                [
                    Hit(read_image(store, int(row)), str(about["caption"]), float(score), _shows(about["extra"], name))
                    for row, score, about in zip(rows, scores, seen, strict=True)
                ]
            )
    return found


def _shows(extra: str, concept: str) -> bool:
    """Whether a scene shows the concept, by its truth in the store's metadata (from the tar's json files)."""
    truth = json.loads(extra)["truth"]
    scene = json.loads(truth) if isinstance(truth, str) else truth
    return any(thing["type"] == concept for thing in scene["objects"])


def _curves(store: EmbeddingStore) -> list[RecallCurve]:
    from index.graph.search_index import open_index
    from jobs.index_job import MODALITIES

    curves = []
    for modality in MODALITIES["both"]:
        contract = open_index(store, modality).recall
        if contract is None:
            continue
        points = contract.curve
        curves.append(
            RecallCurve(
                modality,
                [point.ef_search for point in points],
                [point.recall_at_10 for point in points],
                [point.recall_at_100 for point in points],
                contract.ef_search,
                contract.asked,
            )
        )
    return curves
