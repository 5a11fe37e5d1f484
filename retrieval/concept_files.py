"""Reads the files of concept lists: text (one name a line), CSV and TSV with columns, YAML and JSON.

    golden retriever | name,id                 |   templates: [openai_imagenet, "a close-up of a {}."]
    # a comment      | crane,134               |   concepts:
    fire engine      | "kite, bird of prey",21 |     - fire engine
    \\#hashtag        | crane,517               |     - {name: crane, id: 134, aliases: [a bird], templates: ["a {}."]}
                     |                         |     - {name: tench, prompts: ["A tench is a long, green fish."]}

The form is that of the file's name (.csv, .tsv, .yaml, .yml, .json). Any other file, and standard input, is read as CSV
where its first line names the columns, as YAML where it looks like YAML or JSON, and else as text. `retrieval.concepts`
checks what was read. What a reader passes over is in `ConceptFile.notes`. Errors name the file and the line.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from index.errors import BadInput
from retrieval.concept_yaml import parse_yaml
from retrieval.named_concept import ConceptFile, NamedConcept, clean_name, quoted
from retrieval.templates import LINE_END, read_text, shown_path

__all__ = ["parse_concepts", "read_concepts"]

_YAML, _CSV = (".yaml", ".yml", ".json"), (".csv", ".tsv")
# Of a table's columns, by what people call them. `name` wins over the others.
_NAME_COLUMNS = ("name", "concept", "class_name", "classname", "class", "label")
_ID_COLUMNS = ("id", "class_id")
_DELIMITERS = (",", ";", "\t")
_YAML_KEY = re.compile(r"(concepts|templates)\s*:(\s|$)")


def read_concepts(path: str) -> ConceptFile:
    """Read a file, or standard input for `-`; raises BadInput as `parse_concepts`, and for a file that is not there."""
    suffix = Path(path).suffix.lower() if path != "-" else ""
    return parse_concepts(read_text(path), shown_path(path), suffix)


def parse_concepts(text: str, where: str, suffix: str = "", *, aliases: bool = True) -> ConceptFile:
    """The concepts of a text. where: its name, for messages. suffix: the ending that says which form it has.

    aliases: see `retrieval.concept_yaml.parse_yaml`.

    Raises BadInput, with the line, for a text that is not of its form.
    """
    lines = [(number, line) for number, line in enumerate(LINE_END.split(text), 1)]
    content = [(number, line) for number, line in lines if line.strip() and not line.lstrip().startswith("#")]
    if suffix in _YAML or (suffix not in _CSV and _looks_like_yaml([line for _, line in content])):
        return parse_yaml(text, where, aliases=aliases)
    if suffix in _CSV or (content and _header_of(content[0][1]) is not None):
        return _parse_csv(text, where, content[0][1] if content else "")
    if content and all("\t" in line.strip() for _, line in content):
        raise BadInput(
            f"{where}, line {content[0][0]}: holds columns separated by tabs; name them in a first line (name and id), "
            "or leave only the names, one a line"
        )
    found = []
    for number, line in lines:
        if line and not line.strip():
            raise BadInput(f"{where}, line {number}: a concept of only spaces; write a name or leave the line empty")
        if line and not line.lstrip().startswith("#"):
            # A name may begin with # where a backslash says that it is no comment.
            found.append(NamedConcept(number, line.removeprefix("\\") if line.startswith("\\#") else line))
    comments = [line.strip() for _, line in lines if line.lstrip().startswith("#")]
    return ConceptFile(where, tuple(found), notes=_skipped(comments, sum(not line for _, line in lines[:-1])))


def _looks_like_yaml(lines: Sequence[str]) -> bool:
    """Whether lines that are no comments are YAML or JSON: keys of a concept list, a list of items, or a bracket."""
    if not lines:
        return False
    first = lines[0].lstrip()
    if first.startswith(("{", "[")) or _YAML_KEY.match(lines[0]) or first.startswith("- {"):
        return True
    return first == "---" or all(line.startswith(("- ", " ", "\t")) for line in lines)


def _header_of(line: str) -> str | None:
    """The delimiter of a line that names a column of names beside other columns; None where it is no such line."""
    for delimiter in _DELIMITERS:
        cells = [cell.strip().strip('"').casefold() for cell in line.split(delimiter)]
        if len(cells) > 1 and "name" in cells and not any(" " in cell for cell in cells):
            return delimiter
    return None


def _parse_csv(text: str, where: str, header_line: str) -> ConceptFile:
    delimiter = max(_DELIMITERS, key=header_line.count) if header_line else ","
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    found: list[NamedConcept] = []
    columns: tuple[int, int | None] | None = None
    header: list[str] = []
    comments: list[str] = []
    empty = 0
    try:
        for row in rows:
            cells = [clean_name(cell) for cell in row]
            if not any(cells):
                empty += 1
            elif cells[0].startswith("#"):
                comments.append(delimiter.join(row).strip())
            elif columns is None:
                header = cells
                columns = _columns(cells, f"{where}, line {rows.line_num}", row)
            elif len(cells) != len(header):
                raise BadInput(
                    f"{where}, line {rows.line_num}: has {len(cells)} cells, not {len(header)}; put a name with a "
                    "comma in double quotes"
                )
            else:
                name, class_id = columns
                own_id = None if class_id is None else cells[class_id] or None
                found.append(NamedConcept(rows.line_num, row[name], own_id))
    except csv.Error as error:
        raise BadInput(f"{where}, line {rows.line_num}: not CSV: {error}") from error
    others = [cell for place, cell in enumerate(header) if columns is not None and place not in columns]
    notes = (*_skipped(comments, empty), *([f"columns not read: {quoted(others)}"] if others else []))
    return ConceptFile(where, tuple(found), notes=notes)


def _columns(cells: list[str], at: str, row: list[str]) -> tuple[int, int | None]:
    """The places of the columns with the names and, if any, the ids."""
    folded = [cell.casefold() for cell in cells]
    names = [each for each in _NAME_COLUMNS if each in folded]
    if not names or len(set(folded)) < len(folded) or (names[0] != "name" and len(names) > 1):
        raise BadInput(
            f"{at}: the first line of a CSV file names its columns, name and id, not {row!r:.100}; a list of names "
            "alone is a .txt file"
        )
    ids = [each for each in _ID_COLUMNS if each in folded]
    return folded.index(names[0]), folded.index(ids[0]) if ids else None


def _skipped(comments: Sequence[str], empty: int) -> tuple[str, ...]:
    """What was passed over, in a sentence."""
    said = []
    if comments:
        said.append(f"{len(comments):,} comment line{'s' * (len(comments) > 1)} ({quoted(comments)})")
    if empty:
        said.append(f"{empty:,} empty line{'s' * (empty > 1)}")
    return (f"skipped: {', '.join(said)}",) if said else ()
