"""Writes tasks for lmms-eval of the benchmarks of image pairs that it lacks, with the scoring of this package.

    python -m customize.lmm.evaluate.lmms_eval_tasks --data DATA --out TASKS --task bison --task cola
    lmms-eval --model clipmine --model_args pretrained=MODEL --include_path TASKS --tasks clipmine_bison

    TASKS/clipmine_bison.yaml     the task    TASKS/bison.jsonl    its questions, with the paths of their images
    TASKS/utils.py                what the task files call: the functions below

Questions whose images are missing are left out here and counted. A reply that failed (`FAILED` before its reason, as
the model `clipmine` gives it) is in no accuracy; "failed" is the share of such replies.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from customize.lmm.evaluate.answers import is_exact, read_answer, word_f1
from customize.lmm.evaluate.question import Kind, Question
from customize.lmm.evaluate.question_images import QuestionImages
from customize.lmm.evaluate.scores import question_kind
from customize.lmm.evaluate.tasks import TASKS, find_task, load_questions
from index.files import write_atomic

__all__ = [
    "FAILED",
    "aggregate_mean",
    "aggregate_pairs",
    "doc_to_messages",
    "doc_to_text",
    "doc_to_visual",
    "process_results",
    "write_lmms_eval_tasks",
]

FAILED = "\x00no reply: "
_DEFAULT = ("bison", "svo", "nlvr2", "eqben", "cola", "cad-qa")
_UTILS = '''"""What the task files of this folder call."""

from customize.lmm.evaluate.lmms_eval_tasks import *  # noqa: F403
'''
Doc = Mapping[str, Any]


def write_lmms_eval_tasks(
    data: str, out: str | Path, tasks: Sequence[str] = _DEFAULT, max_new_tokens: int = 256
) -> dict[str, tuple[int, int]]:
    """Write the tasks into the folder `out`; returns {task: (questions, questions without their images)}.

    data, tasks: as `clipmine evaluate` takes them. Raises BadInput as `find_task` does.
    """
    folder = Path(out).absolute()
    counts = {}
    for text in tasks:
        found = find_task(text, data)
        read = load_questions(found)
        kind = question_kind(read.questions, found.task.kind)
        images = QuestionImages(found.images, found.task.folders)
        docs = [_doc(question, kind, images, folder) for question in read.questions]
        known = [doc for doc in docs if doc is not None]
        name = found.task.name
        write_atomic(folder / f"{name}.jsonl", "".join(json.dumps(doc) + "\n" for doc in known))
        write_atomic(folder / f"clipmine_{name}.yaml", _yaml(name, folder, known, max_new_tokens))
        counts[name] = (len(known), len(docs) - len(known))
    write_atomic(folder / "utils.py", _UTILS)
    return counts


def doc_to_visual(doc: Doc) -> list[Any]:
    """The images, as PIL images in RGB."""
    from index.corpus.image_decoding import decode_image

    return [decode_image(Path(path).read_bytes()) for path in doc["images"]]


def doc_to_text(doc: Doc, lmms_eval_specific_kwargs: Mapping[str, Any] | None = None) -> str:
    """The question as one text, with <image> where the images stand."""
    return "".join("<image>" if isinstance(part, int) else part for part in json.loads(doc["parts"]))


def doc_to_messages(doc: Doc, lmms_eval_specific_kwargs: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """The question as a chat message, with the images in their places."""
    images = doc_to_visual(doc)
    content = [
        {"type": "image", "url": images[part]} if isinstance(part, int) else {"type": "text", "text": part}
        for part in json.loads(doc["parts"])
    ]
    return [{"role": "user", "content": content}]


def process_results(doc: Doc, results: Sequence[str]) -> dict[str, Any]:
    """Each metric's item of one reply: {"value": 0 to 1, or None where there is nothing to score, "pair": its pair}."""
    reply = results[0]
    failed = reply.startswith(FAILED)
    options = json.loads(doc["options"])
    scores: dict[str, float | None] = {"failed": float(failed)}
    if doc["kind"] == "open":
        scores["word_f1"] = None if failed else word_f1(reply, doc["answer"])
    else:
        read = None if failed else read_answer(reply, options)
        scores["accuracy"] = None if failed else float(is_exact(reply, doc["answer"]))
        scores["accuracy_tolerant"] = None if failed else float(read == doc["answer"])
        scores["not_understood"] = None if failed else float(read is None)
        if doc["category"]:
            scores[_metric("accuracy", doc["category"])] = scores["accuracy"]
        if doc["pair"]:
            scores["both_right"] = scores["accuracy"]
    return {name: {"value": value, "pair": doc["pair"]} for name, value in scores.items()}


def aggregate_mean(items: Sequence[Mapping[str, Any]]) -> float:
    """The mean over what was answered; NaN where nothing was."""
    values = [item["value"] for item in items if item["value"] is not None]
    return sum(values) / len(values) if values else float("nan")


def aggregate_pairs(items: Sequence[Mapping[str, Any]]) -> float:
    """The share of pairs with both rounds right, over pairs whose two rounds were answered."""
    rounds: dict[str, list[float | None]] = {}
    for item in items:
        rounds.setdefault(item["pair"], []).append(item["value"])
    whole = [both for both in rounds.values() if len(both) == 2 and None not in both]
    return sum(all(both) for both in whole) / len(whole) if whole else float("nan")


def _doc(question: Question, kind: Kind, images: QuestionImages, folder: Path) -> dict[str, Any] | None:
    """The question as a row of the task's data; None where an image is missing.

    Lists are texts of JSON, since rows with lists of different lengths and types have no common type.
    """
    paths = []
    for image in question.images:
        path = images.path(image) or _copied(images, image, folder)
        if path is None or isinstance(images.read(image), str):
            return None
        paths.append(path)
    return {
        "question_id": question.question_id,
        "kind": kind,
        "images": paths,
        "parts": json.dumps(list(question.turn.parts)),
        "options": json.dumps(dict(question.options)),
        "answer": question.answer,
        "category": question.category or "",
        "pair": question.pair or "",
    }


def _copied(images: QuestionImages, image: Any, folder: Path) -> str | None:
    """The path of a copy of an image that is no file of its own."""
    import hashlib

    data = images.read(image)
    if isinstance(data, str):
        return None
    path = folder / "images" / hashlib.sha256(data).hexdigest()
    if not path.exists():
        write_atomic(path, data)
    return str(path)


def _yaml(name: str, folder: Path, docs: Sequence[Doc], max_new_tokens: int) -> str:
    lines = [
        f"task: clipmine_{name}",
        "dataset_path: json",
        f"dataset_kwargs: {{data_files: {{test: {json.dumps(str(folder / f'{name}.jsonl'))}}}}}",
        "test_split: test",
        "output_type: generate_until",
        *(f"{each}: !function utils.{each}" for each in ("doc_to_visual", "doc_to_text", "doc_to_messages")),
        "doc_to_target: answer",
        f"generation_kwargs: {{max_new_tokens: {max_new_tokens}, temperature: 0, do_sample: false}}",
        "process_results: !function utils.process_results",
        "metric_list:",
    ]
    for metric, higher in _metrics(docs):
        aggregate = "aggregate_pairs" if metric == "both_right" else "aggregate_mean"
        lines.append(f"  - {{metric: {metric}, aggregation: !function utils.{aggregate}, higher_is_better: {higher}}}")
    return "\n".join([*lines, "metadata: {version: 1}", ""])


def _metrics(docs: Sequence[Doc]) -> Iterator[tuple[str, str]]:
    """(name, whether higher is better) of the metrics that the questions have."""
    found = dict.fromkeys(name for doc in docs for name in process_results(doc, [""]))
    for name in found:
        yield name, "false" if name in ("failed", "not_understood") else "true"


def _metric(name: str, category: str) -> str:
    return f"{name}_{''.join(each if each.isalnum() else '_' for each in category)}"


def main(arguments: Sequence[str] | None = None, show: Callable[[str], None] = print) -> None:
    """Run the command line with these arguments, or with the process's."""
    parser = argparse.ArgumentParser(description="Write lmms-eval tasks of benchmarks of image pairs.")
    parser.add_argument("--data", required=True, help="folder of the questions and images")
    parser.add_argument("--out", required=True, type=Path, help="folder for the tasks")
    parser.add_argument("--task", action="append", choices=[*TASKS], help="default: the six of CaD-VI")
    given = parser.parse_args(arguments)
    for name, (questions, missing) in write_lmms_eval_tasks(given.data, given.out, given.task or _DEFAULT).items():
        show(f"clipmine_{name}: {questions:,} questions, {missing:,} left out: an image is missing or unreadable")


if __name__ == "__main__":
    main()
