"""The hold-out: pairs of a selection that are not trained on, by which a run is measured before and after.

`HeldOutCheck` measures the loss on the held-out pairs, and zero-shot accuracy: each held-out image among the names of
the selection's concepts, where the concepts that retrieved it are right. These labels are as noisy as retrieval is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch.nn import functional

from customize.clip.objective import pair_losses, similar_texts
from customize.clip.train.image_inputs import decode_row
from customize.clip.train.pairs import Pairs
from customize.clip.train.prepare import Run
from customize.clip.train.step import arithmetic
from index.errors import BadInput
from retrieval.selection import Selection
from retrieval.templates import fill, load_templates

__all__ = ["Figures", "HeldOut", "HeldOutCheck", "compare"]

BATCH = 64  # images or texts that are encoded at once
THREADS = 4
# Prompts of all concepts together, at most about so many: of 1,000 concepts and 80 templates the first four templates.
PROMPTS = 4_000
CERTAIN = 1.96  # standard errors of a mean difference over pairs beyond which it counts: 95%


@dataclass(frozen=True)
class HeldOut:
    """What a run changed on its held-out pairs.

    Attributes:
        pairs: how many pairs were held out.
        loss_before, loss_after: mean loss, in batches of the run's size; which texts count as the same is decided by
            the base model for both.
        concepts: number of names to choose from; below 2 there is no zero-shot classification.
        accuracy_before, accuracy_after: zero-shot, from 0 to 1; None without it.
        change: "better", "worse", or "unclear" where the differences are within 95% intervals over pairs. It is that
            of the accuracy where this is clear, else that of the loss.
    """

    pairs: int
    loss_before: float
    loss_after: float
    concepts: int
    accuracy_before: float | None
    accuracy_after: float | None
    change: str

    def lines(self) -> list[tuple[str, str]]:
        """The figures by name, for people."""
        found = [("held-out pairs", f"{self.pairs:,}")]
        if self.accuracy_before is not None and self.accuracy_after is not None:
            named = f"zero-shot accuracy among {self.concepts:,} concepts"
            found.append((named, f"{self.accuracy_before:.1%} -> {self.accuracy_after:.1%}"))
        elif self.concepts == 1:
            found.append(("zero-shot accuracy", "not measured: the selection has one concept"))
        found.append(("held-out loss", f"{self.loss_before:.4f} -> {self.loss_after:.4f}"))
        return [*found, ("change on held-out pairs", self.change)]

    def warning(self) -> str | None:
        """One line where the model became worse, with what to change."""
        if self.change != "worse":
            return None
        figures = "; ".join(f"{name} {value}" for name, value in self.lines()[1:-1])
        return (
            f"the model is worse than the base on the {self.pairs:,} held-out pairs ({figures}): lower --lr, take "
            "--augment none, fewer --steps, or another --strategy, into another --out; the base is unchanged"
        )


@dataclass(frozen=True)
class Figures:
    """Figures of each held-out pair: its loss, float64 [n], and whether it was classified rightly, bool [n]."""

    losses: npt.NDArray[np.float64]
    right: npt.NDArray[np.bool_] | None


class HeldOutCheck:
    """Measures the model of a run on its held-out pairs; the first call is that of the base, before training."""

    def __init__(self, run: Run, on_progress: Callable[[str, int, int], None] | None = None) -> None:
        self._run, self._pairs, self._show = run, run.held_out, on_progress
        self._alike: list[torch.Tensor] = []  # which texts are the same for the base, a batch each
        self.names, self._labels = _labels(run.selection, self._pairs)
        self._class_rows: torch.Tensor | None = None

    def measure(self, when: str) -> Figures:
        """Measure the model as it is now, `when` for the progress. Its modes (training or evaluation) stay."""
        model = self._run.loaded.model
        with _evaluating(model), torch.inference_mode():
            rows, image = self._images(when)
            text = self._texts(self._pairs.captions(rows))
            losses = self._losses(rows, image, text)
            right = None
            if len(self.names) > 1:
                predicted = (image @ self._classes().T).argmax(1).cpu().numpy()
                right = np.array([said in self._labels[row] for said, row in zip(predicted, rows, strict=True)])
        return Figures(losses, right)

    def _losses(self, rows: npt.NDArray[np.int64], image: torch.Tensor, text: torch.Tensor) -> npt.NDArray[np.float64]:
        run, model, size = self._run, self._run.loaded.model, self._run.config.batch_size
        is_base = not self._alike
        losses = []
        for number, first in enumerate(range(0, len(rows), size)):
            part = slice(first, first + size)
            if is_base:
                ids = torch.from_numpy(self._pairs.text_of[rows[part]].astype(np.int64)).to(run.device)
                self._alike.append(similar_texts(text[part], run.config.gamma, ids))
            scale, bias = model.logit_scale.exp(), model.logit_bias
            losses.append(pair_losses(image[part], text[part], scale, bias, self._alike[number]))
        return torch.cat(losses).double().cpu().numpy()

    def _images(self, when: str) -> tuple[npt.NDArray[np.int64], torch.Tensor]:
        """The rows that were used, and their image features of unit length, float32 [n, d]."""
        run, count = self._run, len(self._pairs)
        used, features = [], []

        def load(row: int) -> tuple[int, torch.Tensor]:
            place, image = decode_row(self._pairs, row)
            return place, run.loaded.preprocess(image)

        with ThreadPoolExecutor(THREADS, thread_name_prefix="held-out") as threads:
            for first in range(0, count, BATCH):
                loaded = list(threads.map(load, range(first, min(first + BATCH, count))))
                used += [row for row, _ in loaded]
                with arithmetic(run):
                    found = run.loaded.model.encode_image(torch.stack([pixels for _, pixels in loaded]).to(run.device))
                features.append(functional.normalize(found.float(), dim=-1))
                if self._show is not None:
                    self._show(f"held-out pairs, {when}", len(used), count)
        return np.array(used, np.int64), torch.cat(features)

    def _texts(self, texts: list[str]) -> torch.Tensor:
        """Text features of unit length, float32 [n, d]."""
        run, features = self._run, []
        for first in range(0, len(texts), BATCH):
            tokens = run.loaded.tokenizer(texts[first : first + BATCH]).to(run.device)
            with arithmetic(run):
                found = run.loaded.model.encode_text(tokens)
            features.append(functional.normalize(found.float(), dim=-1))
        return torch.cat(features)

    def _classes(self) -> torch.Tensor:
        """float32 [concepts, d]: the mean vector of each name's prompts; kept where the text tower is locked."""
        if self._class_rows is not None:
            return self._class_rows
        assert self._run.selection is not None
        texts = _templates(self._run.selection)[: max(1, PROMPTS // len(self.names))]
        rows = self._texts([fill(text, name) for name in self.names for text in texts])
        classes = functional.normalize(rows.reshape(len(self.names), len(texts), -1).mean(1), dim=-1)
        if self._run.applied.strategy.locks_text:
            self._class_rows = classes
        return classes


def compare(before: Figures, after: Figures, concepts: int) -> HeldOut:
    """What changed from `before` to `after`; `concepts` is the number of names to choose from."""
    loss = _clear(before.losses - after.losses)
    accuracy = 0
    if before.right is not None and after.right is not None:
        accuracy = _clear(after.right.astype(np.float64) - before.right)
    return HeldOut(
        pairs=len(before.losses),
        loss_before=float(before.losses.mean()),
        loss_after=float(after.losses.mean()),
        concepts=concepts,
        accuracy_before=None if before.right is None else float(before.right.mean()),
        accuracy_after=None if after.right is None else float(after.right.mean()),
        change={1: "better", -1: "worse", 0: "unclear"}[accuracy or loss],
    )


def _clear(gains: npt.NDArray[np.float64]) -> int:
    """The sign of the mean gain of float64 [n], where it is beyond chance; else 0."""
    mean = float(gains.mean())
    error = float(gains.std()) / math.sqrt(len(gains))
    return 0 if abs(mean) <= CERTAIN * error else int(math.copysign(1, mean))


def _labels(selection: Selection | None, pairs: Pairs) -> tuple[tuple[str, ...], list[set[int]]]:
    """The names of the concepts, each once, and for each held-out pair the places of those that retrieved it.

    No names without a selection; concepts of one name are one class, since their prompts are the same.
    """
    if selection is None or pairs.row_ids is None:
        return (), []
    names = tuple(dict.fromkeys(selection.concepts))
    place = {name: number for number, name in enumerate(names)}
    labels: dict[int, set[int]] = {int(row): set() for row in pairs.row_ids}
    wanted = pa.array(pairs.row_ids)
    for table in selection.tables(["row_id", "concept"]):
        own = table.filter(pc.is_in(table["row_id"], value_set=wanted))
        for row, name in zip(own["row_id"].to_pylist(), own["concept"].to_pylist(), strict=True):
            labels[row].add(place[name])
    return names, [labels[int(row)] for row in pairs.row_ids]


def _templates(selection: Selection) -> tuple[str, ...]:
    """The selection's templates; CLIP's plain one where it has none that can be read."""
    about: dict[str, Any] = selection.manifest.get("templates") or {}
    texts = about.get("texts") or about.get("name") or "simple"
    try:
        return load_templates(texts).texts
    except BadInput:
        return load_templates("simple").texts


@contextmanager
def _evaluating(model: torch.nn.Module) -> Iterator[None]:
    """The model in evaluation mode; then each module in the mode in which it was."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
