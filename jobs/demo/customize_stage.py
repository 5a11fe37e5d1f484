"""The demo's customizing: trains the small CLIP on the selection and compares both models on held-out pictures.

The training settings were chosen on pictures of the scenes' `validation` split; the report shows pictures of `test`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import yaml

from index.files import write_atomic
from jobs.demo.report_customize import ConceptChange, CustomizeReport, Flip
from jobs.demo.settings import CUSTOMIZE, HELD_OUT, TASK, TEMPLATES

if TYPE_CHECKING:
    from customize.clip.evaluate.datasets.dataset import Example

__all__ = ["customize_demo", "draw_held_out"]

SHOWN = 8  # changed answers of each kind in the report
JPEG_QUALITY = 95  # that of the corpus


def draw_held_out(concepts: Sequence[str], folder: Path, per_concept: int) -> Path:
    """A tar of test pictures that show one concept each, KEY.jpg with KEY.cls, and a task file for `clipmine evaluate`.

    Nothing is drawn where the tar exists.
    """
    from scenes.held_out import type_samples
    from scenes.tars import write_tar

    path = folder / "test.tar"
    if not path.exists():
        write_tar(path, type_samples(tuple(concepts), per_concept, "test"))
    about = {
        "name": "held-out",
        "source": "scenes: held-out pictures of the demo's concepts",
        "kind": "classification",
        "data": ".",
        "splits": {"test": path.name},
        "templates": TEMPLATES,
        "classes": list(concepts),
    }
    write_atomic(str(folder / TASK), yaml.safe_dump(about, sort_keys=False, allow_unicode=True))
    return path


def customize_demo(
    store: str,
    selection: str,
    out: Path,
    group_text: Callable[[str], str],
    seed: int = 0,
) -> CustomizeReport:
    """Customize on `selection` into `out/customized` and compare both models on held-out pictures.

    group_text: concept -> its group, as the report names it. seed: of training, and of the choice of pictures shown.
    """
    from customize.clip.evaluate.datasets.open import open_dataset
    from customize.clip.evaluate.features import EvalModel
    from customize.clip.evaluate.zero_shot import Classification, zero_shot
    from customize.clip.model_folder import LoadedModel, load_customized
    from customize.clip.train.config import CustomizeConfig
    from index.store.store_model import store_model
    from jobs.customize_job import run_customize
    from retrieval.selection import Selection

    concepts = Selection.open(selection).concepts
    tar = draw_held_out(concepts, out / "held_out", HELD_OUT)
    dataset = open_dataset(tar, classes=concepts)
    config = CustomizeConfig(out=str(out / "customized"), store=store, selection=selection, seed=seed, **CUSTOMIZE)
    summary = run_customize(config)

    def measure(loaded: LoadedModel) -> Classification:
        return zero_shot(EvalModel(loaded.model, loaded.preprocess, loaded.tokenizer), dataset, TEMPLATES)

    folder = store_model(store).model_dir
    assert folder is not None  # the demo's own store
    before, after = measure(load_customized(folder, "cpu")), measure(load_customized(config.out, "cpu"))
    truth = np.array([labels[0] for labels in before.labels])
    right_before, right_after = before.predictions == truth, after.predictions == truth
    changes = [
        ConceptChange(
            name, group_text(name), before.per_class[name][1], before.per_class[name][0], after.per_class[name][0]
        )
        for name in concepts
    ]
    pictures = {example.key: example for example in dataset}

    def flips(mask: npt.NDArray[np.bool_]) -> list[Flip]:
        places = np.flatnonzero(mask)
        chosen = np.sort(np.random.default_rng(seed).permutation(places)[:SHOWN])
        return [
            Flip(
                _jpeg(pictures[before.keys[place]]),
                concepts[truth[place]],
                concepts[before.predictions[place]],
                concepts[after.predictions[place]],
            )
            for place in chosen
        ]

    gained, lost = ~right_before & right_after, right_before & ~right_after
    difference = right_after.astype(float) - right_before
    spread = 1.96 * difference.std() / np.sqrt(len(difference))
    mean = float(difference.mean())
    return CustomizeReport(
        before=float(right_before.mean()),
        after=float(right_after.mean()),
        interval=(mean - spread, mean + spread),
        pictures=len(truth),
        concepts=changes,
        gained=int(gained.sum()),
        lost=int(lost.sum()),
        gained_shown=flips(gained),
        lost_shown=flips(lost),
        seen=summary.steps * summary.batch,
        facts=[
            ("strategy", f"{summary.strategy}, {sum(summary.trainable.values()):,} parameters train"),
            ("pairs", f"{summary.pairs:,} with {summary.texts_distinct:,} distinct captions"),
            ("steps", f"{summary.steps} of {summary.batch} pairs, {summary.pairs_per_second:,.0f} pairs a second"),
            ("loss", f"{summary.first_loss:.3f} to {summary.last_loss:.3f}"),
            ("images from", summary.images),
            ("texts from", f"{summary.texts}: the text tower never ran in training"),
        ],
    )


def _jpeg(example: Example) -> bytes:
    picture = io.BytesIO()
    example.open().save(picture, "JPEG", quality=JPEG_QUALITY)
    return picture.getvalue()
