"""Failures of remote storage that another try may mend are tried again; others are told at once, in one line."""

from __future__ import annotations

import errno
from collections.abc import Callable

import fsspec
import pytest

from index import remote
from index.errors import BadInput, RemoteDown
from index.files import read_bytes, write_atomic


class S3Error(Exception):
    """As botocore's ClientError."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"{code}: told by the store")
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}, "Error": {"Code": code}}


def failing(times: int, error: Exception) -> Callable[[], str]:
    left = [error] * times

    def operation() -> str:
        if left:
            raise left.pop()
        return "done"

    return operation


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("index.remote.time.sleep", lambda _: None)


@pytest.mark.parametrize(
    "error",
    [
        S3Error(503, "SlowDown"),
        S3Error(500, "InternalError"),
        S3Error(400, "IncompleteBody"),
        S3Error(429, "429"),
        ConnectionResetError(errno.ECONNRESET, "reset"),
        TimeoutError("slow"),
        OSError("cut off"),
    ],
)
def test_what_may_pass_is_tried_again(error: Exception) -> None:
    assert remote.attempt("s3://b/a", failing(5, error)) == "done"


@pytest.mark.parametrize(
    "error",
    [
        S3Error(412, "PreconditionFailed"),
        FileNotFoundError(),
        FileExistsError(),
        OSError(errno.ENOSPC, "full"),
        ValueError(),
    ],
)
def test_what_does_not_pass_is_raised_at_once(error: Exception) -> None:
    with pytest.raises(type(error)):
        remote.attempt("s3://b/a", failing(1, error))


def test_a_storage_that_stays_down_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPMINE_PATIENCE", "0.01")
    with pytest.raises(RemoteDown, match=r"^s3://b/a: its storage did not answer \(S3Error: SlowDown.*run the same"):
        remote.attempt("s3://b/a", failing(1000, S3Error(503, "SlowDown")))
    monkeypatch.setenv("CLIPMINE_PATIENCE", "long")
    with pytest.raises(BadInput, match="'long' is no number of seconds"):
        remote.attempt("s3://b/a", failing(1, TimeoutError()))


def test_refused_access_and_a_missing_bucket_are_the_users_to_mend() -> None:
    for error, said in (
        (PermissionError("Forbidden"), "access was refused"),
        (S3Error(404, "NoSuchBucket"), "no such"),
    ):
        with pytest.raises(BadInput, match=f"s3://b/a: .*{said}"):
            remote.attempt("s3://b/a", failing(1, error))


def test_a_cut_off_answer_is_never_taken_as_the_whole_file(monkeypatch: pytest.MonkeyPatch) -> None:
    path = "memory://test_remote/a"
    write_atomic(path, b"0123456789")
    system = fsspec.filesystem("memory")
    answers = [b"01234", b""]
    whole = system.cat_file
    monkeypatch.setattr(
        type(system), "cat_file", lambda self, *rest, **more: answers.pop() if answers else whole(*rest, **more)
    )
    assert read_bytes(path) == b"0123456789"
    assert not answers
