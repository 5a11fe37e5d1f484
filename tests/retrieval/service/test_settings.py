from __future__ import annotations

import re
from typing import Any

import pytest

from index.errors import BadInput
from retrieval.service.settings import Settings, read_limits


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"max_k": 0}, "max-k 0: must be at least 1"),
        ({"max_image_pixels": 0}, "max-image-pixels 0: must be at least 1"),
        ({"queue": -1}, "queue -1: must be at least 1"),
        ({"tokens": ("good", " ")}, "a bearer token is empty"),
        ({"cors_origins": ("*",)}, r"CORS origin with \*"),
        ({"cors_origins": ("https://*.example.org",)}, r"CORS origin with \*"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        Settings(**fields)


def test_a_service_is_closed_to_other_origins_and_fetches_no_urls_by_default() -> None:
    settings = Settings()
    assert not settings.allow_urls
    assert settings.cors_origins == ()


def test_limits_are_read_by_name() -> None:
    assert read_limits(["max_k=500", "head-seconds = 2.5"]) == {"max_k": 500, "head_seconds": 2.5}
    assert read_limits([]) == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("max_k", "give NAME=NUMBER; the names are max_head_bytes, max_body_bytes"),
        ("max_kk=3", "give NAME=NUMBER"),
        ("tokens=a", "give NAME=NUMBER"),
        ("allow_urls=1", "give NAME=NUMBER"),
        ("max_k=2.5", "'2.5' is not a whole number"),
        ("client_share=much", "'much' is not a number"),
    ],
)
def test_a_limit_that_is_none_is_one_line(text: str, says: str) -> None:
    with pytest.raises(BadInput, match=f"--limit {re.escape(text)}: {re.escape(says)}"):
        read_limits([text])
