"""Warns when a training run collapses: its accuracy falls, or most texts of a batch count as the same text."""

from __future__ import annotations

from collections.abc import Mapping

from customize.clip.train.log import StepRecord

__all__ = ["CollapseWatch"]

# Share of the best running accuracy below which a run counts as collapsed. Runs that learn were never seen to lose
# half of it to noise.
COLLAPSED = 0.5
MEMORY = 0.95  # weight of the past in the running means: about the last 20 steps
SETTLED = 20  # steps before the running means are used
# Mean share of a batch's texts that are positives of an image. Once texts of a trained text tower count as one text,
# nothing separates them, and they become more alike from step to step.
MOST_ALIKE = 0.5


class CollapseWatch:
    """Follows the running means of accuracy and alike texts, and warns once.

    It warns when the accuracy is below half of its best value or below twice the chance level, or when more than half
    of a batch's texts count as the same text.
    """

    def __init__(self, batch_size: int) -> None:
        self.chance = 1 / batch_size
        self.running = 0.0
        self.alike = 0.0
        self.best = 0.0
        self.steps = 0
        self.warned = False

    def see(self, record: StepRecord) -> str | None:
        """Take in one step; returns the warning at the first step that gives reason for it, else None."""
        self.steps += 1
        self.running = MEMORY * self.running + (1 - MEMORY) * record.accuracy
        self.alike = MEMORY * self.alike + (1 - MEMORY) * record.alike
        weight = 1 - MEMORY**self.steps  # without it the means would start near 0
        running, alike = self.running / weight, self.alike / weight
        if self.steps < SETTLED:
            return None
        self.best = max(self.best, running)
        if self.warned:
            return None
        if alike > MOST_ALIKE:
            self.warned = True
            return (
                f"step {record.step}: {alike:.0%} of a batch's texts count as one text, so little is left to learn; "
                "count equal texts only (--gamma 1) or none (--plain-clip), or lock the text tower if it is free"
            )
        if running >= COLLAPSED * self.best and running > 2 * self.chance:
            return None
        self.warned = True
        return (
            f"step {record.step}: the contrastive accuracy is {running:.3f} (best {self.best:.3f}, chance "
            f"{self.chance:.3f}): the model may be collapsing; lower --lr, or lock the text tower"
        )

    def state(self) -> dict[str, float]:
        """What a checkpoint keeps of the watch."""
        return {
            "running": self.running,
            "alike": self.alike,
            "best": self.best,
            "steps": self.steps,
            "warned": float(self.warned),
        }

    def restore(self, state: Mapping[str, float]) -> None:
        """Continue from the `state` of a checkpoint."""
        self.running, self.alike, self.best = state["running"], state.get("alike", 0.0), state["best"]
        self.steps, self.warned = int(state["steps"]), bool(state["warned"])
