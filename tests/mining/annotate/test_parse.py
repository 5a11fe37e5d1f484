from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mining.annotate.comparison import Comparison, Item
from mining.annotate.item_axis import axis_of
from mining.annotate.parse import comparison_of, parse_comparison, refusal, without_thinking
from mining.annotate.task import Unparsed
from mining.sets.annotation import Annotation, Annotator, Turn
from tests.mining.annotate.made_pairs import COMPARED, compared, note

_WORDS = [
    "Both",
    "images",
    "show",
    "a",
    "red",
    "bus",
    "dog",
    "man",
    "left",
    "of",
    "the",
    "two",
    "one",
    "runs",
    "street",
    "in",
    "Image",
    "1",
    "2",
    "and",
    "blue",
    "park",
    "while",
]


@st.composite
def _items(draw: st.DrawFn) -> tuple[Item, ...]:
    texts = draw(
        st.lists(
            st.lists(st.sampled_from(_WORDS), min_size=3, max_size=9).map(lambda words: "The " + " ".join(words) + "."),
            max_size=6,
            unique_by=str.casefold,
        )
    )
    return tuple(Item(text, axis_of(text)) for text in texts)


@settings(max_examples=60, deadline=None)
@given(_items(), _items())
def test_the_text_of_a_comparison_is_read_as_that_comparison(
    common: tuple[Item, ...], different: tuple[Item, ...]
) -> None:
    comparison = Comparison(common, different)

    assert parse_comparison(comparison.text()) == comparison


def _said(text: str, cut: bool = False) -> tuple[list[str], list[str]]:
    found = parse_comparison(text, cut)
    assert isinstance(found, Comparison), found
    return [item.text for item in found.commonalities], [item.text for item in found.differences]


_DOG, _CAT = "Both images show a dog.", "Image 2 shows a cat."


@pytest.mark.parametrize(
    "reply",
    [
        f"**Commonalities:**\n- {_DOG}\n\n**Differences:**\n- {_CAT}",
        f"## Commonalities\n\n1. {_DOG}\n\n## Differences\n\n1. {_CAT}",
        f"Here are commonalities and differences:\n\nCommonalities:\n* {_DOG}\nDifferences:\n* {_CAT}\n\nGood luck!",
        f"```text\nCommonalities:\n1) {_DOG}\nDifferences:\n1) {_CAT}\n```",
        f"<think>Differences: 1. none so far</think>\n\nCommonalities:\n1. {_DOG}\nDifferences:\n1. {_CAT}",
        f"Differences:\n1. {_CAT}\n\nCommonalities:\n1. {_DOG}",
        f"Commonalities: 1. {_DOG} Differences: 1. {_CAT}",
        f"Commonalities: {_DOG}\nDifferences: {_CAT}",
        f"Similarities between the two images:\n• {_DOG}\n\nKey differences:\n• {_CAT}",
        f"1. **Commonalities**:\n   - {_DOG}\n2. **Differences**:\n   - {_CAT}",
        f"**Commonalities**\n\n**Object types:** {_DOG}\n\n**Differences**\n\n**Object types:** {_CAT}",
        f"Commonalities:\nObject types:\n{_DOG}\n\nDifferences:\nObject types:\n{_CAT}",
        f"Commonalities:\n1. Object types: {_DOG}\n2. Actions: None\nDifferences:\n1. **Object types**: {_CAT}",
        f"Commonalities:\n1. {_DOG}\n\nDifferences:\n1. {_CAT}\n\nOverall, the images are alike.",
        f"Commonalities:\n1. Both images\n   show a dog.\nDifferences:\n1. {_CAT}\n1. {_CAT}",
        f"COMMONALITIES\n{_DOG}\nDIFFERENCES\n{_CAT}",
    ],
)
def test_headings_and_lists_are_read_in_many_forms(reply: str) -> None:
    assert _said(reply) == ([_DOG], [_CAT])


def test_sub_headings_and_prefixes_give_the_axis() -> None:
    found = parse_comparison(
        "Commonalities:\n1. Locations: Both are near water.\nDifferences:\n"
        "1. **Object Types**\n   - Image 1: a canoe\n   - Image 2: a kayak\n2. Colors - One is red."
    )

    assert found == Comparison(
        (Item("Both are near water.", "locations"),),
        (Item("Image 1: a canoe; Image 2: a kayak", "object types"), Item("One is red.", "attributes")),
    )


@pytest.mark.parametrize("none", ["None.", "- None", "1. N/A", "There are no differences.", "No differences"])
def test_an_empty_list_is_no_item(none: str) -> None:
    assert _said(f"Commonalities:\n1. {_DOG}\nDifferences:\n{none}") == ([_DOG], [])


def test_one_list_alone_is_read() -> None:
    assert _said(f"Differences:\n1. {_CAT}") == ([], [_CAT])


def test_headings_of_other_languages_are_read_and_the_axis_stays_open() -> None:
    german = parse_comparison("Gemeinsamkeiten:\n1. Beide zeigen Hunde.\nUnterschiede:\n1. Einer ist rot.")
    chinese = parse_comparison("共同点：\n1、都有狗。\n不同点：\n1、颜色不同。")

    assert german == Comparison((Item("Beide zeigen Hunde."),), (Item("Einer ist rot."),))
    assert chinese == Comparison((Item("都有狗。"),), (Item("颜色不同。"),))


def test_a_last_item_that_the_limit_cut_is_left_out() -> None:
    reply = f"Commonalities:\n1. {_DOG}\nDifferences:\n1. {_CAT}\n2. Image 1 shows a man who"

    assert _said(reply, cut=True) == ([_DOG], [_CAT])
    assert _said(reply) == ([_DOG], [_CAT, "Image 1 shows a man who"])
    assert isinstance(parse_comparison("Commonalities:\n1. Both images sh", cut=True), Unparsed)


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("", "is empty"),
        ("<think>What do they share?", "only thinking"),
        ("I'm sorry, but I cannot see any images.", "refuses"),
        ("Commonalities:\n1. I cannot determine what they share.\nDifferences:\n1. Many.", "refuses"),
        ("As an AI language model, I have no eyes.", "refuses"),
        ("Two nice pictures.", "no list"),
        ("Differences:", "no items"),
        ("Commonalities:\n1. " + "so " * 400, "characters"),
    ],
)
def test_what_says_nothing_is_not_read(reply: str, why: str) -> None:
    found = parse_comparison(reply)

    assert isinstance(found, Unparsed)
    assert why in found.reason


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "\n",
        " ",
        "1. ",
        "Commonalities: ",
        "Differences:\n- x\n",
        "* ",
        "**",
        ":",
        "(1 ",
        "Image 1: ",
        "共",
        "Commonalities a ",
        "- a\n" + "b\n" * 100_000,
        "- Image 1: a\n" + "- Image 2: b\n" * 100_000,
    ],
)
def test_ten_megabytes_of_garbage_are_read_at_once(piece: str) -> None:
    found = parse_comparison("Differences: " + piece * (10_000_000 // len(piece)))

    assert isinstance(found, Comparison | Unparsed)


def test_a_comparison_is_found_in_content_or_in_the_answer() -> None:
    turns = (Turn("user", (0, 1, "?")), Turn("assistant", (f"Commonalities:\n1. {_DOG}\nDifferences:\nNone.",)))

    assert comparison_of(compared()) == COMPARED
    assert comparison_of(Annotation.make("s", "comparison", Annotator("m"), turns)) == Comparison(
        (Item(_DOG, "object types"),), ()
    )
    assert comparison_of(note("The left one is red.")) is None
    assert comparison_of(Annotation.make("s", "comparison", Annotator("m"), (), {"differences": 3})) is None


def test_refusals_are_told_from_answers() -> None:
    assert refusal("I can't help with that") is not None
    assert refusal("Image 1 shows a sorry sight") is None


def test_thinking_is_taken_out() -> None:
    assert without_thinking("<think>a</think>b<think>c</think> d") == " d"
    assert without_thinking("a<think>b") == "a"
