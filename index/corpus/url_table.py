"""A user's table of URLs (Parquet, CSV, TSV; a file or a folder of them), prepared as input for img2dataset.

    OUT/_table/part-00000.parquet      table_row, url, caption, kept columns: rows of the table, or of a retry
    OUT/_table/refused/00000.parquet   table_row, reason: the rows of one file that cannot be fetched
    OUT/_table/plan.json               written last: the parts' row counts, and the files and settings behind them

img2dataset numbers its shards over the parts in order and starts a new shard with each part, so appending a part (for a
table that grew, or a retry) never changes an earlier shard. `table_row` is the row's position in the table; later joins
use it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import pyarrow as pa
import pyarrow.parquet as pq

from index import files
from index.corpus.table_rows import TABLE_SUFFIXES, Columns, MixedColumn, is_table, table_rows
from index.errors import BadInput, OutputExists
from index.lease import is_held_here
from index.parquet import read_parquet

__all__ = [
    "FOLDER",
    "ROW",
    "TablePlan",
    "append_part",
    "drop_unrecorded_parts",
    "list_names",
    "prepare_table",
    "read_part",
    "read_plan",
    "refused_rows",
]

ROW = "table_row"
FOLDER = "_table"
_PLAN = f"{FOLDER}/plan.json"
# img2dataset writes these itself and refuses them among a table's own columns.
_RESERVED = frozenset({"key", "caption", "url", "width", "height", "original_width", "original_height", "status"})
_RESERVED |= {"error_message", "exif", "md5", "sha256", "sha512", ROW}
_SHARDS_A_PART = 100  # img2dataset loads a part whole: a million rows at its 10,000 a shard


@dataclass(frozen=True)
class TablePlan:
    """The settings of a download and what was prepared for it.

    A run with the same settings continues it, also when the table got more files.
    """

    url_col: str
    caption_col: str | None
    keep_columns: tuple[str, ...]
    shard_size: int
    image_size: int | None
    resize_mode: str
    columns: tuple[str, ...] = ()  # names of all columns, of text files without a header
    sources: tuple[tuple[str, int], ...] = ()  # file name and size in bytes, in the order they were read
    rows: int = 0  # of the table
    part_rows: tuple[int, ...] = ()  # of each part, retries too
    refused: tuple[int, ...] = ()  # rows of each file in `_table/refused/`

    @property
    def settings(self) -> TablePlan:
        """The settings alone."""
        return replace(self, sources=(), rows=0, part_rows=(), refused=())

    @property
    def shards(self) -> int:
        """Number of shards that the parts are cut into."""
        return sum(-(-rows // self.shard_size) for rows in self.part_rows)


def prepare_table(table: str, out: str, wanted: TablePlan) -> TablePlan:
    """Write the table's rows to `out/_table/`; the parts that an earlier run with the same settings wrote are kept.

    Raises:
        BadInput: the table cannot be used.
        OutputExists: `out` holds another download, or tars that no download of ours wrote.
    """
    clash = sorted(_RESERVED.intersection(wanted.keep_columns))
    if clash:
        raise BadInput(f"{table}: the column {clash[0]!r} cannot be kept, img2dataset writes its own; rename it")
    if wanted.shard_size < 2:  # img2dataset numbers keys by its logarithm
        raise BadInput(f"shard size {wanted.shard_size}: must be at least 2")
    paths = _table_files(table)
    sources = tuple((path.rpartition("/")[2], files.file_size(path)) for path in paths)
    plan = wanted
    if files.exists(files.join(out, _PLAN)):
        plan = read_plan(out)
        if plan.settings != wanted or plan.sources != sources[: len(plan.sources)]:
            if list_names(out, "_stats.json") or not is_held_here(files.join(out, FOLDER)):
                raise OutputExists(
                    f"{out}: holds another table's download, or one with other settings; choose another --out"
                )
            _discard(out)  # a run that ended before its first shard
            plan = wanted
    elif list_names(out, "_stats.json") or list_names(out, ".tar"):
        raise OutputExists(f"{out}: holds tars that this download did not make; choose another --out")
    for path, source in list(zip(paths, sources, strict=True))[len(plan.sources) :]:
        plan = _append_source(out, plan, path, source)
    if not plan.rows:  # Spark writes files without rows beside others
        raise BadInput(f"{table}: has no rows")
    if not plan.part_rows:
        reasons = Counter(reason for rows in refused_rows(out, plan) for reason in rows["reason"].to_pylist())
        counts = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())
        raise BadInput(
            f"{table}: none of its {plan.rows:,} rows has an http:// or https:// URL in {plan.url_col!r} ({counts})"
        )
    _write_plan(out, plan)
    return plan


def _discard(out: str) -> None:
    """Delete what a download without a finished shard left: its table and the tars that it had begun."""
    for name in list_names(out, ".tar"):
        files.remove(files.join(out, name))
    for name in files.list_names(files.join(out, FOLDER)):
        if not name.startswith("."):  # the lease is this run's
            files.remove(files.join(out, FOLDER, name))


def append_part(out: str, plan: TablePlan, table: pa.Table) -> TablePlan:
    """Add one part, with rows to try again, and record it in the plan."""
    plan = _append(out, plan, table)
    _write_plan(out, plan)
    return plan


def read_plan(out: str) -> TablePlan:
    """The plan of a download folder; BadInput where there is none."""
    path = files.join(out, _PLAN)
    if not files.exists(path):
        raise BadInput(f"{out}: holds no download of a URL table; download it first")
    plain = json.loads(files.read_bytes(path))
    plain["sources"] = tuple((str(name), int(size)) for name, size in plain["sources"])
    for name in ("keep_columns", "columns", "part_rows", "refused"):
        plain[name] = tuple(plain.get(name, ()))  # older plans lack some
    return TablePlan(**plain)


def read_part(out: str, number: int, columns: list[str] | None = None) -> pa.Table:
    """The rows of one part: ROW, url, caption where there is one, kept columns."""
    return read_parquet(_part(out, number), columns)


def refused_rows(out: str, plan: TablePlan) -> Iterator[pa.Table]:
    """ROW and reason of the rows that are in no part. Downloads that older versions began do not have them."""
    for number in range(len(plan.refused)):
        yield read_parquet(_refused(out, number))


def list_names(folder: str, ending: str) -> list[str]:
    """Sorted names of the files directly in a local or remote folder that end with `ending`; [] for a missing one."""
    if files.is_local(folder):
        path = files.local_path(folder)
        return sorted(entry.name for entry in path.iterdir() if entry.name.endswith(ending)) if path.is_dir() else []
    file_system, inside = files.resolve(folder)
    file_system.invalidate_cache()
    if not file_system.exists(inside):
        return []
    names = (str(name).rstrip("/").rpartition("/")[2] for name in file_system.ls(inside, detail=False))
    return sorted(name for name in names if name.endswith(ending))


def _part(out: str, number: int) -> str:
    return files.join(out, FOLDER, f"part-{number:05d}.parquet")


def _refused(out: str, number: int) -> str:
    return files.join(out, FOLDER, "refused", f"{number:05d}.parquet")


def drop_unrecorded_parts(out: str, plan: TablePlan) -> None:
    """Remove parts that a killed run wrote without recording them, so that img2dataset does not see them."""
    number = len(plan.part_rows)
    while files.exists(_part(out, number)):
        files.remove(_part(out, number))
        number += 1


def _write_plan(out: str, plan: TablePlan) -> None:
    files.write_atomic(files.join(out, _PLAN), json.dumps(asdict(plan), indent=1))


def _append(out: str, plan: TablePlan, table: pa.Table) -> TablePlan:
    with files.atomic_file(_part(out, len(plan.part_rows))) as partial:
        pq.write_table(table, partial)
    return replace(plan, part_rows=(*plan.part_rows, table.num_rows))


def _table_files(table: str) -> list[str]:
    if not files.exists(table):
        raise BadInput(f"{table}: not found")
    if is_table(table) and not _is_folder(table):
        return [table]
    names = sorted(name for suffix in TABLE_SUFFIXES for name in list_names(table, suffix) if not name.startswith("."))
    if not names:
        raise BadInput(f"{table}: is no table of URLs; give a {', '.join(TABLE_SUFFIXES)} file or a folder of them")
    return [files.join(table, name) for name in names]


def _is_folder(table: str) -> bool:
    """Whether a table is a folder of files, as Spark writes one, which may be named `urls.parquet`."""
    if files.is_local(table):
        return files.local_path(table).is_dir()
    file_system, inside = files.resolve(table)
    return bool(file_system.isdir(inside))


def _append_source(out: str, plan: TablePlan, path: str, source: tuple[str, int]) -> TablePlan:
    try:
        return _append_rows(out, plan, path, source, as_text=False)
    except MixedColumn:  # nothing is recorded yet; the parts are written anew
        return _append_rows(out, plan, path, source, as_text=True)


def _append_rows(out: str, plan: TablePlan, path: str, source: tuple[str, int], as_text: bool) -> TablePlan:
    most = plan.shard_size * _SHARDS_A_PART
    pending: list[pa.Table] = []
    refused: list[pa.Table] = []
    columns = Columns(plan.url_col, plan.caption_col, plan.keep_columns, plan.columns)
    for rows in table_rows(path, columns, as_text=as_text):
        pending.append(rows.usable.add_column(0, ROW, pa.array(plan.rows + rows.place)))
        if len(rows.refused):
            refused.append(pa.table({ROW: plan.rows + rows.refused, "reason": rows.reasons}))
        plan = replace(plan, rows=plan.rows + rows.count)
        while sum(table.num_rows for table in pending) >= most:
            joined = pa.concat_tables(pending)
            plan, pending = _append(out, plan, joined.slice(0, most)), [joined.slice(most)]
    if rest := [table for table in pending if table.num_rows]:
        plan = _append(out, plan, pa.concat_tables(rest))
    if refused:
        joined = pa.concat_tables(refused)
        with files.atomic_file(_refused(out, len(plan.refused))) as partial:
            pq.write_table(joined, partial)
        plan = replace(plan, refused=(*plan.refused, joined.num_rows))
    return replace(plan, sources=(*plan.sources, source))
