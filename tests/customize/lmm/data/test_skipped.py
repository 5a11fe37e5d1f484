"""Skipped samples are counted by source and reason, and the first are named."""

from __future__ import annotations

from customize.lmm.data.skipped import SkippedCounts, SkippedSample


def test_counts_by_source_and_reason() -> None:
    counts = SkippedCounts()
    for number in range(12):
        counts(SkippedSample(str(number), "a", "no answer" if number else "missing", "x.jpg" if not number else ""))
    counts.add("b", {"no answer": 3}, ["b: sample 1: no answer"])
    counts.add("c", {}, [])
    assert counts.reasons == {"a": {"no answer": 11, "missing": 1}, "b": {"no answer": 3}}
    assert counts.named["a"][:2] == ["a: sample 0: missing (x.jpg)", "a: sample 1: no answer"]
    assert len(counts.named["a"]) == 10


def test_counts_are_added_up() -> None:
    counts = SkippedCounts()
    for _ in range(2):
        counts.add("a", {"no answer": 8}, [f"a: {number}" for number in range(8)])
    assert counts.reasons["a"]["no answer"] == 16
    assert len(counts.named["a"]) == 10
