"""Options of reading are checked when they are given, and defaults leave no trace in a store's hashes."""

from __future__ import annotations

from typing import Any

import pytest

from index.corpus.reading import Reading
from index.errors import BadInput


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"caption_pattern": "{id}"}, "needs the field"),
        ({"key_rule": "last"}, "choose one of webdataset, stem"),
        ({"image_ext": ("tar.gz",)}, "after the last dot"),
        ({"caption_ext": ("",)}, "after the last dot"),
        ({"image_ext": ("x",), "caption_ext": (".X",)}, "for images and for captions"),
        ({"caption_encoding": "latin-99"}, "is not known"),
        ({"caption_encoding": "base64"}, "is not known"),
    ],
)
def test_an_option_that_cannot_be_used_is_one_line(options: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        Reading(**options)
    assert "\n" not in str(caught.value)


def test_only_options_that_differ_from_the_defaults_are_named() -> None:
    assert Reading("{caption}", allow_empty_caption=True).unusual() == {}
    reading = Reading(key_rule="stem", image_ext=(".IMG",), caption_ext=("cap",), caption_encoding="Windows-1252")
    expected = {"key_rule": "stem", "image_ext": ["img"], "caption_ext": ["cap"], "caption_encoding": "cp1252"}
    assert reading.unusual() == expected
