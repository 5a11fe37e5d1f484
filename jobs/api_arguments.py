"""Arguments of the functions of `jobs.api` as the values that configurations take."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Literal, TypeVar

from index.encoder.model_spec import ModelSpec
from index.errors import BadInput

__all__ = ["Path", "Precision", "check_options", "config_of", "model_of", "paths_of", "texts_of"]

Path = str | os.PathLike[str]
Precision = Literal["fp32", "fp16", "bf16"]
C = TypeVar("C")


def texts_of(given: str | Iterable[str]) -> tuple[str, ...]:
    """One text or several, as several."""
    return (given,) if isinstance(given, str) else tuple(given)


def paths_of(given: Path | Iterable[Path]) -> tuple[str, ...]:
    """One path or several, as texts."""
    if isinstance(given, str | os.PathLike):
        return (os.fspath(given),)
    return tuple(os.fspath(path) for path in given)


def model_of(
    model: str | ModelSpec | None,
    pretrained: str | None,
    model_dir: Path | None,
    random_weights: int | None = None,
    precision: Precision = "fp32",
) -> ModelSpec | None:
    """The CLIP model that the arguments name; None when they name none. Raises BadInput where they contradict."""
    if isinstance(model, ModelSpec):
        return model
    if model is None and pretrained is None and model_dir is None and random_weights is None:
        return None
    return ModelSpec(model, pretrained, None if model_dir is None else os.fspath(model_dir), random_weights, precision)


def config_of(kind: type[C], options: Mapping[str, Any], **given: Any) -> C:
    """A configuration of the dataclass `kind`; BadInput when one of the options is not a field of it."""
    check_options(options, [field.name for field in fields(kind) if field.name not in given])  # type: ignore[arg-type]
    return kind(**given, **options)


def check_options(options: Iterable[str], known: Sequence[str]) -> None:
    """BadInput when one of the options is unknown."""
    unknown = [name for name in options if name not in known]
    if unknown:
        raise BadInput(f"unknown option {', '.join(unknown)}: choose from {', '.join(known)}")
