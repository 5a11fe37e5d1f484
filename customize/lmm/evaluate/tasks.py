"""The tasks by name, and where their question files are.

find_task("bison", "DATA")              # DATA/BISON.jsonl or DATA/bison/BISON.jsonl
find_task("bison=mine/BISON.jsonl")     # this file
find_task("mine/questions.jsonl")       # a file of its own: how its questions are answered is told by them
find_task("mine=x/questions.jsonl")     # the same under a name of the user's
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, replace
from pathlib import Path

from customize.lmm.evaluate.question import Kind, Question, kind_of, pair_ids
from customize.lmm.evaluate.read_questions import ReadQuestions, read_questions
from index.errors import BadInput
from index.files import exists, is_local, local_path

__all__ = ["TASKS", "FoundTask", "LmmTask", "find_task", "is_lmm_task", "load_questions"]

_SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv", ".parquet")
_NAME = re.compile(r"[\w.-]+")  # of a task of the user's
# Beside the question files of drawn scenes, see `scenes.held_out.pair_tasks`.
_DRAWN = "pair_tasks.json"


@dataclass(frozen=True)
class LmmTask:
    """A benchmark.

    Attributes:
        files: patterns of its question files, in the order in which they are looked for; case does not matter.
        kind: how its questions are answered; None: told by the questions.
        pairs: its questions are two rounds about one pair of images, and only both count.
        folders: below the data folder, in which images are looked for by their exact name.
        data_type, frames: of SEED-Bench, see `read_questions`.
        chance: expected score of guessing.
    """

    name: str
    title: str
    files: tuple[str, ...] = ()
    kind: Kind | None = None
    pairs: bool = False
    folders: tuple[str, ...] = ("",)
    data_type: str | None = None
    frames: int = 2
    chance: float | None = None


_SEED = ("SEED-Bench.json", "SEED-Bench*.json")
TASKS = {
    task.name: task
    for task in (
        LmmTask(
            "bison",
            "BISON: which of two images suits the caption",
            ("BISON*.jsonl", "bison_annotations*.json"),
            "choice",
            chance=0.5,
        ),
        LmmTask(
            "svo",
            "SVO-Probes: the images differ in subject, verb or object",
            ("SVO_Probes*.jsonl", "svo_probes*.csv"),
            "choice",
            chance=0.5,
        ),
        LmmTask(
            "nlvr2",
            "NLVR2: is the statement about two images true",
            ("NLVR2*.jsonl", "dev.json", "test1.json", "nlvr2*.jsonl"),
            "statement",
            chance=0.5,
        ),
        LmmTask(
            "eqben",
            "EQBEN: two similar images and two captions, both right",
            ("EQBEN*.jsonl", "eqben*.json"),
            "choice",
            pairs=True,
            chance=0.25,
        ),
        LmmTask(
            "cola",
            "COLA: two images and two captions of composed attributes, both right",
            ("COLA*.jsonl", "COLA_multiobjects*.json"),
            "choice",
            pairs=True,
            chance=0.25,
        ),
        LmmTask("cad-qa", "CaD-QA: open questions about two images, judged 0 to 5", ("CaD_QA*.jsonl",), "open"),
        LmmTask(
            "cad-summaries",
            "Summaries of commonalities and differences, each judged 0 to 5",
            ("CaD_summaries*.jsonl", "CaD_summaries*.json"),
            "summary",
        ),
        LmmTask(
            "seed-image",
            "SEED-Bench, images: four options",
            _SEED,
            "choice",
            folders=("", "SEED-Bench-image"),
            data_type="image",
            chance=0.25,
        ),
        LmmTask(
            "seed-video",
            "SEED-Bench, videos by two frames: four options",
            _SEED,
            "choice",
            folders=("", "SEED-Bench-video-image"),
            data_type="video",
            chance=0.25,
        ),
        LmmTask(
            "seed-video-1",
            "SEED-Bench, videos by one frame: four options",
            _SEED,
            "choice",
            folders=("", "SEED-Bench-video-image"),
            data_type="video",
            frames=1,
            chance=0.25,
        ),
    )
}


@dataclass(frozen=True)
class FoundTask:
    """A task with its question file. images: the folder of its images, None where none was named."""

    task: LmmTask
    path: str
    images: str | None

    @property
    def drawn(self) -> bool:
        """Whether the questions are about drawn scenes: `scenes.held_out.pair_tasks` wrote them."""
        return is_local(self.path) and (local_path(self.path).parent / _DRAWN).exists()


def is_lmm_task(text: str) -> bool:
    """Whether `--task TEXT` names a task that asks a model questions: one of TASKS, NAME=FILE, or a question file."""
    name, equals, _ = text.partition("=")
    return text in TASKS or (bool(equals) and name in TASKS) or text.lower().endswith(_SUFFIXES)


def find_task(text: str, data: str | None) -> FoundTask:
    """The task that `--task TEXT` names. data: the folder of images, and of question files of tasks by name.

    NAME=FILE is the task NAME, or one of the user's under that name. Raises BadInput for an unknown task, and where its
    file is not found or several are.
    """
    name, equals, path = text.partition("=")
    if equals and not path and name in TASKS:
        raise BadInput(f"--task {text}: names no file after the =")
    if equals and path and _NAME.fullmatch(name) and not exists(text):
        return _of_file(TASKS.get(name, LmmTask(name, path)), path, data)
    if text not in TASKS:
        if not text.lower().endswith(_SUFFIXES):
            raise BadInput(f"no task {text!r:.100}: choose one of {', '.join(TASKS)}, NAME=FILE or a question file")
        return _of_file(LmmTask(Path(text).name.rpartition(".")[0], text), text, data)
    task = TASKS[text]
    if data is None:
        raise BadInput(f"task {text}: where are its questions and images? give --data DIR")
    if not is_local(data) or not local_path(data).is_dir():
        raise BadInput(f"--data {data}: is no local folder")
    for folder in (local_path(data) / text, local_path(data)):
        for pattern in task.files:
            found = _matching(folder, pattern)
            if len(found) > 1:
                names = ", ".join(file.name for file in found[:3])
                raise BadInput(f"{folder}: has several files for the task {text} ({names}); name one: {text}=FILE")
            if found:
                return FoundTask(task, str(found[0]), _images(data, text, str(found[0])))
    raise BadInput(f"{data}: has no question file of the task {text} ({' or '.join(task.files)}); name it: {text}=FILE")


def _of_file(task: LmmTask, path: str, data: str | None) -> FoundTask:
    if not exists(path):
        raise BadInput(f"{path}: does not exist; --task takes a name, NAME=FILE or a question file")
    return FoundTask(task, path, _images(data, task.name, path))


def load_questions(found: FoundTask, limit: int | None = None) -> ReadQuestions:
    """The questions of a task, with the names of their pairs where its rounds count together. Raises BadInput."""
    task = found.task
    read = read_questions(found.path, data_type=task.data_type, frames=task.frames, limit=limit)
    questions, skipped = read.questions, dict(read.skipped)
    if task.kind is not None and task.kind != "summary":
        fitting = tuple(question for question in questions if _fits(question, task.kind))
        if len(fitting) < len(questions):
            skipped["an answer of another kind than the task's"] = len(questions) - len(fitting)
        if not fitting:
            raise BadInput(f"{found.path}: none of its questions is one of {task.name} ({task.title})")
        questions = fitting
    if task.pairs or task.kind is None:
        questions = _with_pairs(questions, required=task.pairs)
    if task.name == "eqben":
        # Its five sub-sets are the first folders of its images (CaD-VI's scoring counts by them).
        questions = tuple(_with_folder(question) for question in questions)
    return ReadQuestions(questions, skipped)


def _fits(question: Question, kind: Kind) -> bool:
    return bool(question.answer) if kind == "open" else kind_of(question) == kind


def _with_pairs(questions: tuple[Question, ...], *, required: bool) -> tuple[Question, ...]:
    if all(question.pair is not None for question in questions):
        return questions
    names = pair_ids(questions)
    if not names and required:
        # Incomplete pairs, such as of a file that was cut: the rounds are still told by their ids.
        names = {each.question_id: each.question_id.rpartition("_")[0] or each.question_id for each in questions}
    return tuple(replace(question, pair=names.get(question.question_id, question.pair)) for question in questions)


def _with_folder(question: Question) -> Question:
    first = (question.images[0].name or "").split("/")
    if question.category is not None or len(first) < 2:
        return question
    return replace(question, category=first[0])


def _images(data: str | None, name: str, path: str) -> str | None:
    """The folder of the images: DATA/TASK where it is there, DATA, or the question file's own."""
    if data is None:
        return str(Path(path).parent) if is_local(path) else None
    inner = local_path(data) / name if is_local(data) else None
    return str(inner) if inner is not None and inner.is_dir() else data


def _matching(folder: Path, pattern: str) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        file
        for file in folder.iterdir()
        if file.is_file() and fnmatch.fnmatchcase(file.name.casefold(), pattern.casefold())
    )
