"""What is asked of a model about a set, and what becomes of its answer: the contract between prompts and the runner.

A task is one kind of annotation (`comparison`, `cad-qa`, `choice`, `judge`). The runner makes a request of each set,
hands it to a `mining.chat.ChatModel`, and gives the reply to `parse`. A `RuleTask` needs no model (the annotator
`captions`): it gives the annotations of a set by itself. `mining.annotate.tasks` makes both by their kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from mining.chat.chat import ChatRequest
from mining.sets.annotation import Annotation, Turn
from mining.sets.image_set import ImageSet

__all__ = ["AnnotationTask", "Answer", "Asked", "RuleTask", "Unparsed"]


@dataclass(frozen=True)
class Asked:
    """One question about a set. item: distinguishes several questions about one set ("" where there is one).

    parent: the annotation that the answer refines or judges, None where there is none.
    """

    item: str
    request: ChatRequest
    parent: Annotation | None = None


@dataclass(frozen=True)
class Answer:
    """A reply that was understood. turns: the conversation for training. content: structured, as JSON data."""

    turns: tuple[Turn, ...]
    content: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Unparsed:
    """A reply that was not understood: why, in one line. It is asked again, then kept as a rejected annotation."""

    reason: str


class AnnotationTask(Protocol):
    """A task that asks a model.

    What it reads of a set's annotations must be among `ImageSet.annotations`: `mining.annotate.tasks.view_for` gives
    the view of the sets that has them.
    """

    @property
    def kind(self) -> str:
        """Of the annotations."""
        ...

    @property
    def prompt_hash(self) -> str:
        """A hash of all prompt texts, their versions, and the settings that change requests."""
        ...

    @property
    def needs_images(self) -> bool:
        """Whether requests show images; the runner then reads the members' files."""
        ...

    def asked(self, each: ImageSet, images: tuple[bytes, ...], attempt: int) -> list[Asked]:
        """The questions about one set; [] where there is nothing to ask, such as no captions.

        images: the members' files where `needs_images`, else (). attempt: 0, then 1, 2, ... when a reply was not
        understood (a task may then ask more strictly, or with another seed). Deterministic.
        """
        ...

    def parse(self, each: ImageSet, asked: Asked, text: str, cut: bool = False) -> Answer | Unparsed:
        """What the reply says. cut: it ended at the limit of new tokens, so that its last item may be incomplete."""
        ...


class RuleTask(Protocol):
    """A task without a model: its annotations follow from the set by rules."""

    @property
    def kind(self) -> str:
        """Of the annotations."""
        ...

    @property
    def prompt_hash(self) -> str:
        """A hash of the rules' version and all prompt texts."""
        ...

    @property
    def annotator(self) -> str:
        """The name under which the annotations are kept."""
        ...

    def answers(self, each: ImageSet) -> list[Answer]:
        """The annotations of a set; [] where it says nothing, such as a set without captions. Deterministic."""
        ...
