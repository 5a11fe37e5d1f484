"""Tars as strangers write them: each image ends as a row or under a reason, and no row has another image's caption."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from index.corpus.reading import Reading
from index.corpus.samples import CAPTIONS_APART, READ_REASONS, PassedOver, Reject, Sample
from index.corpus.sources import list_items, read_item
from tests.index.corpora import picture, write_tar

Rows = list[tuple[str, str]]


def image(number: int) -> bytes:
    return picture((number, 255 - number, 7))


def read(path: Path, **options: Any) -> tuple[list[Sample], Rows, PassedOver]:
    """Samples, (key, reason) of rejects, and what was passed over."""
    (item,) = list_items(str(path), reading=Reading(**options))
    passed = PassedOver()
    found = list(read_item(item, passed=passed))
    rejects = [(entry.key, entry.reason) for entry in found if isinstance(entry, Reject)]
    assert {reason for _, reason in rejects} <= READ_REASONS
    return [entry for entry in found if isinstance(entry, Sample)], rejects, passed


def rows(samples: list[Sample]) -> Rows:
    return [(sample.key, sample.caption) for sample in samples]


def pairs(*keys: str, suffix: str = "jpg", text: str = "txt") -> list[tuple[str, bytes]]:
    return [
        member
        for number, key in enumerate(keys)
        for member in ((f"{key}.{suffix}", image(number)), (f"{key}.{text}", f"of {key}".encode()))
    ]


def test_dots_in_names_make_rows_by_either_rule_and_images_of_one_key_are_counted(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "0.tar", pairs("Pier v1.0 (x)", "7.10", "7.11", "plain"))
    samples, rejects, _ = read(path)
    assert rows(samples) == [("Pier v1", "of Pier v1.0 (x)"), ("7", "of 7.10"), ("plain", "of plain")]
    assert rejects == [("7.11", "second_image")]
    samples, rejects, _ = read(path, key_rule="stem")
    assert rows(samples) == [(key, f"of {key}") for key in ("Pier v1.0 (x)", "7.10", "7.11", "plain")]
    assert not rejects


def test_an_image_and_a_text_in_fields_are_one_sample(tmp_path: Path) -> None:
    members = [("a.input.jpg", image(1)), ("a.output.txt", b"said"), ("a.output.json", b'{"n": 1}')]
    samples, rejects, _ = read(write_tar(tmp_path / "0.tar", members))
    assert (rows(samples), samples[0].extra, rejects) == ([("a", "said")], '{"n": 1}', [])


def test_an_image_of_another_field_is_counted_and_takes_no_caption(tmp_path: Path) -> None:
    members = [
        *[("a.seg.png", image(1)), ("a.jpg", image(2)), ("a.txt", b"A")],
        *[("b.left.jpg", image(3)), ("b.right.jpg", image(4)), ("b.right.txt", b"right")],
    ]
    samples, rejects, _ = read(write_tar(tmp_path / "0.tar", members))
    assert [(sample.key, sample.image) for sample in samples] == [("a", image(2))]
    assert rejects == [("a.seg", "image_field"), ("b", "caption_not_read"), ("b.right", "second_image")]


def test_one_key_with_thousands_of_images_is_counted_not_collected(tmp_path: Path) -> None:
    members = [member for day in range(300) for member in pairs(f"2020.{day}")]
    samples, rejects, _ = read(write_tar(tmp_path / "0.tar", members))
    assert rows(samples) == [("2020", "of 2020.0")]
    assert len(rejects) == 299
    assert {reason for _, reason in rejects} == {"second_image"}


def test_names_of_ones_own_are_read_by_option_and_shown_without_it(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "0.tar", pairs("0", "1", suffix="img", text="cap"))
    samples, rejects, passed = read(path)
    assert (samples, rejects) == ([], [])
    assert (passed.counts, passed.names) == ({".img": 2, ".cap": 2}, ["0.img", "0.cap", "1.img", "1.cap"])
    samples, rejects, passed = read(path, image_ext=["img"], caption_ext=["cap"])
    assert (rows(samples), rejects, passed.names) == ([("0", "of 0"), ("1", "of 1")], [], [])


def test_side_cars_beside_an_image_of_an_unknown_name_say_so(tmp_path: Path) -> None:
    members = [*pairs("0", suffix="img"), ("1.txt", b"lonely"), ("2.cls", b"7"), ("2.txt", b"a class and no image")]
    _, rejects, _ = read(write_tar(tmp_path / "0.tar", members))
    assert rejects == [("0", "image_name_not_read"), ("1", "missing_image"), ("2", "missing_image")]


@pytest.mark.parametrize("order", [(0, 2, 4, 1, 3, 5), (1, 3, 5, 0, 2, 4), (0, 2, 1, 3, 4, 5)])
def test_members_of_a_key_that_lie_apart_count_once(tmp_path: Path, order: tuple[int, ...]) -> None:
    members = pairs("a", "b", "c")
    samples, rejects, _ = read(write_tar(tmp_path / "0.tar", [members[place] for place in order]))
    apart = [key for key in "abc" if key not in dict(rows(samples))]
    assert sorted(rejects) == [(key, "members_apart") for key in apart]
    assert all(caption == f"of {key}" for key, caption in rows(samples))
    assert len(apart) >= 2


def test_images_kept_without_captions_do_not_count_again_for_captions_further_on(tmp_path: Path) -> None:
    members = pairs("a", "b")
    path = write_tar(tmp_path / "0.tar", [members[place] for place in (0, 2, 1, 3)])
    samples, rejects, passed = read(path, allow_empty_caption=True)
    assert (rows(samples), rejects) == ([("a", ""), ("b", "")], [])
    assert passed.counts == {CAPTIONS_APART: 2}


def test_a_side_car_that_follows_apart_does_not_make_a_key_count_twice(tmp_path: Path) -> None:
    members = [("a.jpg", image(0)), ("b.jpg", image(1)), ("a.txt", b"A"), ("b.txt", b"B"), ("a.json", b"{}")]
    assert read(write_tar(tmp_path / "0.tar", members))[1] == [("a", "members_apart"), ("b", "members_apart")]


def link(name: str, target: str, kind: bytes = tarfile.LNKTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_links_to_earlier_members_are_read_and_others_say_that_they_are_links(tmp_path: Path, form: int) -> None:
    deep = f"./d/{'long' * 30}.jpg" if form != tarfile.USTAR_FORMAT else "./d/short.jpg"
    with tarfile.open(tmp_path / "0.tar", "w", format=form) as tar:
        for entry in (
            *((deep, image(1)), (deep.replace("jpg", "txt"), b"first")),
            *(link("./d/b.jpg", deep), ("./d/b.txt", b"second")),
            *(link("./d/c.jpg", deep.rpartition("/")[2], tarfile.SYMTYPE), link("./d/c.txt", "./d/b.txt")),
            *(link("e.jpg", "/etc/passwd", tarfile.SYMTYPE), ("e.txt", b"e")),
            *(("f.jpg", image(2)), link("f.txt", "g.txt"), ("g.txt", b"later")),
        ):
            if isinstance(entry, tarfile.TarInfo):
                tar.addfile(entry)
            else:
                info = tarfile.TarInfo(entry[0])
                info.size = len(entry[1])
                tar.addfile(info, io.BytesIO(entry[1]))
    samples, rejects, _ = read(tmp_path / "0.tar")
    assert [sample.caption for sample in samples] == ["first", "second", "second"]
    assert {sample.image for sample in samples} == {image(1)}
    data = (tmp_path / "0.tar").read_bytes()
    assert all(data[sample.offset : sample.offset + sample.size] == image(1) for sample in samples)
    assert rejects == [("e", "link_not_followed"), ("f", "link_not_followed"), ("g", "missing_image")]


def test_files_with_holes_and_raw_files_have_their_reasons(tmp_path: Path) -> None:
    hole = tarfile.TarInfo("a.jpg")
    hole.size, hole.pax_headers = 4, {"GNU.sparse.major": "1", "GNU.sparse.name": "a.jpg"}
    with tarfile.open(tmp_path / "0.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(hole, io.BytesIO(b"data"))
        for name, data in (("a.txt", b"A"), ("b.NEF", b"raw"), ("b.txt", b"B"), *pairs("c"), ("c.CR2", b"raw")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    samples, rejects, _ = read(tmp_path / "0.tar")
    assert rows(samples) == [("c", "of c")]
    assert rejects == [("a", "sparse_member"), ("b", "camera_raw"), ("c", "camera_raw")]


def test_captions_that_are_not_utf8_are_counted_or_read_in_the_named_encoding(tmp_path: Path) -> None:
    members = [("a.jpg", image(0)), ("a.txt", "für".encode("cp1252")), ("b.jpg", image(1)), ("b.txt", "für".encode())]
    path = write_tar(tmp_path / "0.tar", members)
    samples, rejects, _ = read(path)
    assert (rows(samples), rejects) == ([("b", "für")], [("a", "caption_not_utf8")])
    assert rows(read(path, caption_encoding="cp1252")[0]) == [("a", "für"), ("b", "für")]
