"""The measurements: both services under the same loads, and a concept list through both clients."""

from __future__ import annotations

import base64
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from benchmarks.service_peers.data import MODEL, Served

K, MANY = 40, 32
CONCEPTS, TEMPLATES, CONCEPT_K = 1_000, 8, 100
CONCEPT_TURNS = 5


def measure(ours: str, peer: str, served: Served, seconds: float, turns: int) -> dict[str, float]:
    """Requests/s and latencies of both services under each load, in turns of `seconds`."""
    vectors, texts = served.queries, served.texts
    own = [own_request({"embedding_b64": base64.b64encode(vector.tobytes()).decode()}) for vector in vectors]
    by_vector = {
        "ours": (ours, own),
        "ours_in_peers_api": (ours, [knn_request(ours, {"embedding_input": v.tolist()}) for v in vectors[:2_000]]),
        "peer": (peer, [knn_request(peer, {"embedding_input": v.tolist()}) for v in vectors[:2_000]]),
    }
    by_text = {
        "ours": (ours, [own_request({"text": text}) for text in texts]),
        "peer": (peer, [knn_request(peer, {"text": text}) for text in texts]),
    }
    loads = {
        "embedding_1_client": (1, by_vector),
        "embedding_32_clients": (MANY, by_vector),
        "text_32_clients": (MANY, by_text),
    }
    figures: dict[str, float] = {}
    encode = bare_encoder(texts)
    bare = []
    for name, (clients, sides) in loads.items():
        found: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
        for turn in range(turns):
            for side, (url, requests) in sides.items():
                answer = load(url, requests, clients, seconds)
                assert not answer["not_200"], answer
                found[side].append(answer)
                print(f"{name}, turn {turn + 1}, {side}: {answer}", flush=True)
            if sides is by_text:
                bare.append(encode(seconds))
                print(f"{name}, turn {turn + 1}, bare encoder: {bare[-1]:.1f} texts/s", flush=True)
        for side, answers in found.items():
            for key, unit in (("requests_per_second", "per_second"), ("p50_ms", "p50_ms"), ("p99_ms", "p99_ms")):
                figures[f"{name}_{side}_{unit}"] = statistics.median(answer[key] for answer in answers)
            if side != "peer":
                pairs = zip(answers, found["peer"], strict=True)
                ratio = statistics.median(a["requests_per_second"] / b["requests_per_second"] for a, b in pairs)
                figures[f"{name}_ratio" + side.removeprefix("ours")] = round(ratio, 2)
        spread = [answer["p99_ms"] / answer["p50_ms"] for answer in found["ours"]]
        figures[f"{name}_p99_over_p50"] = round(statistics.median(spread), 2)
        if sides is by_text:
            shares = [answer["requests_per_second"] / alone for answer, alone in zip(found["ours"], bare, strict=True)]
            figures[f"{name}_over_bare_encoder"] = round(statistics.median(shares), 3)
            figures["bare_encoder_texts_per_second"] = round(statistics.median(bare), 1)
    return figures


def own_request(query: dict[str, Any]) -> dict[str, str]:
    """`POST /search` for one query."""
    body = {"queries": [query], "k": K, "method": "hnsw", "columns": ["url", "caption", "key"]}
    return {"path": "/search", "body": json.dumps(body)}


def knn_request(url: str, query: dict[str, Any]) -> dict[str, str]:
    """clip-retrieval's request for one query, with its safety, aesthetic and deduplication options off."""
    fields = {"modality": "image", "num_images": K, "num_result_ids": K, "aesthetic_score": ""}
    fields["indice_name"] = index_name(url)
    return {"path": "/knn-service", "body": json.dumps({**fields, **query})}


@cache
def index_name(url: str) -> str:
    """The name of a service's index."""
    name: str = httpx.get(f"{url}/indices-list").json()[0]
    return name


def check_same_rows(ours: str, peer: str, served: Served) -> None:
    """Stop unless both give the same rows and metadata, without which the comparison is not fair."""
    for place in range(20):
        query = {"embedding_input": served.queries[place].tolist()}
        answers = [ask(url, knn_request(url, query)) for url in (ours, peer)]
        mine = ask(ours, own_request({"embedding": query["embedding_input"]}))
        rows = [[(row["id"], row["url"], row["caption"]) for row in answer] for answer in answers]
        assert rows[0] == rows[1], f"query {place}: {rows}"
        assert [row["row_id"] for row in mine["results"][0]["rows"]] == [row[0] for row in rows[1]], place


def ask(url: str, request: dict[str, str]) -> Any:
    """The answer to one request."""
    return httpx.post(
        url + request["path"], content=request["body"], headers={"Content-Type": "application/json"}, timeout=60
    ).json()


def concept_list(ours: str, peer: str, served: Served, peers_queries: int) -> dict[str, float]:
    """Seconds for 1,000 concepts of 8 vectors: one call of our client, and a loop of the peer's own client.

    They take turns, each as often as the other, and the median of the turns' ratios counts: our list uses all cores
    and the peer's loop one, so a program beside them that takes a core slows ours alone. The peer answers
    `peers_queries` of the 8,000 queries in all, and its time is scaled up.
    """
    queries = served.queries[: CONCEPTS * TEMPLATES].reshape(CONCEPTS, TEMPLATES, -1)
    wanted = {f"concept {number}": vectors for number, vectors in enumerate(queries)}
    client = import_clip_client()(
        url=f"{peer}/knn-service",
        indice_name=index_name(peer),
        num_images=CONCEPT_K,
        aesthetic_score="",
        aesthetic_weight="",
        deduplicate=False,
        use_safety_model=False,
        use_violence_detector=False,
    )
    flat = queries.reshape(-1, queries.shape[-1])[:: CONCEPTS * TEMPLATES // peers_queries][:peers_queries]
    took, peer_took = [], []
    for turn in range(CONCEPT_TURNS):
        took.append(_our_list(ours, wanted))
        asked = flat[turn::CONCEPT_TURNS]
        began = time.perf_counter()
        for vector in asked:
            assert len(client.query(embedding_input=vector.tolist())) == CONCEPT_K
        peer_took.append((time.perf_counter() - began) * CONCEPTS * TEMPLATES / len(asked))
    ratios = [peers / own for peers, own in zip(peer_took, took, strict=True)]
    for name, figures in (("ours", took), ("peer", peer_took), ("ratio", ratios)):
        print(f"concepts, {name}: {' '.join(f'{each:.2f}' for each in figures)}", flush=True)
    return {
        "concepts_ratio": round(statistics.median(ratios), 1),
        "concepts_ours_seconds": round(statistics.median(took), 2),
        "concepts_peer_seconds": round(statistics.median(peer_took), 1),
        "concepts_peer_queries_measured": len(flat),
    }


def _our_list(ours: str, wanted: dict[str, Any]) -> float:
    """Seconds until our client has all rows of the list."""
    from retrieval.client.client import Client
    from retrieval.rules import Rules

    began = time.perf_counter()
    rules = Rules(cross_concept="keep-all")
    with (
        Client(ours, timeout=600) as client,
        client.concepts(wanted, mode="t2i", k=CONCEPT_K, reserve=0.0, rules=rules) as stream,
    ):
        for concept in stream:
            assert len(concept.rows)
    assert stream.summary.hits == CONCEPTS * TEMPLATES * CONCEPT_K, stream.summary.hits
    return time.perf_counter() - began


def import_clip_client() -> Callable[..., Any]:
    """The package's own client, loaded from its file: `import clip_retrieval` needs the server's dependencies."""
    import importlib.util

    package = importlib.util.find_spec("clip_retrieval")
    assert package is not None
    assert package.submodule_search_locations
    path = Path(package.submodule_search_locations[0]) / "clip_client.py"
    spec = importlib.util.spec_from_file_location("clip_client", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    client: Callable[..., Any] = module.ClipClient
    return client


def load(url: str, requests: list[dict[str, str]], clients: int, seconds: float) -> dict[str, float]:
    """Run `http_load.py` against a service: three seconds that are not counted, then `seconds`."""
    host, port = url.removeprefix("http://").split(":")
    lines = "\n".join(json.dumps(request) for request in requests).encode()
    command = [sys.executable, str(Path(__file__).with_name("http_load.py")), host, port, str(clients)]
    for duration in (3.0, seconds):
        done = subprocess.run([*command, str(duration)], input=lines, capture_output=True, check=True)
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def bare_encoder(texts: list[str]) -> Callable[[float], float]:
    """A function that encodes texts for some seconds, in batches of as many texts as there are clients; texts/s."""
    from index.encoder.loading import load_encoder

    encoder = load_encoder(MODEL, "cpu")

    def encode(seconds: float) -> float:
        began, done = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            at = done % (len(texts) - MANY)
            encoder.encode_queries(texts[at : at + MANY])
            done += MANY
        return done / (time.perf_counter() - began)

    encode(1.0)
    return encode
