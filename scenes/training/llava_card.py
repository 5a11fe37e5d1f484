"""Measures the scenes' LLaVA on test scenes and writes its model card: figures by kind of question, shown answers.

    python -m scenes.training.llava_card scenes/models/llava

Plain transformers loads the model, as a user would. Writes README.md, card.json and card/answers.png.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw

from scenes.drawing.render import render
from scenes.training.llava_accuracy import answers_right, fixed_questions, lettered_questions
from scenes.training.llava_data import Sample, user_text
from scenes.training.model_card import wilson
from scenes.training.train_llava import OUT
from scenes.world.easy import EASY_TYPES, easy_scene

if TYPE_CHECKING:
    from transformers import LlavaForConditionalGeneration, LlavaProcessor

QUESTIONS = 1_000  # of each number of images
SHOWN = 12  # conversations in the picture
NEW_TOKENS = 48


def load(folder: Path) -> tuple[LlavaForConditionalGeneration, LlavaProcessor]:
    """Model (float32) and processor of a folder by plain transformers."""
    from transformers import LlavaForConditionalGeneration, LlavaProcessor

    model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    return model, LlavaProcessor.from_pretrained(folder)


@torch.inference_mode()
def replies(
    model: LlavaForConditionalGeneration,
    processor: LlavaProcessor,
    samples: Sequence[Sample],
    images: npt.NDArray[np.uint8],
) -> list[str]:
    """The greedy answer to the first question of each sample, by `processor` and `generate`."""
    found = []
    writer: Any = model
    for sample in samples:
        turns = [{"role": "user", "content": user_text(len(sample.images), sample.turns[0][0])}]
        prompt = processor.apply_chat_template(turns, add_generation_prompt=True)
        pictures = [Image.fromarray(images[number]) for number in sample.images]
        given = processor(text=prompt, images=pictures, return_tensors="pt")
        new = writer.generate(**given, max_new_tokens=NEW_TOKENS, do_sample=False)[0, given["input_ids"].shape[1] :]
        found.append(processor.tokenizer.decode(new, skip_special_tokens=True).strip())
    return found


def measure(folder: Path, questions: int = QUESTIONS) -> dict[str, Any]:
    """Exact accuracy of greedy answers by number of images and kind of question, beside answers about other images."""
    model, processor = load(folder)
    tokenizer = processor.tokenizer.backend_tokenizer
    images = np.stack([render(easy_scene("test", number)).image for number in range(max(questions, 8))])
    figures: dict[str, Any] = {"questions": questions}
    asked = {
        "one image": fixed_questions(tokenizer, 1, questions, "test"),
        "two images": fixed_questions(tokenizer, 2, questions, "test"),
        "lettered options": lettered_questions(tokenizer, questions, "test"),
    }
    for name, fixed in asked.items():
        right = answers_right(model, fixed, images)
        # The same questions about the images of other scenes: what the wording alone gives away.
        blind = answers_right(model, fixed, np.roll(images, 1, axis=0))
        table: dict[str, Any] = {}
        for kind in ("all", *sorted({kind for kind, _ in right})):
            hits = [value for own, value in right if kind in ("all", own)]
            low, high = wilson(sum(hits), len(hits))
            row: dict[str, Any] = {"questions": len(hits), "accuracy": round(sum(hits) / len(hits), 3)}
            row |= {"interval": [round(low, 3), round(high, 3)]}
            misses = [value for own, value in blind if kind in ("all", own)]
            table[kind] = row | {"other images": round(sum(misses) / len(misses), 3)}
        figures[name] = table
    return figures


def _picture(
    folder: Path, samples: Sequence[Sample], said: Sequence[str], images: npt.NDArray[np.uint8]
) -> Counter[bool]:
    """Draw conversations with the model's answers, wrong ones in red, into card/answers.png."""
    rows = [ImageRow(sample, answer, images) for sample, answer in zip(samples, said, strict=True)]
    sheet = Image.new("RGB", (2 * ImageRow.width, -(-len(rows) // 2) * ImageRow.height), "white")
    for place, row in enumerate(rows):
        sheet.paste(row.draw(), (place % 2 * ImageRow.width, place // 2 * ImageRow.height))
    (folder / "card").mkdir(exist_ok=True)
    sheet.save(folder / "card" / "answers.png", optimize=True)
    return Counter(row.right for row in rows)


class ImageRow:
    """Images with a question, the model's answer and, where it is wrong, the true one."""

    width, height = 560, 116

    def __init__(self, sample: Sample, answer: str, images: npt.NDArray[np.uint8]) -> None:
        self.sample, self.answer = sample, answer
        self.pictures = [images[number] for number in sample.images]
        self.right = answer == sample.turns[0][1]

    def draw(self) -> Image.Image:
        """The row as an image [height, width]."""
        row = Image.new("RGB", (self.width, self.height), "white")
        left = 8
        for picture in self.pictures:
            row.paste(Image.fromarray(picture), (left, 10))
            left += picture.shape[1] + 6
        pen = ImageDraw.Draw(row)
        question, truth = self.sample.turns[0]
        lines = [(line, "black") for line in textwrap.wrap(question, 52)]
        lines += [(line, "darkgreen" if self.right else "firebrick") for line in textwrap.wrap(self.answer, 52)]
        if not self.right:
            lines += [(line, "gray") for line in textwrap.wrap(f"(true: {truth})", 52)]
        for number, (line, color) in enumerate(lines[:7]):
            pen.text((left + 4, 10 + 14 * number), line, fill=color)
        return row


def _table(rows: dict[str, Any]) -> str:
    lines = ["| kind | questions | accuracy | 95% interval | with other images |", "|---|---|---|---|---|"]
    for kind, row in rows.items():
        low, high = row["interval"]
        between = f"{low:.3f} - {high:.3f}"
        lines.append(f"| {kind} | {row['questions']} | {row['accuracy']:.3f} | {between} | {row['other images']:.3f} |")
    return "\n".join(lines)


def write_card(folder: Path, questions: int = QUESTIONS, shown: int = SHOWN) -> dict[str, Any]:
    """Measure the model in a folder with a training.json, and write its card there; returns the figures."""
    about = json.loads((folder / "training.json").read_text())
    figures = measure(folder, questions)
    model, processor = load(folder)
    images = np.stack([render(easy_scene("test", number)).image for number in range(max(shown, 8))])
    samples: list[Sample] = []
    for count in (1, 2):
        samples += fixed_questions(processor.tokenizer.backend_tokenizer, count, shown // 2, "test").samples
    said = replies(model, processor, samples, images)
    _picture(folder, samples, said, images)
    figures["training"] = about
    (folder / "card.json").write_text(json.dumps(figures, indent=2) + "\n")
    (folder / "README.md").write_text(card_text(figures))
    return figures


def card_text(figures: dict[str, Any]) -> str:
    """The model card of the figures."""
    about = figures["training"]
    both = {name: figures[name] for name in ("one image", "two images", "lettered options")}
    weak = sorted(
        (row["accuracy"], kind) for kind, row in both["two images"].items() if kind != "all" and row["questions"] >= 20
    )[:4]
    training = (
        f"- The tower first learned the truth of its patches (types, colours, poses, place, light) for "
        f"{about['tower_steps']:,} steps of 128 images, {about['tower_minutes']:.0f} minutes. Then all parts were "
        f"trained together for {about['steps']:,} steps of {about['batch']} conversations, {about['minutes']:.0f} "
        f"minutes on {about['hardware']}. {about.get('note', '')}"
    )
    if (more := about.get("continued")) is not None:
        training += (
            f" Last, `clipmine tune` trained projector and language model for {more['steps']:,} more steps, on "
            f"{more['conversations']:,} conversations about one image or two in which four of ten questions have "
            f"lettered options (`scenes/instructions.py`), {more['minutes']:.0f} minutes."
        )
    weakest = ", ".join(f"{kind} ({accuracy:.2f})" for accuracy, kind in weak)
    return f"""# The scenes' LLaVA

A multimodal model of {about["parameters"] / 1e6:.1f} million weights for the easy world (`scenes/world/easy.py`):
drawn scenes of {len(EASY_TYPES)} types. It is for experiments: it answers short questions about one to four drawn
scenes in the wording that it was trained on. Its answers about photographs are meaningless.

- Loads in plain transformers: `LlavaForConditionalGeneration.from_pretrained("scenes/models/llava")` and
  `LlavaProcessor.from_pretrained(...)`; fp16 safetensors. The chat template is vicuna_v1 with images in their places.
- Vision: the scenes' CLIP tower with patches of 24 pixels, 16 tokens an image, 8 blocks of width 160. Language: a
  Llama of 5 layers, width 192, 6 heads, byte-level BPE of 2,048 tokens, context 1,024, from random weights. Between
  them a projector of two layers.
{textwrap.fill(training, 118, subsequent_indent="  ")}
- Two more losses: projected image tokens must be similar to the words of what they show (`llava_words.py`), image
  tokens behind the second block to the number of their image. Attention begins by matching similar tokens
  (`llava_model.attend_to_equals`). A run without all three was near chance on yes-or-no questions after 15 minutes, one
  with the words alone after 8 minutes; with the first matches, it was right in 71% after 2 minutes.
- Data: {about["scenes"]:,} drawn scenes of the split `language`, {about["conversations"]:,} conversations of one to
  four images and eight to ten questions (`llava_questions.py`). Answers and their stops are trained.
- It is asked about one image at a time, and which of several images shows a thing or a place ("Which image shows a red
  car?"), and it knows lettered options ("What color is the car? A. red B. blue"). It has seen no comparison of images
  and no choice of the image that suits a caption: those are for `clipmine tune --stage cad`.
- Commands: those of `scenes/training/train_llava.py`, then of `scenes/training/llava_continued.py`; this card is
  written by `python -m scenes.training.llava_card scenes/models/llava`. The figures below are also in `card.json`, the
  curve of the first training in `training_log.jsonl`.

## Answers about test scenes

Share of greedy answers that are exactly the true one, for {figures["questions"]:,} questions about scenes of the split
`test`, which also shows compositions held out of training. "with other images": the same questions and true answers,
with the images of other scenes; what is right there is guessed from the question. Half of the answers to `existence`,
`attribute`, `statement` and `suits` are yes. `caption` and `mixed` have several right wordings, of which one counts.

One image:

{_table(both["one image"])}

Two images, a question about one of them ("In image 2, what color is the car?"); most questions have another answer for
the other image:

{_table(both["two images"])}

One image, with two to four lettered options:

{_table(both["lettered options"])}

![answers](card/answers.png)

Weakest with two images: {weakest}.
"""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line with these arguments, or with the process's."""
    parser = argparse.ArgumentParser(description="Measure the scenes' LLaVA and write its model card.")
    parser.add_argument("folder", type=Path, nargs="?", default=OUT, help="the model's folder (scenes/models/llava)")
    parser.add_argument("--questions", type=int, default=QUESTIONS, help=f"questions (default: {QUESTIONS:,})")
    given = parser.parse_args(arguments)
    print(json.dumps(write_card(given.folder, given.questions), indent=2))


if __name__ == "__main__":
    main()
