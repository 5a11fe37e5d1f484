"""What a log shows of a job."""

from __future__ import annotations

import io

import pytest

from jobs.progress import Progress, duration


def test_a_log_gets_plain_lines_with_counts_rate_and_time_left() -> None:
    log = io.StringIO()
    with Progress("embed", 3, stream=log, log_seconds=0) as progress:
        progress.advance(rows=10_000)
        progress.advance(rows=10_000)
        progress.advance(rows=1_500)
    first, one, two, last = log.getvalue().splitlines()
    assert first == "embed: 3 items"
    assert one.startswith("embed: 1/3 items, 10,000 rows, ")
    assert one.endswith(" left")
    assert "2/3 items, 20,000 rows" in two
    assert last.startswith("embed: 3/3 items, 21,500 rows, ")
    assert ", took " in last


def test_the_time_left_is_that_of_this_run_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("jobs.progress.time.monotonic", lambda: clock[0])
    log = io.StringIO()
    with Progress("evaluate", 100, stream=log, log_seconds=0) as progress:
        for done in range(1, 81):  # kept from an earlier run
            progress.reach(done, 100)
        clock[0] += 10
        progress.reach(81, 100)
    assert log.getvalue().splitlines()[-1] == "evaluate: 81/100 items, 3:10 left"


def test_the_bar_of_a_terminal_begins_where_an_earlier_run_ended() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    with Progress("evaluate", 100, stream=Terminal()) as progress:
        progress.reach(80, 100)
        progress.reach(81, 100)
        assert progress._bar is not None
        assert (progress._bar.initial, progress._bar.n) == (81, 81)


def test_a_log_is_not_flooded_but_always_gets_the_last_line() -> None:
    log = io.StringIO()
    with Progress("export", 1000, stream=log, log_seconds=60) as progress:
        for _ in range(1000):
            progress.advance()
    assert [line.split(",")[0] for line in log.getvalue().splitlines()[:1]] == ["export: 1"]
    assert len(log.getvalue().splitlines()) == 2
    assert "rows" not in log.getvalue()


def test_a_terminal_gets_a_bar() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    with Progress("embed", 2, stream=terminal) as progress:
        progress.advance(rows=5)
        progress.advance(rows=5)
    assert "\r" in terminal.getvalue()
    assert "embed: 100%" in terminal.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (59.2, "59 s"), (60, "1:00"), (187, "3:07"), (18131, "5:02:11")],
)
def test_durations_read_as_people_write_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text
