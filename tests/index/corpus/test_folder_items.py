"""A folder as crawlers and other tools leave it: each file is a row, a reject with its reason, or counted by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from index.corpus.folder_items import FolderCorpus
from index.corpus.image_folder import list_folder
from index.corpus.reading import Reading
from index.corpus.samples import READ_REASONS, Reject, Sample
from index.corpus.sources import list_corpus, read_item
from index.errors import BadInput
from tests.index.corpora import encode, picture

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


def write(root: Path, files: dict[str, bytes | str]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return root


def image(number: int) -> bytes:
    return picture((number, 255 - number, 7))


def read(root: Path, **options: Any) -> tuple[dict[str, str], dict[str, str], dict[str, int]]:
    """Captions by key, reasons by file, and files that were passed over by kind."""
    corpus = list_corpus(str(root), reading=Reading(**options))
    found = [entry for item in corpus.items for entry in read_item(item)]
    rows = {entry.key: entry.caption for entry in found if isinstance(entry, Sample)}
    rejects = {entry.shard: entry.reason for entry in found if isinstance(entry, Reject)}
    assert len(rows) + len(rejects) == len(found), "no key and no file comes twice"
    assert set(rejects.values()) <= READ_REASONS
    return rows, rejects, dict(corpus.passed_over.counts)


def test_names_that_say_nothing_are_read_by_content(tmp_path: Path) -> None:
    names = ["a.jpg", "B.JPG", "photo.jpg?w=300", "5fe2", "img.jpeg_large", "x.jpg.1"]
    files: dict[str, bytes | str] = {name: image(number) for number, name in enumerate(names)}
    files |= {"p.ppm": encode(Image.new("RGB", (9, 9)), "PPM"), "i.ico": encode(Image.new("RGB", (32, 32)), "ICO")}
    files |= {f"{key}.txt": f"of {key}" for key in ("a", "B", "photo", "5fe2", "img", "x", "p", "i")}
    files |= {"notes": "not an image", "notes.txt": "for nothing", "r.CR2": b"II*\0raw", "h.HEIC": HEIC}
    rows, rejects, passed = read(write(tmp_path, files), allow_empty_caption=True)
    assert rows == {key: f"of {key}" for key in ("a", "B", "photo", "5fe2", "img", "x", "p", "i")} | {"h": ""}
    assert rejects == {"notes": "not_an_image", "r.CR2": "camera_raw"}
    assert not passed


def test_what_is_surely_no_image_is_counted_by_its_extension(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {"a.jpg": image(1), "a.txt": "A", "README.md": "x", ".DS_Store": "x", ".git/c": "x"}
    files |= {"clip.mp4": "x", "lost.txt": "x", "t.csv": "x", "LICENSE": "x"}
    rows, rejects, passed = read(write(tmp_path, files))
    assert (rows, rejects) == ({"a": "A"}, {})
    assert passed == {".md": 1, "hidden": 2, ".mp4": 1, ".txt": 1, ".csv": 1, "no extension": 1}


def test_files_that_share_a_name_without_its_query_never_share_a_caption(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {"i.jpg?id=1": image(1), "i.jpg?id=2": image(2), "i.txt": "of whom?"}
    files |= {"j.jpg": image(3), "j.jpg.1": image(4), "j.txt": "of j.jpg", "j.jpg.1.txt": "of the second"}
    rows, rejects, _ = read(write(tmp_path, files))
    assert rows == {"j": "of j.jpg", "j.jpg.1": "of the second"}
    assert rejects == {"i.jpg?id=1": "missing_caption", "i.jpg?id=2": "missing_caption"}


def test_two_images_of_one_key_are_two_rows_where_side_cars_name_them(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {"a.jpg": image(1), "a.png": image(2), "a.txt": "of the key"}
    assert read(write(tmp_path, files))[:2] == ({"a": "of the key"}, {"a.png": "second_image"})
    write(tmp_path, {"a.png.txt": "of the png"})
    assert read(tmp_path)[:2] == ({"a": "of the key", "a.png": "of the png"}, {})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.caption", "said"),
        ("a.jpg.json", '{"caption": "said"}'),
        ("a.jpg.txt", "said"),
        ("a.json", '{"captions": ["said", "more"]}'),
        ("metadata.jsonl", '{"file_name": "a.jpg", "text": "said"}\n'),
        ("metadata.csv", "file_name,text\na.jpg,said\n"),
    ],
)
def test_the_side_cars_of_other_tools(tmp_path: Path, name: str, content: str) -> None:
    assert read(write(tmp_path, {"a.jpg": image(1), name: content}))[:2] == ({"a": "said"}, {})


def test_names_of_ones_own_are_read_by_option(tmp_path: Path) -> None:
    write(tmp_path, {"a.dat": image(1), "a.cap": "said", "b.bin": image(2), "b.cap": "too", "c.jpg": image(3)})
    options = {"image_ext": ("dat", "bin"), "caption_ext": ("cap",)}
    assert read(tmp_path, **options)[:2] == ({"a": "said", "b": "too"}, {"c.jpg": "missing_caption"})


def test_a_pattern_reads_names_without_what_crawlers_add(tmp_path: Path) -> None:
    write(tmp_path, {"1_red_bus.jpg?w=1": image(1), "1_red_bus.jpg?w=2": image(2), "2_dog.jpg": image(3)})
    rows, rejects, _ = read(tmp_path, caption_pattern="{id}_{caption}")
    assert rows == {"1_red_bus.jpg?w=1": "red bus", "1_red_bus.jpg?w=2": "red bus", "2_dog": "dog"}
    assert not rejects


def test_an_item_can_be_made_of_some_images_and_the_rest_be_cut(tmp_path: Path) -> None:
    write(tmp_path, {f"{name}.jpg": image(1) for name in "abcde"} | {f"{name}.txt": "x" for name in "abcde"})
    write(tmp_path, {"b.jpg.json": "{}", "metadata.jsonl": json.dumps({"file_name": "b.jpg", "n": 1})})
    folder = FolderCorpus(str(tmp_path), list_folder(str(tmp_path)), Reading())
    item = folder.item(7, ["b.jpg", "d.jpg"])
    assert (item.number, item.paths) == (7, ("b.jpg", "b.jpg.json", "b.txt", "d.jpg", "d.txt"))
    assert item.lines == {"b.jpg": '{"n": 1}'}
    usual = folder.item(7, ["b.jpg", "d.jpg"], usual_only=True)
    assert (usual.paths, usual.lines) == (("b.jpg", "b.txt", "d.jpg", "d.txt"), {})
    left = folder.items(2, without={"b.jpg", "d.jpg"})
    assert [(each.number, each.paths[::2]) for each in left] == [(0, ("a.jpg", "c.jpg")), (1, ("e.jpg",))]


def test_a_folder_without_one_image_names_what_it_holds(tmp_path: Path) -> None:
    write(tmp_path, {"main.c": "int", "Makefile": "all:", "data": "x"})
    with pytest.raises(BadInput, match=r"no corpus here.*it holds data, main\.c"):
        list_corpus(str(tmp_path))
    write(tmp_path, {"data2": image(1)})
    assert len(list_corpus(str(tmp_path)).items) == 1
