"""`clipmine plan`: the estimate as a table and as JSON."""

from __future__ import annotations

import json

from index.graph.capacity import plan_capacity
from index.sizes import parse_bytes
from tests.jobs.running import Fails, Run


def test_the_estimate_is_that_of_the_capacity_plan(clipmine: Run) -> None:
    asked = ["--rows", "400M", "--dim", 768, "--memory", "64GB", "-M", 16, "--cores", 8]
    expected = plan_capacity(400_000_000, 768, parse_bytes("64GB"), 16, 8)
    assert "\n".join(clipmine("plan", *asked)) == expected.table().rstrip("\n")
    plan = json.loads(clipmine("plan", *asked, "--json")[0])
    assert plan["rows"] == 400_000_000
    assert plan["shards"] == expected.shards > 1


def test_counts_and_sizes_that_cannot_be_read_are_one_line(fails: Fails) -> None:
    for option, value in (("--rows", "many"), ("--memory", "64")):
        asked = {"--rows": "1M", "--memory": "1GB", option: value}
        line, status = fails("plan", *(part for pair in asked.items() for part in pair))
        assert value in line
        assert status == 2


def test_a_missing_option_is_one_line(fails: Fails) -> None:
    assert fails("plan", "--memory", "1GB") == (
        "clipmine: error: Missing option '--rows'; see clipmine plan --help",
        2,
    )


def test_rates_of_this_machine_give_queries_a_second(clipmine: Run) -> None:
    asked = ["--rows", "1M", "--dim", 8, "-M", 4, "--memory", "64GB", "--cores", 2]
    assert json.loads(clipmine("plan", *asked, "--json")[0])["queries_per_second"] is None
    lines = clipmine("plan", *asked, "--measure")
    assert any(line.startswith("searches") and "queries/s of 2 cores" in line for line in lines)
    assert any("while one of them is built again" in line for line in lines)
