from __future__ import annotations

from pathlib import Path

from jobs.demo.loop.measure import SINGLE, TASKS, held_out_pairs, measure_model
from jobs.demo.loop.settings import BASE
from mining.chat.local_model import LocalModel
from tests.jobs.demo.loop.conftest import SETTINGS


def test_a_model_is_measured_on_all_tasks_and_its_replies_are_kept(root: Path) -> None:
    model = LocalModel(BASE, device="cpu", batch_size=32)
    measured = measure_model(
        model, root / "held_out", root / "evaluation", questions=SETTINGS.held_out, compared=SETTINGS.compared
    )
    assert set(measured.figures) == {*TASKS, SINGLE}
    pairs = {"eqben": 2, "cola": 2}  # two questions a pair
    counts = {task: figure.count for task, figure in measured.figures.items()}
    assert counts == {task: SETTINGS.held_out // pairs.get(task, 1) for task in counts}
    assert set(measured.says_a) == set(measured.either_order) == {"bison", "svo", "eqben", "cola"}
    assert {figure.count for figure in measured.either_order.values()} == {2 * SETTINGS.held_out}
    assert set(measured.replies) == {record["pair"] for record in held_out_pairs(root / "held_out", SETTINGS.compared)}
