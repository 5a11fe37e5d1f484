"""Tars hold labels, captions, masks and boxes; a label outside the classes and a tar that is cut off are named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from customize.clip.evaluate.datasets.dataset import Dataset
from customize.clip.evaluate.datasets.tars import open_tars
from index.corpus.samples import Sample
from index.corpus.sources import list_items, read_item
from index.errors import BadInput
from tests.customize.clip.evaluate.conftest import COLORS, jpeg
from tests.index.corpora import encode, write_tar


def written(path: Path, *members: tuple[str, bytes], classes: tuple[str, ...] | None = COLORS) -> Dataset:
    return open_tars("colors", [str(write_tar(path, members))], classes)


def test_all_annotations_of_a_sample_are_read(tmp_path: Path) -> None:
    mask = Image.fromarray(np.array([[0, 1], [255, 2]], np.uint8))
    about = {"label": "blue", "captions": ["one", "two"], "boxes": [[0, 1, 2, 3]], "box_labels": ["red"]}
    first, second = written(
        tmp_path / "0.tar",
        ("a.jpg", jpeg("red")),
        ("a.cls", b"0"),
        ("a.txt", b"a red picture\n"),
        ("b.jpg", jpeg("blue")),
        ("b.json", json.dumps(about).encode()),
        ("b.mask.png", encode(mask, "PNG")),
    )
    assert (first.labels, first.captions, first.mask) == ((0,), ("a red picture",), None)
    assert (second.labels, second.captions, second.box_labels) == ((2,), ("one", "two"), (0,))
    assert second.boxes.tolist() == [[0, 1, 2, 3]]
    assert second.mask is not None
    assert second.mask().tolist() == [[0, 1], [255, 2]]
    assert second.open().size == (8, 8)


def test_without_classes_labels_are_numbers_and_names_are_ignored(tmp_path: Path) -> None:
    data = written(
        tmp_path / "0.tar",
        ("a.jpg", jpeg("red")),
        ("a.cls", b"7"),
        ("b.jpg", jpeg("red")),
        ("b.cls", b"red"),
        classes=None,
    )
    assert [example.labels for example in data] == [(7,), ()]


def test_a_label_outside_the_classes_is_named_with_its_sample(tmp_path: Path) -> None:
    data = written(tmp_path / "0.tar", ("a.jpg", jpeg("red")), ("a.cls", b"7"))
    with pytest.raises(BadInput, match=r"0\.tar, a: its label '7' is none of the 3 classes"):
        list(data)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([("a.cls", b"0")], "has no image"),
        ([("a.jpg", jpeg("red")), ("a.json", b"{")], "is not UTF-8 or not JSON"),
    ],
)
def test_a_wrong_sample_is_named(tmp_path: Path, members: list[tuple[str, bytes]], said: str) -> None:
    with pytest.raises(BadInput, match=rf"0\.tar, a: .*{said}"):
        list(written(tmp_path / "0.tar", *members))


def test_captions_are_those_that_embed_reads(tmp_path: Path) -> None:
    members: list[tuple[str, bytes]] = []
    for key, text, fields in (
        ("a", "one\ntwo\n".encode("utf-16"), {}),
        ("b", b"one", {"caption": ["one", "two"]}),
        ("c", None, {"caption": {"en": "one", "de": "zwei"}}),
        ("d", b"text", {"caption": "json"}),
    ):
        members += [(f"{key}.input.jpg", jpeg("red")), (f"{key}.json", json.dumps(fields).encode())]
        members += [(f"{key}.txt", text)] if text is not None else []
    read = [example.captions for example in written(tmp_path / "0.tar", *members)]
    assert read == [("one", "two"), ("one", "two"), ("one", "zwei"), ("text",)]
    (item,) = list_items(str(tmp_path / "0.tar"))
    assert [sample.captions for sample in read_item(item) if isinstance(sample, Sample)] == read


def test_a_caption_in_another_encoding_or_form_is_named(tmp_path: Path) -> None:
    for name, data, said in (("a.txt", b"caf\xe9", "not UTF-8"), ("a.json", b'{"caption": 7}', "neither a text nor")):
        with pytest.raises(BadInput, match=rf"0\.tar, a: .*{said}"):
            list(written(tmp_path / "0.tar", ("a.jpg", jpeg("red")), (name, data)))


def test_a_mask_in_colour_is_refused(tmp_path: Path) -> None:
    colored = encode(Image.new("RGB", (2, 2)), "PNG")
    (example,) = written(tmp_path / "0.tar", ("a.jpg", jpeg("red")), ("a.mask.png", colored))
    assert example.mask is not None
    with pytest.raises(BadInput, match="its mask is a RGB image"):
        example.mask()


def test_a_tar_that_is_cut_off_is_named(tmp_path: Path) -> None:
    data = written(tmp_path / "0.tar", ("a.jpg", jpeg("red")), ("a.cls", b"0"))
    (tmp_path / "0.tar").write_bytes((tmp_path / "0.tar").read_bytes()[:700])
    with pytest.raises(BadInput, match="cannot be read to its end"):
        list(data)


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"boxes": [[0, 1, 2]], "box_labels": [0]}, r"its `boxes` are no list of \[x0, y0, x1, y1\]"),
        ({"boxes": [[0, 1, 2, "x"]], "box_labels": [0]}, "its `boxes` are no list"),
        ({"boxes": [[0, 1, 2, 3]], "box_labels": []}, "has 1 boxes and 0 `box_labels`"),
        ({"boxes": [[0, 1, 2, 3]], "box_labels": [0], "iscrowd": [0, 1]}, "has 1 boxes and 2 values of `iscrowd`"),
        ({"boxes": [[0, 1, 2, 3]], "box_labels": [0], "iscrowd": [7]}, "its `iscrowd` is no list of 0 and 1"),
    ],
)
def test_boxes_that_do_not_fit_are_named_with_their_sample(about: dict[str, object], said: str, tmp_path: Path) -> None:
    data = written(tmp_path / "0.tar", ("a.jpg", jpeg("red")), ("a.json", json.dumps(about).encode()))
    with pytest.raises(BadInput, match=rf"0\.tar, a: {said}"):
        list(data)


def test_crowds_are_told(tmp_path: Path) -> None:
    about = {"boxes": [[0, 1, 2, 3], [0, 0, 8, 8]], "box_labels": [0, 1], "iscrowd": [0, 1]}
    (one,) = written(tmp_path / "0.tar", ("a.jpg", jpeg("red")), ("a.json", json.dumps(about).encode()))
    assert one.box_crowd == (False, True)


def test_a_name_of_two_classes_is_no_label_but_its_number_is(tmp_path: Path) -> None:
    twice = ("crane", "red", "crane")
    named = written(tmp_path / "0.tar", ("a.jpg", jpeg("red")), ("a.cls", b"crane"), classes=twice)
    with pytest.raises(BadInput, match="its label 'crane' is the name of two classes; give the class's number"):
        list(named)
    data = written(tmp_path / "1.tar", ("a.jpg", jpeg("red")), ("a.cls", b"2"), classes=twice)
    assert [example.labels for example in data] == [(2,)]


def test_a_tar_without_samples_has_no_images(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="colors: has no images; check the folder and the split"):
        list(written(tmp_path / "0.tar"))


def test_the_content_of_tars_changes_with_each_tar(tmp_path: Path) -> None:
    tars = [str(write_tar(tmp_path / f"{n}.tar", [(f"{n}.jpg", jpeg("red"))])) for n in range(2)]
    one, both = open_tars("colors", tars[:1], COLORS), open_tars("colors", tars, COLORS)
    before = (one.content(), both.content())
    assert before[0] != before[1]
    write_tar(tmp_path / "1.tar", [("1.jpg", jpeg("red")), ("1.txt", b"a red picture")])
    assert one.content() == before[0]
    assert both.content() != before[1]
