from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from index.errors import BadInput, StoreInvalid
from mining.sets.sources import (
    Source,
    files_source,
    is_store,
    moved_by_name,
    open_source_store,
    source_folder,
    store_source,
)
from tests.retrieval.stores import MODEL, make_store, random_unit


def test_a_store_has_the_same_name_in_every_folder(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(6))
    one, other = store_source(store, tmp_path / "pairs"), store_source(store, tmp_path / "deep/er/pairs")
    assert one.name == other.name
    assert (one.kind, one.path, one.relative, one.rows, one.parts) == (
        "store",
        str(tmp_path / "store"),
        "../store",
        6,
        2,
    )
    assert other.relative == "../../../store"
    another = make_store(tmp_path / "another", random_unit(6), model={**MODEL, "weights": "x"})
    assert store_source(another, tmp_path / "pairs").name != one.name


def test_a_name_is_of_the_store_also_after_it_grew(tmp_path: Path) -> None:
    store, grown = make_store(tmp_path, random_unit(6), parts=1), make_store(tmp_path / "grown", random_unit(12))
    name = store_source(store, tmp_path).name
    assert is_store(name, store, 1)
    assert is_store(name, grown, 1)  # its first part has 6 rows too
    assert not is_store(name, grown, 2)
    assert not is_store(name, store, 2)
    assert not is_store(name, store, None)
    assert not is_store("photos-12345678", store, 1)


def test_a_source_comes_back_from_json_without_what_does_not_apply(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(6))
    for source in (
        store_source(store, tmp_path / "pairs"),
        files_source("CaD-Inst V1", tmp_path / "coco", tmp_path / "pairs", licence="CC BY 4.0", homepage="https://x"),
        files_source("URLs", None, tmp_path / "pairs"),
    ):
        value = source.to_json()
        assert None not in value.values()
        assert Source.from_json(source.name, {**value, "later": 1}) == source
    with pytest.raises(TypeError):
        Source.from_json("a", {})


def test_a_collection_is_named_after_what_it_is_and_where(tmp_path: Path) -> None:
    one = files_source("CaD-Inst V1", tmp_path / "coco", tmp_path / "pairs")
    assert one.name.startswith("cad-inst-v1-")
    assert (one.path, one.relative, one.licence) == (str(tmp_path / "coco"), "../coco", None)
    assert files_source("CaD-Inst V1", tmp_path / "coco", tmp_path / "elsewhere/pairs").name == one.name
    assert files_source("CaD-Inst V1", tmp_path / "other", tmp_path / "pairs").name != one.name
    remote = files_source("語", "s3://bucket/coco", tmp_path)
    assert (remote.name[:6], remote.path, remote.relative) == ("files-", "s3://bucket/coco", None)
    assert files_source("URLs", None, tmp_path).path is None


def test_a_store_that_was_moved_is_found_beside_the_sets_or_where_it_is_named(tmp_path: Path) -> None:
    store = make_store(tmp_path / "here", random_unit(6))
    source = store_source(store, tmp_path / "here/pairs")
    (tmp_path / "here").rename(tmp_path / "there")
    assert open_source_store(source, str(tmp_path / "there/pairs")).path == tmp_path / "there/store"
    shutil.move(tmp_path / "there/store", tmp_path / "third")
    opened = open_source_store(source, str(tmp_path / "there/pairs"), tmp_path / "third")
    assert opened.path == tmp_path / "third"


def test_another_store_or_none_is_an_error(tmp_path: Path) -> None:
    source = store_source(make_store(tmp_path, random_unit(6)), tmp_path / "pairs")
    other = make_store(tmp_path / "other", random_unit(5))
    with pytest.raises(StoreInvalid, match=r"is not the store that .*pairs was mined from"):
        open_source_store(source, str(tmp_path / "pairs"), other.path)
    with pytest.raises(BadInput, match="is a collection of files, not a store"):
        open_source_store(files_source("photos", tmp_path, tmp_path), str(tmp_path))
    with pytest.raises(BadInput, match="does not say which store it was mined from"):
        open_source_store(Source("store-unknown", "store", None), str(tmp_path))


def test_a_folder_is_the_one_beside_the_sets_if_it_exists(tmp_path: Path) -> None:
    source = files_source("photos", tmp_path / "photos", tmp_path / "sets")
    assert source_folder(source, str(tmp_path / "sets")) == str(tmp_path / "photos")
    (tmp_path / "moved/photos").mkdir(parents=True)
    assert source_folder(source, str(tmp_path / "moved/sets")) == str(tmp_path / "moved/photos")
    assert source_folder(source, str(tmp_path / "moved/sets"), "/named") == "/named"
    assert source_folder(source, "s3://bucket/sets") == str(tmp_path / "photos")
    assert source_folder(Source("urls", "files", None), str(tmp_path)) is None


def test_one_moved_path_stands_for_the_only_source_and_names_must_be_known() -> None:
    sources = {"store-1": Source("store-1", "store", "/store"), "photos": Source("photos", "files", "/photos")}
    assert moved_by_name(None, sources, "pairs") == {}
    assert moved_by_name({"photos": "/new"}, sources, "pairs") == {"photos": "/new"}
    assert moved_by_name("/new", sources, "pairs", "store") == {"store-1": "/new"}
    with pytest.raises(BadInput, match=r"pairs: has 2 sources \(photos, store-1\), so /new must come with the name"):
        moved_by_name("/new", sources, "pairs")
    with pytest.raises(BadInput, match="pairs: has no source 'stores'; it has photos, store-1"):
        moved_by_name({"stores": "/new"}, sources, "pairs", "store")
