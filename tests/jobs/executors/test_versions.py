"""Machines of a cluster that lack a package, or have another version of one."""

from __future__ import annotations

import pytest

from index.errors import BadInput
from jobs.executors.versions import compare_versions, versions

HERE = {"python": "3.12.1", "torch": "2.15.0", "faiss-cpu": "1.15.0"}


def test_equal_machines_give_no_lines() -> None:
    assert compare_versions(HERE, {"a": HERE, "b": HERE}) == []
    assert compare_versions(versions(), {"here": versions()}) == []


def test_other_versions_are_named_with_their_machines() -> None:
    old = {**HERE, "torch": "2.11.0"}
    there = {"a": old, "b": HERE, "c": {**old, "python": "3.11.7"}, "d": old, "e": old}
    assert compare_versions(HERE, there) == [
        "a, c and 2 machines more have torch 2.11.0, this machine 2.15.0; results may differ in their last digits",
        "c has python 3.11.7, this machine 3.12.1; results may differ in their last digits",
    ]


def test_a_missing_package_is_refused() -> None:
    with pytest.raises(BadInput, match="b lacks the package torch: install clipmine on every machine"):
        compare_versions(HERE, {"a": HERE, "b": {"python": "3.12.1", "faiss-cpu": "1.15.0"}})


def test_either_faiss_will_do() -> None:
    gpu = {"python": "3.12.1", "torch": "2.15.0", "faiss-gpu": "1.15.0"}
    assert compare_versions(HERE, {"a": gpu}) == []
    with pytest.raises(BadInput, match="a lacks the package faiss-cpu"):
        compare_versions(HERE, {"a": {"python": "3.12.1", "torch": "2.15.0"}})
