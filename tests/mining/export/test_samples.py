"""Which samples sets give: their annotations by kind and annotator, answers of a function, or captions."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.errors import BadInput
from mining import ImageSets
from mining.export import to_datasets, to_llava, torch_dataset, torch_stream
from mining.export.sample import Sample
from mining.export.samples import Samples, with_captions
from mining.export.skipped import SkippedSet
from mining.sets.annotation import Annotation, Annotator, Turn, marked_text
from mining.sets.corrections import CorrectionsFile
from mining.sets.decisions import DecisionsFile
from tests.mining.made_mixed import MIXTRAL, says, write_mixed
from tests.mining.made_sets import write_sets
from tests.retrieval.stores import make_store, random_unit


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> ImageSets:
    return write_mixed(tmp_path_factory.mktemp("mixed"))


def read(samples: Samples) -> list[Sample]:
    found = list(samples.read(samples.numbers()))
    assert all(isinstance(each, Sample) for each in found)
    return [each for each in found if isinstance(each, Sample)]


def test_every_annotation_with_turns_is_a_sample(mixed: ImageSets) -> None:
    found = read(Samples(mixed))
    assert len(found) == len(Samples(mixed)) == 4 + 1 + 9
    assert [each.annotation.kind for each in found[:3] if each.annotation] == ["comparison", "question", "comparison"]
    first = mixed[0].set_id
    assert [each.set.set_id for each in found[:3]] == [first, first, mixed[1].set_id]
    assert len({each.sample_id for each in found}) == 14
    assert found[2].sample_id == mixed[1].set_id
    assert found[0].annotation is not None
    assert found[0].sample_id == f"{first}-{found[0].annotation.annotation_id}"
    (left,) = [each for each in found if each.sample_id == "cad/0"]
    assert left.turns[0].parts == ("Left ", 0, ", right ", 1, ": what differs?")
    assert left.shown == (0, 1)
    (system,) = [each for each in found if each.sample_id == "llava/0"]
    assert [turn.role for turn in system.turns] == ["system", "user", "assistant", "user", "assistant"]


def test_annotations_are_chosen_by_kind_and_annotator_or_by_the_view(mixed: ImageSets) -> None:
    assert len(Samples(mixed, kind="question")) == 1
    assert len(Samples(mixed, annotator=["llava-665k", "cad-inst"])) == 9
    assert len(Samples(mixed.with_annotations(kind="comparison"))) == 4
    assert len(Samples(mixed.filter(strategy="cad-inst"))) == 3
    samples = Samples(mixed[:5], kind="question")
    assert [each.set_id for each in samples.unused()] == [each.set_id for each in mixed[1:5]]
    assert {each.reason for each in samples.unused()} == {"has no annotation of kind question"}
    assert samples.unused_counts() == {"has no annotation of kind question": 4}
    with pytest.raises(BadInput, match="has no annotations of kind 'story'; it has comparison, conversation, question"):
        Samples(mixed, kind="story")
    with pytest.raises(BadInput, match="or give an answer function"):
        Samples(mixed, kind="question", answer=lambda each: None)
    with pytest.raises(BadInput, match="per_set 'two': choose all or one"):
        Samples(mixed, per_set="two")  # type: ignore[arg-type]


def test_one_annotation_a_set_is_drawn_by_seed_and_epoch(mixed: ImageSets) -> None:
    samples = Samples(mixed, per_set="one", seed=3)
    assert len(samples) == len(samples.numbers()) == len(mixed)
    drawn = {int(samples.numbers(epoch)[0]) for epoch in range(20)}
    assert drawn == {0, 1}
    assert samples.numbers(5).tolist() == Samples(mixed, per_set="one", seed=3).numbers(5).tolist()


def test_sets_without_annotations_give_their_captions(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(12), caption=["a dog", None, *["an <image>"] * 10])
    sets = write_sets(tmp_path, [[0, 2], [1, 2]], store=store)
    first, second = Samples(sets).read(np.arange(2))
    assert isinstance(first, Sample)
    assert first.turns[1].parts == ("Image 1: a dog\nImage 2: an image",)
    assert second == SkippedSet(sets[1].set_id, None, None, "without a caption")
    silent = next(iter(Samples(sets, silent=True).read(np.asarray([1]))))
    assert isinstance(silent, Sample)
    assert silent.turns == ()


def test_a_function_may_answer_from_the_annotations(mixed: ImageSets) -> None:
    view = mixed.with_annotations(kind="comparison")
    samples = Samples(view, answer=lambda each: each.annotations[0].turns if each.annotations else None)
    found = list(samples.read(samples.numbers()))
    assert [isinstance(each, Sample) for each in found] == [True] * 4 + [False] * 9
    assert {each.reason for each in found if isinstance(each, SkippedSet)} == {"without an answer"}


def test_an_annotation_without_turns_or_answer_gives_no_sample(tmp_path: Path) -> None:
    sets = write_sets(tmp_path, [[0, 1], [2, 3], [4, 5]])
    said = [
        Annotation.make(sets[0].set_id, "difference_note", MIXTRAL, content={"note": "red"}),
        Annotation.make(sets[1].set_id, "difference_note", MIXTRAL, [Turn("user", ("Why?",))]),
        Annotation.make(sets[2].set_id, "difference_note", MIXTRAL, [Turn("assistant", ("Red.",))]),
    ]
    sets.add_annotations(said, "notes")
    samples = Samples(ImageSets.open(sets.path))
    assert len(samples) == 3
    first, found, third = samples.read(samples.numbers())
    assert isinstance(first, Sample)
    assert first.annotation is None  # its captions
    assert isinstance(found, SkippedSet)
    assert found.reason == "the turns have no answer (role assistant) to learn from"
    assert isinstance(third, Sample)
    assert samples.unused_counts() == {}
    asked = Samples(ImageSets.open(sets.path), kind="difference_note")
    assert [each.set_id for each in asked.unused()] == [sets[0].set_id]
    assert asked.unused_counts() == {"its annotation of kind difference_note has no conversation": 1}


def test_one_annotation_in_the_folder_leaves_the_captions_of_other_sets(tmp_path: Path) -> None:
    sets = write_sets(tmp_path, [[0, 1], [2, 3], [4, 5]])
    sets.add_annotations([says(sets[1].set_id, "comparison", MIXTRAL, "Compare.", "Alike.")], "one")
    sets = ImageSets.open(sets.path)
    found = read(Samples(sets))
    assert [each.set.set_id for each in found] == [each.set_id for each in sets]
    assert [each.annotation is None for each in found] == [True, False, True]
    assert [each.turns[-1].text for each in found][::2] == [
        f"Image 1: caption {row}\nImage 2: caption {row + 1}" for row in (0, 4)
    ]
    assert len(read(Samples(sets.with_annotations()))) == 3
    assert len(read(Samples(sets, per_set="one"))) == 3
    assert [each.set.set_id for each in read(Samples(sets, kind="comparison"))] == [sets[1].set_id]
    assert len(read(Samples(sets.with_annotations(annotator="mixtral-8x7b")))) == 1
    assert len({Samples(sets).digest(), Samples(sets, kind="comparison").digest()}) == 2


def test_sets_without_a_conversation_come_in_their_places() -> None:
    places, said = with_captions(np.array([1, 1, 3]), np.array([7, 9, 8]), 5)
    assert places.tolist() == [0, 1, 1, 2, 3, 4]
    assert said.tolist() == [-1, 7, 9, -1, 8, -1]


def test_a_correction_takes_the_place_of_its_original(tmp_path: Path) -> None:
    sets = write_sets(tmp_path, [[0, 1], [2, 3]])
    old = [says(each.set_id, "comparison", MIXTRAL, "Compare.", "Alike.") for each in sets]
    sets.add_annotations(old, "one")
    person = Annotator("person:Ann")
    turns = (Turn("user", ("Compare.",)), Turn("assistant", ("Not alike.",)))
    new = Annotation.make(old[0].set_id, "comparison", person, turns, parent=old[0].annotation_id)
    CorrectionsFile(sets.path).add(new)
    sets = ImageSets.open(sets.path)
    found = read(Samples(sets, kind="comparison", annotator=MIXTRAL.name))
    assert [each.turns[-1].text for each in found] == ["Not alike.", "Alike."]
    assert [each.annotation for each in read(Samples(sets, annotator="person:Ann"))] == [new]


def test_an_annotation_without_a_question_gets_that_of_its_kind_or_the_callers(tmp_path: Path) -> None:
    sets = write_sets(tmp_path, [[0, 1], [2, 3]])
    note = Annotation.make(
        sets[0].set_id, "difference_note", MIXTRAL, [Turn("user", (0, 1)), Turn("assistant", ("Red.",))]
    )
    sets.add_annotations([note], "notes")
    sets = ImageSets.open(sets.path)

    def asked(**choice: Any) -> list[str]:
        return [marked_text(each.turns[0].parts) for each in read(Samples(sets, **choice))]

    above = "Image 1: <image>\nImage 2: <image>\n"
    assert asked() == ["<image><image>\nWhat differs between the images?", above + "What does each image show?"]
    assert asked(question="And?") == ["<image><image>\nAnd?", above + "And?"]
    assert asked(question={"difference_note": "Why?"})[0] == "<image><image>\nWhy?"
    assert sets.with_annotations()[0].annotations == (note,)


def test_an_unknown_argument_is_named_by_the_function_that_was_called(tmp_path: Path) -> None:
    sets = write_sets(tmp_path, [[0, 1]])
    wrong: dict[str, Any] = {"kinds": "comparison"}
    functions: list[Any] = [to_llava, to_datasets, torch_dataset, torch_stream]
    for function in functions:
        with pytest.raises(TypeError, match=rf"^{function.__name__}\(\) got an unexpected keyword argument 'kinds'"):
            function(sets, **wrong)


def test_rejected_sets_give_no_sample_unless_asked_for(tmp_path: Path) -> None:
    sets = write_sets(tmp_path, [[0, 1], [2, 3]])
    DecisionsFile(Path(sets.path) / "decisions.jsonl").add(sets[0], "reject", sets.sources)
    samples = Samples(sets)
    assert (len(samples), samples.rejected) == (1, 1)
    assert [each.sample_id for each in read(samples)] == [sets[1].set_id]
    assert (len(Samples(sets, rejected=True)), Samples(sets, rejected=True).rejected) == (2, 0)


def test_samples_travel_to_workers(mixed: ImageSets) -> None:
    samples = Samples(mixed, kind="comparison")
    assert read(pickle.loads(pickle.dumps(samples))) == read(samples)
