from __future__ import annotations

import json
from pathlib import Path

from mining.annotate.statistics import annotation_statistics, statistics_of
from mining.sets.annotation import Annotation, Annotator
from tests.mining.annotate.made_pairs import compared
from tests.mining.made_sets import write_foreign_sets


def _made(annotation_kind: str, **content: object) -> Annotation:
    return Annotation.make("pair", annotation_kind, Annotator("m"), (), content)


def test_words_items_axes_and_first_words() -> None:
    found = statistics_of([compared(), compared()])
    said = found.to_json()

    assert said["comparisons"] == 2
    assert said["words"] == {"commonalities": 5, "differences": 18}
    assert said["items"] == {"commonalities": 1, "differences": 2}
    assert said["axes"]["differences"] == {
        "object types": 0, "attributes": 2, "counts": 0, "actions": 0, "locations": 2, "relative positions": 0,
        "unknown": 0,
    }  # fmt: skip
    assert said["share_with_axis"]["attributes"] == 1.0
    assert said["first_words"] == {"both images": 2, "image 1": 2, "image 2": 2}
    assert json.loads(json.dumps(said)) == said


def test_questions_ratings_choices_and_rejected_answers() -> None:
    found = statistics_of(
        [
            compared(),
            _made("cad-qa", question="What is in both images then?", answer="A bus.", one_image=False),
            _made("cad-qa", question="What is in Image 1?", answer="A red bus.", one_image=True),
            _made("judge", rating=4.0),
            _made("judge", rating=2.5),
            _made("choice", letter="B"),
            _made("rejected", kind="comparison", reason="no list of commonalities or differences in 'Hello'"),
            _made("story"),
        ]
    )
    said = found.to_json()

    assert (said["questions"], said["questions_about_one_image"], said["answer_words"]) == (2, 1, 2.5)
    assert said["question_words"] == {"what is in both images": 1, "what is in image 1?": 1}
    assert said["ratings"] == {"count": 2, "mean": 3.25}
    assert said["choices"] == {"B": 1}
    assert said["rejected"]["reasons"] == {"comparison: no list of commonalities or differences": 1}
    assert said["rejected"]["share"] == 1 / 6
    assert [line for line in found.lines() if "rejected" in line] == ["1 answer rejected (16.7%)"]


def test_nothing_has_no_lines() -> None:
    found = statistics_of([])

    assert found.lines() == []
    assert found.to_json()["rejected"]["share"] is None


def test_a_folder_is_counted_and_annotators_are_told_apart(tmp_path: Path) -> None:
    text = "Commonalities:\n1. Both images show a bus.\nDifferences:\nNone."
    sets = write_foreign_sets(tmp_path, [["a.jpg", "b.jpg"], ["c.jpg", "d.jpg"]], texts=[text, "It is red."])

    assert annotation_statistics(sets).comparisons == 1
    assert annotation_statistics(sets, "nobody").comparisons == 0
