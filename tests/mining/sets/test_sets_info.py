"""What a folder of image sets holds: sets, sources that are there or not, annotations and decisions."""

from __future__ import annotations

from pathlib import Path

import pytest

from index.errors import BadInput
from mining.sets.decisions import DecisionsFile
from mining.sets.image_set import ImageSet, Member
from mining.sets.layouts import read_layout
from mining.sets.sets_info import AnnotationCount, StrategyCount, holds_image_sets, sets_info, sets_without_folder
from mining.sets.sources import files_source
from mining.sets.write_sets import ImageSetsWriter
from tests.mining.made_sets import annotation, write_foreign_sets, write_sets
from tests.retrieval.stores import forget


def test_sets_annotations_and_decisions_are_counted(tmp_path: Path) -> None:
    sets = write_foreign_sets(tmp_path, [["a.jpg", "b.jpg"], ["c.jpg"], []], texts=["one", "two"], level=[1, 0, 1])
    sets.add_annotations([annotation("foreign-0", "three", annotator="second")], "more")
    decisions = DecisionsFile(Path(sets.path) / "decisions.jsonl")
    for each, decision in ((sets[0], "reject"), (sets[1], "reject"), (sets[1], "keep")):
        decisions.add(each, decision, sets.sources)  # type: ignore[arg-type]
    info = sets_info(sets.path)
    assert (info.sets, info.images, info.rejected, info.kept) == (3, 3, 1, 1)
    assert info.strategies == (StrategyCount("photos", 0, 1), StrategyCount("photos", 1, 2))
    assert info.annotations == (AnnotationCount("comparison", "model", 2), AnnotationCount("comparison", "second", 1))


def test_a_source_is_there_or_not(tmp_path: Path) -> None:
    sets = write_sets(tmp_path, [[0, 1]], split=["train"])
    assert sets_info(sets.path).splits == {"train": 1}
    [source] = sets_info(sets.path).sources
    assert (source.kind, source.path, source.is_there) == ("store", str(tmp_path / "store"), True)
    (tmp_path / "store" / "manifest.json").unlink()
    assert [each.is_there for each in sets_info(sets.path).sources] == [False]


def test_sets_with_images_of_no_folder_are_counted(tmp_path: Path) -> None:
    names, letters = (files_source(name, None, tmp_path / "pairs") for name in ("names", "letters"))
    first, second = Member(0, names.name, key="a"), Member(1, names.name, key="b")
    writer = ImageSetsWriter(tmp_path / "pairs")
    writer.add_sets([ImageSet("both", "names", (first, second)), ImageSet("none", "names", ())])
    writer.add_sets([ImageSet("one", "names", (first, Member(1, letters.name, key="c")))])
    sets = writer.finish([names, letters], {})
    assert sets_without_folder(read_layout(sets.path)) == {names.name: 2, letters.name: 1}
    assert {each.name: (each.path, each.is_there, each.sets) for each in sets_info(sets.path).sources} == {
        names.name: (None, False, 2),
        letters.name: (None, False, 1),
    }


def test_only_the_manifest_of_image_sets_makes_a_folder_one(tmp_path: Path) -> None:
    assert not holds_image_sets(str(tmp_path))
    for text in ("{", "[]", '{"format": "other"}'):
        (tmp_path / "manifest.json").write_text(text)
        assert not holds_image_sets(str(tmp_path))
    with pytest.raises(BadInput, match="is not the manifest of image sets"):
        sets_info(str(tmp_path))
    sets = write_foreign_sets(tmp_path, [["a.jpg"]])
    assert holds_image_sets(sets.path)


def test_hidden_sets_are_counted_apart(tmp_path: Path) -> None:
    sets = write_sets(tmp_path, [[0, 1], [2, 3]])
    forget(sets.store(), [3])
    info = sets_info(sets.path)
    assert (info.sets, info.forgotten) == (2, 1)
    assert sum(each.sets for each in info.strategies) == 1
