"""The routes of pairs against their own OpenAPI schema, by schemathesis: no 5xx, whatever is sent."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest
import schemathesis
from hypothesis import given
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from mining.sets.decisions import read_decisions
from tests.mining.pages.conftest import ServePairs
from tests.retrieval.service.test_openapi import OPTIONS


@pytest.mark.filterwarnings("ignore")  # of the requests that schemathesis makes up, not of ours
def test_no_request_breaks_the_routes_or_the_decisions(serve_pairs: ServePairs, tmp_path: Path) -> None:
    asked: Counter[int] = Counter()
    decisions = tmp_path / "decisions.jsonl"
    decisions.touch()
    with serve_pairs(decisions) as url:
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json").include(path_regex="^/pairs")
        for found in schema.get_all_operations():
            operation = cast(Any, found).ok()
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

                @OPTIONS
                @given(case=operation.as_strategy(generation_mode=mode))
                def check(case: Any) -> None:
                    answer = case.call(base_url=url, timeout=30)
                    asked[answer.status_code] += 1
                    assert answer.status_code < 500, (case.as_curl_command(), answer.text)

                with contextlib.suppress(Unsatisfiable):
                    check()
    assert asked[200] > 5
    assert asked[404] > 5
    read_decisions(decisions)
