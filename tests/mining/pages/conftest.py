"""Served folders of image sets: one of a store's pairs, and one that joins a store, foreign images and annotations."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from index.store.embedding_store import EmbeddingStore
from mining import ImageSets
from mining.pages.review import Review
from mining.pages.routes import add_pairs
from mining.sets.annotation import Annotation, Annotator, Turn
from mining.sets.decisions import DecisionsFile
from mining.sets.image_set import ImageSet
from mining.sets.write_sets import ImageSetsWriter
from retrieval.service.app import create_app
from retrieval.service.local_backend import LocalBackend
from retrieval.service.settings import Settings
from tests.browser import browser, page
from tests.mining.made_sets import annotation, write_foreign_sets, write_sets
from tests.retrieval.stores import jpeg, make_store, random_unit
from tests.serving import run_app

__all__ = ["browser", "page"]

MARKUP = "<img src=x onerror=\"document.title='run'\"> a dog"
CAPTIONS = ["two dogs with a ball", "A Ball and a man (with a dog)", MARKUP, "firemen by a fire hydrant", "a cat", None]
PAIRS = 30  # of strategy similar, beside the four others

# The sets of the joined folder, one of an id that a path could not carry.
ODD = "../birds/image/0?q=1&é#2 100%"
MINED, ELSEWHERE, STORY, TEXT = "0_1", "other-0_1", "story", "text"
MISSING, LONE = "missing", "lone"

ServePairs = Callable[..., AbstractContextManager[str]]


@pytest.fixture(scope="session")
def pairs_store(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    captions = [*CAPTIONS, *(f"caption {row}" for row in range(6, 70))]
    images = [jpeg(row, (60, 40)) for row in range(70)]
    return make_store(tmp_path_factory.mktemp("served_pairs"), random_unit(70), images=images, caption=captions)


@pytest.fixture(scope="session")
def pairs(pairs_store: EmbeddingStore) -> ImageSets:
    rows = [[0, 1], [0, 2], [3, 4], [5, 4, 3], *([2 * at + 6, 2 * at + 7] for at in range(PAIRS))]
    return write_sets(
        pairs_store.path.parent,
        rows,
        store=pairs_store,
        set_id=["_".join(map(str, each)) for each in rows],
        strategy=["overlap", "overlap", "attribute", "identity", *["similar"] * PAIRS],
        level=[2, 1, 1, 3, *[1, 2] * (PAIRS // 2)],
        image_sim=[0.25, 0.5, -0.1, None, *[0.9] * PAIRS],
        text_sim=[0.75, None, 0.1, None, *[None] * PAIRS],
        difficulty=[0.5, 0.25, 0.0, 1.0, *[None] * PAIRS],
        split=["train", "held-out", "train", None, *[None] * PAIRS],
        shared_nouns=[["dog", "ball"], ["dog"], [], [], *[[]] * PAIRS],
        axis=[None, None, "type", None, *[None] * PAIRS],
        entity=[None, None, None, "Lionel", *[None] * PAIRS],
        reasons=[["share 2 nouns: dog, ball"], [MARKUP], ["fireman or cat"], [], *[["image similarity 0.90"]] * PAIRS],
    )


@pytest.fixture(scope="session")
def joined_folder(pairs: ImageSets, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sets of the served store, of another store and of a collection of files, with annotations."""
    folder = tmp_path_factory.mktemp("joined")
    other = make_store(folder, random_unit(4, seed=1), images=[jpeg(row, (50, 40)) for row in range(4)])
    elsewhere = write_sets(folder, [[0, 1]], store=other, set_id=[ELSEWHERE])
    names = [["a.jpg", "b/ü #1.jpg"], [f"{at}.jpg" for at in range(8)], ["c.jpg", "gone.jpg"], ["d.jpg"]]
    foreign = write_foreign_sets(folder, names, set_id=[ODD, STORY, MISSING, LONE])
    (folder / "photos" / "gone.jpg").unlink()
    sets = [pairs[0], *elsewhere, *foreign, ImageSet(TEXT, "photos", ())]
    writer = ImageSetsWriter(folder / "pairs_of_many")
    writer.add_sets([replace(each, annotations=_annotations(each.set_id)) for each in sets])
    sources = [*pairs.sources.values(), *elsewhere.sources.values(), *foreign.sources.values()]
    writer.finish(sources, {})
    return folder / "pairs_of_many"


def _annotations(set_id: str) -> tuple[Annotation, ...]:
    if set_id == ODD:
        options = {"options": ["the left one", MARKUP], "answer": 1, "scores": {"left": 0.5}}
        question = Annotation.make(set_id, "question", Annotator("teacher"), [Turn("user", ("Which? ", 1))], options)
        return (
            annotation(set_id, f"The beak. {MARKUP}"),
            annotation(set_id, "The wing.", annotator="second"),
            question,
        )
    if set_id == TEXT:
        return (Annotation.make(set_id, "conversation", Annotator("model"), [Turn("system", ("Be brief.",))]),)
    return (annotation(set_id, "Words of the story."),) if set_id == STORY else ()


@pytest.fixture
def joined(joined_folder: Path, tmp_path: Path) -> ImageSets:
    """A copy of the folder, since corrections are written into it."""
    shutil.copytree(joined_folder, tmp_path / "joined")
    return ImageSets.open(tmp_path / "joined")


@pytest.fixture(scope="session")
def serve_pairs(pairs: ImageSets, pairs_store: EmbeddingStore) -> ServePairs:
    """`with serve_pairs(decisions, settings, sets) as url:` runs the service with sets (the pairs) on a free port."""

    @contextmanager
    def serving(decisions: Path, settings: Settings | None = None, sets: ImageSets = pairs) -> Iterator[str]:
        settings = settings or Settings()
        store = EmbeddingStore.open(pairs_store.path)
        app = create_app(LocalBackend(store, settings=settings), settings)
        add_pairs(app, Review(sets, store, DecisionsFile(decisions)))
        with run_app(app) as url:
            yield url

    return serving
