"""Chat templates of LLaVA's models, and which template a checkpoint uses.

    template = chat_template_of(processor)           # the checkpoint's own, or LLaVA's for LLaVA-1.5
    render(template, processor, turns, ask=True).text

LLaVA-1.5's template on the hub puts all images before the text and never writes `</s>`. A conversation that says
"Image 1: <image>" needs the images in their places, and a model that is trained without its stop never ends an answer;
so such checkpoints get `vicuna_v1`, which is what LLaVA-1.5 was trained with.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from index.errors import BadInput
from mining.chat.rendering import render, special_tokens, tokenizer_of
from mining.sets.annotation import Turn

__all__ = ["CHAT_TEMPLATES", "PLAIN", "VICUNA_SYSTEM", "VICUNA_V1", "VICUNA_V1_NO_SYSTEM", "chat_template_of"]

# The text before each conversation in Vicuna v1.1 and LLaVA-1.5: their training data, which answers depend on.
VICUNA_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
_CONTENT = (
    "{%- if message['content'] is string -%}{{ message['content'] }}{%- else -%}"
    "{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'image' -%}{{ '<image>' }}{%- else -%}{{ part['text'] }}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}"
)
# The space before an answer belongs to it: tokenizers join it with the first word, and the model is asked without it.
_VICUNA_TURNS = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'assistant' -%}{{ 'ASSISTANT:' }}"
    f"{{%- generation -%}}{{{{ ' ' }}}}{_CONTENT}{{{{ eos_token or '</s>' }}}}{{%- endgeneration -%}}"
    f"{{%- else -%}}{{%- if message['role'] == 'user' -%}}{{{{ 'USER: ' }}}}{{%- endif -%}}{_CONTENT}{{{{ ' ' }}}}"
    "{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ 'ASSISTANT:' }}{%- endif -%}"
)
_BOS = "{{- bos_token or '' -}}"
VICUNA_V1_NO_SYSTEM = f"{_BOS}{_VICUNA_TURNS}"
VICUNA_V1 = (
    f"{_BOS}{{%- if messages[0]['role'] != 'system' -%}}{{{{ \"{VICUNA_SYSTEM} \" }}}}{{%- endif -%}}{_VICUNA_TURNS}"
)
# Stage 1 of LLaVA: the images, then the caption and the end of its line; what the user says beside them is left out.
PLAIN = (
    f"{_BOS}{{%- for message in messages -%}}"
    "{%- if message['role'] == 'assistant' -%}"
    f"{{%- generation -%}}{_CONTENT}{{{{ '\\n' }}}}{{%- endgeneration -%}}"
    "{%- elif message['content'] is not string -%}"
    "{%- for part in message['content'] -%}{%- if part['type'] == 'image' -%}{{ '<image>' }}{%- endif -%}{%- endfor -%}"
    "{%- endif -%}{%- endfor -%}"
)
# vicuna_v1 begins with VICUNA_SYSTEM where the conversation has no system turn, vicuna_v1_no_system with the question.
CHAT_TEMPLATES: Mapping[str, str] = {
    "vicuna_v1": VICUNA_V1,
    "vicuna_v1_no_system": VICUNA_V1_NO_SYSTEM,
    "plain": PLAIN,
}
_OWN = "own"
# A conversation whose words are found again in any template's text.
_PROBE = (
    Turn("user", ("wordone ", 0, " wordtwo ", 1, " wordthree")),
    Turn("assistant", ("wordfour",)),
    Turn("user", ("wordfive",)),
    Turn("assistant", ("wordsix",)),
)


def chat_template_of(processor: Any, name: str | None = None) -> str:
    """The Jinja template that a checkpoint's conversations are written with.

    processor: the checkpoint's processor, or its tokenizer where it has no image processor. name: one of
    CHAT_TEMPLATES, "own" for the checkpoint's whatever it does, or None to choose: the checkpoint's own where it keeps
    images in their places and lets answers be trained with their stop; `vicuna_v1` where it does not and the stop is
    `</s>`, as in LLaVA-1.5 and Vicuna. Raises BadInput for an unknown name, and where no template can be chosen.
    """
    if name is not None and name != _OWN:
        if name not in CHAT_TEMPLATES:
            raise BadInput(f"chat template {name!r:.100}: choose one of {', '.join([*CHAT_TEMPLATES, _OWN])}")
        return CHAT_TEMPLATES[name]
    tokenizer = tokenizer_of(processor)
    own = _own_template(processor)
    if own is not None and name == _OWN:
        return own
    problem = "has no chat template" if own is None else _problem(own, processor)
    if own is not None and problem is None:
        return own
    if name is None and tokenizer.eos_token == "</s>":
        return VICUNA_V1
    raise BadInput(f"the checkpoint {problem}; name the template that it was trained with: {', '.join(CHAT_TEMPLATES)}")


def _own_template(processor: Any) -> str | None:
    for holder in (processor, tokenizer_of(processor)):
        found = getattr(holder, "chat_template", None)
        if isinstance(found, Mapping):
            found = found.get("default")
        if found:
            return str(found)
    return None


def _problem(template: str, processor: Any) -> str | None:
    """Why the template cannot be trained on or asked with; None where it can."""
    try:
        shown = render(template, processor, _PROBE)
        asked = render(template, processor, _PROBE[:-1], ask=True)
    except BadInput as error:
        return f"has a chat template that does not fit: {error}"
    places = [shown.text.find(word) for word in ("wordone", "wordtwo", "wordthree", "wordfour", "wordfive", "wordsix")]
    between = [shown.text[start:end] for start, end in pairwise(places[:3])]
    if -1 in places or places != sorted(places) or any(len(text.strip()) <= len("wordone") for text in between):
        return "has a chat template that moves images away from their places"
    answers = [shown.text[start:end] for start, end in shown.trained]
    stops = tuple(special_tokens(tokenizer_of(processor)))
    ends = [answer.rstrip().endswith(stops) for answer in answers]
    if len(answers) != 2 or not all(ends) or any("wordfive" in answer for answer in answers):
        return "has a chat template that does not mark its answers' stop for training"
    if shown.text[: shown.trained[-1][0]].rstrip() != asked.text.rstrip():
        return "has a chat template that asks otherwise than it is trained"
    return None
