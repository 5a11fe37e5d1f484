"""What a chat model is: it takes requests (turns with images) and gives replies, in any order.

    for key, reply in model.replies(requests):     # requests: an iterator of (key, ChatRequest)
        ...

`openai_server` asks a server that speaks OpenAI's protocol, `local_model` runs a checkpoint in this process. What asks
(`mining.annotate`, `customize.lmm.evaluate`) does not know which of them it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from index.errors import BadInput
from index.files import hash_json
from mining.sets.annotation import Turn

__all__ = ["ChatModel", "ChatReply", "ChatRequest", "Finish", "request_hash"]

# Why a reply ended: the model's stop, the limit of new tokens, a refusal or filter of the server, no reply at all.
Finish = Literal["stop", "length", "refused", "failed"]


@dataclass(frozen=True)
class ChatRequest:
    """One question to a model. The last turn is the user's; a turn's parts are texts and positions in `images`.

    images: encoded files (JPEG, PNG, WebP), as they are on disk. max_new_tokens: limit of the reply. temperature: 0 is
    greedy. seed: of sampling, where the model takes one. answers: texts of one token, such as the letters of options,
    whose probabilities are wanted too; they change no reply.
    """

    turns: tuple[Turn, ...]
    images: tuple[bytes, ...] = ()
    max_new_tokens: int = 512
    temperature: float = 0.0
    seed: int | None = None
    answers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.turns or self.turns[-1].role != "user":
            raise BadInput("a chat request ends with a turn of the user")
        shown = [image for turn in self.turns for image in turn.images]
        if any(not 0 <= image < len(self.images) for image in shown):
            raise BadInput(f"a chat request shows image {max(shown)}, but has {len(self.images)}")


@dataclass(frozen=True)
class ChatReply:
    """A model's answer. text: "" where `finish` is "failed". tokens: as the model counted them, None where unknown.

    error: one line that says why there is no answer, where `finish` is "failed" or "refused". answers: of each of the
    request's answers, the natural logarithm of its probability as the first token, with the repetition penalty if there
    is one; None where the model does not tell, as servers don't.
    """

    text: str
    finish: Finish
    prompt_tokens: int | None = None
    new_tokens: int | None = None
    error: str | None = None
    answers: Mapping[str, float] | None = None

    @property
    def answered(self) -> bool:
        """Whether the model gave a text, whole or cut at the limit of tokens."""
        return self.finish in ("stop", "length")


class ChatModel(Protocol):
    """A model that answers requests."""

    @property
    def name(self) -> str:
        """The model's name in tables, logs and annotations."""
        ...

    @property
    def identity(self) -> Mapping[str, Any]:
        """All that decides the answers, as JSON data: checkpoint, revision, adapter, template, precision.

        No address, key or device, since answers do not depend on them.
        """
        ...

    def replies(self, requests: Iterable[tuple[str, ChatRequest]]) -> Iterator[tuple[str, ChatReply]]:
        """Yield (key, reply) for each (key, request), in any order; takes requests only as fast as they are answered.

        A request that fails gives a reply with `finish` "failed"; it never ends the others. Raises BadInput or
        ClipmineError where no request can be answered: no server, a wrong key, no such model.
        """
        ...


def request_hash(request: ChatRequest) -> str:
    """64 hex digits: the hash of all that decides the reply beside the model. Images count by their bytes."""
    import hashlib

    turns = [[turn.role, list(turn.parts)] for turn in request.turns]
    images = [hashlib.sha256(image).hexdigest() for image in request.images]
    wanted = [list(request.answers)] if request.answers else []
    return hash_json([turns, images, request.max_new_tokens, request.temperature, request.seed, *wanted])
