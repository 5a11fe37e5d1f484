"""The service against its own OpenAPI schema, by schemathesis: no 5xx, no hang, whatever is sent.

CLIPMINE_FUZZ_CASES sets the number of cases for each operation; a long run is `CLIPMINE_FUZZ_CASES=1000`.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from typing import Any, cast

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from index.store.embedding_store import EmbeddingStore
from retrieval.service.settings import Settings
from tests.serving import Serve

CASES = int(os.environ.get("CLIPMINE_FUZZ_CASES", "25"))


OPTIONS = settings(
    max_examples=CASES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.timeout(0 if "CLIPMINE_FUZZ_CASES" in os.environ else 300)  # a long run is asked for
@pytest.mark.filterwarnings("ignore")  # of the requests that schemathesis makes up, not of ours
def test_no_request_breaks_the_service(served_store: EmbeddingStore, serve: Serve) -> None:
    asked: Counter[int] = Counter()
    with serve(served_store, Settings(body_seconds=5)) as url:
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
        for found in schema.get_all_operations():
            operation = cast(Any, found).ok()
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

                @OPTIONS
                @given(case=operation.as_strategy(generation_mode=mode))
                def check(case: Any) -> None:
                    answer = case.call(base_url=url, timeout=30)
                    asked[answer.status_code] += 1
                    assert answer.status_code < 500, (case.as_curl_command(), answer.text)
                    if answer.status_code >= 400 and answer.headers.get("content-type") == ["application/json"]:
                        assert "error" in answer.json()

                with contextlib.suppress(Unsatisfiable):  # an operation without anything to get wrong
                    check()
    assert asked[200] >= min(CASES, 200)  # and not only refusals
    print(dict(asked))
