"""Requests that schemathesis makes up from a service's OpenAPI schema, valid and invalid ones.

CLIPMINE_FUZZ_CASES sets their number for each operation and kind; a long run is `CLIPMINE_FUZZ_CASES=1000`.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from typing import Any, cast

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

__all__ = ["CASES", "TIMEOUT", "fuzz"]

CASES = int(os.environ.get("CLIPMINE_FUZZ_CASES", "25"))
TIMEOUT = 0 if "CLIPMINE_FUZZ_CASES" in os.environ else 300  # seconds of a test; none for a long run

OPTIONS = settings(
    max_examples=CASES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def fuzz(url: str, path_regex: str = "") -> Counter[int]:
    """Send requests to each operation whose path matches; fails at a 5xx or an error without its line.

    Returns the number of answers by status.
    """
    answered: Counter[int] = Counter()
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json").include(path_regex=path_regex)
    for found in schema.get_all_operations():
        operation = cast(Any, found).ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @OPTIONS
            @given(case=operation.as_strategy(generation_mode=mode))
            def check(case: Any) -> None:
                answer = case.call(base_url=url, timeout=30)
                answered[answer.status_code] += 1
                assert answer.status_code < 500, (case.as_curl_command(), answer.text)
                if answer.status_code >= 400 and answer.headers.get("content-type") == ["application/json"]:
                    assert "error" in answer.json()

            with contextlib.suppress(Unsatisfiable):  # an operation for which no request is invalid
                check()
    return answered
