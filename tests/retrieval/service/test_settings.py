from __future__ import annotations

from typing import Any

import pytest

from index.errors import BadInput
from retrieval.service.settings import Settings


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
