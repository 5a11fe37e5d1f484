"""The report's section on mined sets."""

from __future__ import annotations

from jobs.demo.report_pairs import MinedSet, PairStrip, pairs_section


def test_a_strip_shows_images_captions_and_reasons_and_captions_are_data() -> None:
    one = MinedSet(
        [(b"\xff\xd8", "<script>alert(1)</script>"), (b"\x89PNG", 'a "dog"')], 2, ["share 2 nouns: dog, ball"]
    )
    page = pairs_section([PairStrip("overlap", "captions that share nouns", 1_200, [one])])
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "level 2: share 2 nouns: dog, ball" in page
    assert "1,200 made" in page
    assert page.count("data:image/jpeg;base64,") == page.count("data:image/png;base64,") == 1


def test_nothing_mined_is_no_section() -> None:
    assert pairs_section([]) == ""


def test_a_set_without_a_level_or_with_more_images_is_shown_too() -> None:
    story = MinedSet([(b"\x89PNG", str(number)) for number in range(5)], 0, ["the same hero", "in order"])
    page = pairs_section([PairStrip("identity", "one individual", 1, [story])])
    assert page.count("<figure") == 5
    assert "<p>the same hero; in order</p>" in page


def test_strategies_stand_in_the_order_given() -> None:
    page = pairs_section([PairStrip(name, "", 0, []) for name in ("similar", "random")])
    assert page.index("<h3>similar") < page.index("<h3>random")
