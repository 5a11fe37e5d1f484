"""The counts of a strategy's proposals, as the summary of a run and the manifest show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mining.select.choose import Proposals
from mining.strategies.context import Candidates, MiningConfig, MiningContext

__all__ = ["StrategySummary", "summarize"]

RowIds = npt.NDArray[np.int64]


@dataclass(frozen=True)
class StrategySummary:
    """The counts of one strategy: proposed = made + sum(dropped.values()) + spare.

    split: the side of a hold-out that the counts are of. wanted: its quota. considered: how many sets the
    strategy looked at. left_out: how many of them it did not propose, by reason: considered = proposed + left out.
    levels: level -> sets made. supply: level -> sets proposed. notes, measured, unused: as in Candidates.
    """

    strategy: str
    share: float
    wanted: int
    made: int
    proposed: int
    dropped: dict[str, int]
    spare: int
    considered: int
    left_out: dict[str, int]
    levels: dict[str, int]
    supply: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    measured: dict[str, float] = field(default_factory=dict)
    split: str | None = None
    unused: dict[str, int] = field(default_factory=dict)

    @property
    def short(self) -> int:
        return self.wanted - self.made

    def shortfall(self) -> str | None:
        """A sentence that says how many sets are missing and why; None when none is missing."""
        if not self.short:
            return None
        found = f"only {self.proposed:,} {'was' if self.proposed == 1 else 'were'} proposed"
        if not self.proposed:
            found = "none was proposed"
        if why := _listed(self.dropped):
            found += f", of which the filters dropped some ({why})"
        if self.proposed < self.wanted and (why := _listed(self.left_out)):
            found += f"; of {self.considered:,} considered the strategy left out some ({why})"
        if self.proposed < self.wanted and (why := _listed(self.unused)):
            found += f"; some rows were of no use ({why})"
        name = self.strategy if self.split is None else f"{self.strategy} ({self.split})"
        missing = f"set{'s' * (self.wanted != 1)} {'is' if self.short == 1 else 'are'} missing"
        return f"{name}: {self.short:,} of {self.wanted:,} {missing}: {found}"


def summarize(
    config: MiningConfig,
    ctx: MiningContext,
    candidates: Candidates,
    sets: Proposals,
    lost: npt.NDArray[np.int8],
    made: RowIds,
    number: int,
    reasons: Sequence[str],
) -> StrategySummary:
    """The counts of the proposals of strategy `number`.

    lost: int8 [n], the place in `reasons` of why each proposal was dropped, -1 for the others. made: the places of the
    sets that are made.
    """
    own = sets.strategy == number
    counts = np.bincount(lost[own & (lost >= 0)], minlength=len(reasons))
    dropped = {reason: int(count) for reason, count in zip(reasons, counts, strict=True) if count}
    found = _by_level(sets.level[made[sets.strategy[made] == number]])
    notes = list(candidates.notes)
    graded = bool((sets.level[own] != 0).any())
    if config.levels is not None and graded:
        notes += [f"no set at level {level}, which was asked for" for level in config.levels if str(level) not in found]
    proposed = int(own.sum())
    return StrategySummary(
        strategy=ctx.strategy,
        share=dict(config.strategies)[ctx.strategy],
        wanted=ctx.wanted,
        made=sum(found.values()),
        proposed=proposed,
        dropped=dropped,
        spare=proposed - sum(found.values()) - sum(dropped.values()),
        considered=candidates.considered,
        left_out=dict(candidates.dropped),
        levels=found,
        supply=_by_level(sets.level[own]),
        notes=notes,
        measured=dict(candidates.measured),
        split=ctx.split,
        unused=dict(candidates.unused),
    )


def _by_level(levels: RowIds) -> dict[str, int]:
    """level -> number of sets."""
    found, counts = np.unique(levels, return_counts=True)
    return {str(level): int(count) for level, count in zip(found, counts, strict=True)}


def _listed(counts: dict[str, int]) -> str:
    """Counts by reason as a phrase, the largest first."""
    most_first = sorted(counts.items(), key=lambda entry: -entry[1])
    return ", ".join(f"{count:,} {reason}" for reason, count in most_first if count)
