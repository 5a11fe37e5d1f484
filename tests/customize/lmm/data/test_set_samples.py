"""Image sets and their tars as sources: chosen annotations, and CaD-VI's conversation from comparisons."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from customize.lmm.data.sample import LmmSample
from customize.lmm.data.set_samples import CadAnswer, SetSource, TarSource
from customize.lmm.data.skipped import SkippedSample
from customize.lmm.data.source import PlacedImage, Source
from index.errors import BadInput, ClipmineError
from mining.annotate.comparison import Comparison, Item
from mining.export import to_webdataset
from mining.sets.annotation import Annotation, Annotator, Turn
from mining.sets.image_sets import ImageSets
from tests.mining.made_mixed import write_mixed
from tests.mining.made_sets import annotation, file_of, write_foreign_sets

NAMES = [["a.jpg", "b.jpg"], ["c.jpg", "d.jpg"], ["e.jpg", "f.jpg"]]


def comparison(set_id: str, word: str, annotator: str = "mixtral") -> Annotation:
    found = Comparison((Item(f"Both are {word}.", "attributes"),), (Item(f"One is {word}.", "counts"),))
    turns = (Turn("user", (0, 1, "Compare.")), Turn("assistant", (found.text(),)))
    return Annotation.make(set_id, "comparison", Annotator(annotator), turns, found.to_json())


@pytest.fixture
def pairs(tmp_path: Path) -> ImageSets:
    """Three pairs, of which the first two have comparisons, and the first one two and a question."""
    sets = write_foreign_sets(tmp_path, NAMES, split=["train", "train", "held-out"])
    said = [comparison("foreign-0", "old"), comparison("foreign-0", "new", "phase-2"), comparison("foreign-1", "red")]
    asked = (Turn("user", ("Is ", 1, " older?")), Turn("assistant", ("Yes.",)))
    sets.add_annotations([*said, Annotation.make("foreign-0", "question", Annotator("people"), asked)], "one")
    return ImageSets.open(sets.path)


def read(source: Source) -> list[LmmSample | SkippedSample]:
    return list(source.read(np.arange(len(source))))


def samples(source: Source) -> list[LmmSample]:
    found = read(source)
    return [each for each in found if isinstance(each, LmmSample)]


def test_annotations_are_chosen_by_kind_and_annotator(pairs: ImageSets) -> None:
    assert len(SetSource(pairs.path, kind="comparison")) == 3
    assert len(SetSource(pairs.path, kind="comparison", annotator="phase-2")) == 1
    (asked,) = samples(SetSource(pairs.path, kind="question", name="people"))
    assert asked.source == "people"
    # The turns show the second image alone, so the sample has one.
    assert asked.turns[0].parts == ("Is ", 0, " older?")
    assert [each.read() for each in asked.images] == [file_of("b.jpg")]


def test_sets_are_chosen_by_split(pairs: ImageSets) -> None:
    assert len(SetSource(pairs.path, split="train", cad=("differences",))) == 2
    with pytest.raises(BadInput, match="has no sets of split 'test'"):
        SetSource(pairs.path, split="test")


def test_the_cad_conversation_has_two_turns_with_the_images_in_the_first(pairs: ImageSets) -> None:
    found = samples(SetSource(pairs.path, cad=("commonalities", "differences", "choice")))
    assert [len(each.turns) for each in found] == [4, 4]
    first = found[0]
    assert first.turns[0].images == (0, 1)
    assert "new" in first.turns[1].text  # the comparison that was written last
    assert not first.turns[2].images
    assert first.turns[3].text in ("A", "B")
    assert [each.read() for each in first.images] == [file_of("a.jpg"), file_of("b.jpg")]


@pytest.mark.parametrize(
    "cad", [("differences",), ("commonalities",), ("choice",), ("differences", "choice"), ("note",)]
)
def test_every_part_of_the_cad_conversation_can_be_switched(pairs: ImageSets, cad: tuple[str, ...]) -> None:
    source = SetSource(pairs.path, cad=cad)
    found = samples(source)
    assert len(found) == (3 if cad == ("choice",) else 2)  # a choice alone needs captions, and no comparison
    text = found[0].turns[1].text
    assert ("Commonalities:" in text) == ("commonalities" in cad)
    assert ("Differences:" in text) == ("differences" in cad)
    assert len(found[0].turns) == 2 * len(cad)
    skipped = [each for each in read(source) if isinstance(each, SkippedSample)]
    assert [each.sample_id for each in skipped] == ([] if cad == ("choice",) else ["foreign-2"])
    assert all(each.reason.startswith("lacks a comparison") for each in skipped)


def test_the_comparisons_of_one_annotator_are_chosen_for_the_cad_conversation(pairs: ImageSets) -> None:
    (only, *others) = samples(SetSource(pairs.path, cad=("differences",), annotator="mixtral"))
    assert "old" in only.turns[1].text
    assert len(others) == 1


def test_a_folder_without_comparisons_is_told_in_one_line(tmp_path: Path) -> None:
    sets = write_foreign_sets(tmp_path, NAMES)
    with pytest.raises(BadInput, match="comparison") as error:
        SetSource(sets.path, cad=("differences",))
    assert "\n" not in str(error.value)
    with pytest.raises(BadInput, match="parts of a conversation"):
        SetSource(sets.path, cad=("choice", "poem"))


def test_the_seed_draws_captions_and_order(pairs: ImageSets) -> None:
    drawn = {
        tuple(each.turns[-1].text for each in samples(SetSource(pairs.path, cad=("choice",), seed=seed)))
        for seed in range(12)
    }
    assert len(drawn) > 1
    again = [samples(SetSource(pairs.path, cad=("choice",), seed=5)) for _ in range(2)]
    assert [each.turns for each in again[0]] == [each.turns for each in again[1]]


def test_an_image_is_found_again_by_key_and_place(tmp_path: Path) -> None:
    sets = write_mixed(tmp_path)
    to_webdataset(sets, tmp_path / "tars", sets_per_shard=4)
    for source in (SetSource(sets.path), TarSource(tmp_path / "tars")):
        again: Source = pickle.loads(pickle.dumps(source))
        for sample in samples(source):
            for image in sample.images:
                assert isinstance(image, PlacedImage)
                found = again.image(image.key, image.place)
                assert (found.key, found.read()) == (image.key, image.read())


def test_tars_give_the_samples_of_their_sets(tmp_path: Path) -> None:
    sets = write_mixed(tmp_path)
    to_webdataset(sets, tmp_path / "tars", sets_per_shard=4)
    of_sets, of_tars = samples(SetSource(sets.path)), samples(TarSource(tmp_path / "tars"))
    assert [(each.sample_id, each.turns) for each in of_tars] == [(each.sample_id, each.turns) for each in of_sets]
    assert [[image.read() for image in each.images] for each in of_tars] == [
        [image.read() for image in each.images] for each in of_sets
    ]


def test_tars_give_the_cad_conversation(pairs: ImageSets, tmp_path: Path) -> None:
    to_webdataset(pairs, tmp_path / "tars", sets_per_shard=2)
    parts = ("differences", "choice")
    of_sets, of_tars = samples(SetSource(pairs.path, cad=parts)), samples(TarSource(tmp_path / "tars", cad=parts))
    assert [each.turns for each in of_tars] == [each.turns for each in of_sets]


def test_an_image_that_is_gone_is_an_error_when_it_is_read(pairs: ImageSets, tmp_path: Path) -> None:
    (asked,) = samples(SetSource(pairs.path, kind="question"))
    (tmp_path / "photos/b.jpg").unlink()
    with pytest.raises(ClipmineError, match=r"b.jpg: missing"):
        asked.images[0].read()


def test_the_digest_changes_with_annotations_and_parts(pairs: ImageSets) -> None:
    digests = [
        SetSource(pairs.path, cad=cad, seed=seed).digest() for cad in (("choice",), ("note",)) for seed in (0, 1)
    ]
    digests.append(SetSource(pairs.path).digest())
    pairs.add_annotations([annotation("foreign-2", "New.")], "two")
    digests.append(SetSource(pairs.path).digest())
    assert len(set(digests)) == len(digests)
    assert SetSource(pairs.path).digest() == digests[-1]


@pytest.mark.parametrize("cad", [None, ("differences",), ("choice",)])
def test_an_annotation_that_is_not_trained_on_leaves_the_digest(pairs: ImageSets, cad: tuple[str, ...] | None) -> None:
    kind = "comparison" if cad is None else None
    before = SetSource(pairs.path, kind=kind, cad=cad).digest()
    rejected = Annotation.make("foreign-0", "rejected", Annotator("llava"), (), {"reason": "no lists", "text": "?"})
    asked = (Turn("user", (0, "Is it old?")), Turn("assistant", ("No.",)))
    pairs.add_annotations([rejected, Annotation.make("foreign-2", "question", Annotator("llava"), asked)], "two")
    assert SetSource(pairs.path, kind=kind, cad=cad).digest() == before
    pairs.add_annotations([comparison("foreign-0", "newest")], "three")
    assert (SetSource(pairs.path, kind=kind, cad=cad).digest() == before) == (cad == ("choice",))


def test_a_newer_comparison_that_cannot_be_used_hides_no_older_one(pairs: ImageSets) -> None:
    source = SetSource(pairs.path, cad=("differences",))
    before, digest = [each.turns for each in samples(source)], source.digest()
    turns = (Turn("user", (0, 1, "Compare.")), Turn("assistant", ("Nice photos.",)))
    pairs.add_annotations([Annotation.make("foreign-0", "comparison", Annotator("anna"), turns, {})], "x")
    source = SetSource(pairs.path, cad=("differences",))
    assert [each.turns for each in samples(source)] == before
    assert source.digest() == digest
    assert len(samples(SetSource(pairs.path, cad=("differences",), annotator="anna"))) == 0


def test_the_reason_of_a_set_without_a_conversation_names_what_it_lacks(tmp_path: Path) -> None:
    sets = write_foreign_sets(tmp_path, NAMES)  # as many captions as images, all of them different
    sets.add_annotations([comparison("foreign-0", "red")], "one")
    lacking = [
        each.reason
        for each in read(SetSource(sets.path, cad=("differences", "choice")))
        if isinstance(each, SkippedSample)
    ]
    assert lacking == ["lacks a comparison that can be used"] * 2
    assert CadAnswer(("choice",)).lacking == "lacks captions that can be told apart"
