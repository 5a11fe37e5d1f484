"""Asks models the questions of tasks and scores their replies; what was answered is kept and not asked again.

summary = evaluate_lmm([model], LmmEvaluateConfig(tasks=("bison",), data="DATA", out="evaluation"))

OUT/
  predictions/TASK-HASH.jsonl        the replies, see `customize.lmm.evaluate.predictions`
  lmm_results.json, .md, .txt, .csv  the tables: this call's results, and those of earlier calls in this folder
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from customize.lmm.evaluate.answers import split_summary
from customize.lmm.evaluate.model_score import ModelScore, merged, read_results
from customize.lmm.evaluate.predictions import Predictions
from customize.lmm.evaluate.question import Kind, Question, swapped
from customize.lmm.evaluate.question_images import QuestionImages
from customize.lmm.evaluate.result_tables import shown_figure, write_results
from customize.lmm.evaluate.scores import Replies, failure, question_kind, score_questions
from customize.lmm.evaluate.tasks import find_task, load_questions
from index.errors import BadInput
from index.files import local_path, make_folder
from index.outputs import only_writer
from mining.annotate.judge import judge_request, parse_rating
from mining.annotate.task import Unparsed
from mining.chat.chat import ChatModel, ChatReply, ChatRequest

__all__ = ["LmmEvaluateConfig", "LmmEvaluateSummary", "ModelScore", "evaluate_lmm"]

_OTHER_ORDER = " swapped"  # behind the key of a question in its other order


@dataclass(frozen=True)
class LmmEvaluateConfig:
    """What to measure.

    Attributes:
        tasks: names, NAME=FILE or question files, see `customize.lmm.evaluate.tasks.find_task`.
        out: folder of replies and tables.
        data: folder of the images, and of question files of tasks by name.
        swap: ask choices in the other order too, which doubles the replies to generate.
        limit: the first so many questions of each task.
        max_new_tokens: limit of a reply; CaD-VI's is 256.
    """

    tasks: tuple[str, ...]
    out: str
    data: str | None = None
    swap: bool = True
    limit: int | None = None
    max_new_tokens: int = 256

    def __post_init__(self) -> None:
        if not self.tasks:
            raise BadInput("evaluate what? name at least one --task")
        if self.max_new_tokens < 1 or (self.limit is not None and self.limit < 1):
            raise BadInput("--limit and --max-new-tokens are at least 1")


@dataclass(frozen=True, repr=False)
class LmmEvaluateSummary:
    """What was measured: a ModelScore for each model and task, and the paths of the tables.

    earlier: results of earlier calls that the tables have too.
    """

    out: str
    results: tuple[ModelScore, ...]
    files: tuple[str, ...]
    earlier: int = 0

    def __repr__(self) -> str:
        """Such as `LmmEvaluateSummary('evaluation', tuned bison: accuracy 85.0 [64.0, 94.8] of 20)`."""
        shown = [
            f"{each.model} {each.task}: {each.score.main} {shown_figure(each.score.figures[each.score.main])}"
            for each in self.results
        ]
        return f"LmmEvaluateSummary({self.out!r}, {'; '.join(shown)})"


@dataclass(frozen=True)
class _Task:
    name: str
    kind: Kind
    questions: tuple[Question, ...]
    skipped: Mapping[str, int]
    images: QuestionImages
    drawn: bool


def evaluate_lmm(
    models: Sequence[ChatModel],
    config: LmmEvaluateConfig,
    judge: ChatModel | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> LmmEvaluateSummary:
    """Measure the models on the tasks of `config` and write the tables.

    judge: rates replies to open questions and summaries from 0 to 5; without one these have no rating.
    on_progress(done, total): after each reply.

    Raises:
        BadInput: no such task, its question file is missing or of another form, two models of one name, a `config.out`
            that is no local folder.
        OutputExists: another process writes in `config.out`.
    """
    if not models:
        raise BadInput("evaluate which model? name at least one")
    names = [model.name for model in models]
    if len(set(names)) < len(names):
        raise BadInput(f"two models are called {max(names, key=names.count)}; give them different names")
    tasks = [_load(text, config) for text in config.tasks]
    called = [task.name for task in tasks]
    if len(set(called)) < len(called):
        raise BadInput(f"two tasks are called {max(called, key=called.count)}; name one of them otherwise: NAME=FILE")
    total = len(models) * sum(_count(task, config, judge) for task in tasks)
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if on_progress is not None:
            on_progress(done, total)

    results = []
    if not local_path(config.out).is_dir():
        make_folder(local_path(config.out).parent)
        if local_path(config.out).exists():
            make_folder(local_path(config.out))  # says that a file is there
    with only_writer(config.out):
        earlier = read_results(Path(config.out))
        for model in models:
            results += [_measure(model, task, config, judge, step) for task in tasks]
        whole = merged(earlier, results)
        files = write_results(whole, Path(config.out))
    return LmmEvaluateSummary(config.out, tuple(results), tuple(map(str, files)), len(whole) - len(results))


def _load(text: str, config: LmmEvaluateConfig) -> _Task:
    found = find_task(text, config.data)
    read = load_questions(found, config.limit)
    kind = question_kind(read.questions, found.task.kind)
    images = QuestionImages(found.images, found.task.folders)
    return _Task(found.task.name, kind, read.questions, read.skipped, images, found.drawn)


def _count(task: _Task, config: LmmEvaluateConfig, judge: ChatModel | None) -> int:
    """How many replies a model and the judge give for the task."""
    others = sum(swapped(each) is not None for each in task.questions) if _both_orders(task, config) else 0
    judged = 0 if judge is None else sum(map(len, (_parts(task.kind, each, "") for each in task.questions)))
    return len(task.questions) + others + judged


def _both_orders(task: _Task, config: LmmEvaluateConfig) -> bool:
    return config.swap and task.kind == "choice"


def _measure(
    model: ChatModel, task: _Task, config: LmmEvaluateConfig, judge: ChatModel | None, step: Callable[[], None]
) -> ModelScore:
    folder = Path(config.out) / "predictions"
    settings = {"max_new_tokens": config.max_new_tokens}
    kept_replies = Predictions(folder, task.name, model, settings)
    replies, kept = kept_replies.replies(_requests(task, config), step)
    own = {key: reply for key, reply in replies.items() if not key.endswith(_OTHER_ORDER)}
    others: Replies | None = None
    if _both_orders(task, config):
        others = {key.removesuffix(_OTHER_ORDER): reply for key, reply in replies.items() if key.endswith(_OTHER_ORDER)}
    ratings = None
    unrated: Counter[str] = Counter()
    if judge is not None and task.kind in ("open", "summary"):
        rated = Predictions(folder, f"{task.name}-judged", judge, {**settings, "of": dict(model.identity)})
        said, _ = rated.replies(_to_judge(task, own), step)
        ratings = {key: _rating(reply) for key, reply in said.items()}
        unrated.update(why for key, why in ratings.items() if isinstance(why, str) and isinstance(said[key], ChatReply))
    score = score_questions(task.kind, task.questions, own, swapped_replies=others, ratings=ratings)
    return ModelScore(
        model.name,
        task.name,
        replace(score, skipped=task.skipped),
        kept,
        len(replies),
        judge.name if judge is not None and ratings is not None else None,
        next((reply.error for reply in own.values() if isinstance(reply, ChatReply) and reply.error), None),
        task.drawn,
        dict(unrated.most_common()),
    )


def _requests(task: _Task, config: LmmEvaluateConfig) -> Iterator[tuple[str, ChatRequest | str]]:
    """(key, the request) of each question, and of it in the other order; or why it cannot be asked."""
    for question in task.questions:
        yield question.question_id, _request(question, task.images, config)
        other = swapped(question) if _both_orders(task, config) else None
        if other is not None:
            yield question.question_id + _OTHER_ORDER, _request(other, task.images, config)


def _request(question: Question, images: QuestionImages, config: LmmEvaluateConfig) -> ChatRequest | str:
    files = [images.read(image) for image in question.images]
    reasons = [file for file in files if isinstance(file, str)]
    if reasons:
        return reasons[0]
    data = tuple(file for file in files if isinstance(file, bytes))
    letters = tuple(question.options)
    return ChatRequest((question.turn,), data, max_new_tokens=config.max_new_tokens, answers=letters)


def _parts(kind: Kind, question: Question, reply: str) -> list[tuple[str, str, str]]:
    """(key, reference, answer) of what a judge rates: a reply as a whole, or each list of a summary."""
    if not question.answer or kind not in ("open", "summary"):
        return []
    if kind == "open":
        return [(question.question_id, question.answer, reply)]
    references = split_summary(question.answer)
    # A reply without the two lists is rated as a whole against each of them.
    answers = split_summary(reply) or (reply, reply)
    names = ("commonalities", "differences")
    return [
        (f"{question.question_id} {name}", reference, answer)
        for name, reference, answer in zip(names, references or ("", ""), answers, strict=True)
        if reference
    ]


def _to_judge(task: _Task, replies: Replies) -> Iterator[tuple[str, ChatRequest | str]]:
    for question in task.questions:
        reply = replies.get(question.question_id)
        reason = failure(reply)
        text = reply.text if isinstance(reply, ChatReply) else ""
        for key, reference, answer in _parts(task.kind, question, text):
            yield key, reason or judge_request(question.words, reference, answer)


def _rating(reply: ChatReply | str) -> float | str:
    reason = failure(reply)
    if reason is not None or isinstance(reply, str):
        return reason or "not judged"
    rating = parse_rating(reply.text)
    return rating.reason if isinstance(rating, Unparsed) else rating
