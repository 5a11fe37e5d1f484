"""Progress of annotation: sets, answers and tokens a second, what came from the cache, what it cost."""

from __future__ import annotations

from jobs.interrupt import stop_if_interrupted
from jobs.progress import Progress
from mining.annotate.run import AnnotationRun

__all__ = ["AnnotateProgress"]


class AnnotateProgress(Progress):
    """Shows a run of annotation; a Ctrl-C ends the run at its next note."""

    def __init__(self, sets: int) -> None:
        super().__init__("annotate", sets, unit="sets")
        self._run: AnnotationRun | None = None

    def note(self, run: AnnotationRun) -> None:
        """What `AnnotationRun` tells as it goes on."""
        stop_if_interrupted()
        self._run = run
        self.earlier = run.earlier
        done = run.earlier + run.decided
        if done != self.done or done < run.sets:  # the last line is printed once
            self.reach(done, run.sets)

    def note_decided(self, decided: int) -> None:
        """So many sets are decided by rules."""
        stop_if_interrupted()
        self.reach(decided, self.items)

    def _rate(self) -> str:
        run = self._run
        if run is None:
            return ""
        seconds = max(run.seconds, 1e-9)
        tokens = run.spent.prompt_tokens + run.spent.new_tokens
        parts = [f"{run.replies / seconds:,.1f} answers/s, {tokens / seconds:,.0f} tokens/s"] if run.replies else []
        parts += [f"{run.cached:,} cached"] if run.cached else []
        parts += [f"{run.failures.total():,} failed"] if run.failures else []
        parts += [f"cost {run.spent.cost:,.4g}"] if run.spent.cost else []
        return ", ".join(parts)
