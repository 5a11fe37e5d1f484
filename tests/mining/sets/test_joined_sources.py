from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mining.sets.joined_sources import JoinedSources, join_sources
from mining.sets.sources import Source, files_source, store_source
from tests.retrieval.stores import MODEL, forget, make_store, random_unit


def joined(out: Path, *folders: tuple[Path, Source]) -> JoinedSources:
    return join_sources([(str(path), {source.name: source}) for path, source in folders], str(out))


def test_the_same_collection_is_one_source_wherever_its_sets_lie(tmp_path: Path) -> None:
    one = files_source("photos", tmp_path / "photos", tmp_path / "a", licence="CC0")
    two = files_source("photos", tmp_path / "photos", tmp_path / "deep/b", licence="CC0")
    found = joined(tmp_path / "out/all", (tmp_path / "a", one), (tmp_path / "deep/b", two))
    assert found.sources == (replace(one, relative="../../photos"),)
    assert found.names == ({one.name: one.name}, {one.name: one.name})
    assert found.notes == ()


def test_a_copied_collection_is_another_source_since_files_are_not_compared(tmp_path: Path) -> None:
    for name in ("here", "there"):
        (tmp_path / name / "photos").mkdir(parents=True)
    one = files_source("photos", tmp_path / "here/photos", tmp_path / "here/sets")
    found = joined(tmp_path / "all", (tmp_path / "here/sets", one), (tmp_path / "there/sets", one))
    assert [source.name for source in found.sources] == [one.name, f"{one.name}-2"]
    assert found.names[1] == {one.name: f"{one.name}-2"}
    assert "taken for two collections" in found.notes[0]


def test_urls_have_no_folder(tmp_path: Path) -> None:
    urls = files_source("urls", None, tmp_path / "a")
    found = joined(tmp_path / "all", (tmp_path / "a", urls), (tmp_path / "b", urls))
    assert found.sources == (urls,)


def test_a_copy_of_a_store_is_the_same_source_also_where_it_forgot_rows(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(12))
    source = store_source(store, tmp_path / "sets")
    shutil.copytree(tmp_path / "store", tmp_path / "copy/store")
    forget(store, [0, 5])
    found = joined(tmp_path / "all", (tmp_path / "sets", source), (tmp_path / "copy/sets", source))
    assert [each.path for each in found.sources] == [str(tmp_path / "store")]


@pytest.mark.parametrize("column", ["key", "sha256"])
def test_a_store_with_other_images_is_another_source_under_the_same_identity(tmp_path: Path, column: str) -> None:
    one = make_store(tmp_path / "one", random_unit(12))
    values = one.metadata(range(12), [column])[column].to_pylist()
    changed: dict[str, Any] = {column: [*values[:-1], "another"]}
    two = make_store(tmp_path / "two", random_unit(12), **changed)
    sources = [
        (tmp_path / name / "sets", store_source(store, tmp_path / name / "sets"))
        for name, store in (("one", one), ("two", two))
    ]
    assert sources[0][1].name == sources[1][1].name
    found = joined(tmp_path / "all", *sources)
    assert [each.path for each in found.sources] == [str(one.path), str(two.path)]
    assert "have one identity and different images" in found.notes[0]
    again = joined(tmp_path / "all", *sources, *sources)
    assert [list(names.values()) for names in again.names] == [list(names.values()) for names in found.names] * 2


def test_a_store_that_grew_and_one_of_another_model_are_other_sources(tmp_path: Path) -> None:
    sources = []
    for name, rows, parts, model in (("a", 6, 1, MODEL), ("b", 12, 2, MODEL), ("c", 6, 1, {**MODEL, "weights": "x"})):
        store = make_store(tmp_path / name, random_unit(rows), parts=parts, model=model)
        sources.append((tmp_path / name / "sets", store_source(store, tmp_path / name / "sets")))
    assert len(joined(tmp_path / "all", *sources).sources) == 3
