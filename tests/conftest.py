"""What tests everywhere share: a tiny CLIP with random weights, a small corpus of tars, and the store made of both."""

from __future__ import annotations

import functools
import json
import os
import random
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from index.cores import usable_cores
from index.encoder.model_spec import ModelSpec
from index.store.embed import EmbedConfig, embed_item, finish_store, plan_items, prepare_store
from index.store.embedding_store import EmbeddingStore
from tests.index.corpora import encode, write_tar

COLORS = ("red", "green", "blue", "yellow", "purple", "orange")
SHAPES = ("circle", "square")

# Several processes of pytest-xdist share the cores, and so do the processes that their tests start.
if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, usable_cores() // int(workers))))

# Where tests may use Ray and Spark: one process runs those of the jobs and another those of the service, so that each
# is started once for them.
_OF_CLUSTERS, _OF_JOBS = re.compile(r"jobs/executors/"), re.compile(r"jobs/test_")
_CLUSTERS = re.compile(r"\b(ray|spark|executor)", re.IGNORECASE)
_SERVED = re.compile(r"jobs/serve_ray/")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Groups for `--dist loadgroup --no-loadscope-reorder`: the tests of a group run in one process, in their order.

    A file is a group, since its tests share what its fixtures make. The tests of jobs that speak of clusters are one,
    and those of the service on Ray another; both begin first, as they take longest.
    """
    if not config.pluginmanager.hasplugin("xdist"):
        return
    root = Path(__file__).parent
    first = {"clustered": 0, "served on Ray": 1}
    items.sort(key=lambda item: first.get(_group(item.path, item.path.relative_to(root).as_posix()), 2))
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item.path, item.path.relative_to(root).as_posix())))


@functools.cache
def _group(path: Path, place: str) -> str:
    if _SERVED.match(place):
        return "served on Ray"
    if _OF_CLUSTERS.match(place) or (_OF_JOBS.match(place) and _CLUSTERS.search(path.read_text())):
        return "clustered"
    return place


@pytest.fixture(scope="session")
def tiny_clip_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder in open_clip's local-dir form: 32 x 32 pixels, vectors of 16, a context of 24; loads in 0.1 s."""
    return write_tiny_clip(tmp_path_factory.mktemp("tiny_clip"))


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tars of 20 and 13 drawn images, in img2dataset's shape."""
    folder = tmp_path_factory.mktemp("corpus")
    write_shapes_tar(folder / "00000.tar", 20, seed=0)
    write_shapes_tar(folder / "00001.tar", 13, seed=1)
    return folder


@pytest.fixture(scope="session")
def small_store(tiny_clip_dir: Path, small_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    """`small_corpus` embedded with the tiny CLIP: 33 rows in 2 parts. Shared: read it, don't change it."""
    config = EmbedConfig(
        source=str(small_corpus),
        out=str(tmp_path_factory.mktemp("store") / "store"),
        model=ModelSpec(model_dir=str(tiny_clip_dir)),
        batch_size=8,
        device="cpu",
    )
    return embed_store(config)


def embed_store(config: EmbedConfig) -> EmbeddingStore:
    """Run the whole embedding job here, item after item."""
    items = plan_items(config)
    for item in prepare_store(config, items):
        embed_item(item, config)
    finish_store(config, items)
    return EmbeddingStore.open(config.out)


def write_tiny_clip(folder: Path, seed: int = 0, **vision: Any) -> Path:
    """Write `open_clip_config.json` and `open_clip_model.safetensors` with random weights.

    vision: entries of open_clip's `vision_cfg` that differ, such as those of a ResNet.
    """
    import open_clip
    import torch
    from safetensors.torch import save_file

    model_cfg = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8, **vision},
        "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = open_clip.CLIP(**model_cfg)
    save_file(
        {name: tensor.contiguous() for name, tensor in model.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    preprocess_cfg = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    config = {"model_cfg": model_cfg, "preprocess_cfg": preprocess_cfg}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return folder


def write_shapes_tar(path: Path, count: int, seed: int) -> Path:
    """A tar of `count` images of one coloured shape each, with .txt and .json, keys `<stem>0000` and on."""
    chance = random.Random(seed)
    members: list[tuple[str, bytes]] = []
    for number in range(count):
        color, shape = chance.choice(COLORS), chance.choice(SHAPES)
        image = Image.new("RGB", (chance.randint(40, 90), chance.randint(40, 90)), "white")
        box = (5, 5, chance.randint(20, 35), chance.randint(20, 35))
        pen = ImageDraw.Draw(image)
        pen.ellipse(box, fill=color) if shape == "circle" else pen.rectangle(box, fill=color)
        key = f"{path.stem}{number:04d}"
        caption = f"a {color} {shape}"
        fields = {"key": key, "caption": caption, "url": f"https://example.org/{key}.jpg", "color": color}
        members += [
            (f"{key}.jpg", encode(image, "JPEG", quality=90)),
            (f"{key}.txt", caption.encode()),
            (f"{key}.json", json.dumps(fields).encode()),
        ]
    return write_tar(path, members)
