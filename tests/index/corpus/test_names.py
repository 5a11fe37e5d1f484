"""What a file is and which key it has, told by its name."""

from __future__ import annotations

import pytest

from index.corpus.names import NameRules, is_hidden
from index.corpus.reading import Reading

WEBDATASET, STEM = NameRules.of(Reading()), NameRules.of(Reading(key_rule="stem"))


@pytest.mark.parametrize(
    ("name", "by_first_dot", "by_last_dot"),
    [
        ("a/000.jpg", ("a/000", "", "jpg"), ("a/000", "", "jpg")),
        ("000.Input.JPG", ("000", "input", "jpg"), ("000.Input", "", "jpg")),
        ("v1.2/3.10.txt", ("v1.2/3", "10", "txt"), ("v1.2/3.10", "", "txt")),
        ("Pier 7 v2.0 (last).jpg", ("Pier 7 v2", "0 (last)", "jpg"), ("Pier 7 v2.0 (last)", "", "jpg")),
        ("._000.jpg", None, None),
        ("noext", None, None),
        ("__meta__", None, None),
    ],
)
def test_a_key_ends_at_the_first_or_at_the_last_dot(
    name: str, by_first_dot: tuple[str, str, str] | None, by_last_dot: tuple[str, str, str] | None
) -> None:
    assert WEBDATASET.split(name) == by_first_dot
    assert STEM.split(name) == by_last_dot


@pytest.mark.parametrize(
    ("name", "kind", "stem"),
    [
        ("d/a.JPG", "image", "d/a"),
        ("a.b.png", "image", "a.b"),
        ("photo.jpg?w=300", "odd", "photo"),
        ("photo.jpg?v=1.5", "odd", "photo"),
        ("photo?v=1.5", "odd", "photo?v=1"),
        ("img.jpeg_large", "odd", "img"),
        ("img.jpg:large", "odd", "img"),
        ("x.png.1", "odd", "x"),
        ("5fe2", "odd", "5fe2"),
        ("v1.2/5fe2", "odd", "v1.2/5fe2"),
        ("scan.jpgx", "odd", "scan"),
        ("p.NEF", "raw", "p"),
        ("p.heic", "image", "p"),
        ("a.caption", "text", "a"),
        ("a.json", "json", "a"),
        ("README.txt", "text", "README"),
        ("README", "other", "README"),
        ("readme.md", "other", "readme"),
        ("clip.mp4", "other", "clip"),
        ("labels.csv", "other", "labels"),
    ],
)
def test_a_folders_files_are_told_apart_by_their_names(name: str, kind: str, stem: str) -> None:
    assert WEBDATASET.file_kind(name) == kind
    assert WEBDATASET.file_stem(name) == stem


def test_named_extensions_come_before_the_usual_ones() -> None:
    rules = NameRules.of(Reading(image_ext=("img", "txt"), caption_ext=("cap",)))
    assert [rules.kind(each) for each in ("img", "txt", "cap", "caption", "jpg", "cls", "dat")] == [
        *("image", "image", "text", "text", "image", "other", "odd")
    ]
    assert rules.text_order == ("cap", "caption")


def test_hidden_files_and_macos_companions() -> None:
    assert [is_hidden(name) for name in (".a", "._a.jpg", "__MACOSX", "a.jpg")] == [True, True, True, False]
