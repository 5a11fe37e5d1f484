"""A dataset is read again at each iteration and says when it is empty; a broken image is named when it is opened."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from customize.clip.evaluate.datasets.dataset import Dataset, Example, in_memory, opener
from index.errors import BadInput
from tests.customize.clip.evaluate.conftest import jpeg


def test_a_dataset_is_read_again_at_each_iteration() -> None:
    readings: list[int] = []

    def read() -> Iterator[Example]:
        readings.append(len(readings))
        return iter([Example("one", opener("one", lambda: jpeg("red")))])

    data = Dataset("colors", ("red",), read)
    assert [example.key for example in data] == ["one"]
    assert [example.key for example in data] == ["one"]
    assert readings == [0, 1]


def test_examples_in_memory_are_a_dataset() -> None:
    examples = [Example(name, opener(name, lambda: jpeg("blue")), (number,)) for number, name in enumerate("ab")]
    data = in_memory("letters", ("a", "b"), examples)
    examples.clear()
    assert [example.labels for example in data] == [(0,), (1,)]
    assert (data.name, data.classes) == ("letters", ("a", "b"))


def test_an_image_is_decoded_when_it_is_opened_and_a_broken_one_is_named() -> None:
    assert opener("red.jpg", lambda: jpeg("red"))().size == (8, 8)
    broken = opener("broken.jpg", lambda: b"no image")
    with pytest.raises(BadInput, match=r"broken\.jpg: its image cannot be used"):
        broken()


def test_what_an_example_does_not_have_is_empty() -> None:
    bare = Example("one", opener("one", lambda: jpeg("red")))
    assert (bare.labels, bare.captions, bare.mask, bare.box_labels) == ((), (), None, ())
    assert bare.boxes.shape == (0, 4)


def test_a_dataset_without_examples_says_so() -> None:
    with pytest.raises(BadInput, match="nothing: has no images; check the folder and the split"):
        list(in_memory("nothing", ("a",), []))
