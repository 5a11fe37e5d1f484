"""The ledger: what all runs of a part spent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from index.errors import BadInput
from mining.annotate.budget import Spent
from mining.annotate.ledger import Ledger, read_spent
from mining.chat.chat import ChatReply

REPLY = ChatReply("yes", "stop", 10, 2)


def test_runs_add_to_what_was_spent_before(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    for number in range(2):
        ledger = Ledger(path)
        assert ledger.spent == Spent(number, 10 * number, 2 * number, 0.5 * number, number)
        ledger.add("f" * 64, REPLY, Spent(1, 10, 2, 0.5, 1))
        ledger.end({"annotated": number})
        ledger.close()
    assert read_spent(path) == Spent(2, 20, 4, 1.0, 2)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["summary"]["annotated"] for line in lines if "summary" in line] == [0, 1]
    assert lines[0]["request"] == "f" * 16


def test_a_line_that_was_cut_short_is_skipped_and_a_damaged_one_named(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    ledger.add("f" * 64, REPLY, Spent(1, 10, 2))
    ledger.close()
    with open(path, "a") as stream:
        stream.write('{"request": "f')
    assert read_spent(path).requests == 1
    path.write_text('{"request": "f", "cost": "much"}\n')
    with pytest.raises(BadInput, match="line 1: is not a request and its cost"):
        read_spent(path)
    assert read_spent(tmp_path / "none.jsonl") == Spent()
