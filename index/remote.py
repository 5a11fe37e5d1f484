"""Remote file systems: how they are opened, and which of their failures are tried again, how long.

    attempt("s3://bucket/a", lambda: file_system.cat_file(inside))

All remote operations of `index.files` and of the lease go through `attempt`. An answer that says "later" (503 SlowDown,
500), a connection that is refused, reset or cut off, and an operation that takes too long are tried again, with growing
pauses, for `CLIPMINE_PATIENCE` seconds. Then one line names the object and what to do.
"""

from __future__ import annotations

import errno
import http.client
import importlib
import os
import random
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import fsspec

from index.errors import BadInput, ClipmineError, RemoteDown

__all__ = ["OBJECT_STORES", "VARIABLES", "attempt", "error_code", "is_transient", "open_system", "time_limit"]

T = TypeVar("T")

# Protocols of stores where a put is atomic, folders are only prefixes, and nothing is mapped or locked.
OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"})
# The settings of a user that workers on other machines need too: `jobs.executors.attempts` sends them. Roles and token
# files, which belong to one machine, are not among them.
VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "CLIPMINE_PATIENCE",
)

_PATIENCE = 180.0  # seconds in all
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 15.0
_CONNECT, _SILENCE = 10, 60  # seconds to connect; seconds without a byte
# The least speed in bytes a second. An operation that moves so little is ended and tried again: a connection may be
# alive and give a byte now and then.
_LEAST_SPEED = 100_000
_SLOWEST = 60.0  # seconds that an operation may take besides
# Error codes of S3 with a status below 500 that another try mends: an upload that was cut off, or too many requests.
_AGAIN = frozenset({"IncompleteBody", "BadDigest", "XAmzContentSHA256Mismatch", "RequestTimeout", "SlowDown", "429"})
_FINAL = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)
_FINAL_NUMBERS = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENAMETOOLONG, errno.EPERM, errno.ENOSPC, errno.EDQUOT})

_systems: dict[tuple[str | int | None, ...], Any] = {}
_lock = threading.Lock()


def open_system(url: str) -> tuple[Any, str]:
    """`(file system, path inside it)`; BadInput for an unknown protocol or one whose package is missing.

    Listings are not cached, since other processes write too. One connection pool serves all threads of a process.
    """
    protocol = url.partition("://")[0]
    try:
        if "::" in url or protocol not in OBJECT_STORES:
            opened: tuple[Any, str] = fsspec.core.url_to_fs(url)
            return opened
        # The environment is part of the key: a file system reads it once, when it connects.
        key = (os.getpid(), protocol, *map(os.environ.get, VARIABLES))
        with _lock:
            system = _systems.get(key)
            if system is None:
                options = _s3_options() if protocol in ("s3", "s3a") else {}
                system = fsspec.filesystem(protocol, use_listings_cache=False, skip_instance_cache=True, **options)
                _systems[key] = system
        return system, str(system._strip_protocol(url))
    except (ValueError, ImportError) as error:
        raise BadInput(f"{url}: cannot be opened: {str(error).splitlines()[0]}") from error


def _s3_options() -> dict[str, Any]:
    """Of the three layers that try again, botocore's is switched off; s3fs's is for single requests of an upload."""
    importlib.import_module("s3fs.core").set_custom_error_handler(is_transient)
    own = {"retries": {"total_max_attempts": 1}, "connect_timeout": _CONNECT, "read_timeout": _SILENCE}
    return {"config_kwargs": {**own, **fsspec.config.conf.get("s3", {}).get("config_kwargs", {})}}


def time_limit(system: Any, size: int) -> dict[str, float]:
    """The keyword argument that bounds an operation on `size` bytes; none where the file system has no such bound."""
    return {"timeout": _SLOWEST + size / _LEAST_SPEED} if getattr(system, "async_impl", False) else {}


def attempt(url: str, operation: Callable[[], T]) -> T:
    """Run an operation on `url`, which must do no harm when it is done twice; try again while that may help.

    Raises:
        RemoteDown: it failed for the whole of `CLIPMINE_PATIENCE` seconds (180).
        BadInput: access was refused, or there are no credentials.

    and FileNotFoundError and what else another try does not mend.
    """
    started, tries = time.monotonic(), 0
    patience = _patience()
    while True:
        tries += 1
        try:
            return operation()
        except Exception as error:
            if not is_transient(error):
                if (refused := _refusal(url, error)) is not None:
                    raise refused from error
                raise
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(tries, 20)) * random.uniform(0.5, 1)
            spent = time.monotonic() - started
            if spent + pause > patience:
                raise RemoteDown(
                    f"{url}: its storage did not answer ({_describe(error)}; {tries} tries in {spent:.0f} s); nothing "
                    "half-written is used: run the same command again when it answers, or set CLIPMINE_PATIENCE "
                    "(seconds) higher"
                ) from error
        time.sleep(pause)


def is_transient(error: Exception) -> bool:
    """Whether another try may mend what failed."""
    if isinstance(error, ClipmineError):
        return False
    status, code = _answer(error)
    if status is not None:
        return status >= 500 or status == 429 or code in _AGAIN
    if isinstance(error, _FINAL):
        return False
    if isinstance(error, OSError):  # timeouts and connections that were refused, reset or cut off
        return error.errno not in _FINAL_NUMBERS
    if isinstance(error, http.client.HTTPException):
        return True
    of, name = type(error).__module__.partition(".")[0], type(error).__name__
    if of in ("botocore", "aiobotocore"):
        return any(word in name for word in ("Connect", "Timeout", "HTTPClient", "IncompleteRead", "Response", "SSL"))
    return of == "aiohttp"


def error_code(error: BaseException) -> str | None:
    """The code of an S3 error, such as "PreconditionFailed"; None for another error."""
    return _answer(error)[1]


def _answer(error: BaseException) -> tuple[int | None, str | None]:
    """Status and code of the answer that an error was made from; s3fs keeps botocore's error as the cause."""
    for each in (error, error.__cause__):
        response = getattr(each, "response", None)
        if isinstance(response, dict):
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            return status, str(response.get("Error", {}).get("Code"))
    return None, None


def _refusal(url: str, error: Exception) -> BadInput | None:
    if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
        return BadInput(f"{url}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_ENDPOINT_URL)")
    if isinstance(error, PermissionError):
        return BadInput(f"{url}: access was refused ({_describe(error)}); check the credentials and their rights")
    if error_code(error) == "NoSuchBucket":
        return BadInput(f"{url}: there is no such bucket; make it, or name another")
    return None


def _describe(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]:.200}" if lines else type(error).__name__


def _patience() -> float:
    try:
        return float(os.environ.get("CLIPMINE_PATIENCE", _PATIENCE))
    except ValueError as error:
        raise BadInput(f"CLIPMINE_PATIENCE: {os.environ['CLIPMINE_PATIENCE']!r} is no number of seconds") from error
