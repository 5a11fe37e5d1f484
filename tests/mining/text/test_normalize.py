"""Caption text as it is read: entities, odd characters and markup, whatever pages put into alt texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.text.caption_facts import facts_of
from mining.text.normalize import CAPTION_CHARACTERS, plain_text
from mining.text.nouns import noun_extractor


def read(caption: str) -> str:
    return " ".join(plain_text(caption).split())


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("Salt &amp; pepper", "Salt & pepper"),
        ("Salt &amp;amp; pepper", "Salt & pepper"),  # escaped twice
        ("Man&#39;s caf&eacute;&nbsp;table &#x2013; oak", "Man's café table – oak"),
        ("fish & chips; peas", "fish & chips; peas"),
        ("ﬂower pot, ｆｕｌｌ ｗｉｄｔｈ, 5 ㎏", "flower pot, full width, 5 kg"),
        ("cafe\u0301", "café"),
        ("Nike™ Air® Max", "Nike Air Max"),
        ("the dog’s bowl", "the dog's bowl"),
        ("foot\u00adball on\u200b a\u00a0\u3000field\ufeff", "football on a field"),
        ("a dog\x00\x07on a\x85beach\x1b", "a dog on a beach"),
        ("a \ud83d dog", "a dog"),
        ('<b class="x">Black</b> cat<br/>', "Black cat"),
        ("&lt;p&gt;Black cat&lt;/p&gt;", "Black cat"),
        ("I <3 cats and 2 < 3 > 1", "I <3 cats and 2 < 3 > 1"),
        ("cat https://example.org/a?b=c www.example.org/x me@example.org IMG_12.JPG photo.webp", "cat"),
        ("line one\nline two", "line one line two"),
    ],
)
def test_text_has_one_form_whatever_the_page_wrote(caption: str, expected: str) -> None:
    assert read(caption) == expected


def test_lines_are_kept_since_they_end_a_phrase() -> None:
    assert plain_text("a dog\na cat") == "a dog\na cat"


def test_text_is_cut_also_where_characters_expand() -> None:
    assert len(plain_text("\ufdfa" * 10_000)) <= CAPTION_CHARACTERS  # one character that NFKC makes 18 of


@pytest.mark.parametrize(
    "caption", ["a red cup &amp; a t&#101;apot", "ａ red cup & a tea\u00adpot", "a red\u00a0cup & a teapot"]
)
def test_nouns_and_facts_read_the_same_text(caption: str) -> None:
    assert noun_extractor("lexicon")([caption]) == [("cup", "teapot")]
    assert facts_of(caption) == facts_of("a red cup & a teapot")


@given(st.text(max_size=200))
def test_any_text_is_read_without_controls_and_reading_again_changes_little(text: str) -> None:
    found = plain_text(text)
    assert len(found) <= CAPTION_CHARACTERS
    assert all(letter == "\n" or letter.isprintable() or letter.isspace() or ord(letter) > 0x9F for letter in found)
    noun_extractor("lexicon")([text])
    facts_of(text)
