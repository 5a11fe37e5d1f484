"""The training conversation of a set: a summary of commonalities and differences, then a choice. CaD-VI, section 3.1.

    turns = cad_turns(pair, comparison)                             # both turns
    turns = cad_turns(pair, comparison, parts=("differences",))     # a row of its ablation (table 7)

With the part `hints` a third of the conversations begin with a note on some of the differences and a third with the
images' captions, one each, as quotations above the question. A model that is tuned on them can start from a note or
captions when it annotates images (`ComparisonTask(as_trained=True)`).

The images stand in the first turn alone: "Image 1: <image>", "Image 2: <image>", then the question.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from index.errors import BadInput
from mining.annotate.choice import choice_turns, draw_choice, image_places
from mining.annotate.comparison import LISTS, Comparison
from mining.annotate.parse import comparison_of
from mining.annotate.prompts import drawn, load_prompt, quoted_blocks
from mining.annotate.quotes import labelled_captions
from mining.sets.annotation import Annotation, Turn
from mining.sets.image_set import ImageSet

__all__ = [
    "CAD_PARTS",
    "DEFAULT_PARTS",
    "HINT_CAPTIONS",
    "asked_as_trained",
    "cad_question",
    "cad_turns",
    "images_phrase",
    "last_usable",
]

# What a conversation may contain. note: the differences as one plain text, without commonalities, axes and numbers.
# hints: a note or captions above the question, in a part of the conversations.
CAD_PARTS = (*LISTS, "note", "choice", "hints")
HINT_CAPTIONS = 1  # of each image in a hint, as CaD-VI gives one: five of both would be longer than the answer
_MOST_NOTED = 3  # differences in a note
DEFAULT_PARTS = (*LISTS, "choice")


def cad_turns(
    each: ImageSet, comparison: Annotation | None, parts: Collection[str] = DEFAULT_PARTS, seed: int = 0
) -> tuple[Turn, ...]:
    """The conversation of a set, () where it has nothing of what `parts` asks for.

    comparison: an annotation of kind `comparison`, or for the part `note` also a `difference_note`. A set whose
    comparison is asked for and missing, or not understood, gives (), even where a choice could be asked: rows of an
    ablation then have the same sets. seed: of the wording, the caption and, where a choice stands alone, the order of
    the images; the draws depend on nothing but it and the set's id. Raises BadInput for an unknown part.
    """
    unknown = sorted(set(parts) - set(CAD_PARTS))
    if unknown or not parts:
        raise BadInput(f"parts of a conversation: choose of {', '.join(CAD_PARTS)}, not {', '.join(unknown) or 'none'}")
    lists = tuple(name for name in LISTS if name in parts)
    if "hints" in parts and not lists:
        raise BadInput("parts of a conversation: 'hints' come before commonalities or differences")
    if "note" in parts and lists:
        raise BadInput(f"parts of a conversation: 'note' stands instead of {' and '.join(lists)}")
    said: list[Turn] = []
    if lists or "note" in parts:
        answer = _answer(comparison, lists) if comparison is not None else ""
        if not answer:
            return ()
        question = cad_question(each, lists or ("note",), seed)
        hint = _hint(each, comparison, seed) if "hints" in parts and comparison is not None else []
        text = asked_as_trained(question, hint)
        said = [Turn("user", (*image_places(range(each.size)), "\n" + text)), Turn("assistant", (answer,))]
        if len(hint) > 1:  # captions, which would give the choice away
            return tuple(said)
    if "choice" in parts:
        choice = draw_choice(each, seed, reorder=not said)
        if choice is not None:
            said += choice_turns(choice, images=not said)
    return tuple(said)


def last_usable(annotations: Sequence[Annotation], parts: Collection[str] = DEFAULT_PARTS) -> Annotation | None:
    """The last annotation that the conversation of `parts` can teach; None where there is none.

    A newer one that is not understood, such as a second annotator's free text, hides no older one.
    """
    lists = tuple(name for name in LISTS if name in parts)
    return next((each for each in reversed(annotations) if _answer(each, lists)), None)


def cad_question(each: ImageSet, lists: Collection[str] = LISTS, seed: int = 0) -> str:
    """The question that asks for these lists (or for a "note"), in a wording drawn by the hash of set id and seed."""
    section = "both" if len(lists) == 2 else next(iter(lists))
    prompt = load_prompt("questions")
    wordings = prompt.lines(section)
    line = wordings[drawn(len(wordings), "wording", section, seed, each.set_id)]
    return line.replace("{images}", images_phrase(each.size))


def asked_as_trained(question: str, hint: Sequence[tuple[str, str]]) -> str:
    """The question below its hint: labelled texts, such as ("Note", "...") or the captions, as quotations."""
    return f"{quoted_blocks(hint)}\n{question}" if hint else question


def images_phrase(count: int) -> str:
    """ "the two images", "the 4 images"."""
    return f"the {({2: 'two', 3: 'three'}).get(count, str(count))} images" if count != 1 else "the image"


def _hint(each: ImageSet, comparison: Annotation, seed: int) -> list[tuple[str, str]]:
    """Nothing, a note on one to three of the differences, or the captions, each for a third of the sets."""
    kind = drawn(3, "hint", seed, each.set_id)
    if kind == 1:
        found = comparison_of(comparison)
        items = list(found.differences) if found is not None else []
        noted = []
        for number in range(min(len(items), 1 + drawn(_MOST_NOTED, "hint items", seed, each.set_id))):
            noted.append(items.pop(drawn(len(items), "hint item", seed, each.set_id, number)).text)
        return [("Note", " ".join(noted))] if noted else []
    return (labelled_captions(each, HINT_CAPTIONS) or []) if kind == 2 else []


def _answer(annotation: Annotation, lists: tuple[str, ...]) -> str:
    """What the conversation teaches; "" where the annotation does not say it."""
    if annotation.kind == "difference_note":
        said = " ".join(turn.text.strip() for turn in annotation.turns if turn.role == "assistant").strip()
        return "" if lists else said
    comparison = comparison_of(annotation)
    if comparison is None:
        return ""
    return comparison.text(lists) if lists else _note(comparison)


def _note(comparison: Comparison) -> str:
    return " ".join(item.text for item in comparison.differences)
