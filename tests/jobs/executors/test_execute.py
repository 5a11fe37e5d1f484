"""One contract for three executors: order, errors as themselves, killed workers named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from index.errors import BadInput, ClipmineError, DiskFull, MissingDependency, StoreInvalid
from jobs.executors.attempts import ItemFailed, WorkerDied
from jobs.executors.execute import execute
from tests.jobs.arithmetic import Number, Trouble, square

ITEMS = [Number(number) for number in range(6)]


@pytest.fixture
def workers(executor: str) -> int:
    """So few that an item has a worker other than this process: each takes seconds to start on Ray."""
    return 1 if executor == "ray" else 2


def test_results_come_in_item_order(executor: str) -> None:
    results = execute(executor, square, ITEMS, Trouble(), workers=2, shared=None, label="square")
    assert [result.rows for result in results] == [0, 1, 4, 9, 16, 25]


def test_two_workers_share_two_cores_with_one_thread_each(executor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    results = execute(executor, square, ITEMS, Trouble(), workers=2, threads=1, shared=None, label="square")
    assert {result.threads for result in results} == {"1"}
    assert os.getpid() not in {result.process for result in results}


@pytest.mark.parametrize(("how", "kind", "exit_code"), [("store", StoreInvalid, 2), ("java", MissingDependency, 2)])
def test_our_errors_come_through_as_themselves(
    executor: str, workers: int, how: str, kind: type[ClipmineError], exit_code: int
) -> None:
    with pytest.raises(kind) as caught:
        execute(executor, square, ITEMS, Trouble(3, how), workers=workers, shared=None, label="square")
    assert type(caught.value) is kind
    assert caught.value.exit_code == exit_code
    line = {
        "store": "part 3 of the store lacks 3 rows: run embed again",
        "java": "--executor spark needs java, which is not installed: apt-get install java",
    }[how]
    assert str(caught.value) == line
    assert "in item 3 of square" in caught.value.__notes__[0]


def test_a_full_disk_in_a_worker_is_disk_full(executor: str, workers: int) -> None:
    with pytest.raises(DiskFull, match="where the job writes: no space left") as caught:
        execute(executor, square, ITEMS, Trouble(3, "disk"), workers=workers, shared=None, label="square")
    assert caught.value.exit_code == 1


def test_an_unforeseen_exception_names_its_item_and_keeps_its_trace(executor: str, workers: int) -> None:
    with pytest.raises(ItemFailed, match="square: item 3 failed: ZeroDivisionError: three parts") as caught:
        execute(executor, square, ITEMS, Trouble(3, "bug"), workers=workers, shared=None, label="square")
    assert "arithmetic.py" in caught.value.__notes__[0]


def test_a_worker_killed_once_is_replaced_and_its_item_done(executor: str, workers: int, tmp_path: Path) -> None:
    results = execute(
        executor, square, ITEMS, Trouble(3, "killed once", str(tmp_path)), workers=workers, shared=None, label="square"
    )
    assert [result.rows for result in results] == [0, 1, 4, 9, 16, 25]


def test_an_item_that_always_kills_its_worker_is_named(executor: str, workers: int) -> None:
    with pytest.raises(WorkerDied, match="worker of item 3 died 3 times"):
        execute(executor, square, ITEMS, Trouble(3, "killed"), workers=workers, shared=None, label="square")


def test_no_items_need_no_executor(executor: str) -> None:
    assert execute(executor, square, [], Trouble(), shared=None, label="square") == []


def test_an_unknown_executor_lists_the_known() -> None:
    with pytest.raises(BadInput, match="unknown executor 'dask': choose one of local, ray, spark"):
        execute("dask", square, ITEMS, Trouble(), shared=None, label="square")


def test_zero_workers_are_refused() -> None:
    with pytest.raises(BadInput, match="at least 1"):
        execute("local", square, ITEMS, Trouble(), workers=0, shared=None, label="square")
