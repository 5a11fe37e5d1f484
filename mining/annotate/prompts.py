"""Prompt texts: versioned files of sections in mining/annotate/prompts/, and data that is quoted in them.

    prompt = load_prompt("comparison-captions")
    prompt.fill("ask", images="two images", quotes=quoted_blocks([("Caption of image 1", caption)]))

Captions, notes and answers are data: `quoted_blocks` puts them between lines that cannot occur in them, and the prompts
say that what stands there is a quotation.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import resources

from index.errors import BadInput
from index.files import hash_json
from mining.export.templates import TEMPLATES, text_filter

__all__ = ["Prompt", "drawn", "load_prompt", "prompts_hash", "quoted_blocks"]

_PLACE = re.compile(r"\{([a-z_]+)\}")
_FENCE = "="
_SHORTEST = 5
# Most characters of one quoted text; Localized Narratives' longest captions have some 1,500.
_QUOTED = 6_000


@dataclass(frozen=True)
class Prompt:
    """One file of prompts. sections: name -> text with places such as {images}. digest: of version and sections."""

    name: str
    version: int
    sections: Mapping[str, str]

    @property
    def digest(self) -> str:
        return hash_json([self.name, self.version, dict(self.sections)])

    def fill(self, section: str, **values: str) -> str:
        """The section with its places filled. Places within the values stay as they are, since values are data."""
        return _PLACE.sub(lambda found: values[found[1]], self.sections[section])

    def lines(self, section: str) -> tuple[str, ...]:
        """The lines of a section that lists wordings of one thing."""
        return tuple(self.sections[section].splitlines())


@functools.cache
def load_prompt(name: str) -> Prompt:
    """The prompt of mining/annotate/prompts/NAME.txt. Raises BadInput for a file without its version."""
    text = (resources.files("mining.annotate") / "prompts" / f"{name}.txt").read_text(encoding="utf-8")
    head, *rest = re.split(r"^\[([^\]\n]+)\]$", text, flags=re.MULTILINE)
    version = re.search(r"^version: (\d+)$", head, flags=re.MULTILINE)
    if version is None:
        raise BadInput(f"prompts/{name}.txt: has no line 'version: NUMBER' before its first section")
    sections = {title: body.strip() for title, body in zip(rest[::2], rest[1::2], strict=True)}
    return Prompt(name, int(version[1]), sections)


def prompts_hash(names: Iterable[str], *settings: object) -> str:
    """16 hex digits: a hash of these prompts' texts and versions, and of settings (JSON data) that change requests."""
    return hash_json([[load_prompt(name).digest for name in names], list(settings)])[:16]


def drawn(count: int, *seed: object) -> int:
    """A number below `count`, drawn by the hash of `seed`: the same on every machine and in every run."""
    digest = hashlib.sha256("|".join(map(str, seed)).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % count


def quoted_blocks(labelled: Iterable[tuple[str, str]]) -> str:
    """Texts as quotations: a label, then the text between two lines of `=` that are longer than any run of = in them.

    Strings that a model's prompt gives a meaning to (`<image>`, `[INST]`, `USER:`) are broken by a space, and what is
    longer than 6,000 characters is cut.
    """
    plain = _plain()
    texts = [(label, plain(_one_form(text[:_QUOTED]))) for label, text in labelled]
    runs = [len(run) for _, text in texts for run in re.findall(f"{_FENCE}+", text)]
    fence = _FENCE * max(_SHORTEST, max(runs, default=0) + 1)
    return "\n".join(f"{label}:\n{fence}\n{text}\n{fence}" for label, text in texts)


def _one_form(text: str) -> str:
    """The text without control characters, its lines stripped and empty ones left out."""
    lines = (" ".join(line.split()) for line in re.split(r"[\n\v\f\r\x85\u2028\u2029]+", text))
    kept = "\n".join(line for line in lines if line)
    return "".join(each for each in kept if each == "\n" or (each.isprintable()))


@functools.cache
def _plain() -> Callable[[str], str]:
    return text_filter(sorted({each for listed in TEMPLATES.values() for each in listed}))
