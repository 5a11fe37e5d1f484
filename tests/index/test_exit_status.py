"""What is said of processes that have ended."""

from __future__ import annotations

import pytest

from index.exit_status import describe_exit


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (3, "exit status 3"),
        (0, "exit status 0"),
        (None, "exit status None"),
        (-11, "killed by SIGSEGV"),
        (-9, "killed by SIGKILL, as the system does when memory runs out"),
    ],
)
def test_an_exit_status_is_described(status: int | None, words: str) -> None:
    assert describe_exit(status) == words
