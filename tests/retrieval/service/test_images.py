from __future__ import annotations

import io
import logging
from pathlib import Path

import httpx
import pytest
from PIL import Image

from index.errors import ImagesNotLocal
from index.store.embedding_store import EmbeddingStore
from retrieval.service.images import ThumbnailSize, media_type, original, thumbnail
from tests.index.corpora import encode
from tests.index.hostile_images import jpeg_of_scans
from tests.retrieval.stores import jpeg, make_store, random_unit
from tests.serving import Serve


def test_a_shard_name_out_of_the_corpus_is_not_read(served_store: EmbeddingStore, tmp_path: Path, serve: Serve) -> None:
    (tmp_path / "secret.tar").write_bytes(b"secret" * 100)
    store = make_store(tmp_path / "s", random_unit(4), shard=["../../secret.tar"] * 4)
    with serve(store) as url:
        answer = httpx.get(f"{url}/rows/0/image")
    assert answer.status_code in (404, 503, 400)
    assert b"secretsecret" not in answer.content


def test_an_original_image_cannot_run_in_a_browser(client: httpx.Client) -> None:
    headers = client.get("/rows/0/image").headers
    assert "sandbox" in headers["content-security-policy"]
    assert headers["content-type"] == "image/jpeg"


def test_a_corpus_shard_that_vanishes_is_an_honest_answer(
    served_store: EmbeddingStore, tmp_path: Path, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    store = make_store(tmp_path, random_unit(4))
    with serve(store) as url, caplog.at_level(logging.ERROR), httpx.Client(base_url=url) as client:
        assert client.get("/rows/0/image").status_code == 200
        (tmp_path / "corpus" / "00000.tar").unlink()
        answer = client.get("/rows/1/image")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
        assert str(tmp_path) not in answer.text  # the log says where, the answer doesn't
        assert client.get("/healthz").status_code == 200
    assert "00000.tar" in caplog.text


@pytest.mark.parametrize(
    ("kind", "media"),
    [
        ("JPEG", "image/jpeg"),
        ("PNG", "image/png"),
        ("WEBP", "image/webp"),
        ("TIFF", "image/tiff"),
        ("AVIF", "image/avif"),
    ],
)
def test_the_media_type_follows_the_bytes(kind: str, media: str) -> None:
    assert media_type(encode(Image.new("RGB", (8, 8)), kind)) == media


def test_other_bytes_are_a_file_to_save() -> None:
    assert media_type(b"<svg onload='x'/>") == "application/octet-stream"


def test_a_thumbnail_is_a_jpeg_of_the_asked_size(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(2), images=[jpeg(0, (200, 100)), b"\xff\xd8\xff no image"])
    assert Image.open(io.BytesIO(thumbnail(store, 0, ThumbnailSize(50)))).size == (50, 25)
    assert original(store, 0) == (jpeg(0, (200, 100)), "image/jpeg")
    with pytest.raises(ImagesNotLocal, match="cannot be shown"):
        thumbnail(store, 1, ThumbnailSize(50))


def test_a_thumbnail_has_the_limits_that_it_is_given(tmp_path: Path) -> None:
    images = [encode(Image.new("RGB", (400, 300)), "PNG"), jpeg(0, (400, 300)), jpeg_of_scans(200)]
    store = make_store(tmp_path, random_unit(3), images=images)
    with pytest.raises(ImagesNotLocal, match=r"row 0: its image cannot be shown \(too many pixels\)"):
        thumbnail(store, 0, ThumbnailSize(50, 1 << 20, 100_000))
    assert Image.open(io.BytesIO(thumbnail(store, 1, ThumbnailSize(50, 1 << 20, 100_000)))).size == (50, 38)
    with pytest.raises(ImagesNotLocal, match=r"row 1: .* \(too many bytes\)"):
        thumbnail(store, 1, ThumbnailSize(50, 100, 100_000))
    with pytest.raises(ImagesNotLocal, match=r"row 2: .* \(too many scans\)"):
        thumbnail(store, 2, ThumbnailSize(50))
