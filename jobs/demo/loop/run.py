"""The loop on drawn scenes: mine -> annotate captions -> tune -> annotate images -> tune again -> measure -> a page.

Each stage calls the function that its `clipmine` command calls. Run again after an interruption, the loop continues
where it stopped.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from index.errors import BadInput
from index.files import write_atomic
from jobs.demo.clock import StageClock
from jobs.demo.loop.settings import BASE, CAD_PARTS, CHOICE_ALONE, CLIP, MIX, TUNE, LoopSettings, cpu_precision

if TYPE_CHECKING:
    from customize.lmm.evaluate.intervals import Figure
    from customize.lmm.train.tune import TuneSummary
    from jobs.demo.loop.measure import Measured
    from mining.annotate.summary import AnnotateSummary
    from mining.sets.image_sets import ImageSets

__all__ = ["LoopSummary", "run_loop"]


@dataclass(frozen=True)
class LoopSummary:
    """What the loop made: figures by model and task, and the seconds that each stage took."""

    out: str
    page: str
    pairs: int
    figures: dict[str, dict[str, float]]
    seconds: float
    stages: dict[str, float]


def run_loop(
    out: str = "loop",
    settings: LoopSettings | None = None,
    *,
    base: str = BASE,
    executor: str = "local",
    workers: int | None = None,
) -> LoopSummary:
    """Run every stage into the folder `out` and write `out/loop.html`.

    base: the model that tuning starts from. executor: where embedding and mining run. Raises what the stages raise, and
    BadInput where the folder holds a loop of other settings.
    """
    settings = settings or LoopSettings()
    root = Path(out)
    root.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    _claim(root, {**asdict(settings), "base": base})
    clock = StageClock(root / "stages.json")
    from jobs.demo.loop.gather import MODELS, comparison_scores, gather_page
    from jobs.demo.loop.material import draw_material

    material = clock.run(
        "draw",
        "a corpus, edited pairs with notes, single-image conversations, held-out tasks",
        lambda done: done.scenes,
        lambda: draw_material(root, settings, workers or 2),
    )
    pairs = clock.run(
        "mine",
        "pairs by shared nouns, look-alikes and attributes",
        len,
        lambda: _mine(root, settings, executor, workers),
    )
    clock.run("annotate captions", "commonalities and differences from captions", _annotated, lambda: _captions(root))

    def tune(phase: int, edits: bool) -> TuneSummary:
        return _tune(root, settings, base, phase, edits)

    clock.run("tune, phase 1", MODELS["phase 1"], lambda done: done.trained, lambda: tune(1, False))
    written = clock.run(
        "annotate images",
        "phase 1 compares the edited pairs, starting from their notes",
        _annotated,
        lambda: _images(root, material.notes),
    )
    clock.run("tune, phase 2", MODELS["phase 2"], lambda done: done.trained, lambda: tune(2, written.annotated > 0))
    measured = clock.run(
        "measure",
        "held-out tasks and pairs, by all three models",
        _scored,
        lambda: _measure(root, settings, base),
    )
    page = root / "loop.html"
    counts = {"pairs mined": len(pairs), "pairs annotated from images": written.annotated}
    figures = {
        name: {**each.figures, **comparison_scores(each, root / "held_out", settings.compared)}
        for name, each in measured.items()
    }
    stages = list(clock.stages.values())
    write_atomic(page, gather_page(root / "held_out", measured, figures, settings.shown, stages, counts))
    return LoopSummary(
        out=str(root),
        page=str(page),
        pairs=len(pairs),
        figures={name: _values(found) for name, found in figures.items()},
        seconds=round(time.monotonic() - started, 1),
        stages={name: stage.seconds for name, stage in clock.stages.items()},
    )


def _values(figures: dict[str, Figure]) -> dict[str, float]:
    return {name: round(figure.value, 4) for name, figure in figures.items() if figure.value is not None}


def _claim(root: Path, about: dict[str, Any]) -> None:
    """Record the settings in the folder; BadInput when the folder was made with others."""
    path = root / "loop.json"
    if path.exists():
        made = json.loads(path.read_text())
        if made != about:
            raise BadInput(f"{root}: holds a loop of other settings; remove it, or choose another --out")
        return
    write_atomic(str(path), json.dumps(about))


def _annotated(done: AnnotateSummary) -> int:
    return done.annotated


def _scored(measured: dict[str, Measured]) -> int:
    """How many answers, pairs of answers and comparisons the figures are taken over."""
    return sum(len(each.replies) + sum(figure.count for figure in each.figures.values()) for each in measured.values())


def _mine(root: Path, settings: LoopSettings, executor: str, workers: int | None) -> ImageSets:
    from index.encoder.model_spec import ModelSpec
    from index.store.embed import EmbedConfig
    from jobs.embed_job import run_embed
    from jobs.mine_job import run_mine
    from mining.strategies.context import MiningConfig
    from mining.strategies.registry import parse_mix

    store = str(root / "store")
    embed = EmbedConfig(source=str(root / "corpus"), out=store, model=ModelSpec(model_dir=CLIP))
    run_embed(embed, executor=executor, workers=workers)
    config = MiningConfig(
        store, str(root / "pairs"), parse_mix(MIX), sets=settings.pairs, seed=settings.seed, max_per_image=20
    )
    return run_mine(config)


def _captions(root: Path) -> AnnotateSummary:
    from jobs.annotate_job import run_annotate
    from mining.annotate.config import AnnotateConfig

    return run_annotate(AnnotateConfig(str(root / "pairs"), name="phase-1"))


def _images(root: Path, notes: Path) -> AnnotateSummary:
    from jobs.annotate_job import run_annotate
    from jobs.import_job import run_import
    from mining.annotate.config import AnnotateConfig
    from mining.sets.importers.import_config import ImportConfig

    edits = str(root / "edited_pairs")
    run_import(ImportConfig((str(notes),), "spot-the-diff", edits, images=(str(notes.parent),)))
    config = AnnotateConfig(
        edits,
        annotator="transformers",
        model=str(root / "phase-1"),
        name="phase-2",
        from_images=True,
        refine="difference_note",
        as_trained=True,
        max_new_tokens=256,
        device="cpu",
        batch_size=32,
    )
    return run_annotate(config)


def _tune(root: Path, settings: LoopSettings, base: str, phase: int, edits: bool) -> TuneSummary:
    """edits: whether there are comparisons of edited pairs; a model that learned too little writes none."""
    from customize.lmm.train.config import TuneConfig
    from jobs.tune_job import run_tune

    instructions = root / "instructions"
    data = [
        f"{instructions / 'instructions.json'},images={instructions},name=instructions",
        f"{root / 'pairs'},cad={CAD_PARTS},name=pairs",
        f"{root / 'pairs'},cad={CHOICE_ALONE},name=choices",
    ]
    if edits:
        data.append(f"{root / 'edited_pairs'},cad=commonalities+differences,name=edits")
    config = TuneConfig(
        out=str(root / f"phase-{phase}"),
        data=tuple(data),
        model=base,
        seed=settings.seed,
        features=str(root / "features"),
        precision=cpu_precision(),
        **TUNE,
    )
    return run_tune(config)


def _measure(root: Path, settings: LoopSettings, base: str) -> dict[str, Measured]:
    from jobs.demo.loop.measure import measure_model
    from mining.chat.local_model import LocalModel

    folders = {"base": base, "phase 1": str(root / "phase-1"), "phase 2": str(root / "phase-2")}
    return {
        name: measure_model(
            LocalModel(folder, device="cpu", batch_size=32),
            root / "held_out",
            root / "evaluation",
            questions=settings.held_out,
            compared=settings.compared,
        )
        for name, folder in folders.items()
    }
