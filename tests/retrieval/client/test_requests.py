from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from index.errors import BadInput
from retrieval import Client, ConceptList, Rules
from retrieval.client.requests import Call, concepts_call, get, row_call, search_call, service_url
from retrieval.concepts import Concept
from retrieval.service.schemas import Filters


def body(call: Call) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(call.body or b"")
    return fields


def test_each_kind_of_query_has_its_own_field(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"bytes of a file")
    pixels = Image.new("RGB", (3, 2), "red")
    vector = np.array([0.5, -2], np.float64)
    queries: list[Any] = ["a dog", b"bytes", tmp_path / "a.jpg", pixels, vector, np.int64(7)]
    text, data, path, image, packed, row = body(search_call(queries, 5, "image", None))["queries"]
    assert text == {"text": "a dog"}
    assert base64.b64decode(data["image"]) == b"bytes"
    assert base64.b64decode(path["image"]) == b"bytes of a file"
    decoded = Image.open(io.BytesIO(base64.b64decode(image["image"])))
    assert np.array_equal(np.asarray(decoded), np.asarray(pixels))
    assert np.frombuffer(base64.b64decode(packed["embedding_b64"]), "<f4").tolist() == [0.5, -2]
    assert row == {"row_id": 7}


def test_options_that_are_not_given_are_not_sent() -> None:
    assert set(body(search_call(["a"], 5, "text", None))) == {"queries", "k", "modality"}
    fields = body(search_call(["a"], 5, "text", Filters(min_score=0.5), columns=("key",), method="exact"))
    assert (fields["filters"], fields["columns"], fields["method"]) == (
        {"min_score": 0.5, "columns": [], "exclude": []},
        ["key"],
        "exact",
    )
    assert get("/rows/3/image", side=None).params == {}
    assert row_call(3, ["key", "width"]).params == {"columns": "key,width"}


def test_a_concept_is_sent_by_its_name_or_with_what_belongs_to_it() -> None:
    concepts = ConceptList((Concept("dog"), Concept("crane", ("bird",), ("a {}",), "134")))
    listed = ConceptList((Concept("tench", literal_prompts=("A fish.",)),), templates=("a {}",))
    sent = body(concepts_call(listed, "name", "both", 5, None))["concepts"]
    assert sent == [{"name": "tench", "prompts": ["A fish."]}]
    fields = body(concepts_call(concepts, "name", "both", 5, Rules(per_concept=3)))
    assert fields["concepts"] == ["dog", {"name": "crane", "aliases": ["bird"], "templates": ["a {}"], "id": "134"}]
    assert fields["templates"] == ["{}"]
    assert fields["rules"]["cap"] == 3
    assert "exclude_threshold" not in fields["rules"]
    assert body(concepts_call(["dog"], "name", "t2i", 5, {"per_concept": 3}))["rules"] == {"cap": 3}


def test_concepts_by_vectors_need_arrays_of_rows() -> None:
    (item,) = body(concepts_call({"dog": np.ones((2, 3))}, "name", "t2i", 5, None))["concepts"]
    assert np.frombuffer(base64.b64decode(item["embeddings_b64"]), "<f4").shape == (6,)
    with pytest.raises(BadInput, match="'dog': its vectors are no array"):
        concepts_call({"dog": np.ones(3)}, "name", "t2i", 5, None)
    with pytest.raises(BadInput, match="give a list of names"):
        concepts_call("dog", "name", "t2i", 5, None)


@pytest.mark.parametrize(
    ("queries", "says"),
    [
        ("a dog", "single query"),
        ([], "no queries"),
        ([1.5], "is a float"),
        ([True], "is a bool"),
        (["a", Path("no/such.jpg")], "query 1: no/such.jpg: cannot be read"),
        ([np.zeros((2, 3))], "is a ndarray"),
        (["\ud800"], "JSON"),
    ],
)
def test_other_values_than_queries_are_refused_before_anything_is_sent(queries: Any, says: str) -> None:
    with Client("http://127.0.0.1:9") as nowhere, pytest.raises(BadInput, match=says):
        nowhere.search(queries)


@pytest.mark.parametrize("token", ["", "two words", "caf\u00e9", "line\nbreak"])
def test_a_token_that_a_header_cannot_carry_is_refused(token: str) -> None:
    with pytest.raises(BadInput, match="the token is empty or holds"):
        Client("http://127.0.0.1:9", token=token)


@pytest.mark.parametrize(
    "bad",
    ["", "host:8000", "ftp://host", "http://", "http://host:port", "http://a b", "http://me:pw@host", "http://h?q=1"],
)
def test_other_texts_than_a_url_of_a_service_are_refused(bad: str) -> None:
    with pytest.raises(BadInput, match="URL"):
        Client(bad)


def test_a_slash_at_the_end_of_the_url_does_not_matter() -> None:
    assert service_url("http://host:8000/") == service_url("http://host:8000")
