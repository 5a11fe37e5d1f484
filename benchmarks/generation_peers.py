"""Generation: answers/s of `LocalModel` in batches beside one request after the other, with the same answers.

Run as: python -m benchmarks.generation_peers --model FOLDER [--quick]

Requests are of held-out scenes: a choice between two images (short answers) and a description of one (long answers), by
turns. Three ways answer the same requests: `LocalModel` in batches; `LocalModel` in batches of one; and what a user of
transformers writes, `generate` for each prompt without padding. They take turns chunk by chunk, and medians of the
chunks' ratios are compared, so that other programs on the machine slow all of them. Answers in batches must be those of
the same model asked request by request; answers of the other two are counted where they differ, since at a near-tie
another shape of a matrix product may choose another token.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported inside functions, so that --help starts fast
    from mining.chat.chat import ChatRequest
    from mining.chat.local_model import LocalModel

SHIPPED = Path(__file__).parent.parent / "scenes" / "models" / "llava"
TARGETS = {"ratio_to_transformers": 2.0, "same_answers": 1.0}
MAX_NEW_TOKENS = 64
Requests = dict[str, "ChatRequest"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(SHIPPED), help="a checkpoint of LLaVA (default: the one of the scenes)")
    parser.add_argument("--batch-size", type=int, help="requests of a batch (default: of the device)")
    parser.add_argument("--quick", action="store_true", help="128 requests instead of 1,024: about two minutes")
    arguments = parser.parse_args()
    import torch
    import transformers

    from mining.chat.local_model import LocalModel

    batched = LocalModel(arguments.model, batch_size=arguments.batch_size)
    alone = LocalModel(arguments.model, batch_size=1)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} threads"
    print(f"{platform.machine()}, {device}, torch {torch.__version__}, transformers {transformers.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        requests = scene_requests(Path(folder), 128 if arguments.quick else 1_024)
    figures = measure(requests, batched, alone, chunk=64 if arguments.quick else 256)
    holds = all(figures[name] >= target for name, target in TARGETS.items())
    print(json.dumps({"name": "generation_peers", "figures": figures, "targets": TARGETS, "holds": holds}))
    return 0


def scene_requests(folder: Path, count: int) -> Requests:
    """`count` requests: choices of BISON's form between two scenes, and descriptions of the first one, by turns."""
    from mining.chat.chat import ChatRequest
    from mining.sets.annotation import Turn, marked_parts
    from scenes.held_out.pair_tasks import write_pair_tasks

    write_pair_tasks(folder, count // 2)
    requests: Requests = {}
    for line in (folder / "BISON.jsonl").read_text().splitlines()[: count // 2]:
        record = json.loads(line)
        images = tuple((folder / name).read_bytes() for name in record["image"])
        number = len(requests)
        choice = (Turn("user", marked_parts(record["text"])),)
        description = (Turn("user", (0, "\nDescribe the image.")),)
        requests[f"choice {number}"] = ChatRequest(choice, images, max_new_tokens=MAX_NEW_TOKENS)
        requests[f"description {number}"] = ChatRequest(description, images[:1], max_new_tokens=MAX_NEW_TOKENS)
    return requests


def measure(requests: Requests, batched: LocalModel, alone: LocalModel, chunk: int) -> dict[str, float]:
    """Answers/s of the three ways, the ratios of the batched one to the others, and how many answers are the same."""
    plain = plain_generate(batched)
    ways: dict[str, Callable[[Requests], dict[str, str]]] = {
        "batched": lambda part: {key: reply.text for key, reply in batched.replies(part.items())},
        "one_at_a_time": lambda part: {key: reply.text for key, reply in alone.replies(part.items())},
        "transformers": lambda part: {key: plain(request) for key, request in part.items()},
    }
    items = list(requests.items())
    warm = dict(items[:8])
    for way in ways.values():
        way(warm)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    answers: dict[str, dict[str, str]] = {name: {} for name in ways}
    for number, start in enumerate(range(0, len(items), chunk)):
        part = dict(items[start : start + chunk])
        order = list(ways) if number % 2 else list(reversed(ways))
        for name in order:
            began = time.perf_counter()
            answers[name].update(ways[name](part))
            seconds[name].append((time.perf_counter() - began) / len(part))
    some = dict(items[:: max(1, len(items) // 32)])
    again = {key: next(batched.replies([(key, request)]))[1].text for key, request in some.items()}
    figures = {f"{name}_per_second": round(1 / statistics.median(times), 2) for name, times in seconds.items()}
    for name in ("transformers", "one_at_a_time"):
        ratios = [theirs / ours for theirs, ours in zip(seconds[name], seconds["batched"], strict=True)]
        figures[f"ratio_to_{name}"] = round(statistics.median(ratios), 2)
        differing = sum(answers["batched"][key] != text for key, text in answers[name].items())
        figures[f"differing_from_{name}"] = differing
    same = sum(answers["batched"][key] == text for key, text in again.items())
    return {"requests": len(items), **figures, "same_answers": same / len(again)}


def plain_generate(model: LocalModel) -> Callable[[ChatRequest], str]:
    """What a user of transformers writes: one prompt, `processor(...)`, `generate(...)`, `decode(...)`."""
    import io

    import torch
    from PIL import Image

    from mining.chat.rendering import render

    checkpoint, generator = model.opened()
    processor, stops = checkpoint.processor, list(generator.stops)

    def answer(request: ChatRequest) -> str:
        text = render(checkpoint.template, processor, request.turns, ask=True).text
        images = [Image.open(io.BytesIO(image)).convert("RGB") for image in request.images]
        inputs = processor(text=[text], images=images, return_tensors="pt", add_special_tokens=False)
        inputs = inputs.to(generator.model.device, generator.model.dtype)
        with torch.inference_mode():
            found = generator.model.generate(
                **inputs,
                do_sample=False,
                max_new_tokens=request.max_new_tokens,
                eos_token_id=stops,
                pad_token_id=stops[0],
            )
        ids = found[0, inputs["input_ids"].shape[1] :]
        return str(processor.tokenizer.decode(ids, skip_special_tokens=True)).strip()

    return answer


if __name__ == "__main__":
    raise SystemExit(main())
