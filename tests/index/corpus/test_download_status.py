"""img2dataset's statuses become short reasons, and rows without a status are lost, never forgotten."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index.corpus.download_status import PERMANENT, failure_reason, retryable_rows, row_states, summarize
from index.corpus.url_table import ROW, TablePlan, append_part, prepare_table, read_part


@pytest.mark.parametrize(
    ("status", "message", "reason"),
    [
        ("failed_to_download", "HTTP Error 404: Not Found", "http_404"),
        ("failed_to_download", "HTTP Error 429: Too Many Requests", "http_429"),
        ("failed_to_download", "<urlopen error timed out>", "timeout"),
        ("failed_to_download", "The read operation timed out", "timeout"),
        ("failed_to_download", "<urlopen error [Errno 110] Connection timed out>", "timeout"),
        ("failed_to_download", "<urlopen error [Errno -2] Name or service not known>", "name_not_found"),
        ("failed_to_download", "<urlopen error [Errno 111] Connection refused>", "connection"),
        ("failed_to_download", "Remote end closed connection without response", "connection"),
        ("failed_to_download", "IncompleteRead(10 bytes read, 90 more expected)", "connection"),
        ("failed_to_download", "<urlopen error [SSL: CERTIFICATE_VERIFY_FAILED] ...>", "tls"),
        ("failed_to_download", "unknown url type: 'x'", "bad_url"),
        ("failed_to_download", "Use of image disallowed by X-Robots-Tag directive", "disallowed"),
        ("failed_to_resize", "Image decoding error", "not_an_image"),
        ("failed_to_resize", "image too small", "unwanted_size"),
        ("failed_to_download", "something new", "other"),
        (None, None, "other"),
    ],
)
def test_messages_become_reasons(status: str | None, message: str | None, reason: str) -> None:
    assert failure_reason(status, message) == reason


def test_what_cannot_come_back_is_permanent_and_the_rest_passes() -> None:
    assert {"http_404", "http_410", "http_403", "disallowed", "not_an_image"} <= PERMANENT
    assert not {"http_408", "http_429", "http_500", "http_503", "timeout", "connection", "lost", "other"} & PERMANENT


def write_shard(out: Path, number: int, rows: dict[int, tuple[str, str | None]]) -> None:
    """A finished shard's tables as img2dataset writes them."""
    columns = {ROW: list(rows), "status": [s for s, _ in rows.values()], "error_message": [e for _, e in rows.values()]}
    pq.write_table(pa.table(columns), out / f"{number:05d}.parquet")
    (out / f"{number:05d}_stats.json").write_text("{}")


def test_a_rows_state_is_its_best_attempt_and_every_row_is_counted(tmp_path: Path) -> None:
    out = tmp_path / "out"
    urls = [f"http://x/{n}" for n in range(6)] + ["file:///x"]
    pq.write_table(pa.table({"url": urls, "caption": urls}), tmp_path / "t.parquet")
    plan = prepare_table(str(tmp_path / "t.parquet"), str(out), TablePlan("url", "caption", (), 4, None, "no"))
    late = ("failed_to_download", "timed out")
    write_shard(out, 0, {0: ("success", None), 1: late, 2: ("failed_to_download", "HTTP Error 404: gone")})
    summary = summarize(str(out))
    assert summary.failed == {"http_404": 1, "lost": 1, "not_http": 1, "not_tried": 2, "timeout": 1}
    assert (summary.rows, summary.downloaded, summary.unfinished_shards, summary.retryable) == (7, 1, 1, 2)

    append_part(str(out), plan, read_part(str(out), 0).filter(pa.array([False, True, False, True, False, False])))
    write_shard(out, 1, {4: ("success", None), 5: late})
    write_shard(out, 2, {1: ("success", None), 3: late})
    states = row_states(str(out))
    named = [states.reasons[code] for code in states.state]
    assert named == ["downloaded", "downloaded", "http_404", "timeout", "downloaded", "timeout", "not_http"]
    assert states.attempts.tolist() == [1, 2, 1, 2, 1, 1, 0]
    assert retryable_rows(states, PERMANENT, max_attempts=5).tolist() == [3, 5]
    assert retryable_rows(states, PERMANENT, max_attempts=2).tolist() == [5]
    assert retryable_rows(states, frozenset({"timeout"}), max_attempts=5).tolist() == [2]
    assert summarize(str(out)).unfinished_shards == 0
