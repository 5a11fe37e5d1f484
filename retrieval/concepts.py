"""Concept lists: the names a task is made of, from a text file (one a line), a CSV file or a YAML file.

    golden retriever | name,id                 |   templates: [openai_imagenet, "a close-up of a {}."]
    # a comment      | crane,134               |   concepts:
    fire engine      | "kite, bird of prey",21 |     - fire engine
                     | crane,517               |     - {name: crane, id: 134, aliases: [a bird], templates: ["a {}."]}

Every error names the file and the line. Names are taken as they are written, without control characters, and keep their
case. Two names that differ only in case or spaces are refused as one concept given twice, unless ids tell them apart:
ImageNet has two classes of the name crane, and two of the name maillot.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
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

__all__ = ["Concept", "ConceptList", "concept_labels", "concept_list", "load_concepts"]

_CONCEPT_KEYS = ("name", "id", "aliases", "templates")
_LIST_KEYS = ("templates", "concepts")
_CSV_COLUMNS = ("name", "id")


@dataclass(frozen=True)
class Concept:
    """One concept. aliases: further names; templates: its own ones (None: the list's); class_id: its id in the task,
    which tells it from another one of its name."""

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
        """The concepts' names, in order; two concepts may have the same one."""
        return tuple(concept.name for concept in self.concepts)

    @property
    def labels(self) -> tuple[str, ...]:
        """A text for each concept, in order, no two of them equal (`concept_labels`)."""
        return concept_labels([(concept.name, concept.class_id) for concept in self.concepts])

    def prompts(self, templates: Templates) -> tuple[tuple[str, ...], ...]:
        """The queries of each concept, eq. 2.1 of the REACT chapter; `templates` are used where the list has none."""
        return tuple(concept.prompts(self.templates or templates.texts) for concept in self.concepts)


def concept_labels(concepts: Sequence[tuple[str, str | None]]) -> tuple[str, ...]:
    """A text for each concept (name, id), no two of them equal: its name; `crane (517)` where several have the name."""
    several = {name for name, count in Counter(name for name, _ in concepts).items() if count > 1}
    labels: dict[str, None] = {}
    taken = {name for name, _ in concepts} - several
    for name, class_id in concepts:
        label = f"{name} ({class_id})" if name in several else name
        while label in labels or (name in several and label in taken):
            label += "'"
        labels[label] = None
    return tuple(labels)


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
    """Read a `.yaml`, `.yml` or `.csv` file, or any other as a text file with one name a line; `-` is standard input.

    In a text file `#` starts a comment line and empty lines are skipped. A CSV file has the columns `name` and, if
    wanted, `id`. Raises BadInput, with file and line, for a missing file, text that is not UTF-8, no concept at all, a
    concept of only spaces, a name given twice without ids that differ, a template without `{}`, an unknown key.
    """
    name = os.fspath(path)
    suffix = Path(name).suffix.lower()
    if suffix in (".yaml", ".yml"):
        return _from_yaml(name, read_text(name))
    if suffix == ".csv":
        return _from_csv(name, read_text(name))
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
    seen: dict[str, list[_Entry]] = {}
    for entry in entries:
        at = _at(where, entry.line)
        if not entry.concept.name:
            raise BadInput(f"{at}: a concept of only spaces; write a name")
        if any(unicodedata.category(letter) == "Cc" for letter in entry.concept.name):
            raise BadInput(f"{at}: the concept {entry.concept.name!r} holds a control character; remove it")
        own = entry.concept.class_id
        for spelling in {text.casefold(): text for text in (entry.concept.name, *entry.concept.aliases)}.values():
            others = seen.setdefault(spelling.casefold(), [])
            same = next((other for other in others if own is None or other.concept.class_id in (None, own)), None)
            if same is not None:
                raise BadInput(f"{at}: {_twice(spelling, same, own)}")
            others.append(entry)
    return ConceptList(tuple(entry.concept for entry in entries), templates)


def _twice(spelling: str, earlier: _Entry, class_id: str | None) -> str:
    first = f" (line {earlier.line})" if earlier.line else ""
    if class_id is not None and earlier.concept.class_id == class_id:
        return f"{spelling!r} is given twice{first} with the id {class_id}; give the two classes different ids"
    return (
        f"{spelling!r} is given twice{first}; give each concept once, by its own name, or give two classes of one name "
        "an id each (a CSV file with the columns name,id, or YAML)"
    )


def _at(where: str, line: int | None) -> str:
    return f"{where}, line {line}" if line else where


def _from_csv(path: str, text: str) -> ConceptList:
    rows = csv.reader(io.StringIO(text, newline=""))
    entries: list[_Entry] = []
    header: list[str] | None = None
    try:
        for row in rows:
            cells = [_clean(cell) for cell in row]
            if not any(cells) or cells[0].startswith("#"):
                continue
            if header is None:
                header = [cell.casefold() for cell in cells]
                if "name" not in header or not set(header) <= set(_CSV_COLUMNS) or len(set(header)) < len(header):
                    raise BadInput(
                        f"{path}, line {rows.line_num}: the first line of a CSV file names its columns, name and id, "
                        f"not {row!r:.100}; a list of names alone is a .txt file"
                    )
            elif len(cells) != len(header):
                raise BadInput(
                    f"{path}, line {rows.line_num}: has {len(cells)} cells, not {len(header)}; put a name with a "
                    "comma in double quotes"
                )
            else:
                fields = dict(zip(header, cells, strict=True))
                entries.append(_Entry(rows.line_num, Concept(fields["name"], class_id=fields.get("id") or None)))
    except csv.Error as error:
        raise BadInput(f"{path}, line {rows.line_num}: not CSV: {error}") from error
    return _checked(path, entries, None)


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
