"""Prompt templates: open_clip's sets by name, or the user's own, as text with `{}` in the concept's place.

Filling a template replaces the two characters `{}` only. `str.format` is not used, since it gives a template access to
attributes of its arguments. Articles ("a", "an", "the") are written in the template and are not changed.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from index.errors import BadInput
from index.files import exists, read_bytes

__all__ = ["TEMPLATE_SETS", "Templates", "fill", "load_templates"]

PLACE = "{}"
TEMPLATE_SETS = ("openai_imagenet", "simple", "name")
LINE_END = re.compile(r"\r\n|\n|\r")
_OPEN_CLIP_NAMES = {"openai_imagenet": "OPENAI_IMAGENET_TEMPLATES", "simple": "SIMPLE_IMAGENET_TEMPLATES"}


@dataclass(frozen=True)
class Templates:
    """Templates and where they are from: `name` is the name of a set or a file, or "inline"."""

    name: str
    texts: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.texts:
            raise BadInput(f"templates {self.name}: none given; a template looks like 'a photo of a {PLACE}.'")
        for text in self.texts:
            check_template(text, f"templates {self.name}")


def fill(template: str, concept: str) -> str:
    """The prompt: `template` with every `{}` replaced by `concept`; other braces stay as they are."""
    return template.replace(PLACE, concept)


def check_template(text: str, where: str) -> str:
    """`text` itself; BadInput, starting with `where`, when it has no `{}`."""
    if PLACE not in text:
        raise BadInput(
            f"{where}: the template {text!r} has no {PLACE} where the concept goes (and is no set's name: "
            f"{', '.join(TEMPLATE_SETS)})"
        )
    return text


def load_templates(source: Templates | str | os.PathLike[str] | Iterable[str]) -> Templates:
    """Templates from a set's name, a text file, one template, or several of these.

    A file has one template a line; `#` starts a comment line, and `-` is standard input.

    The sets are `openai_imagenet` (80 templates, from CLIP's ImageNet evaluation), `simple` (the 7 that CLIP's authors
    found best) and `name` (the concept alone). Raises BadInput for anything else, and for a template without `{}`.
    """
    if isinstance(source, Templates):
        return source
    if isinstance(source, (str, os.PathLike)):
        return _from_one(os.fspath(source))
    several = [_from_one(text) for text in source]
    if len(several) == 1:
        return several[0]
    texts = dict.fromkeys(text for templates in several for text in templates.texts)
    return Templates("+".join(dict.fromkeys(templates.name for templates in several)) or "inline", tuple(texts))


def _from_one(text: str) -> Templates:
    if text in TEMPLATE_SETS:
        return Templates(text, _named_set(text))
    if PLACE in text:
        return Templates("inline", (text,))
    if text == "-" or exists(text):
        return _from_file(text)
    raise BadInput(
        f"templates {text!r}: unknown. Give one of {', '.join(TEMPLATE_SETS)}, a text file with one template a line, "
        f"or a template such as 'a photo of a {PLACE}.'"
    )


def _from_file(path: str) -> Templates:
    texts: list[str] = []
    for number, line in numbered_lines(path):
        template = line.strip()
        if not template or template.startswith("#"):
            continue
        texts.append(check_template(template, f"{shown_path(path)}, line {number}"))
    return Templates(Path(shown_path(path)).name, tuple(dict.fromkeys(texts)))


def numbered_lines(path: str | os.PathLike[str]) -> list[tuple[int, str]]:
    """`(line number from 1, line without its end)` of a UTF-8 text file, with or without byte-order mark and CRLF.

    `-` is standard input. Raises BadInput when the file is missing, is a folder, or is not UTF-8 (with the line of the
    first bad byte).
    """
    # str.splitlines also splits at characters that no editor takes for the end of a line.
    return list(enumerate(LINE_END.split(read_text(path)), start=1))


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a UTF-8 file, or of standard input for `-`, without byte-order mark; raises as `numbered_lines`."""
    name = os.fspath(path)
    try:
        data = sys.stdin.buffer.read() if name == "-" else read_bytes(name)
    except FileNotFoundError as error:
        raise BadInput(f"{name}: no such file") from error
    except (IsADirectoryError, PermissionError) as error:
        raise BadInput(f"{name}: cannot be read as a file: {error.strerror}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadInput(f"{shown_path(name)}, line {line}: not UTF-8 text; save the file as UTF-8") from error


def shown_path(path: str) -> str:
    """A list's path for messages."""
    return "standard input" if path == "-" else path


@functools.cache
def _named_set(name: str) -> tuple[str, ...]:
    if name == "name":
        return (PLACE,)
    functions: Iterable[Callable[[str], str]] = getattr(_open_clip_metadata(), _OPEN_CLIP_NAMES[name])
    # open_clip's templates are functions of the class name; given the place itself, they return the text around it.
    return tuple(function(PLACE) for function in functions)


def _open_clip_metadata() -> Any:
    """open_clip's module `zero_shot_metadata`, loaded alone: importing the package would import torch."""
    package = importlib.util.find_spec("open_clip")
    if package is None or not package.submodule_search_locations:
        raise BadInput("open_clip is not installed, whose template sets were asked for: pip install open_clip_torch")
    path = Path(next(iter(package.submodule_search_locations))) / "zero_shot_metadata.py"
    spec = importlib.util.spec_from_file_location("retrieval._zero_shot_metadata", path)
    if spec is None or spec.loader is None:
        raise BadInput(f"{path}: open_clip's template sets cannot be read; reinstall open_clip_torch")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
