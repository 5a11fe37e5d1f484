from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from index.errors import BadInput, ClipmineError
from retrieval import AsyncClient, Client
from tests.retrieval.client.fake_service import BUSY, CONCEPTS, OK, START, answering, concept_line, lines


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url) as client:
        yield client


class TestAsync:
    def test_it_gives_what_the_blocking_client_gives(self, url: str, client: Client) -> None:
        async def ask() -> None:
            async with AsyncClient(url) as asking:
                found, row, image, served, ready = await asyncio.gather(
                    asking.search(["a red circle"], 5),
                    asking.row(3),
                    asking.image(3, side=20),
                    asking.indexes(),
                    asking.ready(),
                )
                assert found.results == client.search(["a red circle"], 5).results
                assert row == client.row(3)
                assert image == client.image(3, side=20)
                assert served == client.indexes()
                assert ready
                async with asking.concepts(CONCEPTS, k=5) as stream:
                    answers = [answer async for answer in stream]
                blocking = client.concepts(CONCEPTS, k=5)
                assert answers == list(blocking)
                assert stream.summary == blocking.summary
                with pytest.raises(BadInput, match="no row 33"):
                    await asking.row(33)

        asyncio.run(ask())

    def test_leaving_a_stream_early_closes_its_connection(self, url: str) -> None:
        async def ask() -> None:
            async with AsyncClient(url) as asking:
                async with asking.concepts(CONCEPTS, k=5) as stream:
                    assert (await anext(stream)).name == CONCEPTS[0]
                assert (await asking.search(["a"], 1)).results

        asyncio.run(ask())

    def test_a_busy_service_is_asked_again(self) -> None:
        async def ask(url: str) -> None:
            async with AsyncClient(url) as client:
                assert await client.row(1) == {"row_id": 1}

        with answering((429, BUSY, b"{}"), OK) as (url, asked):
            asyncio.run(ask(url))
            assert len(asked) == 2

    def test_a_connection_that_breaks_is_an_error(self) -> None:
        async def ask(url: str) -> None:
            async with AsyncClient(url) as client:
                with pytest.raises(ClipmineError, match="cut after 1 of 2 concepts"):
                    async for _ in client.concepts(["dog", "cat"]):
                        pass

        with answering((200, {}, lines(START, concept_line("dog")))) as (url, _):
            asyncio.run(ask(url))
