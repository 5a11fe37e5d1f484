"""A host's pause holds for all its URLs; pauses that are too long or too many are not waited for."""

from __future__ import annotations

import time

from index.corpus.host_pauses import HostPauses


def test_a_pause_holds_for_all_urls_of_its_host_and_for_no_other() -> None:
    pauses = HostPauses(longest=5)
    assert pauses.begin("http://a.org/1", 0.3)
    started = time.monotonic()
    pauses.wait("http://b.org/1")
    pauses.wait(" http://A.org/2")
    assert time.monotonic() - started >= 0.2
    pauses.wait("http://a.org/1")


def test_a_pause_that_is_too_long_is_not_begun() -> None:
    pauses = HostPauses(longest=5)
    assert not pauses.begin("http://a.org/1", 6)
    assert pauses.begin("http://a.org/1", 5)


def test_a_host_that_asks_again_and_again_is_not_waited_for_until_it_sends_an_image() -> None:
    pauses = HostPauses(longest=5)
    assert [pauses.begin("http://a.org/1", 0) for _ in range(4)] == [True, True, True, False]
    assert pauses.begin("http://b.org/1", 0)
    pauses.end("http://a.org/2")
    assert pauses.begin("http://a.org/1", 0)


def test_threads_that_are_told_the_same_share_one_pause() -> None:
    pauses = HostPauses(longest=5)
    assert all(pauses.begin("http://a.org/1", 1) for _ in range(10))


def test_a_text_that_is_no_url_has_no_pause() -> None:
    HostPauses(longest=5).wait("http://[x")
