"""The outcome of each row of a downloaded URL table, read from the files that img2dataset writes beside its tars.

A row may have been tried in several shards: first in one of the table's own shards, later in those of retries. It
counts as downloaded when any of these has it, else it failed for the reason of its last try. Nothing is fetched here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from index import files
from index.corpus.url_table import ROW, list_names, read_part, read_plan, refused_rows
from index.parquet import read_parquet

__all__ = [
    "PERMANENT",
    "DownloadSummary",
    "RowStates",
    "downloaded_rows",
    "failure_reason",
    "finished_shards",
    "retryable_rows",
    "row_states",
    "shard_name",
    "summarize",
]

# Trying these again cannot help: the page is gone or refused (HTTP's 4xx, except 408 Timeout, 425 Too Early and 429 Too
# Many Requests), its owner does not allow this use, what was received completely is no image, or the row has no URL.
PERMANENT = frozenset(
    {f"http_{code}" for code in range(400, 500) if code not in (408, 425, 429)}
    | {"disallowed", "not_an_image", "empty", "too_large", "unwanted_size", "redirect_loop", "bad_url"}
    | {"not_http", "data_url", "no_url", "not_utf8"}
)
_NOT_TRIED, _DOWNLOADED = 0, 1

# How messages of `index.corpus.fetch_image` begin. The other patterns are for those of urllib and the system.
_NAMED = re.compile(r"(bad_url|empty|not_an_image|not_http|redirect_loop|timeout|too_large): ")
_REASONS = (
    ("disallowed", r"X-Robots-Tag"),
    ("timeout", r"timed? ?out"),
    ("name_not_found", r"Name or service not known|name resolution|nodename nor servname|No address associated"),
    ("tls", r"SSL|TLS|CERTIFICATE"),
    ("bad_url", r"unknown url type|no host given|control characters|nonnumeric port|codec can't encode|Invalid IPv6"),
    (
        "connection",
        r"Connection|Remote end closed|IncompleteRead|unreachable|No route to host|Errno 10[1-4]|Errno 11[0-3]",
    ),
)


def failure_reason(status: str | None, message: str | None) -> str:
    """The reason behind img2dataset's status and error message of a row: `http_404`, `timeout`, `not_an_image`, ..."""
    text = message or ""
    if named := _NAMED.match(text):
        return named.group(1)
    if status == "failed_to_resize":
        return "unwanted_size" if re.search(r"too (small|large)", text) else "not_an_image"
    if found := re.search(r"HTTP Error (\d{3})", text):
        return f"http_{found.group(1)}"
    for reason, pattern in _REASONS:
        if re.search(pattern, text):
            return reason
    return "other"


@dataclass(frozen=True)
class RowStates:
    """The outcome of row r after `attempts[r]` tries is `reasons[state[r]]`: not_tried, downloaded or why it failed."""

    reasons: tuple[str, ...]
    state: npt.NDArray[np.int16]  # [rows]
    attempts: npt.NDArray[np.uint8]  # [rows]

    def rows_for(self, reasons: frozenset[str] | set[str]) -> npt.NDArray[np.int64]:
        """Sorted rows whose state is one of `reasons`."""
        codes = [code for code, reason in enumerate(self.reasons) if reason in reasons]
        return np.flatnonzero(np.isin(self.state, codes)).astype(np.int64)


@dataclass(frozen=True)
class DownloadSummary:
    """Counts of a table's rows: rows = downloaded + sum(failed.values())."""

    rows: int
    downloaded: int
    failed: dict[str, int]  # by reason; "not_tried" counts the rows of unfinished shards
    shards: int
    unfinished_shards: int
    retryable: int  # failed rows that `retry_failed` would try again


def finished_shards(out: str) -> list[int]:
    """Numbers of the shards that img2dataset finished: it writes their `_stats.json` last."""
    return sorted(int(name.partition("_")[0]) for name in list_names(out, "_stats.json"))


def shard_name(number: int) -> str:
    """img2dataset's name of a shard, without an ending."""
    return f"{number:05d}"


def row_states(out: str) -> RowStates:
    """Join the statuses of all finished shards with the rows of the table's parts.

    A row of a finished shard that has no status is `lost`: img2dataset failed while it wrote the sample.
    """
    plan, done = read_plan(out), set(finished_shards(out))
    codes = {"not_tried": _NOT_TRIED, "downloaded": _DOWNLOADED, "not_http": 2, "lost": 3}
    # Rows that are in no part have no http(s) URL; older downloads say no more of them.
    state = np.full(plan.rows, codes["not_http"], dtype=np.int16)
    attempts = np.zeros(plan.rows, dtype=np.uint8)
    for table in refused_rows(out, plan):
        for reason, entry in zip(table["reason"].to_pylist(), table[ROW].to_pylist(), strict=True):
            state[entry] = codes.setdefault(reason, len(codes))
    shard = 0
    for part in range(len(plan.part_rows)):
        rows = read_part(out, part, [ROW])[ROW].to_numpy()
        state[rows] = np.where(state[rows] == codes["not_http"], _NOT_TRIED, state[rows])
        for start in range(0, len(rows), plan.shard_size):
            if shard in done:
                tried = rows[start : start + plan.shard_size]
                attempts[tried] += attempts[tried] < 255
                state[tried] = np.where(state[tried] == _DOWNLOADED, _DOWNLOADED, codes["lost"])
                _join_shard(out, shard, state, codes)
            shard += 1
    return RowStates(tuple(codes), state, attempts)


def _join_shard(out: str, number: int, state: npt.NDArray[np.int16], codes: dict[str, int]) -> None:
    table = _read_shard(out, number, [ROW, "status", "error_message"])
    for row, status, message in zip(*(table[name].to_pylist() for name in table.column_names), strict=True):
        reason = "downloaded" if status == "success" else failure_reason(status, message)
        if state[row] != _DOWNLOADED:
            state[row] = codes.setdefault(reason, len(codes))


def _read_shard(out: str, number: int, columns: list[str]) -> pa.Table:
    return read_parquet(files.join(out, f"{shard_name(number)}.parquet"), columns)


def downloaded_rows(out: str) -> Iterator[pa.Table]:
    """Tables of the downloaded rows: ROW, key, shard (the tar's name) and the kept columns. Each row comes once."""
    kept = list(read_plan(out).keep_columns)
    seen: set[int] = set()
    for number in finished_shards(out):
        table = _read_shard(out, number, [ROW, "key", "status", *kept])
        table = table.filter(pa.compute.equal(table["status"], "success")).drop_columns(["status"])
        table = table.append_column("shard", pa.array([f"{shard_name(number)}.tar"] * table.num_rows, pa.string()))
        fresh = [row not in seen for row in table[ROW].to_pylist()]
        seen.update(table[ROW].to_pylist())
        yield table.filter(pa.array(fresh, pa.bool_()))


def summarize(
    out: str, permanent: frozenset[str] = PERMANENT, max_attempts: int = 5, states: RowStates | None = None
) -> DownloadSummary:
    """Count a download folder's rows by their outcome."""
    plan, found = read_plan(out), states or row_states(out)
    counts = dict(zip(found.reasons, np.bincount(found.state, minlength=len(found.reasons)).tolist(), strict=True))
    done = finished_shards(out)
    failed = {reason: count for reason, count in sorted(counts.items()) if count and reason != "downloaded"}
    return DownloadSummary(
        rows=plan.rows,
        downloaded=counts["downloaded"],
        failed=failed,
        shards=plan.shards,
        unfinished_shards=plan.shards - len(done),
        retryable=len(retryable_rows(found, permanent, max_attempts)),
    )


def retryable_rows(states: RowStates, permanent: frozenset[str], max_attempts: int) -> npt.NDArray[np.int64]:
    """Sorted rows that failed for a reason not in `permanent` and were tried less than `max_attempts` times."""
    temporary = set(states.reasons) - permanent - {"downloaded", "not_tried"}
    rows = states.rows_for(temporary)
    tried = states.attempts[rows]  # 0 where the row has no http(s) URL, so that it cannot be fetched
    return rows[(tried > 0) & (tried < max_attempts)]
