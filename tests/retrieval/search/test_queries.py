from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from index.errors import BadInput
from retrieval.search.queries import image_bytes, list_queries, open_image, query_kind
from tests.retrieval.stores import jpeg


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("a dog", "text"),
        (b"bytes", "image"),
        (Path("dog.jpg"), "image"),
        (Image.new("L", (2, 2)), "image"),
        (7, "row"),
        (np.int32(7), "row"),
        (np.ones(4, np.float16), "vector"),
    ],
)
def test_the_type_of_a_query_is_its_kind(query: Any, kind: str) -> None:
    assert query_kind(query, 0) == kind


@pytest.mark.parametrize("query", [1.5, True, None, np.ones((2, 2)), np.array(["a"]), ["a"]])
def test_other_values_are_refused_with_their_place(query: Any) -> None:
    with pytest.raises(BadInput, match=r"query 3: is a \w+; give a text, an image"):
        query_kind(query, 3)


@pytest.mark.parametrize("single", ["a dog", b"bytes", Path("dog.jpg"), 7, np.array(7), Image.new("L", (2, 2))])
def test_a_single_query_is_no_list(single: Any) -> None:
    with pytest.raises(BadInput, match="single query: give a list"):
        list_queries(single)


def test_an_array_of_rows_is_a_list_of_vectors_and_no_queries_are_refused() -> None:
    assert [query_kind(query, 0) for query in list_queries(np.ones((3, 4)))] == ["vector"] * 3
    with pytest.raises(BadInput, match="no queries"):
        list_queries(iter([]))


def test_an_image_is_the_same_as_file_bytes_and_path(tmp_path: Path) -> None:
    data = jpeg(1)
    (tmp_path / "a.jpg").write_bytes(data)
    assert image_bytes(data, 0) == image_bytes(tmp_path / "a.jpg", 0) == data
    decoded = open_image(data, 0)
    assert np.array_equal(np.asarray(open_image(tmp_path / "a.jpg", 0)), np.asarray(decoded))
    assert open_image(decoded, 0) is decoded
    written = Image.open(io.BytesIO(image_bytes(decoded, 0)))
    assert np.array_equal(np.asarray(written), np.asarray(decoded))


def test_a_file_that_is_no_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"query 2: .*missing\.jpg: cannot be read"):
        image_bytes(tmp_path / "missing.jpg", 2)
    with pytest.raises(BadInput, match="query 2: its image cannot be used \\(unknown format\\)"):
        open_image(b"<svg>", 2)
