"""A concept list is counted before anything is made of it: no list takes more memory or time than is allowed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from retrieval.service.admission import Admission
from retrieval.service.concept_job import check_time, measure, prepare
from retrieval.service.local_backend import LocalBackend
from retrieval.service.schemas import ConceptsRequest
from retrieval.service.search import Service, Shared
from retrieval.service.settings import Settings
from tests.retrieval.stores import make_store, random_unit
from tests.serving import Serve

TEMPLATES = [f"{number} {{}}" for number in range(1_000)]


class ManyRows:
    """A store as the counting sees it: its number of rows, and captions."""

    rows, dim, has_text = 400_000_000, 512, True


def with_service(settings: Settings, store: Any, work: Callable[[Service], Any]) -> Any:
    class Backend:
        pass

    async def run() -> Any:
        backend: Any = LocalBackend(store, settings=settings) if isinstance(store, EmbeddingStore) else Backend()
        backend.store = store
        shared = Shared(settings)
        service = Service(backend, shared)
        try:
            answer = work(service)
            return await answer if asyncio.iscoroutine(answer) else answer
        finally:
            shared.close()
            if isinstance(store, EmbeddingStore):
                await backend.close()

    return asyncio.run(run())


def needed(request: dict[str, Any], **settings: Any) -> int:
    asked = ConceptsRequest.model_validate(request)
    size: int = with_service(Settings(**settings), ManyRows(), lambda service: measure(service, asked).needed)
    return size


def test_candidates_are_counted_in_bytes() -> None:
    names = [f"thing {number}" for number in range(20_000)]
    most = {"concepts": names, "templates": [f"{number} {{}}" for number in range(10)], "k": 900, "reserve": 10}
    assert needed(most) > 200_000 * 9_900 * 27, "60 GB would be asked for"
    usual = {"concepts": names[:1_000], "templates": [f"{number} {{}}" for number in range(8)], "k": 50}
    assert needed(usual) < Admission(Settings()).list_bytes.most_of_one
    assert needed({**usual, "k": 1_000}) > Settings().list_bytes, "an operator must allow more memory for it"
    one_mode = needed({**usual, "mode": "t2i"})
    assert one_mode < needed(usual)
    assert needed({**usual, "mode": "t2i", "rules": {"cross_concept": "keep-all"}}) < one_mode


def test_a_template_that_repeats_its_place_is_counted_by_what_it_makes() -> None:
    name = "x" * 100
    assert needed({"concepts": [name], "templates": ["{}" * 19], "k": 1}) > 19 * len(name)


def test_a_prompt_is_no_longer_than_what_is_read() -> None:
    longest = {"concepts": ["x" * 1_000], "templates": ["{}" + "y" * 998], "k": 1}
    assert needed(longest) > 0
    with pytest.raises(
        BadInput, match="concept 'x': its prompts may have 4,010 characters: at most 2,000 are read here; use shorter"
    ):
        needed({**longest, "concepts": [{"name": "x", "aliases": ["x" * 1_000]}], "templates": ["{}{}{}{}--"]})


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"concepts": ["a"] * 3, "k": 1}, "3 concepts: at most 2 a request"),
        ({"concepts": ["a"], "k": 1_001}, "k is 1001: at most 1000 here"),
        ({"concepts": ["a"], "k": 1_000, "reserve": 10}, "searches 11,000 rows a prompt: at most 10,000"),
        ({"concepts": [{"name": "a", "aliases": ["b"] * 999}], "templates": TEMPLATES, "k": 1}, "1000000 prompts: "),
        ({"concepts": [{"name": "a", "templates": ["{}"] * 200}], "k": 1}, "200 prompts: at most 150"),
    ],
)  # fmt: skip
def test_more_than_allowed_is_refused_before_a_prompt_is_made(request_: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        needed(request_, max_concepts=2, max_prompts=150)


def test_what_is_prepared_has_no_more_prompts_than_were_counted(served_store: EmbeddingStore) -> None:
    asked = ConceptsRequest(
        concepts=["dog", {"name": "cat", "aliases": ["kitten"], "templates": ["{}", "a {}", "a {}"]}],
        templates=["simple"],
        k=3,
    )

    async def work(service: Service) -> Any:
        size = measure(service, asked)
        return size, prepare(service, asked, size, await check_time(service, asked, size))

    size, job = with_service(Settings(), served_store, work)
    assert size.counts == (7, 6)
    assert [len(own) for own in job.prompts] == [7, 4], "equal prompts are asked once"
    assert (job.depth, job.modes, job.methods) == (5, ("t2i", "t2t"), {"t2i": None, "t2t": None})


def test_a_list_that_is_expected_to_take_too_long_is_refused(served_store: EmbeddingStore) -> None:
    asked = ConceptsRequest(concepts=[f"thing {number}" for number in range(100)], k=3)

    async def work(service: Service) -> Any:
        return await check_time(service, asked, measure(service, asked))

    with pytest.raises(BadInput, match=r"100 concepts.*: expected to take \S+ s.*, at most 1e-06 s here"):
        with_service(Settings(list_seconds=1e-6), served_store, work)


def test_over_http_a_list_of_too_many_candidates_is_one_line(served_store: EmbeddingStore, serve: Serve) -> None:
    body = {"concepts": [f"thing {number}" for number in range(1_000)], "k": 20, "reserve": 10}
    with serve(served_store, Settings(list_bytes=10_000_000)) as url:
        answer = httpx.post(f"{url}/concepts", json=body)
        assert answer.status_code == 413
        assert "this list's candidates: would take" in answer.json()["error"]
        assert "send it in parts" in answer.json()["error"]


def test_an_operator_may_forbid_exact_scans(served_store: EmbeddingStore, serve: Serve, tmp_path: Path) -> None:
    body = {"concepts": ["dog"], "k": 1}
    with serve(served_store, Settings(allow_exact=False)) as url:
        refused = httpx.post(f"{url}/concepts", json={**body, "method": "exact"})
        assert (refused.status_code, "does no exact scans" in refused.json()["error"]) == (400, True)
        answered = httpx.post(f"{url}/concepts", json=body)
        assert b'"plans":{"t2i":"hnsw","t2t":"hnsw"}' in answered.content
        search = {"queries": [{"row_id": 3}] * 300, "k": 30}
        refused = httpx.post(f"{url}/search", json={**search, "method": "exact"})
        assert (refused.status_code, "leave out the method exact" in refused.json()["error"]) == (400, True)
        assert httpx.post(f"{url}/search", json=search).json()["plan"].startswith("hnsw: ")
        assert httpx.get(f"{url}/indexes").json()["exact"] is False
    store = make_store(tmp_path, random_unit(4))
    with serve(store, Settings(allow_exact=False)) as url:  # without an index there is no other way
        answer = httpx.post(f"{url}/search", json={"queries": [{"row_id": 0}], "k": 1, "method": "exact"})
        assert answer.status_code == 200
