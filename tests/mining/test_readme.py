"""The README's training script, as it stands there, on a folder of pairs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from tests.mining.made_sets import many_pairs, write_sets

ROOT = Path(__file__).parents[2]


def script() -> str:
    section = (ROOT / "README.md").read_text().partition("\n## Mine pairs\n")[2].partition("\n## ")[0]
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", section, re.DOTALL) if "DataLoader" in block]
    return str(code)


def test_it_has_ten_lines() -> None:
    assert len([line for line in script().splitlines() if line.strip()]) == 10


def test_it_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sets(tmp_path, many_pairs(12, 8), images=12)
    (tmp_path / "scenes").symlink_to(ROOT / "scenes")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names: dict[str, object] = {}
    exec(compile(script(), "README.md", "exec"), names)
    loss, batch = names["loss"], names["batch"]
    assert isinstance(loss, torch.Tensor)
    assert torch.isfinite(loss)
    assert isinstance(batch, dict)
    assert batch["images"].shape[1:3] == (2, 3)
