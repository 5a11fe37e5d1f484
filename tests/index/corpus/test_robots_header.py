"""`X-Robots-Tag` counts for all agents, or for ours where it names one."""

from __future__ import annotations

import pytest

from index.corpus.robots_header import is_disallowed

DIRECTIVES = frozenset({"noai", "noml", "noindex"})


@pytest.mark.parametrize(
    ("values", "agent", "disallowed"),
    [
        ([], None, False),
        (["noai"], None, True),
        (["NoML"], None, True),
        (["all, nofollow"], None, False),
        (["nofollow, noai"], "ours", True),
        (["none"], None, True),
        (["nofollow", "noindex"], None, True),
        (["otherbot: noai"], None, False),
        (["otherbot: noai"], "ours", False),
        (["Ours: noai"], "ours", True),
        (["ours: nofollow, noai"], "Ours", True),
        (["otherbot: noai, ours: nofollow"], "ours", False),
        (["otherbot: nofollow, ours: noai"], "ours", True),
        (["*: noai"], "ours", True),
        (["max-snippet: 10, noai"], None, True),
        (["unavailable_after: Wed, 25 Jun 2031 15:00:00 GMT, noai"], None, True),
        (["otherbot:", "noai"], "ours", True),
    ],
)
def test_directives_count_for_the_agents_that_they_name(values: list[str], agent: str | None, disallowed: bool) -> None:
    assert is_disallowed(values, agent, DIRECTIVES) is disallowed
