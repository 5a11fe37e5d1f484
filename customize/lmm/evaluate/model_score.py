"""One model's result on one task, and the results of earlier calls that a folder's tables keep."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from customize.lmm.evaluate.intervals import Figure
from customize.lmm.evaluate.scores import TaskScore
from index.errors import BadInput

__all__ = ["RESULTS", "ModelScore", "merged", "read_results"]

RESULTS = "lmm_results.json"


@dataclass(frozen=True)
class ModelScore:
    """One model on one task. kept: replies from earlier calls. judge: who rated, None where nobody did.

    error: why one of the questions got no reply, in the words of the model; None where all got one.
    drawn: whether the questions are about drawn scenes, which do not compare with the benchmark's own.
    unrated: why a judge's replies gave no rating -> how many.
    """

    model: str
    task: str
    score: TaskScore
    kept: int = 0
    asked: int = 0
    judge: str | None = None
    error: str | None = None
    drawn: bool = False
    unrated: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """What the tables show, as JSON data; kept, asked and error belong to a call."""
        about = {"model": self.model, "task": self.task, "judge": self.judge, "drawn": self.drawn}
        return {**about, "unrated": dict(self.unrated), **asdict(self.score)}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> ModelScore:
        """Raises KeyError, TypeError or AttributeError for anything else than `to_json` gives."""
        known = {each.name: said[each.name] for each in fields(TaskScore) if each.name in said}
        known["figures"] = {name: Figure(**figure) for name, figure in said["figures"].items()}
        score = TaskScore(**known)
        if score.main not in score.figures:
            raise KeyError(score.main)
        own = {"judge": said["judge"], "drawn": bool(said.get("drawn")), "unrated": dict(said.get("unrated", {}))}
        return cls(said["model"], said["task"], score, **own)


def read_results(out: Path) -> list[ModelScore]:
    """The results that the tables of the folder `out` have; [] without tables. Raises BadInput for another file."""
    path = out / RESULTS
    if not path.exists():
        return []
    try:
        return [ModelScore.from_json(each) for each in json.loads(path.read_bytes())]
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise BadInput(
            f"{path}: is not a table that evaluate wrote ({str(error)[:80]}); delete it, or choose another --out"
        ) from error


def merged(earlier: Sequence[ModelScore], new: Sequence[ModelScore]) -> list[ModelScore]:
    """All results, without earlier ones of the same model and task as a new one."""
    again = {(each.model, each.task, each.drawn) for each in new}
    return [*(each for each in earlier if (each.model, each.task, each.drawn) not in again), *new]
