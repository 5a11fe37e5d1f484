"""A corpus is found wherever it is, unclear ones are one line of bad input, and images are read back by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pytest

from index.corpus.reader import list_items, read_image, read_item
from index.corpus.samples import READ_REASONS, Sample
from index.errors import BadInput, ImagesNotLocal, StoreInvalid
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
            list_items(source, shard_size, pattern)
        assert "\n" not in str(caught.value)


def test_a_tar_that_changed_since_listing_is_bad_input(tars: Path) -> None:
    item = list_items(f"{tars}/00000.tar")[0]
    write_tar(tars / "00000.tar", sample_members("k", "other") * 9)
    with pytest.raises(BadInput, match="changed since"):
        list(read_item(item))
    (tars / "00000.tar").unlink()
    with pytest.raises(BadInput, match="is gone"):
        list(read_item(item))
    assert list_items(f"{tars}/00001.tar")[0].signature != item.signature


@dataclass
class Rows:
    """The part of a store that `read_image` needs."""

    table: pa.Table
    corpus_root: str | None
    forgotten: Sequence[int] = ()

    @property
    def rows(self) -> int:
        return int(self.table.num_rows)

    def metadata(self, row_ids: Any, columns: Sequence[str] | None = None) -> pa.Table:
        return self.table.take(row_ids).select(columns)


def store_of(source: str) -> tuple[Rows, list[Sample]]:
    items = list_items(source)
    samples = [entry for item in items for entry in read_item(item) if isinstance(entry, Sample)]
    columns = {name: [getattr(s, name) for s in samples] for name in ("shard", "offset", "size", "sha256")}
    return Rows(pa.table(columns), items[0].root), samples


def test_every_image_is_read_back_by_its_row(tars: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    photos = tmp_path_factory.mktemp("photos")
    for number in range(3):
        (photos / f"{number}_dog.png").write_bytes(picture((number, 0, 0)))
        (photos / f"{number}_dog.txt").write_text("dog")
    for source in (tars, photos):
        store, samples = store_of(str(source))
        assert [read_image(store, row) for row in range(store.rows)] == [sample.image for sample in samples]


def test_an_image_that_cannot_be_read_back_says_why(tars: Path) -> None:
    store, samples = store_of(f"{tars}/00000.tar")
    with pytest.raises(BadInput, match="has rows 0 to 1"):
        read_image(store, 2)
    with pytest.raises(BadInput, match="forgotten"):
        read_image(replace(store, forgotten=[1]), 1)
    with pytest.raises(ImagesNotLocal, match="clipmine fetch"):
        read_image(replace(store, corpus_root=None), 0)
    nothing = store.table.set_column(0, "shard", pa.nulls(2, pa.string()))
    with pytest.raises(ImagesNotLocal, match="clipmine fetch"):
        read_image(replace(store, table=nothing), 0)
    with pytest.raises(ImagesNotLocal, match="is gone"):
        read_image(replace(store, corpus_root=f"{tars}/elsewhere"), 0)
    data = bytearray((tars / "00000.tar").read_bytes())
    data[samples[0].offset] ^= 1
    (tars / "00000.tar").write_bytes(data)
    with pytest.raises(StoreInvalid, match="no longer holds"):
        read_image(store, 0)


@pytest.mark.parametrize("shard", ["../secret.png", "/etc/passwd", "a/../../secret.png", "file:///etc/passwd", "..\\x"])
def test_a_stores_shard_never_leads_out_of_the_corpus(tars: Path, shard: str) -> None:
    (tars.parent / "secret.png").write_bytes(b"secret")
    store, _ = store_of(f"{tars}/00000.tar")
    for root in (str(tars), "memory://bucket"):
        table = store.table.set_column(0, "shard", pa.array([shard] * 2))
        with pytest.raises(BadInput, match="leaves its folder"):
            read_image(replace(store, table=table, corpus_root=root), 0)


def test_a_link_out_of_an_image_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(picture())
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a.png").symlink_to(tmp_path / "secret.png")
    table = pa.table({"shard": ["a.png"], "offset": [0], "size": [10], "sha256": [""]})
    with pytest.raises(BadInput, match="not followed"):
        read_image(Rows(table, str(tmp_path / "root")), 0)


def test_reasons_are_words_for_reports() -> None:
    assert all(reason == reason.lower() and " " not in reason for reason in READ_REASONS)
