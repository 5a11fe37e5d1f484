"""Tuning a multimodal model beside TRL's SFTTrainer: samples/s on a mixture of short and long samples.

    python -m benchmarks.tune_peers --model LLAVA_FOLDER [--samples 384] [--batch 32] [--turns 3] [--quick]

Both train the same LLaVA (projector and language model, fused AdamW, the same precision) on the same conversations:
questions with short answers and descriptions of one image, comparisons of two, and text alone; JPEGs of 320 x 240. TRL
has its best settings for that (1.16 refuses packing and padding-free batches with images): batches grouped by length,
computed in parts of a quarter so that little is padded, answers only, nothing cut (`max_length=None`), no checkpoints,
no activation checkpointing. The sides take turns, an epoch each, and the median of the turns' ratios counts.
Preparation (loading the model, tokenizing, the pass that fills the cache of features) is not in the samples/s; TRL
tokenizes in the step.

The first losses are of one batch that has all samples of a file, so that both trainers take the same samples.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # imported inside functions, so that --help starts fast
    import numpy as np

TARGETS = {"cached": 1.5, "computed": 1.2}
FIRST_LOSS_WITHIN = 1e-3  # the attention of padded rows sums in another order
LR = 1e-4
PARTS = 4  # of TRL's batch
SCENES = Path("scenes/models/llava")
WORDS = (
    *("a", "the", "red", "blue", "green", "large", "small", "left", "right", "dog", "cat", "bus", "tree", "house"),
    *("ball", "chair", "person", "holds", "stands", "runs", "near", "on", "in", "with", "of", "and", "image", "both"),
)
KINDS = (0.5, 0.35, 0.15)  # shares of conversations about one image, about two, and without images


def main() -> int:
    """Run the sides in turns and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=SCENES, help="a LLaVA in transformers' layout")
    parser.add_argument("--samples", type=int, default=384)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="64 samples, batch 16, one turn")
    args = parser.parse_args()
    args.model = args.model.resolve()  # a link may be changed meanwhile
    samples, batch, turns = (64, 16, 1) if args.quick else (args.samples, args.batch, args.turns)
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {device}, "
        f"torch {torch.__version__}"
    )
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        one, whole = write_records(work, "one", batch), write_records(work, "whole", samples)
        first = {
            "trl": trl(args.model, one, batch, device)["loss"],
            "ours": ours(args.model, one, batch, work, False)["loss"],
        }
        print(f"loss of the first step: {first['trl']:.6f} TRL's, {first['ours']:.6f} ours", flush=True)
        sides: dict[str, Callable[[], dict[str, float]]] = {
            "trl": lambda: trl(args.model, whole, batch, device),
            "computed": lambda: ours(args.model, whole, batch, work, False),
            "cached": lambda: ours(args.model, whole, batch, work, True),
        }
        found: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
        for _ in range(turns):
            for name, side in sides.items():
                found[name].append(side())
                print(f"{name} {found[name][-1]['rate']:.2f} samples/s", flush=True)
    return report(found, first)


def report(found: dict[str, list[dict[str, float]]], first: dict[str, float]) -> int:
    """Print the table and the JSON line."""

    def ratio(name: str, rate: str) -> float:
        turns = zip(found[name], found["trl"], strict=True)
        return round(statistics.median(own[rate] / peer[rate] for own, peer in turns), 3)

    def median(name: str, rate: str) -> float:
        return round(statistics.median(each[rate] for each in found[name]), 2)

    same = abs(first["trl"] - first["ours"]) < FIRST_LOSS_WITHIN
    print(f"{'':10} samples/s  over TRL's  a processor second  over TRL's  target")
    for name in found:
        target = f"{TARGETS[name]:6.1f}" if name in TARGETS else ""
        wall, cpu = f"{median(name, 'rate'):9.2f} {ratio(name, 'rate'):11.2f}", median(name, "cpu_rate")
        print(f"{name:10} {wall}  {cpu:18.2f} {ratio(name, 'cpu_rate'):11.2f}  {target}")
    figures: dict[str, Any] = {name: ratio(name, "rate") for name in TARGETS}
    figures |= {f"{name}_by_processor_time": ratio(name, "cpu_rate") for name in TARGETS}
    figures |= {"samples_per_second": {name: median(name, "rate") for name in found}}
    figures |= {"first_losses": {name: round(loss, 6) for name, loss in first.items()}, "same_loss": same}
    holds = same and all(figures[name] >= target for name, target in TARGETS.items())
    print(json.dumps({"name": "tune_peers", "figures": figures, "targets": TARGETS, "holds": holds}))
    return 0


class Clock:
    """Wall and processor seconds of a training's steps, without its preparation.

    On a machine with other programs the processor's seconds say more: they do not count the time of others.
    """

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0
        self._began = (0.0, 0.0)

    def start(self) -> None:
        self._began = (time.perf_counter(), time.process_time())

    def stop(self) -> None:
        wall, cpu = self._began
        self.wall, self.cpu = time.perf_counter() - wall, time.process_time() - cpu


def ours(model: Path, records: Path, batch: int, work: Path, cache: bool) -> dict[str, float]:
    """An epoch of `clipmine tune`: the first loss, and samples/s of its steps."""
    from customize.clip.train.distributed import Worker
    from customize.lmm.model.source import LmmSource
    from customize.lmm.train.config import TuneConfig
    from customize.lmm.train.log import read_records
    from customize.lmm.train.loop import Loop
    from customize.lmm.train.prepare import prepare_run

    clock = Clock()
    with tempfile.TemporaryDirectory(dir=work) as folder:
        out = str(Path(folder) / "model")
        config = TuneConfig(
            out=out,
            data=(f"{records},images={work}",),
            model=LmmSource(model=str(model), pad_to_square=False),  # TRL's processor crops
            train="full",
            template="own",
            lr=LR,
            projector_lr=LR,
            warmup=0.0,
            batch_size=batch,
            epochs=1.0,
            max_length=100_000,
            cache_features=cache,
            save_every=1_000_000,
        )
        run = prepare_run(config, Worker())
        assert run is not None
        loop = Loop(run, lambda record, total: clock.stop() if record.step == total else None)
        clock.start()
        loop.run()
        taken = read_records(str(Path(out) / "log.jsonl"))
    return _figures(taken[0].loss, sum(record.samples for record in taken), clock)


def _figures(loss: float, samples: int, clock: Clock) -> dict[str, float]:
    return {"loss": loss, "rate": samples / clock.wall, "cpu_rate": samples / clock.cpu}


def trl(model: Path, records: Path, batch: int, device: str) -> dict[str, float]:
    """An epoch of TRL's SFTTrainer: the first loss, and samples/s of its steps."""
    import datasets
    import torch
    from transformers import LlavaForConditionalGeneration, LlavaProcessor, TrainerCallback
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    class Steps(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            clock.start()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            clock.stop()

    clock, cuda = Clock(), device == "cuda"
    processor: Any = LlavaProcessor.from_pretrained(str(model))
    llava: Any = LlavaForConditionalGeneration.from_pretrained(str(model), dtype=torch.float32)
    llava.model.vision_tower.requires_grad_(False)
    rows = [messages(record, records.parent) for record in json.loads(records.read_text())]
    for row in rows:
        text = processor.apply_chat_template(row["messages"], tokenize=False)
        images = len(row["images"]) * (int(llava.config.image_seq_length) - 1)
        row["length"] = len(processor.tokenizer(text, add_special_tokens=False)["input_ids"]) + images
    data = datasets.Dataset.from_list(rows).cast_column("images", datasets.List(datasets.Image()))
    with tempfile.TemporaryDirectory() as out:
        settings = SFTConfig(
            output_dir=out,
            num_train_epochs=1,
            per_device_train_batch_size=batch // PARTS,
            gradient_accumulation_steps=PARTS,
            learning_rate=LR,
            lr_scheduler_type="cosine",
            weight_decay=0.0,
            optim="adamw_torch_fused",
            max_grad_norm=1.0,
            max_length=None,
            assistant_only_loss=True,
            train_sampling_strategy="group_by_length",
            remove_unused_columns=False,
            activation_checkpointing=False,
            logging_steps=1,
            report_to=[],
            save_strategy="no",
            use_cpu=not cuda,
            bf16=cuda,
            dataloader_num_workers=4 if cuda else 0,  # on a CPU, loading processes take cores from the step
            dataloader_pin_memory=cuda,
            disable_tqdm=True,
        )
        trainer: Any = SFTTrainer(
            llava, args=settings, train_dataset=data, processing_class=processor, callbacks=[Steps()]
        )
        trainer.train()
    losses = [float(logged["loss"]) for logged in trainer.state.log_history if "loss" in logged]
    return _figures(losses[0], len(rows), clock)


def write_records(folder: Path, name: str, count: int) -> Path:
    """Write `count` conversations as LLaVA's JSON, and their images, into `folder`; the file."""
    import numpy as np

    rng = np.random.default_rng(count)
    records: list[dict[str, Any]] = []
    for number in range(count):
        images = int(rng.choice([1, 2, 0], p=KINDS))
        names = [f"{name}{number}_{place}.jpg" for place in range(images)]
        for each in names:
            (folder / each).write_bytes(picture(rng))
        marks = (
            "".join(f"Image {place + 1}: <image>\n" for place in range(images)) if images > 1 else "<image>\n" * images
        )
        said = []
        for turn in range(int(rng.integers(1, 4))):
            said.append({"from": "human", "value": (marks if turn == 0 else "") + words(rng, 4, 12)})
            # As in LLaVA's 665K: most answers are a word or two, and some are descriptions.
            least, most = (1, 3) if images == 1 and rng.random() < 0.6 else (20, 120)
            said.append({"from": "gpt", "value": words(rng, least, most)})
        record: dict[str, Any] = {"id": f"{name}-{number}", "conversations": said}
        records.append(record | ({"image": names if images > 1 else names[0]} if images else {}))
    path = folder / f"{name}.json"
    path.write_text(json.dumps(records))
    return path


def words(rng: np.random.Generator, least: int, most: int) -> str:
    """So many words, from `least` to `most`."""
    return " ".join(rng.choice(WORDS, int(rng.integers(least, most + 1))))


def picture(rng: np.random.Generator) -> bytes:
    """A JPEG of 320 x 240 pixels with smooth colours and noise, about 25 KB as photographs of that size have."""
    import numpy as np
    from PIL import Image

    small = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize(
        (320, 240), Image.Resampling.BICUBIC
    )
    noisy = np.asarray(small, np.int16) + rng.integers(-12, 13, (240, 320, 3), dtype=np.int16)
    stream = io.BytesIO()
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def messages(record: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A record as TRL takes it: messages with images in place, and their files."""
    names = record.get("image", [])
    names = [names] if isinstance(names, str) else names
    said = []
    for turn in record["conversations"]:
        parts: list[dict[str, Any]] = []
        for place, text in enumerate(turn["value"].split("<image>")):
            parts += [{"type": "image", "text": None}] if place else []
            parts += [{"type": "text", "text": text}] if text else []
        said.append({"role": {"human": "user", "gpt": "assistant"}[turn["from"]], "content": parts})
    return {"messages": said, "images": [str(folder / name) for name in names]}


if __name__ == "__main__":
    raise SystemExit(main())
