"""Clients of the retrieval service.

    with Client("http://host:8000") as client:
        found = client.search(["a photo of a dog", Path("dog.jpg"), 17], k=5)
        found.results[0].rows[0].row_id
        with client.concepts(["dog", "cat"], k=20) as stream:
            for concept in stream:
                print(concept.name, len(concept.rows))
        stream.summary.losses

`client_async.AsyncClient` is the same with `await` and `async for`. Both build requests and read answers by the same
functions (`client_requests`, `client_answers`); what is here is the connection.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import httpx
import numpy as np
import numpy.typing as npt

from index.errors import BadInput
from retrieval.client.answers import Attempts, ConceptAnswer, ConceptReader, ConceptsSummary, parse, parse_json
from retrieval.client.requests import Call, concepts_call, get, row_call, search_call, service_url, token_headers
from retrieval.concepts import ConceptList
from retrieval.query_blocks import Mode
from retrieval.rules import Rules
from retrieval.service.schemas import Filters, IndexesResponse, SearchResponse
from retrieval.templates import Templates

if TYPE_CHECKING:
    from retrieval.client.requests import Query

__all__ = ["Client", "ConceptStream", "Connection"]

Concepts = ConceptList | Iterable[str] | Mapping[str, npt.NDArray[np.floating[Any]]]
TemplateSource = Templates | str | os.PathLike[str] | Iterable[str]
OnProgress = Callable[[int, int], None]
Method = Literal["hnsw", "exact"]

# Between two lines of a concept stream a block of prompts is searched, which takes minutes where a store is large.
STREAM_SILENCE = 600.0
CONNECT = 10.0


class Connection:
    """What both clients are made with, and the requests that they share."""

    def __init__(self, url: str, token: str | None, timeout: float, retries: int) -> None:
        self.url = service_url(url)
        try:
            httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise BadInput(f"{url!r}: is no URL ({error}); a service's URL looks like http://host:8000") from error
        self._retries = retries
        self._timeout = timeout
        self._connection: dict[str, Any] = {"headers": token_headers(token)}

    def _attempts(self) -> Attempts:
        return Attempts(self.url, self._retries)

    def _request(self, http: httpx.Client | httpx.AsyncClient, call: Call) -> httpx.Request:
        silence = max(self._timeout, STREAM_SILENCE) if call.streamed else self._timeout
        return http.build_request(
            call.method,
            self.url + call.path,
            content=call.body,
            params=call.params,
            headers=call.headers,
            timeout=httpx.Timeout(silence, connect=min(CONNECT, silence)),
        )


class Client(Connection):
    """A connection to a service; threads may share one.

    token: a bearer token, where the service wants one. timeout: seconds without a byte before a request is given up.
    retries: further attempts after no connection, 429 or 503, with growing waits, or as long as Retry-After says (30 s
    at most); other errors are raised at once.

    Every method raises BadInput for what the service refuses (4xx, in its own words) and ClipmineError where it cannot
    be reached, is busy after the last attempt, or fails.
    """

    def __init__(self, url: str, token: str | None = None, timeout: float = 60.0, retries: int = 4) -> None:
        super().__init__(url, token, timeout, retries)
        self._http = httpx.Client(**self._connection)

    def search(
        self,
        queries: Iterable[Query],
        k: int = 10,
        modality: Literal["image", "text"] = "image",
        filters: Filters | Mapping[str, Any] | None = None,
        *,
        columns: Iterable[str] | None = None,
        method: Method | None = None,
        mark_duplicates: float | None = None,
    ) -> SearchResponse:
        """The k nearest rows of each query: of images, or with modality "text" of captions.

        queries: texts (str), images (bytes of a file, a Path, a PIL image), vectors [d] or row ids (int), mixed as you
        like; an array [q, d] is q vectors. filters: fields of `wire.Filters`. columns: metadata of each row, in
        `row.model_extra`. mark_duplicates: cosine from which results are told to be near-duplicates of each other.
        """
        call = search_call(
            queries,
            k=k,
            modality=modality,
            filters=filters,
            columns=columns,
            method=method,
            mark_duplicates=mark_duplicates,
        )
        return parse(self.url, self._ask(call), SearchResponse)

    def concepts(
        self,
        concepts: Concepts,
        templates: TemplateSource = "simple",
        mode: Mode = "both",
        k: int = 50,
        rules: Rules | Mapping[str, Any] | None = None,
        *,
        columns: Iterable[str] | None = None,
        reserve: float | None = None,
        method: Method | None = None,
        on_progress: OnProgress | None = None,
    ) -> ConceptStream:
        """What `clipmine retrieve` selects for a concept list, concept by concept as the service sends them.

        concepts: a list, names, or query vectors [n, d] by name. templates, mode, k, rules: as in `retrieval.retrieve`,
        except that no store can be excluded; reserve: how much deeper is searched, as there, though no reserve is sent.
        on_progress(done, total): queries answered. The request is sent when the first concept is asked for.
        """
        call = concepts_call(
            concepts,
            templates=templates,
            mode=mode,
            k=k,
            rules=rules,
            columns=columns,
            reserve=reserve,
            method=method,
        )
        reader = ConceptReader(self.url, on_progress)
        return ConceptStream(self._read(call, reader), reader)

    def row(self, row_id: int, columns: Iterable[str] | None = None) -> dict[str, Any]:
        """A row's metadata, with its `row_id`."""
        row: dict[str, Any] = parse_json(self.url, self._ask(row_call(row_id, columns)))
        return row

    def image(self, row_id: int, side: int | None = None) -> bytes:
        """A row's image file as it lies in the corpus, or a JPEG whose longer side is at most `side` pixels."""
        return self._ask(get(f"/rows/{int(row_id)}/image", side=side))

    def indexes(self) -> IndexesResponse:
        """What is served: rows, model, columns, indexes."""
        return parse(self.url, self._ask(get("/indexes")), IndexesResponse)

    def ready(self) -> bool:
        """Whether the service answers searches now; False where it cannot be reached. Asks once."""
        try:
            return self._http.send(self._request(self._http, get("/readyz"))).is_success
        except httpx.TransportError:
            return False

    def close(self) -> None:
        """Close the connections; streams that are being read end with an error."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _ask(self, call: Call) -> bytes:
        return self._send(call).content

    def _send(self, call: Call) -> httpx.Response:
        attempts, request = self._attempts(), self._request(self._http, call)
        while True:
            try:
                response = self._http.send(request, stream=call.streamed)
                if response.is_success:
                    return response
                wait = attempts.refused(response.status_code, response.headers, response.read())
            except httpx.TransportError as error:
                wait = attempts.unreachable(error)
            time.sleep(wait)

    def _read(self, call: Call, reader: ConceptReader) -> Generator[ConceptAnswer, None, None]:
        response = self._send(call)
        try:
            for chunk in response.iter_bytes():
                yield from reader.feed(chunk)
            reader.finish()
        except (httpx.RequestError, httpx.StreamError) as error:
            raise reader.cut(error) from error
        finally:
            response.close()


class ConceptStream(Iterator[ConceptAnswer]):
    """A concept list's answers, one at a time; leaving it early, or `close`, cancels the rest in the service."""

    def __init__(self, answers: Generator[ConceptAnswer, None, None], reader: ConceptReader) -> None:
        self._answers, self._reader = answers, reader

    def __next__(self) -> ConceptAnswer:
        return next(self._answers)

    @property
    def summary(self) -> ConceptsSummary:
        """Hits, losses and plans, once all concepts were read; ClipmineError before."""
        return self._reader.summary

    def close(self) -> None:
        """End the stream; the service stops working on it."""
        self._answers.close()

    def __enter__(self) -> ConceptStream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
