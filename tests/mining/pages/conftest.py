"""A served folder of image sets: pairs with shared nouns, a caption that tries to be markup, a story."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from index.store.embedding_store import EmbeddingStore
from mining import ImageSets
from mining.pages.review import Review
from mining.pages.routes import add_pairs
from mining.sets.decisions import DecisionsFile
from retrieval.service.app import create_app
from retrieval.service.local_backend import LocalBackend
from retrieval.service.settings import Settings
from tests.browser import browser, page
from tests.mining.made_sets import write_sets
from tests.retrieval.stores import jpeg, make_store, random_unit
from tests.serving import run_app

__all__ = ["browser", "page"]

MARKUP = "<img src=x onerror=\"document.title='run'\"> a dog"
CAPTIONS = ["two dogs with a ball", "A Ball and a man (with a dog)", MARKUP, "firemen by a fire hydrant", "a cat", None]
PAIRS = 30  # of strategy similar, beside the four others

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
        strategy=["overlap", "overlap", "attribute", "identity", *["similar"] * PAIRS],
        level=[2, 1, 1, 3, *[1, 2] * (PAIRS // 2)],
        image_sim=[0.25, 0.5, -0.1, None, *[0.9] * PAIRS],
        text_sim=[0.75, None, 0.1, None, *[None] * PAIRS],
        shared_nouns=[["dog", "ball"], ["dog"], [], [], *[[]] * PAIRS],
        axis=[None, None, "type", None, *[None] * PAIRS],
        entity=[None, None, None, "Lionel", *[None] * PAIRS],
        reasons=[["share 2 nouns: dog, ball"], [MARKUP], ["fireman or cat"], [], *[["image similarity 0.90"]] * PAIRS],
    )


@pytest.fixture(scope="session")
def serve_pairs(pairs: ImageSets, pairs_store: EmbeddingStore) -> ServePairs:
    """`with serve_pairs(decisions, settings) as url:` runs the service with the pairs on a free port."""

    @contextmanager
    def serving(decisions: Path, settings: Settings | None = None) -> Iterator[str]:
        settings = settings or Settings()
        store = EmbeddingStore.open(pairs_store.path)
        app = create_app(LocalBackend(store, settings=settings), settings)
        add_pairs(app, Review(pairs, store, DecisionsFile(decisions)))
        with run_app(app) as url:
            yield url

    return serving
