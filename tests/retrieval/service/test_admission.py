"""What all requests together may take is taken in one step before the work and given back however the work ends."""

from __future__ import annotations

import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from index.store.embedding_store import EmbeddingStore
from retrieval.search.planner import IndexCost, plan_search
from retrieval.service.admission import CLIENT, Admission, Place
from retrieval.service.backend import Overloaded
from retrieval.service.limits import OverLimit
from retrieval.service.settings import Settings
from tests.serving import Serve

LONG_LIST = {"concepts": [f"thing {number}" for number in range(2_000)], "k": 30, "templates": ["openai_imagenet"]}


def test_a_place_is_given_back_once() -> None:
    admission = Admission(Settings(queue=3))
    place = admission.search(2, 10)
    with pytest.raises(Overloaded, match="too many requests wait for an answer; try again in 1 s"):
        admission.search(2, 10)
    assert (admission.queries.taken, admission.search_bytes.taken) == (2, 10), "a refusal takes nothing"
    place.give_back()
    place.give_back()
    assert (admission.queries.taken, admission.search_bytes.taken) == (0, 0)


def test_a_request_that_is_alone_may_be_larger_than_the_queue() -> None:
    admission = Admission(Settings(queue=3))
    with admission.search(9, 10), pytest.raises(Overloaded):
        admission.search(1, 10)
    with admission.search(1, 10), pytest.raises(Overloaded):
        admission.search(9, 10)


def test_a_failure_gives_its_place_back() -> None:
    admission = Admission(Settings())
    with pytest.raises(ValueError, match="the work failed"), admission.search(5, 10):
        raise ValueError("the work failed")
    assert admission.queries.taken == 0


def test_what_never_fits_is_bad_input_and_what_does_not_fit_now_is_asked_to_come_back() -> None:
    admission = Admission(Settings(search_bytes=1_000_000, list_bytes=10_000_000, concept_jobs=9, client_share=1))
    most = "at most 1.0 MB here for one client"
    with pytest.raises(OverLimit, match=rf"7 queries: would take 1\.1 MB of memory, {most}; send fewer") as refused:
        admission.search(7, 1_100_000)
    assert refused.value.bound == "search_bytes"
    with pytest.raises(OverLimit, match=r"would take 11\.0 MB of memory, at most 10\.0 MB here.*; send it in parts"):
        admission.concept_list(11_000_000)
    with admission.search(1, 600_000), pytest.raises(Overloaded):
        admission.search(1, 600_000)
    with admission.concept_list(6_000_000), pytest.raises(Overloaded, match="memory for a concept list") as full:
        admission.concept_list(6_000_000)
    assert (full.value.retry_after, full.value.bound) == (5, "list_bytes")


def test_a_client_has_its_share_and_others_what_it_leaves() -> None:
    admission = Admission(Settings(queue=10, client_share=0.5))

    def ask(client: str, queries: int) -> Place:
        return contextvars.copy_context().run(lambda: (CLIENT.set(client), admission.search(queries, 1))[1])

    first = ask("a", 4)
    with pytest.raises(Overloaded) as refused:
        ask("a", 2)
    assert refused.value.bound == "queue"
    others = ask("b", 5)
    with pytest.raises(Overloaded):
        ask("c", 2)
    third = ask("c", 1)
    assert admission.queries.by_client == {"a": 4, "b": 5, "c": 1}
    for place in (first, others, third):
        place.give_back()
    assert not admission.queries.by_client, "a client that has nothing is not remembered"


def test_seconds_of_searches_that_wait_are_bounded() -> None:
    admission = Admission(Settings(queue_seconds=100, client_share=0.5))
    slow = plan_search(10_000_000, 512, 1, 10, IndexCost(1, 128), method="exact")
    assert 2 < slow.seconds < 30
    for _ in range(int(50 / slow.seconds)):
        admission.search(1, 1, slow.seconds)
    with pytest.raises(Overloaded) as refused:
        admission.search(1, 1, slow.seconds)
    assert refused.value.bound == "queue_seconds"


def test_of_concept_lists_sent_at_the_same_moment_only_the_allowed_number_runs(
    served_store: EmbeddingStore, serve: Serve
) -> None:
    together, all_answered = threading.Barrier(12), threading.Barrier(12)

    def ask(url: str) -> int:
        with httpx.Client(base_url=url, timeout=60) as client, ExitStack() as open_streams:
            together.wait(60)
            answer = open_streams.enter_context(client.stream("POST", "/concepts", json=LONG_LIST))
            assert answer.status_code == 200 or int(answer.headers["Retry-After"]) > 0
            all_answered.wait(60)
            return answer.status_code

    with serve(served_store, Settings(concept_jobs=2, client_share=1)) as url:
        with ThreadPoolExecutor(12) as pool:
            statuses = sorted(pool.map(lambda _: ask(url), range(12)))
        assert statuses == [200] * 2 + [429] * 10
        # All clients have gone: their places are free again.
        for _ in range(200):
            answer = httpx.post(f"{url}/concepts", json={"concepts": ["dog"], "k": 1}, timeout=60)
            if answer.status_code == 200:
                break
        assert answer.status_code == 200


@pytest.mark.parametrize("wrong", [{"columns": ["nothing"]}, {"concepts": ["dog", "Dog"]}, {"k": 34}])
def test_a_list_that_is_refused_keeps_no_place(
    served_store: EmbeddingStore, serve: Serve, wrong: dict[str, Any]
) -> None:
    good = {"concepts": ["dog"], "k": 1}
    with serve(served_store, Settings(concept_jobs=1)) as url:
        for _ in range(3):
            assert httpx.post(f"{url}/concepts", json={**good, **wrong}).status_code == 400
        assert httpx.post(f"{url}/concepts", json=good).status_code == 200


def test_searches_that_together_need_too_much_memory_are_asked_to_come_back(
    served_store: EmbeddingStore, serve: Serve
) -> None:
    body = {"queries": [{"text": f"thing {number} " * 8} for number in range(100)], "k": 10}
    with serve(served_store, Settings(search_bytes=2_000_000, client_share=1)) as url, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: httpx.post(f"{url}/search", json=body, timeout=60), range(8)))
        assert {answer.status_code for answer in answers} == {200, 429}
        assert all(answer.headers["Retry-After"] == "1" for answer in answers if answer.status_code == 429)
        large = {**body, "k": 33}
        refused = httpx.post(f"{url}/search", json=large, timeout=60)
        assert refused.status_code == 413
        assert refused.json()["error"].startswith("100 queries: would take ")


def test_images_that_are_fetched_take_memory_of_bodies_as_they_come() -> None:
    admission = Admission(Settings(body_bytes=1_000, client_share=0.6))
    with admission.fetched() as first, admission.fetched() as second:
        first.grow(200)
        first.grow(300)
        with pytest.raises(Overloaded) as caught:
            second.grow(200)  # both are of one client, who may have 600
        assert caught.value.bound == "body_bytes"
        second.grow(100)
        assert admission.bodies.taken == 600
    assert admission.bodies.taken == 0
