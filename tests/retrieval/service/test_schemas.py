from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from retrieval.rules import Rules
from retrieval.service.schemas import ConceptsRequest, Query, Row, RulesItem, SearchRequest, SearchResponse


@pytest.mark.parametrize("fields", [{}, {"text": "a", "row_id": 3}, {"text": "a", "colour": "red"}, {"row_id": -1}])
def test_a_query_is_exactly_one_of_its_fields(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Query.model_validate(fields)


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (SearchRequest, {"queries": [{"text": "a"}], "filter": {}}),
        (SearchRequest, {"queries": []}),
        (SearchRequest, {"queries": [{"text": "a"}], "modality": "video"}),
        (SearchRequest, {"queries": [{"text": "a"}], "method": "ivf"}),
        (ConceptsRequest, {"concepts": ["a"], "mode": "i2i"}),
        (ConceptsRequest, {"concepts": ["a"], "rules": {"exclude": "/data/store"}}),
        (ConceptsRequest, {"concepts": ["a"], "rules": {"cross_concept": "first"}}),
    ],
)
def test_unknown_fields_and_values_are_refused(model: Any, fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        model.model_validate(fields)


def test_the_rules_of_a_request_are_those_of_a_selection() -> None:
    assert RulesItem().to_rules() == Rules()
    assert RulesItem(cap=3, near_duplicates=0.9).to_rules() == Rules(per_concept=3, near_duplicates=0.9)


def test_metadata_are_attributes_of_a_row() -> None:
    row = Row.model_validate({"row_id": 3, "score": 0.5, "caption": "a dog"})
    assert row.caption == "a dog"  # type: ignore[attr-defined]
    assert row.model_dump()["caption"] == "a dog"


def test_a_response_without_rows_is_a_data_frame_with_columns() -> None:
    result = {"rows": [], "searched": 5, "complete": True}
    found = SearchResponse.model_validate({"results": [result], "plan": "exact: few"})
    assert list(found.to_pandas().columns) == ["query", "rank", "row_id", "score"]
    assert repr(found) == "SearchResponse(1 queries, 0 rows)"
