from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from mining.sets.attached import Attached
from mining.sets.image_sets import ImageSets
from mining.sets.layouts import Layout, read_layout
from tests.mining.made_sets import annotation, texts_of, write_foreign_sets


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Four sets; the second has three annotations, the last one."""
    sets = write_foreign_sets(tmp_path, [["a.jpg"], ["b.jpg"], ["c.jpg"], ["d.jpg"]])
    ids = [each.set_id for each in sets]
    said = [
        (ids[1], "1", "comparison"),
        (ids[3], "2", "comparison"),
        (ids[1], "3", "question"),
        (ids[1], "4", "question"),
    ]
    sets.add_annotations([annotation(set_id, text, kind, images=(0,)) for set_id, text, kind in said], "said")
    return read_layout(sets.path)


def attached_to(attached: Attached, numbers: list[int]) -> list[list[str]]:
    wanted = np.array(numbers, np.int64)
    plain = list(ImageSets(attached.layout))
    return [texts_of(each) for each in attached.attach([plain[number] for number in numbers], wanted)]


def test_each_set_gets_its_own_in_whatever_order_they_are_asked(layout: Layout) -> None:
    attached = Attached(layout)
    assert attached_to(attached, [0, 1, 2, 3]) == [[], ["1", "3", "4"], [], ["2"]]
    assert attached_to(attached, [3, 1, 1]) == [["2"], ["1", "3", "4"], ["1", "3", "4"]]
    assert attached_to(attached, [0]) == [[]]
    assert attached_to(attached, []) == []
    assert attached.annotated.tolist() == [1, 3]


def test_a_choice_of_kind_and_annotator_leaves_the_others_out(layout: Layout) -> None:
    assert attached_to(Attached(layout, ("question",)), [1, 3]) == [["3", "4"], []]
    assert Attached(layout, ("question",)).annotated.tolist() == [1]
    assert Attached(layout, (), ("nobody",)).annotated.tolist() == []


def test_what_is_asked_for_is_said_in_words(layout: Layout) -> None:
    assert str(Attached(layout)) == "annotation"
    assert str(Attached(layout, ("story",))) == "annotation of kind story"
    assert str(Attached(layout, ("story", "note"), ("Ann",))) == "annotation of kind story or note by Ann"
    assert [Attached(layout, *asked).unrestricted for asked in ((), ((), ("Ann",)))] == [True, False]


def test_the_index_travels_with_it(layout: Layout) -> None:
    attached = Attached(layout)
    assert len(attached.index[0]) == 4
    again = pickle.loads(pickle.dumps(attached))
    assert "index" in again.__dict__
    assert attached_to(again, [1]) == [["1", "3", "4"]]
