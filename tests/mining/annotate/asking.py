"""A task, chat models and the files of a run, for the tests of the runner."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mining.annotate.answer_cache import AnswerCache
from mining.annotate.budget import Budget, Limits
from mining.annotate.journal import Journal
from mining.annotate.ledger import Ledger
from mining.annotate.run import AnnotationRun
from mining.annotate.summary import AnnotateSummary
from mining.annotate.task import Answer, Asked, Unparsed
from mining.chat.chat import ChatReply, ChatRequest
from mining.export.member_images import MemberImages
from mining.sets.annotation import Annotator, Turn
from mining.sets.image_set import ImageSet
from mining.sets.image_sets import ImageSets


@dataclass
class WordsTask:
    """Asks for the words of the captions; an answer begins with "words:". items: questions a set."""

    items: tuple[str, ...] = ("",)
    needs_images: bool = False
    kind: str = "words"
    prompt_hash: str = "0" * 16

    def asked(self, each: ImageSet, images: tuple[bytes, ...], attempt: int) -> list[Asked]:
        if not all(each.captions):
            return []
        text = " / ".join(caption or "" for caption in each.captions)
        shown = tuple(range(len(images)))
        return [
            Asked(item, ChatRequest((Turn("user", (*shown, f"{item} {text} {attempt or ''}".strip())),), images, 16))
            for item in self.items
        ]

    def parse(self, each: ImageSet, asked: Asked, text: str, cut: bool = False) -> Answer | Unparsed:
        if not text.startswith("words:") or cut:
            return Unparsed("does not begin with words:")
        return Answer((asked.request.turns[-1], Turn("assistant", (text,))), {"item": asked.item})


def echo(request: ChatRequest) -> ChatReply:
    """An answer that WordsTask understands, which depends on the question."""
    text = request.turns[-1].text
    return ChatReply(f"words: {text}", "stop", len(text), 3)


@dataclass
class FunctionModel:
    """A chat model whose replies are a function of the request; it takes some requests at once, from a thread.

    asked: all requests that it was sent.
    """

    answer: Callable[[ChatRequest], ChatReply] = echo
    at_once: int = 4
    threaded: bool = False
    name: str = "function-1"
    identity: Mapping[str, Any] = field(default_factory=lambda: {"model": "function", "revision": "1"})
    asked: list[ChatRequest] = field(default_factory=list)

    def replies(self, requests: Iterable[tuple[str, ChatRequest]]) -> Iterator[tuple[str, ChatReply]]:
        iterator = iter(requests)
        while batch := self._take(iterator):
            for key, request in reversed(batch):
                self.asked.append(request)
                yield key, self.answer(request)

    def _take(self, iterator: Iterator[tuple[str, ChatRequest]]) -> list[tuple[str, ChatRequest]]:
        batch: list[tuple[str, ChatRequest]] = []

        def fill() -> None:
            while len(batch) < self.at_once and (found := next(iterator, None)) is not None:
                batch.append(found)

        if self.threaded:
            thread = threading.Thread(target=fill)
            thread.start()
            thread.join()
        else:
            fill()
        return batch

    @property
    def texts(self) -> list[str]:
        return [request.turns[-1].text for request in self.asked]


def annotate(
    sets: ImageSets,
    model: Any,
    task: Any = None,
    *,
    name: str = "words",
    cache: Path | None = None,
    limits: Limits | None = None,
    part_sets: int = 5_000,
    images: MemberImages | None = None,
    **settings: Any,
) -> AnnotateSummary:
    """One run over `sets`, as the job makes it; the files are closed whatever happens."""
    folder = Path(sets.path) / "annotations" / f"{name}.run"
    opened = ImageSets.open(sets.path).select(sets.numbers)
    journal, ledger = Journal(opened, folder, name, part_sets), Ledger(folder / "ledger.jsonl")
    try:
        with AnswerCache(cache or Path(sets.path) / "answers", model.identity) as answers:
            run = AnnotationRun(
                opened,
                task or WordsTask(),
                model,
                Annotator(model.name, "1", "0" * 16),
                journal=journal,
                cache=answers,
                ledger=ledger,
                budget=Budget(limits or Limits(), ledger.spent),
                images=images,
                **settings,
            )
            return run.run()
    finally:
        journal.close()
        ledger.close()


def adds_up(summary: AnnotateSummary) -> bool:
    """Whether each set is counted once."""
    parts = (summary.annotated, summary.rejected, summary.failed, summary.nothing_to_ask, summary.image_missing)
    return summary.sets == sum(parts) + summary.left


def said_of(sets: ImageSets, kind: str = "words") -> dict[str, list[str]]:
    """set id -> the last turns of its annotations of a kind; {} where there is none."""
    opened = ImageSets.open(sets.path)
    if kind not in {each for each, _ in opened.annotations.counts()}:
        return {}
    found = opened.with_annotations(kind=kind)
    return {each.set_id: [said.turns[-1].text for said in each.annotations] for each in found if each.annotations}
