"""An item's outcome: its result, or an error that reads the same wherever the item ran."""

from __future__ import annotations

import pickle
import socket
from pathlib import Path
from typing import Any

import pytest

from index.encoder.loading import load_encoder
from index.encoder.model_spec import ModelSpec
from index.errors import DiskFull, MissingDependency, ModelMissing, StoreInvalid
from jobs.executors.attempts import ItemFailed, Outcome, Work, WorkerDied, attempt, raise_failure, worker_died
from tests.jobs.arithmetic import Number, Trouble, square

WORK = Work("square", square, [Number(7), Number(8)], Trouble())


def failed(how: str) -> Outcome:
    """The outcome of an item in trouble, as it arrives from another process."""
    outcome: Outcome = pickle.loads(pickle.dumps(attempt(square, 1, Number(8), Trouble(8, how))))
    assert outcome.result is None
    return outcome


def test_a_result_is_an_outcome() -> None:
    outcome = attempt(square, 0, Number(7), Trouble())
    assert (outcome.position, outcome.result.rows, outcome.failure) == (0, 49, None)


def test_our_errors_keep_their_class_and_message() -> None:
    with pytest.raises(StoreInvalid, match="part 8 of the store lacks 3 rows") as caught:
        raise_failure(WORK, failed("store"))
    assert "in item 8 of square" in caught.value.__notes__[0]
    # A class whose constructor takes other arguments than the message.
    with pytest.raises(MissingDependency, match="--executor spark needs java") as missing:
        raise_failure(WORK, failed("java"))
    assert missing.value.exit_code == 2


def test_a_full_disk_is_its_own_error() -> None:
    with pytest.raises(DiskFull, match="where the job writes: no space left"):
        raise_failure(WORK, failed("disk"))


def load(item: ModelSpec, config: Any) -> None:
    load_encoder(item, "cpu")


@pytest.mark.parametrize("lacks", ["folder", "download"])
def test_a_worker_that_lacks_the_model_is_named_with_what_to_do(
    lacks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    folder = str(tmp_path / "of-the-driver")
    spec = ModelSpec(model_dir=folder) if lacks == "folder" else ModelSpec("ViT-B-32", "openai")
    work = Work("embed", load, [spec], None)
    with pytest.raises(ModelMissing) as caught:
        raise_failure(work, attempt(load, 0, spec, None, {}))
    said = str(caught.value)
    assert said.startswith(f"the worker on {socket.gethostname()} lacks a model: ")
    assert (folder if lacks == "folder" else "ViT-B-32 (openai)") in said
    assert ("copy it to storage that all machines see" if lacks == "folder" else "set HF_HOME on each machine") in said
    assert "\n" not in said
    with pytest.raises(ModelMissing) as here:  # by the local executor
        raise_failure(work, attempt(load, 0, spec, None))
    assert socket.gethostname() not in str(here.value)
    assert "machine" not in str(here.value)


def test_other_errors_name_the_item_and_keep_the_trace() -> None:
    with pytest.raises(ItemFailed, match="square: item 8 failed: ZeroDivisionError: three parts") as caught:
        raise_failure(WORK, failed("bug"))
    assert "arithmetic.py" in caught.value.__notes__[0]


def test_a_dead_worker_is_a_failure_too() -> None:
    with pytest.raises(WorkerDied, match=r"the worker of item 7 died 3 times \(killed by SIGKILL\)"):
        raise_failure(WORK, Outcome(0, failure=worker_died(WORK, 0, "killed by SIGKILL")))


def test_items_are_called_by_name_number_or_position() -> None:
    class Named:
        name = "part-3"

    work = Work("job", square, [Named(), Number(9), "plain"], None)
    assert [work.item_name(position) for position in range(3)] == ["part-3", "9", "2"]
