"""How many replicas a deployment has: a fixed number, or a range in which Ray Serve's autoscaler chooses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from ray.serve.config import AutoscalingConfig

from index.errors import BadInput

__all__ = ["Scale", "read_scale"]


@dataclass(frozen=True)
class Scale:
    """The least and the most replicas, and the options of `serve.deployment` that say so."""

    least: int
    most: int
    options: Mapping[str, Any]


def read_scale(kind: str, replicas: int | None, config: Mapping[str, Any] | None, target: float) -> Scale:
    """The number of replicas of the deployments of one kind ("encoder", "shard", "front").

    replicas: a fixed number; None where the user gave none, which means 1. config: fields of Serve's AutoscalingConfig.
    target: target_ongoing_requests where the config has none.

    Raises:
        BadInput: both are given, or Serve does not take a field of the config.
    """
    if config is None:
        number = 1 if replicas is None else replicas
        return Scale(number, number, {"num_replicas": number})
    where = f"{kind}_autoscaling_config"
    if replicas is not None:
        raise BadInput(f"{where} and {kind}_replicas: give one of them, a range or a fixed number of replicas")
    known = list(AutoscalingConfig.model_fields)  # Serve itself would ignore other names
    unknown = [repr(name) for name in config if name not in known]
    if unknown:
        raise BadInput(f"{where}: no field {', '.join(unknown)}; the fields are {', '.join(known)}")
    try:
        checked = AutoscalingConfig.model_validate({"target_ongoing_requests": target, **config})
    except ValidationError as error:
        problems = [": ".join([*map(str, problem["loc"]), problem["msg"]]) for problem in error.errors()]
        raise BadInput(f"{where}: {'; '.join(problems).replace('Value error, ', '')}") from error
    if checked.min_replicas < 1:
        raise BadInput(f"{where}: min_replicas: at least 1, since checks of /readyz would start a replica again")
    return Scale(checked.min_replicas, checked.max_replicas, {"autoscaling_config": checked})
