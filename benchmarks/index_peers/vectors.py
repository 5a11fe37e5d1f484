"""The vectors of the comparison: images, their captions, and captions that no index has seen as queries.

Two generators. `scene_vectors`: what the small CLIP in scenes/models/clip makes of drawn scenes and of their captions.
`gap_vectors`: Gaussian clusters of unequal sizes, close to a subspace of few dimensions, with captions that lie apart
from the images by a constant vector and are noisier than they.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = ["QUERIES", "Vectors", "gap_vectors", "scene_vectors"]

Halves = npt.NDArray[np.float16]

QUERIES = 2_000
_DIM = 512
_CHUNK = 1_000  # scenes that are drawn and kept in one file
# Queries are captions of scenes with numbers from here on, which are never among the rows. The parameters of our graphs
# were chosen with those from 2,000,000 on, and with seed 0 of the synthetic vectors.
_FIRST_QUERY, _SEED = 3_000_000, 1
# Directions of the subspace. HNSW (M 32) over 100,000 rows then needs about the efSearch that it needs over CLIP's own.
_LATENT = 32
_CLUSTER_ROWS = 250  # rows of a cluster on average; sizes follow Zipf's law
_WITHIN, _AMBIENT, _TEXT = 0.75, 0.2, 0.7  # standard deviations, relative to that between clusters


@dataclass(frozen=True)
class Vectors:
    """Unit rows float16: images and captions [n, d] of the same rows, and other captions [q, d] as queries."""

    images: Halves
    captions: Halves
    queries: Halves


def scene_vectors(rows: int, folder: Path, queries: int = QUERIES) -> Vectors:
    """Draw `rows` scenes and encode them. Finished chunks are kept in `folder` and used again.

    A row's caption is its alt text, or one of its true ones: what is found on the web beside an image.
    """
    folder.mkdir(parents=True, exist_ok=True)
    images, captions = [], []
    for first in range(0, rows, _CHUNK):
        image, caption = _kept_chunk(folder, first, _CHUNK)
        images.append(image)
        captions.append(caption)
    asked = [_kept_chunk(folder, first, _CHUNK, texts_only=True)[1] for first in _starts(queries, _CHUNK)]
    return Vectors(np.concatenate(images)[:rows], np.concatenate(captions)[:rows], np.concatenate(asked)[:queries])


def _starts(count: int, step: int) -> range:
    return range(_FIRST_QUERY, _FIRST_QUERY + count, step)


def _kept_chunk(folder: Path, first: int, count: int, *, texts_only: bool = False) -> tuple[Halves, Halves]:
    path = folder / f"{first}.npz"
    if not path.exists():
        image, caption = _encode_scenes(range(first, first + count), texts_only=texts_only)
        partial = path.with_suffix(".part.npz")
        np.savez(partial, image=image, caption=caption)
        partial.rename(path)
    with np.load(path, allow_pickle=False) as arrays:
        return arrays["image"], arrays["caption"]


def _encode_scenes(numbers: range, *, texts_only: bool) -> tuple[Halves, Halves]:
    from PIL import Image

    from index.encoder.loading import load_encoder
    from index.encoder.model_spec import ModelSpec
    from scenes.drawing.render import render
    from scenes.language.captions import captions
    from scenes.world.sample import sample

    model = Path(__file__).resolve().parents[2] / "scenes" / "models" / "clip"
    encoder = load_encoder(ModelSpec(model_dir=str(model)), "cpu")
    images, texts = [np.empty((0, encoder.dim), np.float16)], []
    for some in (numbers[start : start + 128] for start in range(0, len(numbers), 128)):
        scenes = [sample("pool", number) for number in some]
        for number, scene in zip(some, scenes, strict=True):
            said = captions(scene)
            texts.append((said.alt, *said.clean)[number % (1 + len(said.clean))])
        if not texts_only:
            images.append(encoder.encode_images([Image.fromarray(render(scene, 96).image) for scene in scenes]))
    return np.concatenate(images), encoder.encode_queries(texts)[0]


def gap_vectors(rows: int, queries: int = QUERIES, seed: int = _SEED) -> Vectors:
    """Vectors that lie as CLIP's do: unequal clusters, few directions that matter, two modalities with a gap between.

    A caption lies near its image, apart from the gap: it has the image's place in the subspace and noise of its own.
    Queries are captions of images that are not among the rows.
    """
    generator = np.random.default_rng(seed)
    directions = (generator.normal(size=(_LATENT, _DIM)) / _LATENT**0.5).astype(np.float32)
    gaps = generator.normal(size=(2, _DIM)).astype(np.float32)
    count = max(8, rows // _CLUSTER_ROWS)
    centres = generator.normal(size=(count, _LATENT)).astype(np.float32)
    sizes = 1 / np.arange(1, count + 1) ** 0.7
    images, captions = np.empty((rows, _DIM), np.float16), np.empty((rows + queries, _DIM), np.float16)
    for some in _blocks(rows + queries):
        own = generator.choice(count, len(some), p=sizes / sizes.sum())
        places = centres[own] + _WITHIN * _normal(generator, len(some), _LATENT)
        within = some[some < rows]
        images[within] = _unit(_spread(generator, places, directions) + gaps[0])[: len(within)]
        places += _TEXT * _normal(generator, len(some), _LATENT)
        captions[some] = _unit(_spread(generator, places, directions) + gaps[1])
    return Vectors(images, captions[:rows], captions[rows:])


def _blocks(count: int) -> Iterator[npt.NDArray[np.int64]]:
    for start in range(0, count, 50_000):
        yield np.arange(start, min(start + 50_000, count))


def _normal(generator: np.random.Generator, rows: int, dim: int) -> npt.NDArray[np.float32]:
    return generator.standard_normal((rows, dim), np.float32)


def _spread(
    generator: np.random.Generator, places: npt.NDArray[np.float32], directions: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    spread: npt.NDArray[np.float32] = places @ directions + _AMBIENT * _normal(generator, len(places), _DIM)
    return spread


def _unit(wide: npt.NDArray[np.float32]) -> Halves:
    unit: Halves = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float16)
    return unit
