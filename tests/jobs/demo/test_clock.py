from __future__ import annotations

import time
from pathlib import Path

from jobs.demo.clock import StageClock


def test_a_rerun_shows_the_time_of_the_first_run(tmp_path: Path) -> None:
    def slow() -> list[str]:
        time.sleep(0.05)
        return ["a", "b"]

    clock = StageClock(tmp_path / "stages.json")
    assert clock.run("mine", "pairs", len, slow) == ["a", "b"]
    first = clock.stages["mine"]
    assert (first.rows, first.what) == (2, "pairs")
    assert first.seconds >= 0.05
    again = StageClock(tmp_path / "stages.json")
    again.run("mine", "pairs", len, list)
    assert again.stages == {"mine": first}
