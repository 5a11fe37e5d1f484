"""Concept lists: the names a task is made of, from a text file (one a line) or a YAML file with prompt templates.

    golden retriever          |   templates: [openai_imagenet, "a close-up of a {}."]
    # a comment               |   concepts:
    fire engine               |     - fire engine
                              |     - {name: crane, id: 134, aliases: [crane bird], templates: ["a {}, a bird."]}

Every error names the file and the line. Names keep their case; two names that differ only in case or spaces are
refused as one concept given twice.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from index.errors import BadInput
from retrieval.templates import (
    PLACE,
    TEMPLATE_SETS,
    Templates,
    check_template,
    fill,
    load_templates,
    numbered_lines,
    read_text,
    shown_path,
)

if TYPE_CHECKING:
    import yaml

__all__ = ["Concept", "ConceptList", "concept_list", "load_concepts"]

_CONCEPT_KEYS = ("name", "id", "aliases", "templates")
_LIST_KEYS = ("templates", "concepts")


@dataclass(frozen=True)
class Concept:
    """One concept. aliases: further names; templates: its own ones (None: the list's); class_id: its id in the task."""

    name: str
    aliases: tuple[str, ...] = ()
    templates: tuple[str, ...] | None = None
    class_id: str | None = None

    def prompts(self, templates: tuple[str, ...]) -> tuple[str, ...]:
        """The concept's queries: name and aliases in its own templates or in `templates`; each text once, in order."""
        texts = self.templates or templates
        return tuple(dict.fromkeys(fill(text, name) for name in (self.name, *self.aliases) for text in texts))


@dataclass(frozen=True)
class ConceptList:
    """Concepts in order (a concept's index is its class label), and the list's own templates, if any."""

    concepts: tuple[Concept, ...]
    templates: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.concepts)

    def __iter__(self) -> Iterator[Concept]:
        return iter(self.concepts)

    @property
    def names(self) -> tuple[str, ...]:
        """The concepts' names, in order."""
        return tuple(concept.name for concept in self.concepts)

    def prompts(self, templates: Templates) -> tuple[tuple[str, ...], ...]:
        """The queries of each concept, eq. 2.1 of the REACT chapter; `templates` are used where the list has none."""
        return tuple(concept.prompts(self.templates or templates.texts) for concept in self.concepts)


@dataclass(frozen=True)
class _Entry:
    line: int | None
    concept: Concept


def concept_list(concepts: Iterable[str | Concept]) -> ConceptList:
    """A concept list from names or `Concept`s; raises BadInput as `load_concepts` does."""
    entries = []
    for concept in concepts:
        whole = Concept(concept) if isinstance(concept, str) else concept
        for template in whole.templates or ():
            check_template(template, f"concept {whole.name!r}")
        entries.append(_Entry(None, dataclasses.replace(whole, name=_clean(whole.name))))
    return _checked("concepts", entries, None)


def load_concepts(path: str | os.PathLike[str]) -> ConceptList:
    """Read a `.yaml` or `.yml` file, or any other as a text file with one name a line; `-` is standard input.

    In a text file `#` starts a comment line and empty lines are skipped. Raises BadInput, with file and line, for a
    missing file, text that is not UTF-8, no concept at all, a concept of only spaces, a name given twice, a template
    without `{}`, an unknown key.
    """
    name = os.fspath(path)
    if Path(name).suffix.lower() in (".yaml", ".yml"):
        return _from_yaml(name, read_text(name))
    entries = []
    where = shown_path(name)
    for number, line in numbered_lines(name):
        if line and not line.strip():
            raise BadInput(f"{where}, line {number}: a concept of only spaces; write a name or leave the line empty")
        if line and not line.lstrip().startswith("#"):
            entries.append(_Entry(number, Concept(_clean(line))))
    return _checked(where, entries, None)


def _clean(name: str) -> str:
    return " ".join(name.split())


def _checked(where: str, entries: list[_Entry], templates: tuple[str, ...] | None) -> ConceptList:
    if not entries:
        raise BadInput(f"{where}: no concept in it; write one name a line")
    seen: dict[str, _Entry] = {}
    for entry in entries:
        at = _at(where, entry.line)
        if not entry.concept.name:
            raise BadInput(f"{at}: a concept of only spaces; write a name")
        if not entry.concept.name.isprintable():
            raise BadInput(f"{at}: the concept {entry.concept.name!r} holds a control character; remove it")
        for spelling in (entry.concept.name, *entry.concept.aliases):
            earlier = seen.setdefault(spelling.casefold(), entry)
            if earlier is not entry:
                first = f" (line {earlier.line})" if earlier.line else ""
                raise BadInput(f"{at}: {spelling!r} is given twice{first}; give each concept once, by its own name")
    return ConceptList(tuple(entry.concept for entry in entries), templates)


def _at(where: str, line: int | None) -> str:
    return f"{where}, line {line}" if line else where


def _from_yaml(path: str, text: str) -> ConceptList:
    import yaml

    try:
        # Nodes have line numbers, and in them `no`, `on` and `12` stay texts.
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else None
        raise BadInput(f"{_at(path, line)}: not YAML: {getattr(error, 'problem', None) or error}") from error
    if root is None:
        return _checked(path, [], None)
    templates: tuple[str, ...] | None = None
    concepts = root
    if isinstance(root, yaml.MappingNode):
        fields = _fields(path, root, _LIST_KEYS)
        if "concepts" not in fields:
            raise BadInput(f"{path}, line 1: has no key 'concepts'; a list of names goes below it")
        concepts = fields["concepts"]
        templates = _templates(path, fields.get("templates"))
    if not isinstance(concepts, yaml.SequenceNode):
        raise BadInput(f"{_at(path, _line(concepts))}: expected a list of concepts ('- name' a line)")
    return _checked(path, [_entry(path, node) for node in concepts.value], templates)


def _entry(path: str, node: yaml.Node) -> _Entry:
    import yaml

    if isinstance(node, yaml.ScalarNode):
        return _Entry(_line(node), Concept(_clean(node.value)))
    if not isinstance(node, yaml.MappingNode):
        raise BadInput(f"{_at(path, _line(node))}: a concept is a name, or a mapping with {', '.join(_CONCEPT_KEYS)}")
    fields = _fields(path, node, _CONCEPT_KEYS)
    if "name" not in fields:
        raise BadInput(f"{_at(path, _line(node))}: this concept has no 'name'")
    aliases = tuple(_clean(alias) for alias, _ in _scalars(path, fields.get("aliases")))
    if not all(aliases):
        raise BadInput(f"{_at(path, _line(node))}: an alias of only spaces; write a name")
    return _Entry(
        _line(node),
        Concept(
            name=_clean(_scalar(path, fields["name"])),
            aliases=aliases,
            templates=_templates(path, fields.get("templates")),
            class_id=_scalar(path, fields["id"]) if "id" in fields else None,
        ),
    )


def _templates(path: str, node: yaml.Node | None) -> tuple[str, ...] | None:
    if node is None:
        return None
    texts: list[str] = []
    for text, line in _scalars(path, node):
        if text in TEMPLATE_SETS:
            texts.extend(load_templates(text).texts)
        else:
            texts.append(check_template(text, f"{path}, line {line}"))
    if not texts:
        raise BadInput(f"{_at(path, _line(node))}: 'templates' is empty; a template looks like 'a photo of a {PLACE}.'")
    return tuple(dict.fromkeys(texts))


def _fields(path: str, node: yaml.MappingNode, valid: tuple[str, ...]) -> dict[str, yaml.Node]:
    fields: dict[str, yaml.Node] = {}
    for key, value in node.value:
        name = _scalar(path, key)
        if name not in valid:
            raise BadInput(f"{_at(path, _line(key))}: unknown key {name!r}; valid here: {', '.join(valid)}")
        if name in fields:
            raise BadInput(f"{_at(path, _line(key))}: the key {name!r} is given twice")
        fields[name] = value
    return fields


def _scalar(path: str, node: yaml.Node) -> str:
    import yaml

    if not isinstance(node, yaml.ScalarNode):
        raise BadInput(f"{_at(path, _line(node))}: expected one word or text here (quote a template that has {PLACE})")
    return str(node.value)


def _scalars(path: str, node: yaml.Node | None) -> list[tuple[str, int]]:
    """The texts of a list, or of a single scalar, each with its line."""
    import yaml

    if node is None:
        return []
    nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
    return [(_scalar(path, item), _line(item)) for item in nodes]


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
