"""Each image is read back by its row, and one that cannot be read back says why."""

from __future__ import annotations

from dataclasses import replace
from os import fspath
from pathlib import Path

import pytest

from index.encoder.model_spec import ModelSpec
from index.errors import BadInput, ImagesNotLocal, StoreInvalid
from index.store.embed import EmbedConfig
from index.store.embedding_store import EmbeddingStore
from index.store.read_image import read_image
from index.store.store_manifest import read_manifest, write_manifest
from tests.conftest import embed_store
from tests.index.corpora import picture
from tests.retrieval.stores import forget, jpeg, make_store, random_unit

ROWS = 4


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return make_store(tmp_path, random_unit(ROWS))


def with_corpus(store: EmbeddingStore, root: str | None) -> EmbeddingStore:
    """The store, opened again with its corpus at `root`."""
    write_manifest(fspath(store.path), replace(read_manifest(fspath(store.path)), corpus_root=root))
    return EmbeddingStore.open(store.path)


def test_images_in_a_tar_are_read_back_by_row(store: EmbeddingStore) -> None:
    assert [read_image(store, row) for row in range(ROWS)] == [jpeg(row) for row in range(ROWS)]


def test_images_in_a_folder_are_read_back_by_row(tmp_path: Path, tiny_clip_dir: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(3):
        (photos / f"{number}.png").write_bytes(picture((number, 0, 0)))
        (photos / f"{number}.txt").write_text("dog")
    config = EmbedConfig(str(photos), str(tmp_path / "store"), ModelSpec(model_dir=str(tiny_clip_dir)), device="cpu")
    store = embed_store(config)
    assert [read_image(store, row) for row in range(3)] == [picture((number, 0, 0)) for number in range(3)]


@pytest.mark.parametrize("row", [-1, ROWS])
def test_a_row_that_the_store_does_not_have_is_bad_input(store: EmbeddingStore, row: int) -> None:
    with pytest.raises(BadInput, match="has rows 0 to 3"):
        read_image(store, row)


def test_a_forgotten_row_gives_no_image(store: EmbeddingStore) -> None:
    forget(store, [1])
    with pytest.raises(BadInput, match="forgotten"):
        read_image(store, 1)
    assert read_image(store, 2) == jpeg(2)


def test_a_store_without_its_corpus_says_how_to_fetch_images(store: EmbeddingStore, tmp_path: Path) -> None:
    with pytest.raises(ImagesNotLocal, match="clipmine fetch"):
        read_image(with_corpus(store, None), 0)
    with pytest.raises(ImagesNotLocal, match="is gone"):
        read_image(with_corpus(store, f"{tmp_path}/elsewhere"), 0)
    unplaced = make_store(tmp_path / "unplaced", random_unit(ROWS), shard=[None] * ROWS)
    with pytest.raises(ImagesNotLocal, match="clipmine fetch"):
        read_image(unplaced, 0)


def test_changed_bytes_are_never_returned(store: EmbeddingStore, tmp_path: Path) -> None:
    tar = tmp_path / "corpus" / "00000.tar"
    data = bytearray(tar.read_bytes())
    data[store.metadata([0], ["offset"])["offset"][0].as_py()] ^= 1
    tar.write_bytes(data)
    with pytest.raises(StoreInvalid, match="no longer holds"):
        read_image(store, 0)


@pytest.mark.parametrize("shard", ["../secret.png", "/etc/passwd", "a/../../secret.png", "file:///etc/passwd", "..\\x"])
def test_a_shard_never_leads_out_of_the_corpus(tmp_path: Path, shard: str) -> None:
    (tmp_path / "secret.png").write_bytes(b"secret")
    store = make_store(tmp_path, random_unit(ROWS), shard=[shard] * ROWS)
    for root in (store.corpus_root, "memory://bucket"):
        with pytest.raises(BadInput, match="leaves its folder"):
            read_image(with_corpus(store, root), 0)


def test_a_link_out_of_an_image_folder_is_not_followed(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(ROWS), shard=["a.png"] * ROWS)
    (tmp_path / "secret.png").write_bytes(picture())
    (tmp_path / "corpus" / "a.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(BadInput, match="not followed"):
        read_image(store, 0)
