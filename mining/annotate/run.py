"""A run of annotation: the questions of a task about each set go to a chat model; its answers become annotations.

    run = AnnotationRun(sets, task, model, journal=..., cache=..., ledger=..., budget=..., images=...)
    summary = run.run()

Every set ends in one of these: annotated, rejected (no answer was understood), failed (the server gave none: the next
run asks again), nothing to ask, image missing, or left by the budget. An answer that is not understood is asked for
again, as the task asks it the second time, before it is rejected. Questions go to the model in streams
(`ChatModel.replies`); a stream takes the next question only when the model wants one, so that what waits is little.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, nullcontext, suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from typing import Any

from index.errors import BadInput
from mining.annotate.answer_cache import AnswerCache
from mining.annotate.budget import Budget, Spent
from mining.annotate.images_ahead import images_ahead, read_images
from mining.annotate.journal import REJECTED, Journal
from mining.annotate.ledger import Ledger
from mining.annotate.summary import AnnotateSummary
from mining.annotate.task import AnnotationTask, Answer, Asked
from mining.chat.chat import ChatModel, ChatReply, ChatRequest
from mining.export.member_images import MemberImages
from mining.sets.annotation import Annotation, Annotator
from mining.sets.image_set import ImageSet
from mining.sets.image_sets import ImageSets

__all__ = ["AnnotationRun", "Sampling"]

ATTEMPTS = 3


@dataclass(frozen=True)
class Sampling:
    """What the user asks of all replies; None leaves it to the task."""

    max_new_tokens: int | None = None
    temperature: float | None = None

    def apply(self, request: ChatRequest) -> ChatRequest:
        """The request with these settings."""
        chosen = {name: value for name, value in self.__dict__.items() if value is not None}
        return replace(request, **chosen) if chosen else request


@dataclass
class _OpenSet:
    """A set of which `undecided` questions are not decided yet."""

    image_set: ImageSet
    undecided: int
    annotations: list[Annotation] = field(default_factory=list)
    failed: str | None = None


@dataclass
class _Question:
    """A question about a set. request: as it is sent. key: of the request in the cache. attempt: from 0."""

    of: _OpenSet
    asked: Asked
    attempt: int
    request: ChatRequest
    key: str


class AnnotationRun:
    """One run. `run` may be called once."""

    def __init__(
        self,
        sets: ImageSets,
        task: AnnotationTask,
        model: ChatModel,
        annotator: Annotator,
        *,
        journal: Journal,
        cache: AnswerCache,
        ledger: Ledger,
        budget: Budget,
        images: MemberImages | None = None,
        sampling: Sampling | None = None,
        attempts: int = ATTEMPTS,
        on_progress: Callable[[AnnotationRun], None] | None = None,
    ) -> None:
        """sets: the view to annotate. images: where the task needs them. attempts: at an answer that is not understood.

        on_progress: called when a set is decided and when a reply arrives, also from the model's threads.
        """
        self._task, self._model, self._annotator = task, model, annotator
        self._journal, self._cache, self._ledger, self._budget = journal, cache, ledger, budget
        self._images, self._sampling, self._attempts = images, sampling or Sampling(), max(1, attempts)
        self._on_progress = on_progress or (lambda run: None)
        self._sets, self._left = sets, journal.undecided(sets)
        self.sets, self.earlier = len(sets), len(sets) - len(self._left)
        self._fresh = self._fresh_questions()
        self._again: deque[_Question | tuple[_OpenSet, str, int]] = deque()
        self._waiting: dict[str, list[_Question]] = {}
        self._lock = threading.RLock()
        self._error: BaseException | None = None
        self._sent = 0
        self.spent, self.replies = Spent(), 0
        self.decided = 0  # sets of this run that are annotated, rejected, failed, without a question or an image
        self.cached, self.retried, self.nothing = 0, 0, 0
        self.failures: Counter[str] = Counter()
        self.missing: Counter[str] = Counter()
        self._failed_sets = 0
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the run was made."""
        return time.monotonic() - self._began

    def run(self) -> AnnotateSummary:
        """Ask until all sets are decided, or the budget is spent; parts are written whatever ends it.

        Raises what the model raises where it cannot answer at all (BadInput, ClipmineError), DiskFull, and BadInput
        where images are not where the sets say.
        """
        try:
            more = True
            while more:
                more = self._stream()
        finally:
            with suppress(ValueError):  # a thread of the model is still in it
                self._fresh.close()
            self._journal.write_parts()
            summary = self._summary()
            self._ledger.end(asdict(summary))
        return summary

    def _stream(self) -> bool:
        """One stream of questions through the model; whether another one may find work."""
        requests = self._requests()
        first = next(requests, None)  # a model that loads for minutes is not woken for nothing
        if first is not None:
            replies = self._model.replies(chain([first], requests))
            with closing(replies) if isinstance(replies, Generator) else nullcontext():
                for key, reply in replies:
                    self._receive(key, reply)
        if self._error is not None:
            raise self._error
        for key, questions in list(self._waiting.items()):  # a model that lost a request
            self._receive(key, ChatReply("", "failed", error="no reply"), questions)
        return first is not None

    def _requests(self) -> Iterator[tuple[str, ChatRequest]]:
        """Yield requests until there is no question, or the budget has no room; may run in a thread of the model."""
        try:
            while (question := self._next()) is not None:
                with self._lock:
                    known = self._cache.get(question.key)
                    if known is not None:
                        self.cached += 1
                        self._decide(question, known)
                        continue
                    if question.key in self._waiting:  # two sets with one question
                        self._waiting[question.key].append(question)
                        continue
                    if not self._budget.reserve(question.key, question.request):
                        self._again.appendleft(question)
                        return
                    self._waiting[question.key] = [question]
                    self._sent += 1
                yield question.key, question.request
        except GeneratorExit:
            raise
        except BaseException as error:  # raised again by `_stream`, whatever the model makes of it here
            self._error = error

    def _next(self) -> _Question | None:
        """The next question: what was not understood first, then that of the next set."""
        while self._again:
            with self._lock:
                waiting = self._again.popleft()
            if isinstance(waiting, _Question):
                return waiting
            of, item, attempt = waiting
            images = read_images(of.image_set, self._images)
            asked = [] if isinstance(images, str) else self._task.asked(of.image_set, images, attempt)
            same = next((each for each in asked if each.item == item), None)
            if same is not None:
                return self._question(of, same, attempt)
            with self._lock:
                self._fail(of, images if isinstance(images, str) else "was not asked again")
        return next(self._fresh, None)

    def _fresh_questions(self) -> Generator[_Question, None, None]:
        for each, images in images_ahead(self._left, self._images):
            if isinstance(images, str):
                self._count(self.missing, images)
                continue
            asked = self._task.asked(each, images, 0)
            if not asked:
                with self._lock:
                    self.nothing += 1
                    self._set_decided()
                continue
            of = _OpenSet(each, len(asked))
            for question in asked:
                yield self._question(of, question, 0)

    def _question(self, of: _OpenSet, asked: Asked, attempt: int) -> _Question:
        request = self._sampling.apply(asked.request)
        return _Question(of, replace(asked, request=request), attempt, request, self._cache.key(request))

    def _receive(self, key: str, reply: ChatReply, lost: list[_Question] | None = None) -> None:
        with self._lock:
            questions = self._waiting.pop(key, lost or [])
            if not questions:  # a reply that came twice
                return
            spent = self._budget.settle(key, questions[0].request, reply)
            self.spent += spent
            self.replies += 1
            self._cache.put(key, reply)
            self._ledger.add(key, reply, spent)
            for question in questions:
                self._decide(question, reply)
            self._on_progress(self)

    def _decide(self, question: _Question, reply: ChatReply) -> None:
        """What becomes of a reply; called with the lock held."""
        of, asked = question.of, question.asked
        if reply.finish == "failed":
            self._fail(of, reply.error or "no reply")
            return
        why = f"refused: {reply.error}" if reply.error else "refused"
        if reply.answered:
            said = self._task.parse(of.image_set, asked, reply.text, reply.finish == "length")
            if isinstance(said, Answer):
                try:
                    made = self._annotation(question, self._task.kind, said.turns, dict(said.content))
                    self._close(of, made)
                    return
                except BadInput as error:  # such as a text with half a character
                    why = str(error).partition(": ")[2] or str(error)
            else:
                why = said.reason
            if question.attempt + 1 < self._attempts:
                self.retried += 1
                self._again.append((of, asked.item, question.attempt + 1))
                return
        raw = reply.text.encode("utf-8", "replace").decode()
        content = {"kind": self._task.kind, "reason": why, "text": raw, "attempts": question.attempt + 1}
        self._close(of, self._annotation(question, REJECTED, (), content))

    def _annotation(self, question: _Question, kind: str, turns: Any, content: dict[str, Any]) -> Annotation:
        parent, each = question.asked.parent, question.of.image_set
        own = replace(self._annotator, parameters={**self._annotator.parameters, **_sampled(question.request)})
        made = Annotation.make(each.set_id, kind, own, turns, content, parent.annotation_id if parent else None)
        made.check_images(each.size)
        return made

    def _fail(self, of: _OpenSet, reason: str) -> None:
        of.failed = of.failed or reason
        self._close(of, None)

    def _close(self, of: _OpenSet, made: Annotation | None) -> None:
        """One question of the set is decided; the last one decides the set."""
        of.undecided -= 1
        if made is not None:
            of.annotations.append(made)
        if of.undecided:
            return
        if of.failed is not None:
            self._failed_sets += 1
            self._count(self.failures, of.failed)
            return
        self._journal.add(of.image_set.set_id, of.annotations)
        self._set_decided()

    def _count(self, counter: Counter[str], reason: str) -> None:
        with self._lock:
            counter[reason] += 1
            self._set_decided()

    def _set_decided(self) -> None:
        self.decided += 1
        self._on_progress(self)

    def _summary(self) -> AnnotateSummary:
        annotated, rejected = self._journal.counts(self._sets)
        left = self.sets - annotated - rejected - self._failed_sets - self.nothing - self.missing.total()
        return AnnotateSummary(
            kind=self._task.kind,
            annotator=self._annotator.name,
            sets=self.sets,
            annotated=annotated,
            rejected=rejected,
            failed=self._failed_sets,
            nothing_to_ask=self.nothing,
            image_missing=self.missing.total(),
            left=left,
            stopped_by=self._budget.stopped if left else None,
            earlier=self.earlier,
            annotations=self._journal.kinds[self._task.kind],
            parts=self._journal.parts,
            requests=self.spent.requests,
            cached=self.cached,
            retried=self.retried,
            prompt_tokens=self.spent.prompt_tokens,
            new_tokens=self.spent.new_tokens,
            estimated_requests=self.spent.estimated,
            cost=round(self.spent.cost, 9),
            total_requests=self._budget.spent.requests,
            total_tokens=self._budget.spent.prompt_tokens + self._budget.spent.new_tokens,
            total_cost=round(self._budget.spent.cost, 9),
            seconds=round(self.seconds, 3),
            failures=dict(self.failures.most_common()),
            rejections=dict(self._journal.reasons.most_common()),
            missing=dict(self.missing.most_common()),
        )


def _sampled(request: ChatRequest) -> dict[str, Any]:
    """How the reply was drawn, as an annotator's parameters."""
    said = {"max_new_tokens": request.max_new_tokens, "temperature": request.temperature}
    return said if request.seed is None else {**said, "seed": request.seed}
