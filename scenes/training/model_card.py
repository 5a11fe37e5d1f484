"""Measures the scenes' CLIP on test scenes and writes its model card: figures, loss curve, images of failures.

    python -m scenes.training.model_card scenes/models/clip

Plain open_clip loads the model (`local-dir:`), as a user would. Writes README.md, card.json and card/*.png.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import open_clip
import torch
from PIL import Image, ImageDraw

from scenes.drawing.render import render
from scenes.held_out import single_objects
from scenes.language.captions import captions
from scenes.training.objective import REGION_WEIGHT
from scenes.training.train_clip import TEXT_SHARES
from scenes.world.catalog import load_catalog
from scenes.world.sample import sample
from scenes.world.splits import GROUPS, group_of
from scenes.world.words import indefinite

Vectors = npt.NDArray[np.float32]
TEMPLATES = ("a photo of {}", "there is {}", "{}", "a picture of {}", "an image of {} outdoors", "{} indoors")
RETRIEVAL_SCENES = 1000
PER_TYPE = 12  # zero-shot images a type, each with one object
BATCH = 128


class Model:
    """A local-dir model loaded by plain open_clip; gives unit vectors."""

    def __init__(self, folder: Path) -> None:
        self.clip, _, self.preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
        self.tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
        self.clip.eval()

    @torch.inference_mode()
    def images(self, pictures: Sequence[npt.NDArray[np.uint8]]) -> Vectors:
        """Unit vectors float32 [n, d] of n images uint8 [96, 96, 3]."""
        rows = []
        for first in range(0, len(pictures), BATCH):
            batch = [self.preprocess(Image.fromarray(picture)) for picture in pictures[first : first + BATCH]]
            rows.append(self.clip.encode_image(torch.stack(batch), normalize=True).float().numpy())
        return np.concatenate(rows)

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors float32 [n, d] of n texts."""
        rows = []
        for first in range(0, len(texts), BATCH):
            tokens = self.tokenizer(list(texts[first : first + BATCH]))
            rows.append(self.clip.encode_text(tokens, normalize=True).float().numpy())
        return np.concatenate(rows)


def recall_at(similarity: Vectors, at: Sequence[int] = (1, 5, 10)) -> dict[str, float]:
    """R@k of a similarity matrix [n, n] with queries as rows and matches on the diagonal."""
    rank = (similarity > np.diagonal(similarity)[:, None]).sum(1)
    return {f"R@{k}": round(float((rank < k).mean()), 4) for k in at}


def wilson(hits: int, total: int) -> tuple[float, float]:
    """The 95% Wilson score interval of a proportion."""
    if total == 0:
        return 0.0, 1.0
    z, p = 1.96, hits / total
    middle, spread = p + z * z / (2 * total), z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    low, high = (middle - spread) / (1 + z * z / total), (middle + spread) / (1 + z * z / total)
    return max(0.0, low), min(1.0, high)


def zero_shot(model: Model, count: int) -> tuple[dict[str, Any], list[tuple[str, str, npt.NDArray[np.uint8]]]]:
    """Accuracy among all types by concept group, with intervals, and the failures (truth, answer, image)."""
    names = list(load_catalog().types)
    prompts = model.texts([t.format(indefinite(name)) for name in names for t in TEMPLATES])
    classes = prompts.reshape(len(names), len(TEMPLATES), -1).mean(1)
    classes /= np.linalg.norm(classes, axis=1, keepdims=True)
    cases = [(name, scene) for name, scenes in single_objects(tuple(names), count).items() for scene in scenes]
    pictures = [render(scene, 96).image for _, scene in cases]
    order = np.argsort(-(model.images(pictures) @ classes.T), axis=1)
    groups: dict[str, Any] = {}
    for group in (*GROUPS, "all"):
        rows = [i for i, (name, _) in enumerate(cases) if group in ("all", group_of(name))]
        top1 = sum(names[order[i, 0]] == cases[i][0] for i in rows)
        top5 = sum(cases[i][0] in [names[j] for j in order[i, :5]] for i in rows)
        groups[group] = {
            "types": len({cases[i][0] for i in rows}),
            "images": len(rows),
            "top1": round(top1 / max(1, len(rows)), 4),
            "interval": [round(bound, 4) for bound in wilson(top1, len(rows))],
            "top5": round(top5 / max(1, len(rows)), 4),
        }
    wrong = [
        (cases[i][0], names[order[i, 0]], pictures[i]) for i in range(len(cases)) if names[order[i, 0]] != cases[i][0]
    ]
    return groups, wrong


def retrieval(model: Model, count: int) -> tuple[dict[str, Any], list[tuple[str, npt.NDArray[np.uint8], Any]]]:
    """R@k both ways among `count` test scenes, with the longest clean and the dense captions; and T2I failures."""
    scenes = [sample("test", number) for number in range(count)]
    pictures = [render(scene, 96).image for scene in scenes]
    said = [captions(scene) for scene in scenes]
    images, figures, failures = model.images(pictures), {}, []
    for kind, texts in {
        "clean": [max(c.clean, key=len) for c in said],
        "dense": [c.dense for c in said],
    }.items():
        similarity = model.texts(texts) @ images.T
        figures[kind] = {"T2I": recall_at(similarity), "I2T": recall_at(similarity.T)}
        if kind == "clean":
            best = similarity.argmax(1)
            failures = [(texts[i], pictures[i], pictures[best[i]]) for i in range(count) if best[i] != i]
    return {"scenes": count, **figures}, failures


def _sheet(cells: Sequence[tuple[str, Sequence[npt.NDArray[np.uint8]]]], columns: int, path: Path) -> None:
    """Write images with a caption under each, in a grid."""
    wide = 100 * len(cells[0][1]) if cells else 100
    rows = max(1, -(-len(cells) // columns))  # a blank row without failures
    sheet = Image.new("RGB", (columns * (wide + 8), rows * 140), "white")
    draw = ImageDraw.Draw(sheet)
    for position, (text, pictures) in enumerate(cells):
        x, y = position % columns * (wide + 8), position // columns * 140
        for step, picture in enumerate(pictures):
            sheet.paste(Image.fromarray(picture), (x + step * 100, y))
        width = max(1, wide // 6)
        for line in range(3):
            draw.text((x, y + 98 + 12 * line), text[line * width : (line + 1) * width], fill="black")
    sheet.save(path, optimize=True)


def _curve(log: Sequence[dict[str, Any]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 3.2), layout="constrained")
    steps, losses = [row["step"] for row in log], np.array([row["loss"] for row in log])
    axes.plot(steps, losses, color="#bbccdd", linewidth=1, label="batch")
    width = max(1, len(log) // 40)
    smooth = np.convolve(losses, np.ones(width) / width, "valid")
    axes.plot(steps[width - 1 :], smooth, color="#1f4e79", label="running mean")
    axes.set(xlabel="step", ylabel="contrastive loss", yscale="log")
    axes.legend()
    figure.savefig(path, dpi=90)


def _table(groups: dict[str, Any]) -> str:
    lines = ["| concepts | types | images | top-1 | 95% interval | top-5 |", "|---|---|---|---|---|---|"]
    for group, row in groups.items():
        low, high = row["interval"]
        lines.append(
            f"| {group} | {row['types']} | {row['images']} | {row['top1']:.3f} | {low:.3f} to {high:.3f} "
            f"| {row['top5']:.3f} |"
        )
    return "\n".join(lines)


def write_card(folder: Path, scenes: int = RETRIEVAL_SCENES, count: int = PER_TYPE) -> dict[str, Any]:
    """Measure the model in `folder` and write its card there; returns the figures."""
    model = Model(folder)
    log = [json.loads(line) for line in (folder / "training_log.jsonl").read_text().splitlines()]
    about = json.loads((folder / "training.json").read_text())
    (folder / "card").mkdir(exist_ok=True)
    found, missed = retrieval(model, scenes)
    groups, wrong = zero_shot(model, count)
    figures = {"retrieval": found, "zero_shot": groups, "training": about}
    (folder / "card.json").write_text(json.dumps(figures, indent=2) + "\n")
    _curve(log, folder / "card" / "curve.png")
    step = max(1, len(wrong) // 24)
    cells = [(f"{truth} -> {answer}", [shown]) for truth, answer, shown in wrong[::step][:24]]
    _sheet(cells, 8, folder / "card" / "zero_shot_failures.png")
    step = max(1, len(missed) // 12)
    pairs = [(text, [truth, answer]) for text, truth, answer in missed[::step][:12]]
    _sheet(pairs, 4, folder / "card" / "t2i_failures.png")
    rows = [
        f"| {kind} | {way} | " + " | ".join(f"{found[kind][way][f'R@{k}']:.3f}" for k in (1, 5, 10)) + " |"
        for kind in ("clean", "dense")
        for way in ("T2I", "I2T")
    ]
    note = f"; {about['note']}" if "note" in about else ""
    alt, clean, dense, phrase, name = TEXT_SHARES
    card = f"""# The scenes' CLIP

A small CLIP trained from random weights on the `pretrain` split of the embedded world (drawn scenes, English captions).
It is for experiments: it has learned drawn scenes only, and its results on photographs are random.

- Vision: ViT, 96 x 96 pixels, patches of 12 (8 x 8 grid), 8 blocks of width 160. Text: 4 blocks of width 160, context
  64, byte-level BPE of 2,048 tokens. Embedding dimension 512. {about["parameters"]:,} parameters, fp16 safetensors.
- Loads in plain open_clip: `open_clip.create_model_and_transforms("local-dir:scenes/models/clip")`.
- Trained on {about["scenes"]:,} scenes, {about["steps"]:,} steps of {about["batch"]},
  in {about["minutes"]:.0f} minutes on {about["hardware"]}{note}.
- Texts: {alt:.0%} alt text (partly wrong, as on the web), {clean:.0%} clean captions, {dense:.0%} dense ones,
  {phrase:.0%} one object's phrase, {name:.0%} an object's bare name, which matches every picture that shows the type.
- The loss is the contrastive loss of images and texts, and one of objects (weight {REGION_WEIGHT}) that matches the
  mean feature of an object's patches with its phrase or name. The first four fifths of the training use half of the
  patches.
- Trained by `python -m scenes.training.train_clip --data FOLDER`; this card is written by `python -m
  scenes.training.model_card scenes/models/clip`. The figures below are also in `card.json`.

![loss](card/curve.png)

## Retrieval among {found["scenes"]:,} test scenes

Half of the test scenes show compositions that were held out of training. "clean" is a scene's longest clean caption.

| caption | direction | R@1 | R@5 | R@10 |
|---|---|---|---|---|
{chr(10).join(rows)}

Failures of T2I (a caption, its scene, the scene ranked first):

![T2I failures](card/t2i_failures.png)

## Zero-shot accuracy among {groups["all"]["types"]} types

Images of one object in its surroundings, {count} a type. `rare` and `absent` types occur about ten times each in
pretraining; `made_up` names are learned from captions only.

{_table(groups)}

Failures (truth -> answer):

![zero-shot failures](card/zero_shot_failures.png)
"""
    (folder / "README.md").write_text(card)
    return figures


def main(arguments: list[str] | None = None) -> None:
    """Run the command line with these arguments, or with the process's."""
    parser = argparse.ArgumentParser(description="Measure the scenes' CLIP and write its model card.")
    parser.add_argument("folder", type=Path, help="the model's folder, scenes/models/clip")
    print(json.dumps(write_card(parser.parse_args(arguments).folder), indent=2))


if __name__ == "__main__":
    main()
