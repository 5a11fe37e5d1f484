"""The foreign formats by name: how a record becomes a draft of an image set, and how it is made again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from index.errors import BadInput
from mining.sets.annotation import Annotation
from mining.sets.image_set import ImageSet, Member
from mining.sets.importers.difference_notes import (
    parse_birds,
    parse_spot_the_diff,
    restore_birds,
    restore_spot_the_diff,
)
from mining.sets.importers.llava import parse_cad_inst, parse_llava, restore_llava
from mining.sets.importers.mimic_it import parse_mimic_it, read_mimic_it, restore_mimic_it, write_mimic_it
from mining.sets.importers.questions import parse_cad_eval, parse_nlvr2, restore_cad_eval, restore_nlvr2
from mining.sets.importers.record import TOO_DEEP, Draft, is_deep
from mining.sets.importers.record_files import SUFFIXES, read_records
from mining.sets.importers.stories import parse_story, read_stories, restore_story, write_stories
from mining.sets.importers.subtle_diff import parse_subtle_diff, restore_subtle_diff
from mining.sets.importers.table import ColumnMap

__all__ = ["FORMATS", "TABLE", "Format", "get_format"]

Header = dict[str, Any]


@dataclass(frozen=True)
class Format:
    """A foreign format.

    homepage, licence: of the collection, None where it has none or none is known; the licence is that of the
    annotations. kinds: of the annotations. suffixes: of its files. parse: record -> draft, raises RecordRejected.
    restore: (set, the annotations of one record, the draft's form) -> the record. columns: what a table must have.
    read, write: for files that are no plain list of records, as `read_mimic_it` and `write_mimic_it`. person_a_file:
    each file has the annotations of one person. rows: a record may be a list instead of an object.
    """

    name: str
    parse: Callable[[Any], Draft]
    restore: Callable[[ImageSet, Sequence[Annotation], Mapping[str, Any]], Any]
    kinds: tuple[str, ...]
    suffixes: tuple[str, ...]
    columns: tuple[str, ...] = ()
    homepage: str | None = None
    licence: str | None = None
    read: Callable[[str], tuple[Header, Iterator[Any]]] | None = None
    write: Callable[[Mapping[str, Any], Iterable[Any]], bytes] | None = None
    person_a_file: bool = False
    rows: bool = False

    def open(self, path: str, note: Callable[[str], None] = lambda text: None) -> tuple[Header, Iterator[Any]]:
        """(what a file has beside its records, its records). Raises BadInput, also while the records are read.

        note: as in `read_records`.
        """
        if self.read is None:
            return {}, read_records(path, self.columns, note)
        try:
            header, records = self.read(path)
            if is_deep(header):
                raise RecursionError
            json.dumps(header, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise BadInput(f"{path}: a text beside its records is no Unicode (half a surrogate pair)") from error
        except RecursionError as error:
            raise BadInput(f"{path}: is {TOO_DEEP}; mend the file") from error
        return header, records


_JSON = (".json", ".jsonl", ".ndjson")

FORMATS: dict[str, Format] = {
    each.name: each
    for each in (
        Format(
            "cad-inst",
            parse_cad_inst,
            restore_llava,
            ("comparison",),
            (".parquet", *_JSON),
            columns=("image", "conversations"),
            homepage="https://huggingface.co/datasets/wlin21at/CaD-Inst",
            licence="MIT",
        ),
        Format(
            "cad-eval",
            parse_cad_eval,
            restore_cad_eval,
            ("question",),
            (*_JSON, ".parquet"),
            columns=("image", "text", "answer"),
            homepage="https://github.com/wlin-at/CaD-VI",
        ),
        Format(
            "nlvr2",
            parse_nlvr2,
            restore_nlvr2,
            ("statement",),
            _JSON,
            homepage="https://lil.nlp.cornell.edu/nlvr/",
            licence="CC-BY-4.0",
        ),
        Format(
            "spot-the-diff",
            parse_spot_the_diff,
            restore_spot_the_diff,
            ("difference_note",),
            _JSON,
            homepage="https://github.com/harsh19/spot-the-diff",
        ),
        Format(
            "birds-to-words",
            parse_birds,
            restore_birds,
            ("difference_note",),
            (".tsv", *_JSON),
            columns=("img1ImgURL", "img2ImgURL", "description"),
            homepage="https://github.com/google-research-datasets/birds-to-words",
            licence="CC-BY-SA-4.0",
        ),
        Format(
            "subtle-diff",
            parse_subtle_diff,
            restore_subtle_diff,
            ("difference_note", "task"),
            _JSON,
            person_a_file=True,
        ),
        Format(
            "mimic-it",
            parse_mimic_it,
            restore_mimic_it,
            ("conversation",),
            (".json",),
            homepage="https://huggingface.co/datasets/pufanyi/MIMICIT",
            read=read_mimic_it,
            write=write_mimic_it,
        ),
        Format(
            "vist",
            parse_story,
            restore_story,
            ("story",),
            (".json",),
            homepage="https://visionandlanguage.net/VIST/",
            read=read_stories,
            write=write_stories,
        ),
        Format(
            "llava",
            parse_llava,
            restore_llava,
            ("conversation",),
            (*_JSON, ".parquet"),
            columns=("conversations",),
            homepage="https://github.com/haotian-liu/LLaVA",
        ),
    )
}
# The format that --map describes.
TABLE = "table"


def get_format(
    name: str,
    mapping: tuple[tuple[str, str], ...] = (),
    kind: str | None = None,
    read_image: Callable[[Member], bytes] | None = None,
) -> Format:
    """The format of this name; for `table`, with its column mapping. Raises BadInput for an unknown one."""
    if name == TABLE:
        if not mapping:
            raise BadInput("--format table needs the columns, as in --map image=file,caption=text")
        columns = ColumnMap(mapping, kind, read_image)
        kinds = (kind,) if kind else ("conversation", "question", "note")
        return Format(TABLE, columns.parse, columns.restore, kinds, SUFFIXES, columns.columns, rows=True)
    if name not in FORMATS:
        raise BadInput(f"--format {name!r:.60}: choose from {', '.join([*FORMATS, TABLE])}")
    if mapping:
        raise BadInput(f"--map describes the columns of --format table; {name} has columns of its own")
    return FORMATS[name]
