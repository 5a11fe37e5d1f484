"""The ledger of a run: each request that was answered, its tokens and its cost, and at the end of each run its counts.

    {"run": "20261129T101500-4711", "at": "2026-11-29T10:15:03Z", "request": "9f3c...", "finish": "stop",
     "prompt_tokens": 212, "new_tokens": 64, "cost": 0.000412, "estimated": false}
    {"run": "20261129T101500-4711", "at": ..., "summary": {...}}

Answers that come from the cache are no requests. A request whose answer a killed run did not see is not listed.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from index.errors import BadInput
from mining.annotate.budget import Spent
from mining.annotate.line_file import LineFile, whole_lines
from mining.chat.chat import ChatReply

__all__ = ["Ledger", "read_spent"]


class Ledger:
    """The ledger file of a part's runs. spent: by the runs before. Close it after use."""

    def __init__(self, path: Path) -> None:
        """Raises BadInput where a line of the file is damaged."""
        self.spent = read_spent(path)
        self._file = LineFile(path)
        self._run = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}"

    def add(self, key: str, reply: ChatReply, spent: Spent) -> None:
        """One request and what it cost."""
        said: dict[str, Any] = {"request": key[:16], "finish": reply.finish}
        said |= {"prompt_tokens": spent.prompt_tokens, "new_tokens": spent.new_tokens, "cost": round(spent.cost, 9)}
        self._append({**said, "estimated": bool(spent.estimated)})

    def end(self, summary: Mapping[str, Any]) -> None:
        """The counts of the run, as JSON data."""
        self._append({"summary": dict(summary)})

    def close(self) -> None:
        self._file.close()

    def _append(self, said: dict[str, Any]) -> None:
        self._file.append({"run": self._run, "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **said})


def read_spent(path: Path) -> Spent:
    """The sum of a ledger's requests. Raises BadInput where a line is damaged, since what it spent is then unknown."""
    total = Spent()
    for number, (_, line) in enumerate(whole_lines(path), 1):
        try:
            said = json.loads(line)
            if "request" in said:
                cost, estimated = float(said["cost"]), int(said["estimated"])
                total += Spent(1, int(said["prompt_tokens"]), int(said["new_tokens"]), cost, estimated)
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(f"{path}, line {number}: is not a request and its cost; delete the line") from error
    return total
