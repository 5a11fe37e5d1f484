"""Concept lists: the names a task is made of, from a file (`retrieval.concept_files`) or from Python.

Names are taken as they are written, without control characters, and keep their case. Two names that differ only in
case, in spaces or in marks that lay out a line (see `retrieval.named_concept`) are refused as one concept given twice,
unless ids tell them apart: ImageNet has two classes of the name crane, and two of the name maillot.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from index.errors import BadInput
from retrieval.concept_files import parse_concepts, read_concepts
from retrieval.named_concept import ConceptFile, NamedConcept, clean_name, quoted, without_layout_marks
from retrieval.templates import Templates, check_template, fill

__all__ = ["Concept", "ConceptList", "concept_labels", "concept_list", "load_concepts", "parse_concept_list"]


@dataclass(frozen=True)
class Concept:
    """One concept.

    aliases: further names. templates: its own ones (None: the list's). class_id: its id in the task, which tells it
    from another one of its name. literal_prompts: queries as they stand, in place of the list's templates; its own
    templates add to them.
    """

    name: str
    aliases: tuple[str, ...] = ()
    templates: tuple[str, ...] | None = None
    class_id: str | None = None
    literal_prompts: tuple[str, ...] = ()

    def prompts(self, templates: tuple[str, ...]) -> tuple[str, ...]:
        """The concept's queries, each text once, in order: its literal ones, or name and aliases in `templates`."""
        texts = self.templates or (() if self.literal_prompts else templates)
        filled = (fill(text, name) for name in (self.name, *self.aliases) for text in texts)
        return tuple(dict.fromkeys((*self.literal_prompts, *filled)))

    def to_json(self) -> dict[str, object]:
        """Plain JSON data; without literal prompts as it was before there were any."""
        plain: dict[str, object] = {
            "name": self.name,
            "aliases": self.aliases,
            "templates": self.templates,
            "class_id": self.class_id,
        }
        return {**plain, "literal_prompts": self.literal_prompts} if self.literal_prompts else plain


@dataclass(frozen=True)
class ConceptList:
    """Concepts in order (a concept's index is its class label), and the list's own templates, if any.

    notes: what of the file was not read, and what in names is easily overlooked, a sentence each.
    """

    concepts: tuple[Concept, ...]
    templates: tuple[str, ...] | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)

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

    def to_json(self) -> dict[str, object]:
        """What decides the queries, as plain JSON data."""
        return {"concepts": [concept.to_json() for concept in self.concepts], "templates": self.templates}

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


def concept_list(concepts: Iterable[str | Concept]) -> ConceptList:
    """A concept list from names or `Concept`s; raises BadInput as `load_concepts` does."""
    named = []
    for concept in concepts:
        whole = Concept(concept) if isinstance(concept, str) else concept
        for template in whole.templates or ():
            check_template(template, f"concept {whole.name!r}")
        prompts = whole.literal_prompts
        named.append(NamedConcept(None, whole.name, whole.class_id, whole.aliases, whole.templates, prompts))
    return _checked(ConceptFile("concepts", tuple(named)))


def load_concepts(path: str | os.PathLike[str]) -> ConceptList:
    """Read a concept list: text, CSV, TSV, YAML or JSON, see `retrieval.concept_files`; `-` is standard input.

    Raises BadInput, with file and line, for a missing file, text that is not UTF-8, no concept at all, a concept of
    only spaces, a name given twice without ids that differ, a template without `{}`, an unknown key.
    """
    return _checked(read_concepts(os.fspath(path)))


def parse_concept_list(text: str, where: str) -> ConceptList:
    """A concept list from a text of a stranger, in any form that files have; `where` stands for it in messages."""
    return _checked(parse_concepts(text, where, aliases=False))


def _checked(file: ConceptFile) -> ConceptList:
    """The concepts of a file with clean names. Raises BadInput for a name that cannot be one, or is there twice."""
    if not file.concepts:
        notes = f" ({'; '.join(file.notes)})" if file.notes else ""
        raise BadInput(f"{file.where}: no concept in it{notes}; write one name a line")
    # By name, and there by id: the concepts that have both. None stands for those without an id.
    seen: dict[str, dict[str | None, NamedConcept]] = {}
    concepts = []
    for named in file.concepts:
        at = f"{file.where}, line {named.line}" if named.line else file.where
        names = [clean_name(name) for name in (named.name, *named.aliases)]
        if not names[0]:
            raise BadInput(f"{at}: a concept of only spaces; write a name")
        if any(unicodedata.category(letter) == "Cc" for name in names for letter in name):
            raise BadInput(f"{at}: the concept {names[0]!r} holds a control character; remove it")
        for key, spelling in {_compared(name): name for name in names}.items():
            others = seen.setdefault(key, {})
            own = named.class_id
            same = next(iter(others.values()), None) if own is None else others.get(None) or others.get(own)
            if same is not None:
                raise BadInput(f"{at}: {_twice(spelling, same, own)}")
            others[own] = named
        concepts.append(Concept(names[0], tuple(names[1:]), named.templates, named.class_id, named.prompts))
    return ConceptList(tuple(concepts), file.templates, (*file.notes, *_marked(file)))


def _compared(name: str) -> str:
    """The name as it is compared with others: without case and layout marks, its accents in one of two spellings."""
    return unicodedata.normalize("NFC", without_layout_marks(name)).casefold()


def _marked(file: ConceptFile) -> tuple[str, ...]:
    """Names the names that hold marks of layout, which nobody sees."""
    names = [name for named in file.concepts for name in (named.name, *named.aliases)]
    marked = [name for name in names if without_layout_marks(name) != name]
    if not marked:
        return ()
    said = f"{len(marked):,} names hold" if len(marked) > 1 else "1 name holds"
    return (f"{said} invisible marks (soft hyphens, writing direction), which are kept: {quoted(marked)}",)


def _twice(spelling: str, earlier: NamedConcept, class_id: str | None) -> str:
    first = f" (line {earlier.line})" if earlier.line else ""
    if class_id is not None and earlier.class_id == class_id:
        return f"{spelling!r} is given twice{first} with the id {class_id}; give the two classes different ids"
    return (
        f"{spelling!r} is given twice{first}; give each concept once, by its own name, or give two classes of one name "
        "an id each (a CSV file with the columns name,id, or YAML)"
    )
