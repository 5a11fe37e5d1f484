"""People's decisions about image sets, in a file with one JSON line a decision; mining and exports skip rejected sets.

    {"set_id": "1f0c2a7e-12_345", "members": ["store-1f0c2a7e9b04/12", "store-1f0c2a7e9b04/345"],
     "stores": {"store-1f0c2a7e9b04": 3}, "strategy": "similar", "decision": "reject", "time": "2026-11-21T12:00:00Z"}

`members`, in any order, identify the set, whatever strategy found it in whatever folder (`Member.ref`). A store's name
holds its identity, and `stores` says how many parts the store had, so that a decision about another store is never
applied. Lines of earlier versions have `rows` instead and name no store: they hold for any store with these rows. Of
several lines about one set the last one counts, so a "keep" undoes a rejection. Lines are only appended, and each is on
the disk before the call returns. A last line that is cut short, as a crash leaves it, is skipped; any other broken line
is an error, since a rejection might be lost.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from index.errors import BadInput
from index.files import exists, local_path
from index.store.embedding_store import EmbeddingStore
from mining.sets.appended_lines import append_line, read_lines
from mining.sets.image_set import ImageSet
from mining.sets.sources import Source, is_store

__all__ = ["Decision", "Decisions", "DecisionsFile", "read_decisions", "renamed_decisions"]

Decision = Literal["reject", "keep"]
# The members of a set: their names, sorted.
Refs = tuple[str, ...]

_REMEDY = (
    'delete the line, or correct it to {"members": ["STORE/12", "STORE/345"], "strategy": "similar", '
    '"decision": "reject", "time": "..."}'
)
# Stands for the store in the lines of earlier versions, which do not name one.
_ANY = "*"


@dataclass(frozen=True)
class Decisions:
    """The last decision on each set, by its members' sorted names. notes: remarks on the file, for a run's summary.

    stores: the number of parts that each store had, by its source's name.
    """

    last: Mapping[Refs, Decision] = field(default_factory=dict)
    stores: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def rejected(self) -> frozenset[Refs]:
        """The sorted members of the sets that are rejected; `*/12` is row 12 of any store."""
        return frozenset(refs for refs, decision in self.last.items() if decision == "reject")

    def of(self, each: ImageSet) -> Decision | None:
        """The decision on the set of these images, in any order; None without one."""
        return _last_of(self.last, each)

    def rejected_rows(self, store: EmbeddingStore) -> tuple[frozenset[tuple[int, ...]], int]:
        """(sorted row ids of the rejected sets of this store, the number of rejected sets of other sources)."""
        known = {name: is_store(name, store, parts) for name, parts in self.stores.items()} | {_ANY: True}
        found, others = set(), 0
        # Lines that name the store come last, as they hold against those that name none.
        for refs, decision in sorted(self.last.items(), key=lambda entry: not entry[0][0].startswith(f"{_ANY}/")):
            split = [ref.partition("/") for ref in refs]
            if all(known.get(name, False) and row.isdecimal() for name, _, row in split):
                rows = tuple(sorted(int(row) for _, _, row in split))
                found.add(rows) if decision == "reject" else found.discard(rows)
            else:
                others += decision == "reject"
        return frozenset(found), others


def read_decisions(path: str | os.PathLike[str]) -> Decisions:
    """Read a decisions file.

    Raises:
        BadInput: there is no such file, or a line is broken; the message names file, line and remedy.
    """
    name = os.fspath(path)
    if not exists(name):
        raise BadInput(f"{name}: there is no such decisions file; `clipmine serve STORE --pairs PAIRS` writes one")
    last: dict[Refs, Decision] = {}
    stores: dict[str, int] = {}
    found, notes = read_lines(name, _parse, "a decision", _REMEDY)
    for refs, own, decision in found:
        last[refs] = decision
        stores.update(own)
    return Decisions(last, stores, notes)


def renamed_decisions(
    path: str | os.PathLike[str],
    sources: Mapping[str, str],
    set_ids: Mapping[str, str],
    stores: Mapping[str, int | None],
) -> list[str]:
    """The lines of a decisions file for another folder, where sources and sets have other names.

    sources, set_ids: old name -> new name; others stay. stores: the stores of the folder that the file belongs to, with
    their numbers of parts; a line that names no store becomes one for each of them. Raises BadInput as
    `read_decisions` does.
    """

    def renamed(ref: str) -> str:
        name, _, own = ref.partition("/")
        return f"{name}/{set_ids.get(own, own)}" if name == "set" else f"{sources.get(name, name)}/{own}"

    def lines(line: bytes) -> list[str]:
        refs, own, _ = _parse(line)
        said = {name: value for name, value in json.loads(line).items() if name != "rows"}
        if "set_id" in said:
            said["set_id"] = set_ids.get(said["set_id"], said["set_id"])
        choices = [(refs, own)]
        if refs[0].startswith(f"{_ANY}/"):
            rows = [ref.partition("/")[2] for ref in refs]
            choices = [(tuple(f"{name}/{row}" for row in rows), {name: parts or 0}) for name, parts in stores.items()]
        return [
            json.dumps(
                {
                    **said,
                    "members": sorted(renamed(ref) for ref in of),
                    "stores": {sources.get(name, name): parts for name, parts in known.items()},
                },
                ensure_ascii=False,
            )
            for of, known in choices
        ]

    found, _ = read_lines(path, lines, "a decision", _REMEDY)
    return [line for several in found for line in several]


class DecisionsFile:
    """A local decisions file that is open for appending. Safe for threads of one process."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Read the decisions so far; the file may be missing. Raises BadInput for a remote path or a broken file."""
        self.path: Path = local_path(path)
        self._lock = threading.Lock()
        self._last = dict(read_decisions(self.path).last) if self.path.exists() else {}

    def of(self, each: ImageSet) -> Decision | None:
        return _last_of(self._last, each)

    def add(self, each: ImageSet, decision: Decision, sources: Mapping[str, Source]) -> None:
        """Append one decision; it is on the disk when this returns. sources: of the folder that has the set."""
        if decision not in get_args(Decision):
            raise BadInput(f"decision {decision!r}: choose {' or '.join(get_args(Decision))}")
        own = {member.source: sources[member.source].parts for member in each.members if member.source in sources}
        said = {
            "set_id": each.set_id,
            "members": list(each.refs),
            "stores": {name: parts for name, parts in own.items() if parts is not None},
            "strategy": each.strategy,
            "decision": decision,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        with self._lock:
            append_line(self.path, json.dumps(said, ensure_ascii=False), _parse)
            self._last[each.refs] = decision


def _last_of(last: Mapping[Refs, Decision], each: ImageSet) -> Decision | None:
    found = last.get(each.refs)
    if found is None and all(member.row_id is not None for member in each.members):
        found = last.get(tuple(sorted(f"{_ANY}/{member.row_id}" for member in each.members)))
    return found


def _parse(line: bytes) -> tuple[Refs, dict[str, int], Decision]:
    value = json.loads(line.decode("utf-8"))
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    decision = value["decision"]
    if decision not in get_args(Decision):
        raise ValueError(f"decision is {decision!r}, neither reject nor keep")
    if "members" not in value:
        return _parse_rows(value["rows"]), {}, decision
    members, stores = value["members"], value.get("stores", {})
    if not isinstance(members, list) or not members or not all(isinstance(ref, str) and "/" in ref for ref in members):
        raise ValueError("members is not a list of images such as STORE/12")
    if not isinstance(stores, dict) or not all(type(parts) is int for parts in stores.values()):
        raise ValueError("stores is not an object with a number of parts for each store")
    return tuple(sorted(members)), stores, decision


def _parse_rows(rows: Any) -> Refs:
    if not isinstance(rows, list) or len(rows) < 2 or not all(type(row) is int and row >= 0 for row in rows):
        raise ValueError("rows is not a list of two or more row ids")
    return tuple(sorted(f"{_ANY}/{row}" for row in rows))
