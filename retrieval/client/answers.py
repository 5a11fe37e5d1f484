"""Answers of the service as typed values, its errors as ours, and the waits between attempts.

Pure functions and the reader of a concept stream, which both the blocking and the asynchronous client use.
"""

from __future__ import annotations

import email.utils
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
import orjson

from index.errors import BadInput, ClipmineError
from retrieval.data_frames import frame_of_rows

if TYPE_CHECKING:
    import pandas as pd
    from pydantic import BaseModel

    Model = TypeVar("Model", bound=BaseModel)

__all__ = ["Attempts", "ConceptAnswer", "ConceptReader", "ConceptsSummary", "SelectedRow", "parse", "parse_json"]

# Seconds before the second attempt, doubled for each further one up to LONGEST_WAIT, which limits Retry-After too:
# a client should fail rather than sleep for an hour.
FIRST_WAIT = 0.25
LONGEST_WAIT = 30.0
_BUSY = (429, 503)
_ROW_FIELDS = ("row_id", "score", "rank", "mode", "prompt", "both_ways")
_SHOWN = 200  # characters of an answer that an error message quotes


@dataclass(frozen=True, slots=True)
class SelectedRow:
    """A row selected for a concept; fields as in `retrieval.selection`. columns: the metadata that was asked for."""

    row_id: int
    score: float
    rank: int
    mode: str
    prompt: str
    both_ways: bool
    columns: Mapping[str, Any]


@dataclass(frozen=True, repr=False)
class ConceptAnswer:
    """One concept's rows after the rules. hits: results of its searches within k, before the rules."""

    name: str
    class_id: str | None
    hits: int
    rows: tuple[SelectedRow, ...]

    def __repr__(self) -> str:
        return f"ConceptAnswer({self.name!r}, {len(self.rows)} rows)"

    def to_pandas(self) -> pd.DataFrame:
        """A data frame with a line for each row: row_id, score, rank, mode, prompt, both_ways, metadata columns.

        Raises BadInput when pandas is not installed.
        """
        rows = [{**row.columns, **{name: getattr(row, name) for name in _ROW_FIELDS}} for row in self.rows]
        return frame_of_rows(rows, _ROW_FIELDS)


@dataclass(frozen=True)
class ConceptsSummary:
    """The end of a concept stream: hits = rows + the sum of losses.

    losses: rows that each rule removed, in the rules' order; by_concept: the same by rule and concept. plans: by mode,
    how it was searched and why. partial: the shards in `missing` did not answer.
    """

    prompts: int
    prompts_cut: int
    hits: int
    rows: int
    losses: Mapping[str, int]
    by_concept: Mapping[str, Mapping[str, int]]
    plans: Mapping[str, str]
    partial: bool
    missing: tuple[str, ...]


@dataclass
class Attempts:
    """Counts the attempts of one request and gives the wait before the next; raises after the last one."""

    url: str
    retries: int
    made: int = 0

    def unreachable(self, error: Exception) -> float:
        """Seconds to wait after a failed connection; ClipmineError when no attempt is left."""
        if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
            # The service has the request and is working on it, so sending it again would only add work.
            raise ClipmineError(f"{self.url}: no answer in time; ask for less at once or give a longer timeout")
        reason = str(error) or type(error).__name__
        message = f"{self.url}: cannot be reached ({reason}); is the service running there?"
        return self._wait(ClipmineError(message), None)

    def refused(self, status: int, headers: Mapping[str, str], body: bytes) -> float:
        """Seconds to wait after an error status; the error itself when it is final or no attempt is left."""
        error = _error(self.url, status, headers, body)
        if status not in _BUSY:
            raise error
        return self._wait(error, headers.get("retry-after"))

    def _wait(self, error: ClipmineError, retry_after: str | None) -> float:
        if self.made >= self.retries:
            raise error
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2.0**self.made)
        self.made += 1
        # Random waits, so that clients that were refused at the same time do not return at the same time.
        return min(LONGEST_WAIT, max(seconds(retry_after), wait * random.uniform(0.5, 1.0)))


def seconds(retry_after: str | None) -> float:
    """A Retry-After header (seconds or a date) as seconds from now; 0 without one or for another text."""
    if not retry_after:
        return 0.0
    if retry_after.strip().isdecimal():
        return float(min(int(retry_after), LONGEST_WAIT))
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0


def _error(url: str, status: int, headers: Mapping[str, str], body: bytes) -> ClipmineError:
    """The error of an answer: BadInput where the caller can correct the request, otherwise ClipmineError."""
    said = _said(body)
    if status == 401:
        return BadInput(f"{url}: {said or 'needs a token'}; give its token (CLIPMINE_TOKEN, or Client(url, token=...))")
    if status in _BUSY:
        return ClipmineError(f"{url}: is busy or not ready ({status}): {said or 'try again later'}")
    if 300 <= status < 400:
        return BadInput(f"{url}: redirects to {headers.get('location', 'elsewhere')}; use that address")
    kind = BadInput if 400 <= status < 500 else ClipmineError
    return kind(f"{url}: {said or 'no reason given'} ({status})")


def _said(body: bytes) -> str:
    try:
        problem = orjson.loads(body)
    except ValueError:
        problem = body.decode("utf-8", "replace")
    text = problem.get("error", problem.get("detail", "")) if isinstance(problem, dict) else problem
    return " ".join(str(text).split())[:_SHOWN]


def parse_json(url: str, body: bytes) -> Any:
    """An answer's JSON; ClipmineError for other bytes, which do not come from a Clipmine service."""
    try:
        return orjson.loads(body)
    except ValueError as error:
        raise ClipmineError(f"{url}: answers, but not as a Clipmine service does: {_said(body) or error}") from error


def parse(url: str, body: bytes, model: type[Model]) -> Model:
    """An answer as one of the models in `service.schemas`; ClipmineError for JSON of another shape."""
    from pydantic import ValidationError

    try:
        return model.model_validate(parse_json(url, body))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise ClipmineError(f"{url}: its answer is not of the expected shape ({where}: {first['msg']})") from error


@dataclass
class ConceptReader:
    """Reads the NDJSON of POST /concepts from chunks of bytes, which may end anywhere.

    `feed` yields concepts when their lines are complete; `finish` raises unless the end line was read, so a stream that
    was cut is never taken for a short result. on_progress(done, total): queries answered.
    """

    url: str
    on_progress: Callable[[int, int], None] | None = None
    _summary: ConceptsSummary | None = None
    _rest: list[bytes] = field(default_factory=list)
    _announced: int = 0
    _prompts: int = 0
    _concepts: int = 0
    _rows: int = 0

    @property
    def summary(self) -> ConceptsSummary:
        """The content of the end line; ClipmineError before it was read."""
        if self._summary is None:
            raise ClipmineError("the summary comes with the last concept: read all concepts first")
        return self._summary

    def feed(self, chunk: bytes) -> Iterator[ConceptAnswer]:
        """The concepts that this chunk completes. ClipmineError for an error line or a line of unknown shape."""
        # Split at \n only: str.splitlines would split at U+2028 and the like too, which occur in captions.
        first, *others = chunk.split(b"\n")
        self._rest.append(first)
        for piece in others:
            line = b"".join(self._rest)
            self._rest = [piece]
            if line.strip():
                yield from self._line(parse_json(self.url, line))

    def finish(self) -> None:
        """Check that the stream is complete; ClipmineError when its end or some concepts are missing."""
        if self._summary is None:
            raise self.cut()
        if self._concepts != self._announced or self._rows != self._summary.rows:
            raise ClipmineError(
                f"{self.url}: announced {self._announced} concepts and {self._summary.rows} rows and sent "
                f"{self._concepts} and {self._rows}; ask again"
            )

    def cut(self, error: Exception | None = None) -> ClipmineError:
        """The error for a connection that broke off."""
        why = f" ({error})" if error is not None and str(error) else ""
        return ClipmineError(
            f"{self.url}: the stream was cut after {self._concepts} of {self._announced} concepts{why}; ask again"
        )

    def _line(self, line: Any) -> Iterator[ConceptAnswer]:
        try:
            kind = line["type"]
            progress = (int(line["done"]), int(line["total"])) if kind == "progress" else None
            answer = _concept(line) if kind == "concept" else None
            error = " ".join(str(line["error"]).split()) if kind == "error" else None
            if kind == "start":
                self._announced, self._prompts = int(line["concepts"]), int(line["prompts"])
            elif kind == "end":
                self._summary = _summary(line, self._prompts)
        except (AttributeError, KeyError, TypeError, ValueError) as wrong:
            raise ClipmineError(f"{self.url}: a line of the answer is not of the expected shape ({wrong!r})") from wrong
        if error is not None:
            raise ClipmineError(f"{self.url}: {error}")
        if progress is not None and self.on_progress is not None:
            self.on_progress(*progress)
        if answer is not None:
            self._concepts += 1
            self._rows += len(answer.rows)
            yield answer


def _concept(line: Mapping[str, Any]) -> ConceptAnswer:
    rows = []
    for row in line["rows"]:
        fixed = {name: row.pop(name) for name in _ROW_FIELDS}
        rows.append(SelectedRow(**fixed, columns=row))
    return ConceptAnswer(line["name"], line.get("id"), int(line["hits"]), tuple(rows))


def _summary(line: Mapping[str, Any], prompts: int) -> ConceptsSummary:
    return ConceptsSummary(
        prompts=prompts,
        prompts_cut=int(line.get("prompts_cut", 0)),
        hits=int(line["hits"]),
        rows=int(line["rows"]),
        losses={loss["rule"]: int(loss["rows"]) for loss in line["losses"]},
        by_concept={loss["rule"]: loss.get("by_concept", {}) for loss in line["losses"]},
        plans=dict(line["plans"]),
        partial=bool(line["partial"]),
        missing=tuple(line["missing"]),
    )
