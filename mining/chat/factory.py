"""Chat models by name, as commands take them.

open_chat_model("llava-hf/llava-1.5-7b-hf", adapter="tuned/adapter")        # in this process
open_chat_model("openai:llava@http://host:8000/v1", key_variable="MY_KEY")  # behind a server
"""

from __future__ import annotations

from typing import Any

from index.errors import BadInput
from mining.chat.chat import ChatModel

__all__ = ["FORMS", "PRECISIONS", "open_chat_model"]

FORMS = "openai:MODEL@URL (such as openai:llava@http://host:8000/v1), or a checkpoint's folder or name on the hub"
# Number formats as commands name them, and as `LocalModel` and torch do.
PRECISIONS = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
_SERVER = {"key_variable", "max_concurrency", "timeout", "limits", "options"}
_LOCAL = {"adapter", "device", "precision", "batch_size", "template", "num_beams", "repetition_penalty"}


def open_chat_model(name: str, **options: Any) -> ChatModel:
    """The model of a name, in one of the forms of FORMS.

    options: those of `OpenAIServer` but for the key itself, or of `LocalModel`; None stands for an option's default.
    Raises BadInput for another form, an option of the other kind, and what the two raise. No message repeats a server's
    credentials.
    """
    given = {option: value for option, value in options.items() if value is not None}
    kind, colon, rest = name.strip().partition(":")
    if colon and kind == "openai":
        model, at, address = _model_and_address(rest)
        if not (model and at):
            raise BadInput(
                f"a model of a server is written {FORMS.partition(' (')[0]}; its address begins with http://"
            )
        _check(given, _SERVER, _LOCAL, "a server")
        from mining.chat.openai_server import OpenAIServer

        return OpenAIServer(address, model, **given)
    if kind in ("http", "https"):
        raise BadInput(f"a server's address needs a model: {FORMS.partition(',')[0]}")
    local = rest if colon and kind == "transformers" else name.strip()
    if not local:
        raise BadInput(f"no model is named; give {FORMS}")
    _check(given, _LOCAL, _SERVER, "a checkpoint in this process")
    from mining.chat.local_model import LocalModel

    return LocalModel(local, **given)


def _model_and_address(text: str) -> tuple[str, bool, str]:
    """MODEL@URL in its parts; a model's name and a URL's credentials may hold an @ as well."""
    for mark in ("@http://", "@https://"):
        model, found, rest = text.partition(mark)
        if found:
            return model, True, f"{mark[1:]}{rest}"
    return text, False, ""


def _check(given: dict[str, Any], own: set[str], other: set[str], what: str) -> None:
    if foreign := sorted(set(given) & other):
        raise BadInput(f"{', '.join(foreign)}: {what} has no such option; it has {', '.join(sorted(own))}")
    if unknown := sorted(set(given) - own):
        raise TypeError(f"open_chat_model() has no option {unknown[0]}")
