"""The model card of a customized model: what it is, what it was trained on, how to load it. Knows no tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from retrieval.selection import Selection

__all__ = ["describe_selection", "model_card"]


def describe_selection(selection: Selection) -> dict[str, Any]:
    """What a card says of the data: the selection's counts, its rules with their losses, and the store's identity."""
    manifest = selection.manifest
    described: dict[str, Any] = {
        "rows": selection.rows,
        "concepts": len(selection.concepts),
        "rows_by_concept": selection.counts,
        "hits": selection.hits,
        "losses": selection.losses,
        "rules": manifest.get("rules"),
        "store": manifest.get("store"),
    }
    return described


def model_card(about: Mapping[str, Any]) -> str:
    """The README.md of a model folder, from the values of its customize.json."""
    return str(about)
