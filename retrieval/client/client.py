"""The retrieval service's blocking client, and what it shares with the asynchronous one.

    with Client("http://host:8000") as client:
        found = client.search(["a photo of a dog", Path("dog.jpg"), 17], k=5)
        found.results[0].rows[0].row_id
        with client.concepts(["dog", "cat"], k=20) as stream:
            for concept in stream:
                print(concept.name, len(concept.rows))
        stream.summary.losses

`retrieval.client.async_client.AsyncClient` is the same for asyncio. Both build requests and read answers with the same
functions (`requests.py`, `answers.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Unpack

import httpx

from index.errors import BadInput
from retrieval.client.answers import Attempts, ConceptAnswer, ConceptReader, ConceptsSummary, parse, parse_json
from retrieval.client.requests import Call, concepts_call, get, row_call, search_call, service_url, token_headers
from retrieval.service.schemas import IndexesResponse, SearchResponse

if TYPE_CHECKING:
    from index.store.embedding_store import Modality
    from retrieval.client.requests import ConceptOptions, Concepts, SearchOptions, TemplateSource
    from retrieval.query_blocks import Mode
    from retrieval.rules import Rules
    from retrieval.search.queries import Query
    from retrieval.service.schemas import Filters

__all__ = ["Client", "ConceptStream", "Connection"]

OnProgress = Callable[[int, int], None]

# Seconds between two lines of a concept stream: a block of prompts is searched, which takes minutes in a large store.
STREAM_SILENCE = 600.0
CONNECT = 10.0  # seconds to open a connection


class Connection:
    """The service's address and the limits of waiting, for both clients."""

    def __init__(self, url: str, token: str | None, timeout: float, retries: int, store: str | None) -> None:
        self._store = store
        self.url = service_url(url)
        try:
            httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise BadInput(f"{url!r}: is no URL ({error}); a service's URL looks like http://host:8000") from error
        self._retries = retries
        self._timeout = timeout
        self._connection: dict[str, Any] = {"headers": token_headers(token)}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def _attempts(self) -> Attempts:
        return Attempts(self.url, self._retries)

    def _request(self, http: httpx.Client | httpx.AsyncClient, call: Call) -> httpx.Request:
        silence = max(self._timeout, STREAM_SILENCE) if call.streamed else self._timeout
        return http.build_request(
            call.method,
            self.url + call.path,
            content=call.body,
            params=call.params if self._store is None else {**call.params, "store": self._store},
            headers=call.headers,
            timeout=httpx.Timeout(silence, connect=min(CONNECT, silence)),
        )


class Client(Connection):
    """A connection to a service; threads may share one.

    token: a bearer token, where the service asks for one. store: the name of one of its stores, by default the first;
    BadInput at the first request for one that is not there. timeout: seconds without a byte before a request is given
    up. retries: further attempts after a failed connection, 429 or 503. The waits grow, or follow Retry-After (30 s at
    most); other errors are raised at once.

    Every method raises BadInput for a request that the service refuses (4xx, with the service's message) and
    ClipmineError where the service cannot be reached, is busy after the last attempt, or fails.
    """

    def __init__(
        self, url: str, token: str | None = None, timeout: float = 60.0, retries: int = 4, *, store: str | None = None
    ) -> None:
        super().__init__(url, token, timeout, retries, store)
        self._http = httpx.Client(**self._connection)

    def search(
        self,
        queries: Iterable[Query],
        k: int = 10,
        modality: Modality = "image",
        filters: Filters | Mapping[str, Any] | None = None,
        **options: Unpack[SearchOptions],
    ) -> SearchResponse:
        """The k nearest rows of each query, among images or, with modality "text", among captions.

        queries: texts (str), images (a file's bytes, a Path, a PIL image), vectors [d] or row ids (int), mixed as
        needed; an array [q, d] is q vectors. filters: fields of `schemas.Filters`. options: columns (metadata of each
        result), method ("hnsw" or "exact"), mark_duplicates (the cosine from which results are listed as
        near-duplicates of each other). The result's `to_pandas()` gives a data frame.
        """
        return parse(self.url, self._ask(search_call(queries, k, modality, filters, **options)), SearchResponse)

    def concepts(
        self,
        concepts: Concepts,
        templates: TemplateSource = "simple",
        mode: Mode = "both",
        k: int = 50,
        rules: Rules | Mapping[str, Any] | None = None,
        *,
        on_progress: OnProgress | None = None,
        **options: Unpack[ConceptOptions],
    ) -> ConceptStream:
        """The rows that `clipmine retrieve` selects for a concept list, concept by concept as the service sends them.

        concepts: a list, names, or query vectors [n, d] by name. templates, mode, k, rules: as in `retrieval.retrieve`,
        except that no store can be excluded. on_progress(done, total): queries answered. options: columns, method, and
        reserve, how much deeper is searched, although the service sends no reserve. The request is sent when the first
        concept is read.
        """
        reader = ConceptReader(self.url, on_progress)
        call = concepts_call(concepts, templates, mode, k, rules, **options)
        return ConceptStream(self._read(call, reader), reader)

    def row(self, row_id: int, columns: Iterable[str] | None = None) -> dict[str, Any]:
        """A row's metadata, with its `row_id`."""
        row: dict[str, Any] = parse_json(self.url, self._ask(row_call(row_id, columns)))
        return row

    def image(self, row_id: int, side: int | None = None) -> bytes:
        """A row's image file as it is in the corpus, or a JPEG whose longer side is at most `side` pixels."""
        return self._ask(get(f"/rows/{int(row_id)}/image", side=side))

    def indexes(self) -> IndexesResponse:
        """Describes the served store: rows, model, columns, indexes."""
        return parse(self.url, self._ask(get("/indexes")), IndexesResponse)

    def ready(self) -> bool:
        """Whether the service answers searches now; False where it cannot be reached. No retries."""
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
    """The answers to a concept list, one concept at a time. Closing it early cancels the rest in the service."""

    def __init__(self, answers: Generator[ConceptAnswer, None, None], reader: ConceptReader) -> None:
        self._answers, self._reader = answers, reader

    def __next__(self) -> ConceptAnswer:
        return next(self._answers)

    @property
    def summary(self) -> ConceptsSummary:
        """Hits, losses and plans, when all concepts were read; ClipmineError before that."""
        return self._reader.summary

    def close(self) -> None:
        """End the stream; the service stops working on it."""
        self._answers.close()

    def __enter__(self) -> ConceptStream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
