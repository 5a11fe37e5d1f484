"""A folder of images is listed sorted, and its links never lead out of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from index.corpus.image_folder import broken_link
from index.corpus.reading import Reading
from index.corpus.samples import Reject, Sample
from index.corpus.sources import list_items, read_item
from index.errors import BadInput
from tests.index.corpora import picture


def write(root: Path, **contents: bytes) -> None:
    """Files by name; `__` in a name is a folder, the last `_` the dot."""
    for name, data in contents.items():
        stem, _, suffix = name.replace("__", "/").rpartition("_")
        path = root / f"{stem}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def read(root: Path, shard_size: int = 10, **options: Any) -> tuple[list[Sample], list[Reject]]:
    items = list_items(str(root), shard_size, Reading(**options))
    found = [entry for item in items for entry in read_item(item)]
    return [e for e in found if isinstance(e, Sample)], [e for e in found if isinstance(e, Reject)]


def test_captions_come_from_text_and_json_beside_the_image(tmp_path: Path) -> None:
    fields = json.dumps({"captions": ["a cat", "a kitten"], "license": "CC0"}).encode()
    write(
        tmp_path, b__cat_png=picture(), b__cat_json=fields, a__dog_JPG=picture(), a__dog_txt=b"a dog\n", README_txt=b"x"
    )
    samples, rejects = read(tmp_path)
    assert not rejects
    assert [(s.key, s.shard, s.offset, s.size, s.caption) for s in samples] == [
        ("a/dog", "a/dog.JPG", 0, len(picture()), "a dog"),
        ("b/cat", "b/cat.png", 0, len(picture()), "a cat"),
    ]
    assert samples[1].captions == ("a cat", "a kitten")
    assert samples[1].extra == '{"license": "CC0"}'


def test_items_are_numbered_sorted_and_the_same_each_time(tmp_path: Path) -> None:
    for number in (5, 1, 4, 2, 3):
        write(tmp_path, **{f"x{number}_png": picture(), f"x{number}_txt": b"t"})
    items = list_items(str(tmp_path), shard_size=2)
    assert [item.number for item in items] == [0, 1, 2]
    assert [path for item in items for path in item.paths if path.endswith("png")] == [f"x{n}.png" for n in range(1, 6)]
    assert items == list_items(str(tmp_path), shard_size=2)
    write(tmp_path, x3_txt=b"longer text")
    changed = list_items(str(tmp_path), shard_size=2)
    assert [a.signature == b.signature for a, b in zip(items, changed, strict=True)] == [True, False, True]


def test_captions_come_from_names_by_a_pattern(tmp_path: Path) -> None:
    write(tmp_path, n01440764_tench_jpg=picture(), n02007558_black_swan_jpg=picture(), plain_jpg=picture())
    samples, rejects = read(tmp_path, caption_pattern="{id}_{caption}")
    assert [sample.caption for sample in samples] == ["tench", "black swan"]
    assert [(reject.key, reject.reason) for reject in rejects] == [("plain", "pattern_mismatch")]


def test_images_without_captions_are_rejected_unless_allowed(tmp_path: Path) -> None:
    write(tmp_path, a_png=picture(), b_png=picture(), b_txt=b"")
    assert [reject.reason for reject in read(tmp_path)[1]] == ["missing_caption", "empty_caption"]
    assert len(read(tmp_path, allow_empty_caption=True)[0]) == 2


def test_two_images_of_one_key_keep_the_first(tmp_path: Path) -> None:
    write(tmp_path, a_png=picture(), a_jpg=picture((1, 2, 3)), a_txt=b"t", **{"a.b_png": picture(), "a.b_txt": b"dot"})
    samples, rejects = read(tmp_path, shard_size=1)
    assert [(sample.key, sample.shard) for sample in samples] == [("a", "a.jpg"), ("a.b", "a.b.png")]
    assert [(reject.shard, reject.reason) for reject in rejects] == [("a.png", "second_image")]


def test_hidden_files_are_no_part_of_the_corpus(tmp_path: Path) -> None:
    write(tmp_path, a_png=picture(), a_txt=b"t", **{"._a_png": b"finder", ".git__b_png": b"x"})
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "c.png").write_bytes(b"x")
    samples, rejects = read(tmp_path)
    assert [sample.key for sample in samples] == ["a"]
    assert not rejects


def test_links_stay_inside(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    write(outside, secret_png=picture(), secret_txt=b"secret")
    write(root, a_png=picture(), a_txt=b"t", b_png=picture(), c_txt=b"t")
    (root / "inner.png").symlink_to(root / "a.png")
    (root / "inner.txt").symlink_to("a.txt")
    (root / "leaving.png").symlink_to(outside / "secret.png")
    (root / "b.txt").symlink_to(outside / "secret.txt")
    (root / "gone.png").symlink_to(root / "nothing.png")
    (root / "loop").symlink_to(root)
    (root / "out").symlink_to(outside)
    samples, rejects = read(root)
    assert [sample.key for sample in samples] == ["a", "inner"]
    assert {reject.key: reject.reason for reject in rejects} == {
        "b": "link_leaves_folder",
        "gone": "unreadable",
        "leaving": "link_leaves_folder",
        "loop": "linked_folder",
        "out": "linked_folder",
    }


def test_an_image_removed_after_listing_is_a_reject(tmp_path: Path) -> None:
    write(tmp_path, a_png=picture(), a_txt=b"t", b_png=picture(), b_txt=b"t")
    (item,) = list_items(str(tmp_path))
    (tmp_path / "a.png").unlink()
    found = list(read_item(item))
    assert found[0] == Reject("a", "a.png", "read", "unreadable")
    assert isinstance(found[1], Sample)


def test_files_above_the_limit_are_rejected_unread(tmp_path: Path) -> None:
    write(tmp_path, a_png=b"x" * 2000, a_txt=b"t")
    (item,) = list_items(str(tmp_path))
    assert list(read_item(item, max_bytes=1999)) == [Reject("a", "a.png", "read", "too_many_bytes")]


def test_a_name_that_is_not_utf8_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / b"caf\xe9.png".decode("utf-8", "surrogateescape")).write_bytes(picture())
    with pytest.raises(BadInput, match="not valid UTF-8"):
        list_items(str(tmp_path))


def test_links_in_a_circle_are_unreadable(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").symlink_to("b.jpg")
    (tmp_path / "b.jpg").symlink_to("a.jpg")
    assert broken_link(str(tmp_path), "a.jpg") == "unreadable"
