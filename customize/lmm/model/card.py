"""The model card (README.md) of a tuned multimodal model: what it is, what it was trained on, and how to load it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["model_card"]


def model_card(about: Mapping[str, Any]) -> str:
    return ""
