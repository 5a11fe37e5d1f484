"""A user's table of URLs (Parquet, CSV, TSV; a file or a folder of them), prepared as input for img2dataset.

    OUT/_table/part-00000.parquet   table_row, url, caption, kept columns: rows of the table, or of a retry
    OUT/_table/plan.json            written after the parts: their row counts, and the files and settings behind them

img2dataset numbers its shards over the parts in order and starts a new shard with each part, so appending a part (for a
table that grew, or a retry) never changes an earlier shard. `table_row` is the row's position in the table; later joins
use it. Only http and https URLs are passed on, since urllib, which img2dataset uses, would open file:// as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from index import files
from index.errors import BadInput, OutputExists
from index.parquet import native_file, open_parquet, read_parquet

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
    "usable_urls",
]

ROW = "table_row"
FOLDER = "_table"
_PLAN = f"{FOLDER}/plan.json"
# img2dataset writes these itself and refuses them among a table's own columns.
_RESERVED = frozenset({"key", "caption", "url", "width", "height", "original_width", "original_height", "status"})
_RESERVED |= {"error_message", "exif", "md5", "sha256", "sha512", ROW}
_SUFFIXES = (".parquet", ".csv", ".tsv")
_SHARDS_A_PART = 100  # img2dataset loads a part whole: a million rows at its 10,000 a shard
_BATCH = 65_536


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
    sources: tuple[tuple[str, int], ...] = ()  # file name and size in bytes, in the order they were read
    rows: int = 0  # of the table
    part_rows: tuple[int, ...] = ()  # of each part, retries too

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
        settings = replace(plan, sources=(), rows=0, part_rows=())
        if settings != wanted or plan.sources != sources[: len(plan.sources)]:
            raise OutputExists(
                f"{out}: holds another table's download, or one with other settings; choose another --out"
            )
    elif list_names(out, "_stats.json") or list_names(out, ".tar"):
        raise OutputExists(f"{out}: holds tars that this download did not make; choose another --out")
    for path, source in list(zip(paths, sources, strict=True))[len(plan.sources) :]:
        plan = _append_source(out, plan, path, source)
    if not plan.part_rows:
        raise BadInput(f"{table}: none of its {plan.rows:,} rows has an http:// or https:// URL in {plan.url_col!r}")
    _write_plan(out, plan)
    return plan


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
    for name in ("keep_columns", "part_rows"):
        plain[name] = tuple(plain[name])
    return TablePlan(**plain)


def read_part(out: str, number: int, columns: list[str] | None = None) -> pa.Table:
    """The rows of one part: ROW, url, caption where there is one, kept columns."""
    return read_parquet(_part(out, number), columns)


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
    if table.lower().endswith(_SUFFIXES) and not (files.is_local(table) and files.local_path(table).is_dir()):
        return [table]
    names = sorted(name for suffix in _SUFFIXES for name in list_names(table, suffix) if not name.startswith("."))
    if not names:
        raise BadInput(f"{table}: is no table of URLs; give a .parquet, .csv or .tsv file or a folder of them")
    return [files.join(table, name) for name in names]


def _append_source(out: str, plan: TablePlan, path: str, source: tuple[str, int]) -> TablePlan:
    most = plan.shard_size * _SHARDS_A_PART
    pending: list[pa.Table] = []
    before = plan.rows
    for batch in _batches(path, plan):
        numbers = pa.array(np.arange(plan.rows, plan.rows + batch.num_rows))
        plan = replace(plan, rows=plan.rows + batch.num_rows)
        pending.append(batch.add_column(0, ROW, numbers).filter(usable_urls(batch["url"])))
        while sum(table.num_rows for table in pending) >= most:
            joined = pa.concat_tables(pending)
            plan, pending = _append(out, plan, joined.slice(0, most)), [joined.slice(most)]
    if plan.rows == before:
        raise BadInput(f"{path}: has no rows")
    if rest := [table for table in pending if table.num_rows]:
        plan = _append(out, plan, pa.concat_tables(rest))
    return replace(plan, sources=(*plan.sources, source))


def usable_urls(urls: pa.ChunkedArray) -> pa.ChunkedArray:
    """bool [n]: whether each URL is http(s) without spaces and control characters, as urllib needs it; null: False."""
    return pc.fill_null(pc.match_substring_regex(urls, r"(?i)^https?://[^\s\x00-\x1f\x7f]+$"), False)


def _batches(path: str, plan: TablePlan) -> Iterator[pa.Table]:
    """Tables with columns url, caption (where asked for) and the kept ones."""
    wanted = [plan.url_col, *([plan.caption_col] if plan.caption_col else []), *plan.keep_columns]
    try:
        with ExitStack() as stack:
            if path.lower().endswith(".parquet"):
                parquet = stack.enter_context(open_parquet(path))
                _check_columns(path, parquet.schema_arrow.names, wanted)
                batches: Iterator[pa.RecordBatch] = parquet.iter_batches(_BATCH, columns=wanted)
            else:
                file = stack.enter_context(native_file(path))
                reader = _open_text(file, "\t" if path.lower().endswith(".tsv") else ",", plan)
                _check_columns(path, reader.schema.names, wanted)
                batches = iter(reader)
            for batch in batches:
                yield _in_our_names(pa.Table.from_batches([batch]), plan)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise BadInput(f"{path}: cannot be read as a table: {str(error).splitlines()[0]}") from error


def _open_text(file: pa.NativeFile, delimiter: str, plan: TablePlan) -> pa_csv.CSVStreamingReader:
    text = {name: pa.string() for name in (plan.url_col, plan.caption_col) if name}
    return pa_csv.open_csv(
        file,
        parse_options=pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(column_types=text, strings_can_be_null=False),
    )


def _check_columns(path: str, names: Sequence[str], wanted: Sequence[str]) -> None:
    for name in wanted:
        if name not in names:
            raise BadInput(f"{path}: has no column {name!r}; its columns are {', '.join(names)}")


def _in_our_names(table: pa.Table, plan: TablePlan) -> pa.Table:
    columns = {"url": table[plan.url_col].cast(pa.string())}
    if plan.caption_col:
        columns["caption"] = table[plan.caption_col].cast(pa.string())
    for name in plan.keep_columns:
        columns[name] = table[name] if _is_plain(table.schema.field(name).type) else table[name].cast(pa.string())
    return pa.table(columns)


def _is_plain(kind: pa.DataType) -> bool:
    """Whether img2dataset can write such values as JSON: it loses rows with dates or bytes."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _is_plain(kind.value_type)
    checks = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_string)
    return any(check(kind) for check in checks)
