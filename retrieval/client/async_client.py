"""The retrieval service's client for asyncio.

    async with AsyncClient("http://host:8000") as client:
        found = await client.search(["a photo of a dog"], k=5)
        async with client.concepts(["dog", "cat"], k=20) as stream:
            async for concept in stream:
                print(concept.name, len(concept.rows))

The methods, arguments and errors are those of `retrieval.client.client.Client`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Unpack

import httpx

from retrieval.client.answers import ConceptAnswer, ConceptReader, ConceptsSummary, parse, parse_json
from retrieval.client.client import Connection, OnProgress
from retrieval.client.requests import Call, concepts_call, get, row_call, search_call
from retrieval.service.schemas import IndexesResponse, SearchResponse

if TYPE_CHECKING:
    from index.store.embedding_store import Modality
    from retrieval.client.requests import ConceptOptions, Concepts, SearchOptions, TemplateSource
    from retrieval.query_blocks import Mode
    from retrieval.rules import Rules
    from retrieval.search.queries import Query
    from retrieval.service.schemas import Filters

__all__ = ["AsyncClient", "AsyncConceptStream"]


class AsyncClient(Connection):
    """`retrieval.client.client.Client` for asyncio, with the same methods and errors. Use it in one event loop only."""

    def __init__(
        self, url: str, token: str | None = None, timeout: float = 60.0, retries: int = 4, *, store: str | None = None
    ) -> None:
        super().__init__(url, token, timeout, retries, store)
        self._http = httpx.AsyncClient(**self._connection)

    async def search(
        self,
        queries: Iterable[Query],
        k: int = 10,
        modality: Modality = "image",
        filters: Filters | Mapping[str, Any] | None = None,
        **options: Unpack[SearchOptions],
    ) -> SearchResponse:
        """See `retrieval.client.client.Client.search`."""
        return parse(self.url, await self._ask(search_call(queries, k, modality, filters, **options)), SearchResponse)

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
    ) -> AsyncConceptStream:
        """See `retrieval.client.client.Client.concepts`."""
        reader = ConceptReader(self.url, on_progress)
        call = concepts_call(concepts, templates, mode, k, rules, **options)
        return AsyncConceptStream(self._read(call, reader), reader)

    async def row(self, row_id: int, columns: Iterable[str] | None = None) -> dict[str, Any]:
        """See `retrieval.client.client.Client.row`."""
        row: dict[str, Any] = parse_json(self.url, await self._ask(row_call(row_id, columns)))
        return row

    async def image(self, row_id: int, side: int | None = None) -> bytes:
        """See `retrieval.client.client.Client.image`."""
        return await self._ask(get(f"/rows/{int(row_id)}/image", side=side))

    async def indexes(self) -> IndexesResponse:
        """See `retrieval.client.client.Client.indexes`."""
        return parse(self.url, await self._ask(get("/indexes")), IndexesResponse)

    async def ready(self) -> bool:
        """See `retrieval.client.client.Client.ready`."""
        try:
            return (await self._http.send(self._request(self._http, get("/readyz")))).is_success
        except httpx.TransportError:
            return False

    async def aclose(self) -> None:
        """Close the connections; streams that are being read end with an error."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _ask(self, call: Call) -> bytes:
        return (await self._send(call)).content

    async def _send(self, call: Call) -> httpx.Response:
        attempts, request = self._attempts(), self._request(self._http, call)
        while True:
            try:
                response = await self._http.send(request, stream=call.streamed)
                if response.is_success:
                    return response
                wait = attempts.refused(response.status_code, response.headers, await response.aread())
            except httpx.TransportError as error:
                wait = attempts.unreachable(error)
            await asyncio.sleep(wait)

    async def _read(self, call: Call, reader: ConceptReader) -> AsyncGenerator[ConceptAnswer, None]:
        response = await self._send(call)
        try:
            async for chunk in response.aiter_bytes():
                for answer in reader.feed(chunk):
                    yield answer
            reader.finish()
        except (httpx.RequestError, httpx.StreamError) as error:
            raise reader.cut(error) from error
        finally:
            await response.aclose()


class AsyncConceptStream(AsyncIterator[ConceptAnswer]):
    """`retrieval.client.client.ConceptStream` for asyncio. Close it (or use `async with`) when leaving it early."""

    def __init__(self, answers: AsyncGenerator[ConceptAnswer, None], reader: ConceptReader) -> None:
        self._answers, self._reader = answers, reader

    async def __anext__(self) -> ConceptAnswer:
        return await anext(self._answers)

    @property
    def summary(self) -> ConceptsSummary:
        """Hits, losses and plans, when all concepts were read; ClipmineError before that."""
        return self._reader.summary

    async def aclose(self) -> None:
        """End the stream; the service stops working on it."""
        await self._answers.aclose()

    async def __aenter__(self) -> AsyncConceptStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.aclose()
