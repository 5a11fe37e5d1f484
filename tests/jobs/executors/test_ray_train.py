"""What a Ray Train job reports: the error that counts. Training itself: the jobs' tests."""

from __future__ import annotations

from index.errors import BadInput
from jobs.executors.attempts import Outcome, attempt
from jobs.executors.ray_train import _Failures


def failed(error: Exception) -> Outcome:
    def fail(*_: object) -> None:
        raise error

    return attempt(fail, 0, None, None)


def test_a_users_error_wins_over_the_lost_connections_that_it_causes() -> None:
    failures = _Failures()
    for error in (RuntimeError("connection closed by peer"), ValueError("a bug"), BadInput("no such file")):
        failures.add(failed(error))
    found, lost = failures.take()
    assert found is not None
    assert found.failure is not None
    assert found.failure.message == "no such file"
    assert lost == "RuntimeError: connection closed by peer"
    failures.add(failed(RuntimeError("connection closed by peer")))
    assert failures.take() == (None, lost)
    assert failures.take() == (None, "")


def test_a_runtime_error_that_is_no_lost_connection_is_reported() -> None:
    failures = _Failures()
    shapes = "The size of tensor a (512) must match the size of tensor b (768)"
    for text in ("[gloo/transport/tcp/pair.cc:598] Connection closed by peer", shapes):
        failures.add(failed(RuntimeError(text)))
    found, _ = failures.take()
    assert found is not None
    assert found.failure is not None
    assert (found.failure.name, found.failure.message) == ("RuntimeError", shapes)


def test_a_worker_that_has_begun_is_known() -> None:
    failures = _Failures()
    assert not failures.begun()
    failures.begin()
    assert failures.begun()
