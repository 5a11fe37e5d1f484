"""A corpus is found wherever it is and read item by item; an unclear source is one line of bad input."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from index.corpus.reading import Reading
from index.corpus.sources import list_corpus, list_items, read_item
from index.errors import BadInput
from tests.index.corpora import picture, sample_members, write_tar


@pytest.fixture
def tars(tmp_path: Path) -> Path:
    for name in ("00000", "00001", "00002", "sub/00000"):
        path = tmp_path / f"{name}.tar"
        path.parent.mkdir(exist_ok=True)
        write_tar(path, sample_members(f"{name}a", "first") + sample_members(f"{name}b", "second"))
    (tmp_path / "00000.parquet").write_bytes(b"img2dataset's own")
    (tmp_path / "00000_stats.json").write_text("{}")
    return tmp_path


def paths_of(source: str) -> list[str]:
    return [item.paths[0] for item in list_items(source)]


def test_tars_are_found_by_folder_glob_braces_and_name(tars: Path) -> None:
    assert paths_of(str(tars)) == ["00000.tar", "00001.tar", "00002.tar", "sub/00000.tar"]
    assert paths_of(f"{tars}/*.tar") == ["00000.tar", "00001.tar", "00002.tar"]
    assert paths_of(f"{tars}/**/*.tar") == ["00000.tar", "00001.tar", "00002.tar", "sub/00000.tar"]
    assert paths_of(f"{tars}/{{00000..00001}}.tar") == ["00000.tar", "00001.tar"]
    assert paths_of(f"{tars}/0000{{2,0}}.tar") == ["00000.tar", "00002.tar"]
    assert paths_of(f"{tars}/0000{{0..1}}.ta?") == ["00000.tar", "00001.tar"]
    assert paths_of(f"{tars}/00001.tar") == ["00001.tar"]
    assert {item.root for item in list_items(f"{tars}/sub/*.tar")} == {f"{tars}/sub"}
    assert [item.number for item in list_items(str(tars))] == [0, 1, 2, 3]


def test_files_beside_a_downloads_tars_are_not_passed_over_and_others_are(tars: Path) -> None:
    (tars / "_table").mkdir()
    (tars / "_table/plan.json").write_text("{}")
    (tars / "notes.json").write_text("{}")
    assert list_corpus(str(tars)).passed_over.names == ["notes.json"]


def test_a_relative_source_has_an_absolute_root(tars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tars)
    assert list_items("sub")[0].root == f"{tars}/sub"
    assert list_items("{00000..00001}.tar")[0].root == str(tars)


def test_tars_at_a_url_read_like_local_ones(tars: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(tars), "/bucket", recursive=True)
    local = [sample for item in list_items(str(tars)) for sample in read_item(item)]
    try:
        for source in ("memory://bucket", "memory://bucket/**/*.tar"):
            assert [sample for item in list_items(source) for sample in read_item(item)] == local
        assert paths_of("memory://bucket/{00000..00002}.tar") == ["00000.tar", "00001.tar", "00002.tar"]
        assert paths_of("memory://bucket/sub/00000.tar") == ["00000.tar"]
        with pytest.raises(BadInput, match="not found"):
            list_items("memory://elsewhere")
        with pytest.raises(BadInput, match="entire path component"):
            list_items("memory://bucket/**.tar")
    finally:
        memory.rm("/bucket", recursive=True)


def test_images_in_a_folder_at_a_url_read_like_local_ones(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.png").write_bytes(picture())
        (tmp_path / f"{name}.txt").write_text(name)
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path), "/photos", recursive=True)
    try:
        there = [sample for item in list_items("memory://photos") for sample in read_item(item)]
        assert there == [sample for item in list_items(str(tmp_path)) for sample in read_item(item)]
        assert len(there) == 2
    finally:
        memory.rm("/photos", recursive=True)


@pytest.mark.parametrize(
    ("names", "source", "why"),
    [
        ([], "", "no corpus here; looked in it and below for .tar files and for images"),
        ([], "nowhere", "not found"),
        (["a.tar", "b.png"], "", "both tars"),
        (["a.tar.gz"], "", "decompress it first"),
        (["a.tar", "b.tar.zst"], "", "decompress it first"),
        (["a.tgz"], "a.tgz", "decompress it first"),
        (["urls.parquet"], "", "downloaded first"),
        (["urls.csv"], "urls.csv", "downloaded first"),
        (["a.zip"], "a.zip", "neither a folder nor a .tar"),
        (["a.tar"], "*.zip", "matches no file"),
        (["a.tar", "b.png"], "*.*", "neither a folder nor a .tar"),
        (["0.tar"], "{0..3}.tar", "3 of its 4 files are not there, first .*1.tar"),
        ([], "{0..9999999999}.tar", "name the folder instead"),
        ([], "{0..99999}{0..99999}.tar", "name the folder instead"),
        ([], "{3..1}.tar", "neither a rising range nor a list"),
        ([], "{{a,b},c}.tar", "nested or unbalanced"),
        ([], "{a,b.tar", "nested or unbalanced"),
    ],
)
def test_an_unclear_source_is_one_line(tmp_path: Path, names: list[str], source: str, why: str) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(BadInput, match=why) as caught:
        list_items(f"{tmp_path}/{source}" if source else str(tmp_path))
    assert "\n" not in str(caught.value)


def test_other_bad_arguments_are_one_line(tmp_path: Path) -> None:
    folder = str(tmp_path)
    for source, shard_size, pattern in (("", 9, None), ("s4://b/x", 9, None), (folder, 0, None), (folder, 9, "{id}")):
        with pytest.raises(BadInput) as caught:
            list_items(source, shard_size, Reading(pattern))
        assert "\n" not in str(caught.value)


def test_a_tar_that_changed_since_listing_is_bad_input(tars: Path) -> None:
    item = list_items(f"{tars}/00000.tar")[0]
    write_tar(tars / "00000.tar", sample_members("k", "other") * 9)
    with pytest.raises(BadInput, match="changed since"):
        list(read_item(item))
    (tars / "00000.tar").unlink()
    with pytest.raises(BadInput, match="was removed after it was listed"):
        list(read_item(item))
    assert list_items(f"{tars}/00001.tar")[0].signature != item.signature
