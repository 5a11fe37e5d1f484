"""The strings that a model's prompt gives a meaning to, and texts in which they are only text.

A caption from the web may contain `<image>` or `</s>`. A trainer would count one more image, or train the model to stop
there. In a text every such string is broken by a space: `< /s>`, `[ INST]`, `ASSISTANT :`; `<image>` becomes `image`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from index.errors import BadInput
from mining.sets.annotation import IMAGE

__all__ = ["TEMPLATES", "Template", "text_filter"]

# A name of TEMPLATES, a list of strings such as `tokenizer.all_special_tokens`, or None.
Template = str | Sequence[str] | None

_LLAMA_2 = ("<s>", "</s>", "<unk>", "<pad>", "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>")
_LLAVA = (IMAGE, "<video>", "<im_start>", "<im_end>", "<im_patch>", "<image_placeholder>")
# The strings of each template that are no plain text, as its tokenizer or the code that splits its turns reads them.
TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "plain": _LLAVA,
    "vicuna_v1": (*_LLAVA, "<s>", "</s>", "<unk>", "<pad>", "USER:", "ASSISTANT:"),
    "v0": (*_LLAVA, "<s>", "</s>", "<unk>", "<pad>", "###"),
    "llama_2": (*_LLAVA, *_LLAMA_2),
    "llama_3": (
        *_LLAVA,
        *("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        *("<|eom_id|>", "<|python_tag|>", "<|image|>"),
    ),
    "mistral": (*_LLAVA, *_LLAMA_2, "[IMG]", "[IMG_BREAK]", "[IMG_END]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
    "chatml": (*_LLAVA, "<|im_start|>", "<|im_end|>", "<|endoftext|>"),
    "qwen_vl": (
        *(*_LLAVA, "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|vision_start|>", "<|vision_end|>"),
        *("<|image_pad|>", "<|video_pad|>", "<|vision_pad|>", "<|object_ref_start|>", "<|object_ref_end|>"),
        *("<|box_start|>", "<|box_end|>", "<think>", "</think>", "<tool_call>", "</tool_call>"),
    ),
    "gemma": (
        *(*_LLAVA, "<bos>", "<eos>", "<unk>", "<pad>", "<start_of_turn>", "<end_of_turn>"),
        *("<start_of_image>", "<end_of_image>", "<image_soft_token>"),
    ),
    "phi_3": (*_LLAVA, "<s>", "</s>", "<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
    "idefics": (*_LLAVA, "<s>", "</s>", "<end_of_utterance>", "<fake_token_around_image>", "<global-img>"),
}
# Words of templates that ordinary text has as well: headings in Markdown, a transcript. Only their own template counts
# them, so that texts for another one keep them.
_ORDINARY = {"###", "USER:", "ASSISTANT:"}
# Any `<|name|>`, for every template: ordinary text has none.
_PIPED = r"<\|[A-Za-z0-9_ -]{1,40}\|>"


def text_filter(template: Template = None) -> Callable[[str], str]:
    """A function text -> the text without any special string of the template, in which nothing else is changed.

    template: a name of TEMPLATES, or the strings themselves. None takes those of all templates but the words that
    ordinary text has too (`###`, `USER:`, `ASSISTANT:`). Raises BadInput for an unknown name.
    """
    pattern = _pattern(template if template is None or isinstance(template, str) else tuple(template))

    def plain(text: str) -> str:
        # Repeated, since breaking one string may complete another ("</<image>s>"). It ends, because every round removes
        # brackets or puts a space between two characters that had none.
        while True:
            found = pattern.sub(_broken, text)
            if found == text:
                return text
            text = found

    return plain


@lru_cache(maxsize=64)
def _pattern(template: str | tuple[str, ...] | None) -> re.Pattern[str]:
    if template is None:
        special = {each for listed in TEMPLATES.values() for each in listed} - _ORDINARY
    elif isinstance(template, str):
        if template not in TEMPLATES:
            raise BadInput(f"template {template!r:.100}: choose one of {', '.join(TEMPLATES)}, or give its strings")
        special = set(TEMPLATES[template])
    else:
        # One character cannot be broken, and with a space inside breaking would not end.
        special = {IMAGE, *(each for each in template if len(each) > 1 and not re.search(r"\s", each))}
    longest_first = sorted(special, key=lambda each: (-len(each), each))
    return re.compile("|".join([*map(re.escape, longest_first), _PIPED]))


def _broken(found: re.Match[str]) -> str:
    text = found[0]
    if text == IMAGE:
        return "image"
    place = len(text) - 1 if text.endswith(":") else 1
    return f"{text[:place]} {text[place:]}"
