"""Concept lists as YAML or JSON: a list of concepts, with templates, or prompts by name as CuPL publishes them.

templates: [simple]                    # for all concepts; the names of sets, or texts with {}
concepts:
  - fire engine
  - name: crane
    id: 134
    aliases: [wading bird]
    templates: ["a {}, a kind of bird."]                     # in place of the list's
  - name: tench
    prompts: ["A tench is a long fish, olive green."]        # queries as they stand, in place of templates

{"tench": ["A tench is a long fish, olive green."], "goldfish": ["A goldfish is small and orange."]}
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from index.errors import BadInput
from retrieval.named_concept import ConceptFile, NamedConcept, clean_name
from retrieval.templates import PLACE, TEMPLATE_SETS, check_template, load_templates

if TYPE_CHECKING:
    import yaml

__all__ = ["parse_yaml"]

# Of a stranger's text. The reader's time grows with the depth of brackets too: it looks at all open ones at each word.
MOST_CHARACTERS, MOST_DEPTH = 100_000, 50
_BRACKETS = re.compile(r"[\[\]{}]")
_CONCEPT_KEYS = ("name", "id", "aliases", "templates", "prompts")
_LIST_KEYS = ("templates", "concepts")


def parse_yaml(text: str, where: str, *, aliases: bool = True) -> ConceptFile:
    """The concepts of a YAML or JSON text; where: its name, for messages.

    aliases: whether YAML's anchors and aliases are read; with them, a short text can stand for a very long one. Without
    them the text is a stranger's, and its length and depth are bounded, since YAML is read at 300,000 characters/s.

    Raises BadInput, with the line, for a text that is none, an unknown key, or a template without {}.
    """
    import yaml

    if not aliases:
        _check_strangers(text, where)
        _refuse_aliases(text, where)
    try:
        # Nodes have line numbers, and in them `no`, `on` and `12` stay texts.
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except RecursionError as error:
        raise BadInput(f"{where}: not a concept list: its brackets are nested too deeply") from error
    except (ValueError, OverflowError) as error:  # of a number that is no character's: "\UFFFFFFFF"
        raise BadInput(f"{where}: not YAML: one of its escapes is no character") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f"{where}, line {mark.line + 1}" if mark else where
        raise BadInput(f"{at}: not YAML: {getattr(error, 'problem', None) or error}") from error
    if root is None:
        return ConceptFile(where, ())
    templates: tuple[str, ...] | None = None
    concepts = root
    if isinstance(root, yaml.MappingNode):
        if _gives_prompts_by_name(root):
            return ConceptFile(where, tuple(_prompts_by_name(where, root)))
        fields = _fields(where, root, _LIST_KEYS)
        if "concepts" not in fields:
            raise BadInput(f"{where}, line 1: has no key 'concepts'; a list of names goes below it")
        concepts = fields["concepts"]
        templates = _templates(where, fields.get("templates"))
    if not isinstance(concepts, yaml.SequenceNode):
        raise BadInput(f"{_at(where, concepts)}: expected a list of concepts ('- name' a line)")
    return ConceptFile(where, tuple(_concept(where, node) for node in concepts.value), templates)


def _check_strangers(text: str, where: str) -> None:
    if len(text) > MOST_CHARACTERS:
        raise BadInput(
            f"{where}: YAML or JSON of {len(text):,} characters: at most {MOST_CHARACTERS:,} are read here; send names "
            "(one a line) or CSV"
        )
    depth = 0
    for bracket in _BRACKETS.findall(text):
        depth = depth + 1 if bracket in "[{" else max(0, depth - 1)
        if depth > MOST_DEPTH:
            raise BadInput(f"{where}: not a concept list: its brackets are nested too deeply")


def _refuse_aliases(text: str, where: str) -> None:
    import yaml

    try:
        found = next((token for token in yaml.scan(text) if isinstance(token, yaml.AliasToken)), None)
    except (yaml.YAMLError, ValueError, OverflowError):  # said when the text is read
        return
    if found is not None:
        raise BadInput(
            f"{where}, line {found.start_mark.line + 1}: YAML aliases (*name) are not read here; write it out"
        )


def _gives_prompts_by_name(root: yaml.MappingNode) -> bool:
    """Whether a mapping has the form {name: [prompt, ...]} for all its keys."""
    import yaml

    if not root.value or {key.value for key, _ in root.value if isinstance(key, yaml.ScalarNode)} & set(_LIST_KEYS):
        return False
    return all(isinstance(key, yaml.ScalarNode) and _is_list_of_texts(value) for key, value in root.value) and not (
        # A slip of the pen in `concepts:` is no name with prompts.
        len(root.value) == 1 and not any(" " in str(each.value) for each in root.value[0][1].value)
    )


def _is_list_of_texts(node: yaml.Node) -> bool:
    import yaml

    return isinstance(node, yaml.SequenceNode) and all(isinstance(each, yaml.ScalarNode) for each in node.value)


def _prompts_by_name(where: str, root: yaml.MappingNode) -> list[NamedConcept]:
    return [
        NamedConcept(_line(key), _scalar(where, key), prompts=_prompts(where, value) or ()) for key, value in root.value
    ]


def _concept(where: str, node: yaml.Node) -> NamedConcept:
    import yaml

    if isinstance(node, yaml.ScalarNode):
        return NamedConcept(_line(node), node.value)
    if not isinstance(node, yaml.MappingNode):
        raise BadInput(f"{_at(where, node)}: a concept is a name, or a mapping with {', '.join(_CONCEPT_KEYS)}")
    fields = _fields(where, node, _CONCEPT_KEYS)
    if "name" not in fields:
        raise BadInput(f"{_at(where, node)}: this concept has no 'name'")
    aliases = tuple(alias for alias, _ in _scalars(where, fields.get("aliases")))
    if not all(map(clean_name, aliases)):
        raise BadInput(f"{_at(where, node)}: an alias of only spaces; write a name")
    return NamedConcept(
        _line(node),
        _scalar(where, fields["name"]),
        _scalar(where, fields["id"]) if "id" in fields else None,
        aliases,
        _templates(where, fields.get("templates")),
        _prompts(where, fields.get("prompts")) or (),
    )


def _templates(where: str, node: yaml.Node | None) -> tuple[str, ...] | None:
    if node is None:
        return None
    texts: list[str] = []
    for text, line in _scalars(where, node):
        if text in TEMPLATE_SETS:
            texts.extend(load_templates(text).texts)
        else:
            texts.append(check_template(text, f"{where}, line {line}"))
    if not texts:
        raise BadInput(f"{_at(where, node)}: 'templates' is empty; a template looks like 'a photo of a {PLACE}.'")
    return tuple(dict.fromkeys(texts))


def _prompts(where: str, node: yaml.Node | None) -> tuple[str, ...] | None:
    """Literal queries; each text once, in order."""
    if node is None:
        return None
    found = []
    for text, line in _scalars(where, node):
        if not text.strip():
            raise BadInput(f"{where}, line {line}: a prompt of only spaces; write a sentence")
        if PLACE in text:
            raise BadInput(f"{where}, line {line}: the prompt {text!r:.80} holds {PLACE}; put it under 'templates'")
        found.append(text)
    if not found:
        raise BadInput(f"{_at(where, node)}: 'prompts' is empty; a prompt is a sentence about the concept")
    return tuple(dict.fromkeys(found))


def _fields(where: str, node: yaml.MappingNode, valid: tuple[str, ...]) -> dict[str, yaml.Node]:
    fields: dict[str, yaml.Node] = {}
    for key, value in node.value:
        name = _scalar(where, key)
        if name not in valid:
            raise BadInput(f"{_at(where, key)}: unknown key {name!r}; valid here: {', '.join(valid)}")
        if name in fields:
            raise BadInput(f"{_at(where, key)}: the key {name!r} is given twice")
        fields[name] = value
    return fields


def _scalar(where: str, node: yaml.Node) -> str:
    import yaml

    if not isinstance(node, yaml.ScalarNode):
        raise BadInput(f"{_at(where, node)}: expected one word or text here (quote a template that has {PLACE})")
    return str(node.value)


def _scalars(where: str, node: yaml.Node | None) -> list[tuple[str, int]]:
    """The texts of a list, or of a single scalar, each with its line."""
    import yaml

    if node is None:
        return []
    nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
    return [(_scalar(where, item), _line(item)) for item in nodes]


def _at(where: str, node: yaml.Node) -> str:
    return f"{where}, line {_line(node)}"


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
