"""lmms-eval's model `clipmine`: checkpoints through `mining.chat.local_model`, whose answers don't depend on the batch.

    lmms-eval --model clipmine --model_args pretrained=MODEL,batch_size=16 --tasks pope

Registered as the entry point `clipmine` of the group `lmms_eval.models`. Only lmms-eval imports this module.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterator, Sequence
from typing import Any

from customize.lmm.evaluate.lmms_eval_tasks import FAILED
from index.errors import MissingDependency
from mining.chat.chat import ChatReply, ChatRequest
from mining.sets.annotation import Part, Turn

__all__ = ["ClipmineModel", "chat_request", "manifest"]

try:
    _lmms: Any = importlib.import_module("lmms_eval.api.model").lmms
except ImportError:
    _lmms = object  # `ClipmineModel` then says what to install


def manifest() -> Any:
    """What the entry point gives to lmms-eval."""
    registry = importlib.import_module("lmms_eval.models.registry_v2")
    return registry.ModelManifest("clipmine", chat_class_path=f"{__name__}.ClipmineModel")


class ClipmineModel(_lmms):  # type: ignore[misc]
    """A checkpoint in this process, or with `base_url` the model of a server that speaks OpenAI's protocol.

    pretrained: a folder or a name on the Hugging Face hub; with `base_url` the server's name of the model. adapter,
    template, precision, device, batch_size: as `LocalModel` takes them; batch_size "auto" is its default.

    lmms-eval demands `loglikelihood` and `generate_until_multi_round` as well; tasks that call them are refused.
    """

    is_simple = False

    def __init__(
        self,
        pretrained: str,
        device: str | None = None,
        batch_size: int | str | None = None,
        base_url: str | None = None,
        **settings: Any,
    ) -> None:
        if _lmms is object:
            raise MissingDependency("lmms-eval", "the model plug-in for lmms-eval")
        super().__init__()
        known = {name: value for name, value in settings.items() if name in ("adapter", "template", "precision")}
        if base_url is not None:
            from mining.chat.openai_server import OpenAIServer

            self._model: Any = OpenAIServer(base_url, pretrained)
            return
        from mining.chat.local_model import LocalModel

        if batch_size not in (None, "auto"):
            known["batch_size"] = int(batch_size or 1)
        self._model = LocalModel(pretrained, device=device, **known)

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """The reply to each request, in order. One that failed is FAILED with its reason."""
        replies: dict[str, ChatReply] = dict(self._model.replies(self._requests(requests)))
        return [_text(replies[str(number)]) for number in range(len(requests))]

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Not supported: raises NotImplementedError."""
        raise NotImplementedError("the model clipmine answers one question at a time")

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Not supported: raises NotImplementedError."""
        raise NotImplementedError("the model clipmine generates; choose tasks with output_type: generate_until")

    def _requests(self, requests: Sequence[Any]) -> Iterator[tuple[str, ChatRequest]]:
        for number, request in enumerate(requests):
            _, doc_to_messages, options, own, task, split = request.args
            messages = doc_to_messages(self.task_dict[task][split][own])
            yield str(number), chat_request(messages, options)


def chat_request(messages: Sequence[dict[str, Any]], options: dict[str, Any]) -> ChatRequest:
    """Messages of lmms-eval's chat protocol as a request; raises NotImplementedError for videos and sounds."""
    images: list[bytes] = []
    turns = []
    for message in messages:
        parts: list[Part] = []
        for piece in message["content"]:
            if piece["type"] == "text":
                parts.append(piece["text"])
            elif piece["type"] == "image":
                parts.append(len(images))
                images.append(_png(piece["url"]))
            else:
                raise NotImplementedError(f"the model clipmine takes images and texts, no {piece['type']}")
        turns.append(Turn(message["role"], tuple(parts)))
    temperature = float(options.get("temperature") or 0.0) if options.get("do_sample", True) else 0.0
    return ChatRequest(tuple(turns), tuple(images), int(options.get("max_new_tokens", 256)), temperature)


def _png(image: Any) -> bytes:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def _text(reply: ChatReply) -> str:
    return reply.text if reply.answered else f"{FAILED}{reply.error or reply.finish}"
