"""Members of a tar become samples as webdataset groups them, each once, right or rejected."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
import webdataset
from webdataset.tariterators import base_plus_ext

from index.corpus.images import decode_image
from index.corpus.reader import list_items, read_item
from index.corpus.samples import Reject, Sample
from index.corpus.tar_samples import split_name
from tests.index.corpora import picture, sample_members, write_tar


def read(path: Path, max_bytes: int = 1 << 20) -> tuple[list[Sample], list[tuple[str, str]]]:
    """Samples, and (key, reason) of rejects."""
    (item,) = list_items(str(path))
    found = list(read_item(item, max_bytes))
    samples = [entry for entry in found if isinstance(entry, Sample)]
    return samples, [(entry.key, entry.reason) for entry in found if isinstance(entry, Reject)]


def test_webdatasets_own_writer_and_img2datasets_shape_are_read(tmp_path: Path) -> None:
    with webdataset.TarWriter(str(tmp_path / "0.tar")) as writer:
        for number in range(3):
            fields = {"caption": f"thing {number}", "url": f"http://x/{number}", "exif": "{}", "sha256": "00"}
            writer.write({"__key__": f"00{number}", "jpg": picture(), "txt": f"thing {number}", "json": fields})
    samples, rejects = read(tmp_path / "0.tar")
    assert not rejects
    assert [(sample.key, sample.caption, sample.url) for sample in samples] == [
        (f"00{number}", f"thing {number}", f"http://x/{number}") for number in range(3)
    ]
    assert samples[0].extra == '{"exif": "{}", "sha256": "00"}'
    data = (tmp_path / "0.tar").read_bytes()
    for sample in samples:
        assert data[sample.offset : sample.offset + sample.size] == sample.image
        assert sample.shard == "0.tar"


@pytest.mark.parametrize(
    "name",
    ["a.jpg", "d/a.b/c.JPG", "d.e/c.seg.png", "./a.jpg", "ключ.png", "noext", "._a.jpg", "a..jpg", "a."],
)
def test_names_split_as_webdataset_splits_them(name: str) -> None:
    key, suffix = base_plus_ext(name)
    assert split_name(name) == (None if key is None else (key, suffix.lower()))


def test_hidden_files_in_folders_are_passed_over_where_webdataset_makes_up_a_key() -> None:
    assert base_plus_ext("d/._a.jpg") == ("d/", "_a.jpg")
    assert split_name("d/._a.jpg") is None
    assert split_name("d/.hidden") is None


def test_every_sample_comes_out_once_right_or_rejected(tmp_path: Path) -> None:
    members = [
        *sample_members("good", "a dog"),
        ("no_text.jpg", picture()),
        ("no_image.txt", b"lonely"),
        ("empty.jpg", picture()),
        ("empty.txt", b" "),
        *sample_members("good", "again"),
        ("two.png", picture()),
        ("two.jpg", picture()),
        ("two.txt", b"two images"),
        ("bad.png", picture()),
        ("bad.txt", b"bad json"),
        ("bad.json", b"{"),
        ("._good2.png", b"finder"),
        ("__meta__", b"{}"),
        ("seg.png", picture()),
        ("seg.mask.png", b"not the image"),
        ("seg.pyd", b"\x80\x04cos\nsystem\n"),
        ("seg.txt", b"with a mask"),
        ("big.png", b"x" * 5000),
        ("big.txt", b"big"),
    ]
    samples, rejects = read(write_tar(tmp_path / "x.tar", members), max_bytes=4096)
    assert [(sample.key, sample.caption) for sample in samples] == [
        ("good", "a dog"),
        ("two", "two images"),
        ("seg", "with a mask"),
    ]
    assert samples[2].image == picture()
    assert rejects == [
        ("no_text", "missing_caption"),
        ("no_image", "missing_image"),
        ("empty", "empty_caption"),
        ("good", "duplicate_key"),
        ("two", "second_image"),
        ("bad", "broken_sidecar"),
        ("big", "too_many_bytes"),
    ]


def test_a_repeated_sample_side_by_side_is_a_duplicate(tmp_path: Path) -> None:
    members = [*sample_members("k", "first"), *sample_members("k", "second")]
    samples, rejects = read(write_tar(tmp_path / "x.tar", members))
    assert [sample.caption for sample in samples] == ["first"]
    assert rejects == [("k", "duplicate_key")]


def test_a_cut_tar_gives_the_samples_before_the_cut_and_one_reject(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    write_tar(path, [member for number in range(10) for member in sample_members(f"{number:03}", f"c {number}")])
    whole, _ = read(path)
    data = path.read_bytes()
    for cut in range(700, len(data.rstrip(b"\0")), 611):
        path.write_bytes(data[:cut])
        samples, rejects = read(path)
        assert samples == whole[: len(samples)]
        assert [reason for _, reason in rejects] == ["truncated_tar"]
        assert rejects[0][0] in ("", f"{len(samples):03}")
        complete = [sample for sample in whole if sample.offset + 3 * 2048 < cut]
        assert len(samples) >= len(complete) - 1


@pytest.mark.parametrize(("data", "reason"), [(b"no tar" * 200, "not_a_tar"), (b"", "truncated_tar")])
def test_what_is_no_tar_is_one_reject(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "x.tar").write_bytes(data)
    assert read(tmp_path / "x.tar") == ([], [("", reason)])


def test_links_inside_tars_are_never_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(picture())
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name, target in (("a.png", str(tmp_path / "secret.png")), ("b.png", "../secret.png")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
            text = tarfile.TarInfo(name.replace("png", "txt"))
            text.size = 4
            tar.addfile(text, io.BytesIO(b"text"))
    assert read(tmp_path / "x.tar") == ([], [("a", "missing_image"), ("b", "missing_image")])


def test_reading_keeps_one_sample_at_a_time(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", [*sample_members("a", "first"), *sample_members("b", "second")])
    (item,) = list_items(str(path))
    stream = read_item(item)
    first = next(stream)
    assert isinstance(first, Sample)
    assert decode_image(first.image).size == (8, 6)
    stream.close()  # type: ignore[attr-defined]
