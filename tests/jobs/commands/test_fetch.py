"""`clipmine fetch`: a selection's URLs become tars, joined to its rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from retrieval.retrieve import retrieve
from tests.index.web import serve
from tests.jobs.running import Fails, Run, counts
from tests.retrieval.stores import make_store, random_unit
from tests.retrieval.words import WordEncoder


def test_images_arrive_and_losses_are_counted(tmp_path: Path, clipmine: Run) -> None:
    with serve() as web:
        urls = [web.url(f"/{'missing' if number == 0 else 'ok'}/{number}.jpg") for number in range(6)]
        store = make_store(tmp_path, random_unit(6), random_unit(6, seed=1), urls=urls)
        encoder: Any = WordEncoder({"one": [1, 0, 0, 0, 0, 0, 0, 0]}, dim=8)
        chosen = retrieve(
            store, ["one"], out=tmp_path / "s", k=6, templates="{}", mode="t2i", reserve=0, encoder=encoder
        )
        lines = clipmine("fetch", chosen.path, "--shard-size", 4)
    found = counts(lines)
    assert (found["images asked for"], found["images arrived"]) == (6, 5)
    assert sum(count for label, count in found.items() if label.startswith("- ")) == 1
    assert list(Path(f"{chosen.path}-images").rglob("*.tar"))


@pytest.mark.parametrize("option", ["--shard-size", "--samples-per-shard"])
def test_a_shard_size_below_one_is_refused(option: str, tmp_path: Path, fails: Fails) -> None:
    line, status = fails("fetch", tmp_path / "s", option, 0)
    assert "0 is not in the range x>=1" in line
    assert status == 2
