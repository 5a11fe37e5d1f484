"""`clipmine serve` beside the real clip-retrieval back: the same vectors, graph, efSearch, encoder and load, in turns.

Run as: python benchmarks/service_peers.py [--quick] [--peer-python PATH]

The peer runs in an environment of its own, built under ~/.cache/clipmine-benchmarks at the first run (clip-retrieval
needs numpy below 2). Both serve 50,000 x 512 from a memory-mapped HNSW graph, 40 results with url, caption and key; the
load comes from a third process. Both are up all the time and are loaded in turn, as is the bare encoder, so what else
the machine does hits all; the medians of the rounds are compared. Ours is asked in its own API (`POST /search`), and
once more in the peer's (`POST /knn-service`).
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import platform
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import httpx
from service_peers_data import MODEL, Served, prepare

K, MANY = 40, 32
CONCEPTS, TEMPLATES, CONCEPT_K = 1_000, 8, 100
TARGETS = {
    "embedding_32_clients_ratio": 20.0,
    "text_32_clients_ratio": 2.5,
    "text_32_clients_over_bare_encoder": 0.8,
    "concepts_ratio": 50.0,
    "embedding_1_client_ratio": 1.0,
}
AT_MOST = {"embedding_32_clients_p99_over_p50": 4.0, "memory_over_encoder_mb": 300.0}
PEER = ("clip-retrieval==2.45.0", "setuptools<70")  # 70 and later lack the pkg_resources that it imports


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20,000 rows, short loads, a part of the peer's concepts")
    parser.add_argument("--peer-python", type=Path, help="of an environment that has clip-retrieval already")
    args = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # for the bare encoder, as `clipmine serve` does
    peer_python = args.peer_python or peer_environment()
    rows, seconds, rounds = (20_000, 4.0, 2) if args.quick else (50_000, 10.0, 3)
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores; {rows:,} x 512, k {K}")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as services:
        served = prepare(Path(folder), rows)
        ours_command = [sys.executable, "-m", "jobs.cli", "serve", str(served.store)]
        peer_command = [str(peer_python), str(ROOT / "benchmarks" / "service_peers_back.py"), str(served.peer)]
        ours, our_pid = services.enter_context(running(ours_command, "/readyz", "--port"))
        peer, _ = services.enter_context(running(peer_command, "/indices-list"))
        check_same_rows(ours, peer, served)
        figures = measure(ours, peer, served, seconds, rounds)
        figures |= concept_list(ours, peer, served, 300 if args.quick else CONCEPTS * TEMPLATES)
        figures["memory_over_encoder_mb"] = round(memory_mb(our_pid) - encoder_memory_mb(), 1)
    holds = all(figures[name] >= least for name, least in TARGETS.items())
    holds = holds and all(figures[name] <= most for name, most in AT_MOST.items())
    print(json.dumps({"name": "service_peers", "figures": figures, "targets": {**TARGETS, **AT_MOST}, "holds": holds}))
    return 0


def measure(ours: str, peer: str, served: Served, seconds: float, rounds: int) -> dict[str, float]:
    """Requests/s of both under each load, in turns."""
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
        for round_number in range(rounds):
            for side, (url, requests) in sides.items():
                answer = load(url, requests, clients, seconds)
                assert not answer["not_200"], answer
                found[side].append(answer)
                print(f"{name}, round {round_number + 1}, {side}: {answer}", flush=True)
            if sides is by_text:
                bare.append(encode(seconds))
                print(f"{name}, round {round_number + 1}, bare encoder: {bare[-1]:.1f} texts/s", flush=True)
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
    """clip-retrieval's request for one query; its safety, aesthetic and deduplication options off."""
    fields = {"modality": "image", "num_images": K, "num_result_ids": K, "aesthetic_score": ""}
    fields["indice_name"] = index_name(url)
    return {"path": "/knn-service", "body": json.dumps({**fields, **query})}


@cache
def index_name(url: str) -> str:
    """What a service calls its index."""
    name: str = httpx.get(f"{url}/indices-list").json()[0]
    return name


def check_same_rows(ours: str, peer: str, served: Served) -> None:
    """Stop unless both give the same rows and metadata: else it is no comparison."""
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
    """Concepts with 8 vectors each: our client's one call, and the peer's own client in a loop (or a part of it)."""
    from retrieval.client.client import Client
    from retrieval.rules import Rules

    queries = served.queries[: CONCEPTS * TEMPLATES].reshape(CONCEPTS, TEMPLATES, -1)
    wanted = {f"concept {number}": vectors for number, vectors in enumerate(queries)}
    took, hits = [], 0
    for _ in range(3):
        began = time.perf_counter()
        with (
            Client(ours, timeout=600) as client,
            client.concepts(
                wanted, mode="t2i", k=CONCEPT_K, reserve=0.0, rules=Rules(cross_concept="keep-all")
            ) as stream,
        ):
            rows = sum(len(concept.rows) for concept in stream)
        took.append(time.perf_counter() - began)
        hits = stream.summary.hits
    assert hits == CONCEPTS * TEMPLATES * CONCEPT_K, hits
    clip_client = import_clip_client()
    client = clip_client(
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
    began = time.perf_counter()
    for vector in flat:
        assert len(client.query(embedding_input=vector.tolist())) == CONCEPT_K
    peer_seconds = (time.perf_counter() - began) * CONCEPTS * TEMPLATES / len(flat)
    our_seconds = statistics.median(took)
    ours_took = [round(each, 2) for each in took]
    print(f"concepts: ours {ours_took} s, {rows:,} rows; peer {peer_seconds:.1f} s, from {len(flat):,} of its queries")
    return {
        "concepts_ratio": round(peer_seconds / our_seconds, 1),
        "concepts_ours_seconds": round(our_seconds, 2),
        "concepts_peer_seconds": round(peer_seconds, 1),
        "concepts_peer_queries_measured": len(flat),
    }


def import_clip_client() -> Callable[..., Any]:
    """The package's own client; its __init__ would import what only its server needs."""
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
    """Run `service_peers_load.py` against a service, after three seconds of it that are not counted."""
    host, port = url.removeprefix("http://").split(":")
    lines = "\n".join(json.dumps(request) for request in requests).encode()
    command = [sys.executable, str(ROOT / "benchmarks" / "service_peers_load.py"), host, port, str(clients)]
    for duration in (3.0, seconds):
        done = subprocess.run([*command, str(duration)], input=lines, capture_output=True, check=True)
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def bare_encoder(texts: list[str]) -> Callable[[float], float]:
    """A function that encodes for some seconds, in batches as large as the clients are many, and returns texts/s."""
    from index.encoder.clip_encoder import load_encoder

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


@contextmanager
def running(command: list[str], ready: str, *port_option: str) -> Iterator[tuple[str, int]]:
    """A service as a process: its URL and pid, once it answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([*command, *port_option, str(port)], stdout=log, stderr=log, cwd=ROOT)
        url = f"http://127.0.0.1:{port}"
        try:
            end = time.monotonic() + 300
            while time.monotonic() < end and process.poll() is None:
                try:
                    if httpx.get(url + ready, timeout=5).status_code == 200:
                        break
                except httpx.TransportError:
                    time.sleep(0.2)
            else:
                log.seek(0)
                raise SystemExit(f"{command}: did not come up\n{log.read().decode()[-3_000:]}")
            yield url, process.pid
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def memory_mb(pid: int | str) -> float:
    """What a process has of its own; pages of mapped files are the system's, which takes them back as it likes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


def encoder_memory_mb() -> float:
    """`memory_mb` of a process that has loaded the encoder and encoded a batch of texts, and does nothing else."""
    code = (
        "from index.encoder.clip_encoder import load_encoder; from index.encoder.model_spec import ModelSpec; import re, pathlib\n"
        "encoder = load_encoder(ModelSpec('ViT-B-32', random_seed=0), 'cpu')\n"
        "encoder.encode_queries(['a photo of a dog'] * 32)\n"
        "print(re.search(r'RssAnon:\\s+(\\d+)', pathlib.Path('/proc/self/status').read_text())[1])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=ROOT, text=True)
    return int(done.stdout) / 1024


def peer_environment() -> Path:
    """The Python of an environment with clip-retrieval, built outside the repository when it is not there."""
    folder = Path.home() / ".cache" / "clipmine-benchmarks" / "clip-retrieval"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        print(f"building {folder}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PEER], check=True)
        (folder / "complete").touch()
    return python


if __name__ == "__main__":
    raise SystemExit(main())
