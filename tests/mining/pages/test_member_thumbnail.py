"""A small JPEG, or the reason without a path of the machine."""

from __future__ import annotations

import io
import logging
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from mining import ImageSets
from mining.export.member_images import MemberImages
from mining.pages.member_thumbnail import NoImage, member_thumbnail
from mining.sets.image_set import Member
from retrieval.service.images import ThumbnailSize
from tests.index.corpora import encode
from tests.mining.made_sets import write_foreign_sets, write_sets
from tests.retrieval.stores import make_store, random_unit


@pytest.fixture
def sets(tmp_path: Path) -> ImageSets:
    return write_foreign_sets(tmp_path, [["a.jpg", "b.jpg"]])


def error(images: MemberImages, member: Member) -> str:
    with pytest.raises(NoImage) as caught:
        member_thumbnail(images, member, ThumbnailSize(64))
    return str(caught.value)


def test_a_large_image_becomes_a_small_jpeg(sets: ImageSets, tmp_path: Path) -> None:
    (tmp_path / "photos" / "a.jpg").write_bytes(encode(Image.new("RGB", (300, 200)), "PNG"))
    member = replace(sets[0].members[0], sha256=None)
    made = Image.open(io.BytesIO(member_thumbnail(MemberImages(sets), member, ThumbnailSize(64))))
    assert (made.format, made.size) == ("JPEG", (64, 43))


def test_the_reason_is_given(sets: ImageSets, tmp_path: Path) -> None:
    images, (first, second) = MemberImages(sets), sets[0].members
    (tmp_path / "photos" / "a.jpg").unlink()
    assert error(images, first) == "image 1: missing"
    (tmp_path / "photos" / "b.jpg").write_bytes(b"\xff\xd8\xff and nothing more")
    assert error(images, second) == "image 2: another file than at import"
    assert error(images, replace(second, sha256=None)) == "image 2: broken image"
    (tmp_path / "photos" / "b.jpg").write_text("<svg/>")
    assert error(images, replace(second, sha256=None)) == "image 2: of unknown format"
    assert error(images, replace(second, path="../../etc/passwd")) == "image 2: outside its folder"


def test_an_image_beyond_the_limits_is_a_reason(sets: ImageSets, tmp_path: Path) -> None:
    (tmp_path / "photos" / "a.jpg").write_bytes(encode(Image.new("RGB", (300, 200)), "PNG"))
    member = replace(sets[0].members[0], sha256=None)
    for limits, reason in (((1 << 20, 10_000), "too many pixels"), ((100, 100_000), "too many bytes")):
        with pytest.raises(NoImage, match=f"image 1: {reason}"):
            member_thumbnail(MemberImages(sets), member, ThumbnailSize(64, *limits))


def test_a_source_that_is_gone_is_named_without_its_place(
    sets: ImageSets, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    member = sets[0].members[0]
    with caplog.at_level(logging.WARNING):
        assert error(MemberImages(sets), member) == f"image 1: its source {member.source} cannot be opened"
    assert str(tmp_path / "photos") in caplog.text


def test_a_store_without_images_is_a_reason(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(4), local=False)
    sets = write_sets(tmp_path, [[0, 1]], store=store)
    assert error(MemberImages(sets), sets[0].members[1]) == "image 2: its store has no images"
