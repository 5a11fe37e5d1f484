"""Annotation: answers/s of `clipmine annotate` beside those of a raw load generator, on one server, same prompts.

Run as: python -m benchmarks.annotate_peers [--quick] [--model DIR]

The server is `transformers serve` with a small Llama of random weights (or a checkpoint of yours), in a process of its
own; it really generates. The load generator is a loop of httpx requests without checks, files or retries, at the fixed
concurrency that was best in a trial before. `annotate` finds its concurrency by itself, and reads image sets, renders
prompts, parses answers, keeps each in its cache and journal and writes a part. Both ask for comparisons of drawn
captions. They take turns, each time with prompts that the server has not seen; a turn is the same number of requests,
and the median of the ratios of neighbouring turns counts. Answers of a random model are not understood, so each is
asked for once and kept as rejected.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TARGET = 0.9
NEW_TOKENS = 24
CONCURRENCIES = (1, 2, 4, 8, 16)
_WORDS = ("red blue small large old wooden", "dog bus cat chair boat horse", "park street room beach field station")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer requests and turns: about a minute on 2 idle cores")
    parser.add_argument("--model", metavar="DIR", help="a checkpoint instead of the small Llama of random weights")
    arguments = parser.parse_args()
    requests, turns = (40, 3) if arguments.quick else (150, 7)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # ends the server too
    import transformers

    print(
        f"{platform.machine()}, {os.cpu_count()} cores, transformers {transformers.__version__}; load {os.getloadavg()}"
    )
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model or make_llama(Path(folder) / "llama")
        with serving(model) as url:
            figures = measure(url, model, Path(folder), requests, turns)
    targets = {"ratio": TARGET}
    print(
        json.dumps(
            {"name": "annotate_peers", "figures": figures, "targets": targets, "holds": figures["ratio"] >= TARGET}
        )
    )
    return 0


def measure(url: str, model: str, folder: Path, requests: int, turns: int) -> dict[str, float]:
    """Answers/s of both, their ratio, and the concurrency that was best for the load generator."""
    numbers = iter(range(1_000_000))
    trial: dict[int, float] = {}
    for concurrency in CONCURRENCIES:
        prompts = prompts_of(make_sets(folder / f"trial-{concurrency}", max(8, requests // 4), numbers))
        trial[concurrency] = max(trial.get(concurrency, 0.0), raw_rate(url, model, prompts, concurrency))
        print(f"load generator, {concurrency} at once: {trial[concurrency]:.2f} answers/s", flush=True)
    best = max(trial, key=lambda each: trial[each])
    annotate_rate(url, model, make_sets(folder / "warm", 4, numbers))  # imports what both turns use
    raw, ours = [], []
    for turn in range(turns):
        sets = make_sets(folder / f"raw-{turn}", requests, numbers)
        raw.append(raw_rate(url, model, prompts_of(sets), best))
        ours.append(annotate_rate(url, model, make_sets(folder / f"ours-{turn}", requests, numbers)))
        print(f"turn {turn + 1}: load generator {raw[-1]:.2f}, annotate {ours[-1]:.2f} answers/s", flush=True)
    # A turn of annotate lies between two of the load generator, but for the last.
    ratios = [own / peer for own, peer in zip(ours, raw, strict=True)]
    return {
        "ratio": round(statistics.median(ratios), 3),
        "annotate_answers_per_second": round(statistics.median(ours), 2),
        "generator_answers_per_second": round(statistics.median(raw), 2),
        "best_concurrency": best,
        "requests_a_turn": requests,
    }


def raw_rate(url: str, model: str, prompts: Sequence[str], concurrency: int) -> float:
    """Answers/s of a loop of requests with so many at once."""
    import httpx

    async def load() -> float:
        waiting = iter(prompts)
        limits = httpx.Limits(max_connections=concurrency)
        async with httpx.AsyncClient(timeout=600, limits=limits) as client:

            async def worker() -> None:
                for prompt in waiting:
                    message = {"role": "user", "content": prompt}
                    body = {"model": model, "messages": [message], "max_tokens": NEW_TOKENS, "temperature": 0.0}
                    answer = await client.post(f"{url}/chat/completions", json=body)
                    answer.raise_for_status()

            began = time.perf_counter()
            await asyncio.gather(*[worker() for _ in range(concurrency)])
            return time.perf_counter() - began

    return len(prompts) / asyncio.run(load())


def annotate_rate(url: str, model: str, pairs: str) -> float:
    """Answers/s of the whole job, from opening the folder to the written part."""
    from jobs.annotate_job import run_annotate
    from mining.annotate.config import AnnotateConfig

    options = {"annotator": "openai", "model": model, "base_url": url, "name": "measured", "attempts": 1}
    began = time.perf_counter()
    summary = run_annotate(AnnotateConfig.of(pairs, max_new_tokens=NEW_TOKENS, **options))
    seconds = time.perf_counter() - began
    assert summary.requests == summary.sets, summary
    assert not summary.failed, summary
    return summary.requests / seconds


def prompts_of(pairs: str) -> list[str]:
    """What `annotate` asks about these sets."""
    from mining.annotate.tasks import make_task
    from mining.sets.image_sets import ImageSets

    task = make_task("comparison")
    return [asked.request.turns[-1].text for each in ImageSets.open(pairs) for asked in task.asked(each, (), 0)]


def make_sets(folder: Path, count: int, numbers: Iterator[int]) -> str:
    """A folder of pairs with captions that no other set has; returns its path."""
    from mining.sets.image_set import ImageSet, Member
    from mining.sets.sources import files_source
    from mining.sets.write_sets import ImageSetsWriter

    source = files_source("drawn", None, folder)
    chance = random.Random(0)
    sets = []
    for _ in range(count):
        number = next(numbers)
        captions = [" ".join(chance.choice(words.split()) for words in _WORDS) + f", {number}" for _ in range(2)]
        members = tuple(
            Member(place, source.name, url=f"http://drawn/{number}-{place}.jpg", caption=caption)
            for place, caption in enumerate(captions)
        )
        sets.append(ImageSet(f"drawn-{number}", "drawn", members))
    writer = ImageSetsWriter(folder)
    writer.add_sets(sets)
    writer.finish([source], {})
    return str(folder)


def make_llama(folder: Path) -> str:
    """A Llama of 0.4 million random weights with a token a byte; returns its folder."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    special = ["<pad>", "<s>", "</s>"]
    vocabulary = {token: number for number, token in enumerate([*special, *pre_tokenizers.ByteLevel.alphabet()])}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    tokenizer: Any = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] + '\n' }}{% endfor %}"
    tokenizer.save_pretrained(str(folder))
    torch.manual_seed(0)
    shape: dict[str, Any] = {"hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 3}
    config = LlamaConfig(
        **shape, num_attention_heads=4, vocab_size=260, max_position_embeddings=8192, bos_token_id=1, eos_token_id=2
    )
    LlamaForCausalLM(config).save_pretrained(str(folder))
    return str(folder)


@contextmanager
def serving(model: str) -> Iterator[str]:
    """`transformers serve` with this checkpoint; yields the address up to the version."""
    import httpx

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).parent / "transformers"), "serve", model, "--host", "127.0.0.1"]
    # One core for the server, the other for who asks.
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command += ["--port", str(port), "--device", "cpu"]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 300
        while True:
            try:
                httpx.get(f"{url}/health", timeout=5).raise_for_status()
                break
            except httpx.HTTPError:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("transformers serve did not start: pip install 'transformers[serving]'") from None
                time.sleep(0.2)
        yield f"{url}/v1"
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    raise SystemExit(main())
