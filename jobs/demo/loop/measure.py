"""Measures a model on held-out scenes: choices, statements, questions about one image, and what it says of pairs.

Replies are kept in the folder, so a rerun generates nothing twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from customize.lmm.evaluate.evaluate import LmmEvaluateConfig, evaluate_lmm
from customize.lmm.evaluate.intervals import Figure, share_figure
from customize.lmm.evaluate.predictions import Predictions
from mining.annotate.choice import image_places
from mining.annotate.prompts import load_prompt
from mining.chat.chat import ChatModel, ChatReply, ChatRequest
from mining.sets.annotation import Turn

__all__ = ["SINGLE", "TASKS", "Measured", "measure_model"]

# The held-out tasks, and which figure of each the loop's table shows.
TASKS = {
    "bison": "accuracy",
    "svo": "accuracy",
    "eqben": "both right",
    "cola": "both right",
    "nlvr2": "accuracy",
}
SINGLE = "single"
NEW_TOKENS = 256  # CaD-VI's limit of an answer


@dataclass(frozen=True)
class Measured:
    """A model's figures. figures: task -> the figure of TASKS, and SINGLE -> accuracy on questions about one image.

    says_a: how often the first option was said over both orders of the choices, by task. either_order: right replies
    among those to both orders, by task; a model that always says the same letter has half of them. averaged: the figure
    of TASKS by the letters' probabilities, averaged over both orders. replies: what the model said of the held-out
    pairs, by the pair's name; a pair without a reply is missing.
    """

    model: str
    figures: dict[str, Figure]
    says_a: dict[str, Figure]
    either_order: dict[str, Figure]
    averaged: dict[str, Figure]
    replies: dict[str, str]


def measure_model(model: ChatModel, held_out: Path, out: Path, *, questions: int, compared: int) -> Measured:
    """Ask a model the held-out tasks and what differs in the held-out pairs; keep its replies in `out`.

    held_out: the folder that `jobs.demo.loop.material` drew. questions: of each task; compared: pairs.
    """
    config = LmmEvaluateConfig(
        tasks=(*TASKS, str(held_out / f"{SINGLE}.jsonl")),
        out=str(out),
        data=str(held_out),
        limit=questions,
        max_new_tokens=16,
    )
    summary = evaluate_lmm([model], config)
    figures, says_a, either_order, averaged = {}, {}, {}, {}
    for result in summary.results:
        found = result.score.figures
        figures[result.task] = found[TASKS.get(result.task, result.score.main)]
        if "says A" in found:
            says_a[result.task] = found["says A"]
            orders = (found["accuracy"], found["accuracy, swapped"])
            right = sum(each.right or 0 for each in orders)
            either_order[result.task] = share_figure(right, sum(each.count for each in orders))
        by_probability = found.get(f"{TASKS.get(result.task)}, orders averaged")
        if by_probability is not None:
            averaged[result.task] = by_probability
    kept = Predictions(out / "predictions", "comparisons", model, {"max_new_tokens": NEW_TOKENS})
    replies, _ = kept.replies(_comparisons(held_out, compared))
    texts = {key: reply.text for key, reply in replies.items() if isinstance(reply, ChatReply) and reply.answered}
    return Measured(model.name, figures, says_a, either_order, averaged, texts)


def held_out_pairs(held_out: Path, count: int) -> list[dict[str, Any]]:
    """The first `count` records of pairs.jsonl: the images' names and the truth."""
    lines = (held_out / "pairs.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines[:count]]


def _comparisons(held_out: Path, count: int) -> Iterator[tuple[str, ChatRequest]]:
    """Each pair with the first of the questions that the training conversations ask."""
    question = load_prompt("questions").lines("both")[0].replace("{images}", "the two images")
    turn = Turn("user", (*image_places(range(2)), "\n" + question))
    for record in held_out_pairs(held_out, count):
        files = tuple((held_out / name).read_bytes() for name in record["image"])
        yield record["pair"], ChatRequest((turn,), files, max_new_tokens=NEW_TOKENS)
