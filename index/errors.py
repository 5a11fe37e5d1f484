"""The errors that a user can see. A message says what was wrong, where, and what to do next.

ClipmineError                 exit status 1
+-- BadInput                  exit status 2: bad usage or bad input
|   +-- MissingDependency     an optional package is not installed
|   +-- OutputExists          the output folder holds something already
|   +-- StoreInvalid          a store's files are missing or disagree
|   +-- ModelMismatch         a store or index was made with another model
|   +-- ModelMissing          a model's files are not on this machine and cannot be downloaded
|   +-- ImagesNotLocal        the store has no image bytes (adopted embeddings)
+-- DiskFull                  no space left on the disk that is written to
+-- RemoteDown                a remote storage did not answer, however often it was asked
"""

from __future__ import annotations

import re

# How a path begins that stands for a URL (`index.files.as_path`): /s3:/bucket/store is s3://bucket/store.
STANDS_FOR_URL = r"/(\w[\w+.-]*):/(?!/)"
_INSIDE = re.compile(r"(?<![\w/.])" + STANDS_FOR_URL)


def with_urls(text: str) -> str:
    """The text with s3://bucket/store where it has /s3:/bucket/store, a path that stands for this URL."""
    return _INSIDE.sub(r"\1://", text)


class ClipmineError(Exception):
    """Base of our errors; the command prints the message as one line and exits with `exit_code`."""

    exit_code = 1

    def __str__(self) -> str:
        return with_urls(super().__str__())


class BadInput(ClipmineError):
    """An argument or an input of the user cannot be used."""

    exit_code = 2


class MissingDependency(BadInput):
    """An optional package is missing; the message names the install command."""

    def __init__(self, package: str, purpose: str, extra: str | None = None, command: str | None = None) -> None:
        command = command or (f"pip install '.[{extra}]'" if extra else f"pip install {package}")
        super().__init__(f"{purpose} needs {package}, which is not installed: {command}")


class OutputExists(BadInput):
    """The output exists already and is not an unfinished run of the same job."""


class StoreInvalid(BadInput):
    """A store's files are missing, or their counts or checksums disagree."""


class ModelMismatch(BadInput):
    """A store or index was made with another model than the one asked for."""


class ModelMissing(BadInput):
    """A model's files are not on this machine and cannot be downloaded.

    Attributes:
        for_workers: what to do where it is a worker on another machine that lacks them.
    """

    for_workers = ""

    def __init__(self, message: str, for_workers: str) -> None:
        super().__init__(message)
        self.for_workers = for_workers


class ImagesNotLocal(BadInput):
    """The store cannot give image bytes: its embeddings were adopted, or its corpus is gone."""


class DiskFull(ClipmineError):
    """No space left on the disk that is written to."""


class RemoteDown(ClipmineError):
    """An object store, or another remote storage, failed each time that it was asked."""
