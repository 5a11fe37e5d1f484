"""Turns as the text of a model's prompt, by a Jinja chat template: images in place, and which characters are trained.

    shown = render(template, processor, turns)
    shown.text[slice(*shown.trained[0])] == " The left bus is red.</s>"

The texts of turns are data: a string that the tokenizer or the template gives a meaning to (`<image>`, `</s>`) is
broken before the template sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from index.errors import BadInput
from mining.export.messages import messages_of
from mining.export.templates import text_filter
from mining.sets.annotation import IMAGE, Part, Turn

__all__ = ["Rendered", "render", "special_strings", "special_tokens", "tokenizer_of"]

# Strings of conversation formats that are no tokens, where a template writes them.
_ROLE_WORDS = ("USER:", "ASSISTANT:", "###")
_INSTEAD = "clipmineanswer"
Messages = list[dict[str, Any]]


@dataclass(frozen=True)
class Rendered:
    """text: the whole prompt. trained: ranges of its characters, one an answer, each with the stop behind it."""

    text: str
    trained: tuple[tuple[int, int], ...]


def tokenizer_of(processor: Any) -> Any:
    """The tokenizer of a processor; a tokenizer itself."""
    return getattr(processor, "tokenizer", processor)


def render(template: str, processor: Any, turns: Sequence[Turn], *, ask: bool = False) -> Rendered:
    """Turns as a text. processor: a processor, or a tokenizer alone. ask: end with the beginning of the next answer.

    An image is whatever the template writes for one; where it takes texts only, it is `<image>` in the text. The
    trained ranges are those of the template's `{% generation %}`; without one, an answer's range is its text and all
    up to the stop behind it. Raises BadInput where the template refuses the turns, or changes an answer's text.
    """
    tokenizer = tokenizer_of(processor)
    plain = text_filter(special_strings(template, processor))
    cleaned = [Turn(turn.role, _joined(turn.parts, plain)) for turn in turns]
    if "endgeneration" in template:
        return Rendered(*_rendered(template, tokenizer, cleaned, ask))
    text, _ = _rendered(template, tokenizer, cleaned, ask)
    ends = [number for number, turn in enumerate(cleaned) if turn.role == "assistant"]
    return Rendered(text, tuple(_range(template, tokenizer, cleaned, text, number) for number in ends))


def special_strings(template: str, processor: Any) -> tuple[str, ...]:
    """The strings that are not only text for this template and tokenizer, sorted."""
    tokenizer = tokenizer_of(processor)
    special = {IMAGE, *special_tokens(tokenizer)}
    special |= {str(token) for token in tokenizer.added_tokens_decoder.values() if str(token) in template}
    special |= {word for word in _ROLE_WORDS if word in template}
    image = getattr(processor, "image_token", None)
    return tuple(sorted(special | ({image} if isinstance(image, str) else set())))


def special_tokens(tokenizer: Any) -> set[str]:
    """The tokens that the tokenizer reads as marks wherever they stand; `all_special_tokens` lists only some."""
    marked = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    return marked | {str(token) for token in tokenizer.all_special_tokens}


def _joined(parts: Sequence[Part], plain: Callable[[str], str]) -> tuple[Part, ...]:
    """The parts with clean texts. Neighbouring texts are joined first: two of them may make up a special string."""
    joined: list[Part] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        else:
            joined.append(part)
    return tuple(plain(part) if isinstance(part, str) else part for part in joined)


def _rendered(
    template: str, tokenizer: Any, turns: Sequence[Turn], ask: bool
) -> tuple[str, tuple[tuple[int, int], ...]]:
    takes_parts = _takes_parts(template)
    try:
        return _template_text(template, tokenizer, _messages(turns, takes_parts), ask)
    except Exception as error:  # a template is a program, which may fail in any way
        if turns and turns[0].role == "system" and len(turns) > 1:
            # Some templates have no system message; its text then begins the first question.
            first = Turn(turns[1].role, (*turns[0].parts, "\n\n", *turns[1].parts))
            return _rendered(template, tokenizer, [first, *turns[2:]], ask)
        raise BadInput(f"the chat template refuses a conversation: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _messages(turns: Sequence[Turn], takes_parts: bool) -> Messages:
    if takes_parts:
        return messages_of(turns)
    return [
        {"role": turn.role, "content": "".join(part if isinstance(part, str) else IMAGE for part in turn.parts)}
        for turn in turns
    ]


def _template_text(
    template: str, tokenizer: Any, messages: Messages, ask: bool
) -> tuple[str, tuple[tuple[int, int], ...]]:
    from transformers.utils.chat_template_utils import render_jinja_template

    rendered: Any = render_jinja_template(
        conversations=[messages],
        chat_template=template,
        return_assistant_tokens_mask="endgeneration" in template,
        add_generation_prompt=ask,
        enable_thinking=False,  # of Qwen3 and others: an answer, without a text that leads to it
        **(tokenizer.special_tokens_map if tokenizer is not None else {}),
    )
    texts, ranges = rendered
    return texts[0], tuple((start, end) for start, end in (ranges[0] if ranges else ()))


@lru_cache(maxsize=64)
def _takes_parts(template: str) -> bool:
    """Whether the template takes a list of texts and images as a message, and writes something for an image."""

    def shown(*content: dict[str, Any]) -> str:
        return _template_text(template, None, [{"role": "user", "content": list(content)}], ask=False)[0]

    text = {"type": "text", "text": "clipmine"}
    try:
        without, with_image = shown(text), shown(text, {"type": "image", "text": None})
    except Exception:  # as in `_rendered`
        return False
    return "'type'" not in with_image and len(with_image) > len(without)


def _range(template: str, tokenizer: Any, turns: Sequence[Turn], text: str, number: int) -> tuple[int, int]:
    """The range of the answer of turn `number`, up to the first stop of the tokenizer behind it.

    The answer itself may occur elsewhere ("a" in "assistant"), so it is found where another word in its stead stands.
    """
    before = [*turns[:number], Turn("assistant", (_INSTEAD,))]
    whole, _ = _rendered(template, tokenizer, [*before, *turns[number + 1 :]], ask=False)
    last, _ = _rendered(template, tokenizer, before, ask=False)
    start, answer = whole.find(_INSTEAD), turns[number].text.strip()
    found = text[start:].lstrip() if start >= 0 else ""
    if start < 0 or not found.startswith(answer):
        raise BadInput("the chat template changes an answer's text, so its tokens are not known; name another template")
    end = len(text) - len(found) + len(answer)
    # The stop is what the template writes behind an answer that is the last one: no beginning of another turn.
    tail = last.partition(_INSTEAD)[2]
    stops = [tail.index(stop) + len(stop) for stop in special_tokens(tokenizer) if stop in tail]
    stop = tail[: min(stops, default=0)]
    return start, end + (len(stop) if text.startswith(stop, end) else 0)
