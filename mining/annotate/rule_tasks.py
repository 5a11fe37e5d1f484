"""Tasks without a model: comparisons of captions by rules, and text-to-image choices."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from mining.annotate.captions_comparison import RULES_VERSION, compare_captions
from mining.annotate.choice import CHOICE_VERSION, choice_turns, draw_choice, image_places
from mining.annotate.conversation import cad_question
from mining.annotate.prompts import prompts_hash
from mining.annotate.quotes import captions_of
from mining.annotate.task import Answer
from mining.sets.annotation import Turn
from mining.sets.image_set import ImageSet

__all__ = ["CaptionsTask", "ChoiceTask"]

# The annotator of both: what they say follows from captions.
_ANNOTATOR = "captions"


@dataclass(frozen=True)
class CaptionsTask:
    """Comparisons by the rules of `mining.annotate.captions_comparison`. seed: of the question's wording."""

    seed: int = 0

    @property
    def kind(self) -> str:
        return "comparison"

    @property
    def annotator(self) -> str:
        return _ANNOTATOR

    @cached_property
    def prompt_hash(self) -> str:
        return prompts_hash(["questions"], RULES_VERSION, self.seed)

    def answers(self, each: ImageSet) -> list[Answer]:
        """One comparison; [] where an image has no caption that is understood."""
        found = compare_captions([captions_of(member) for member in each.members])
        if found is None or not (found.commonalities or found.differences):
            return []
        question = Turn("user", (*image_places(range(each.size)), "\n" + cad_question(each, seed=self.seed)))
        return [Answer((question, Turn("assistant", (found.text(),))), found.to_json())]


@dataclass(frozen=True)
class ChoiceTask:
    """Which image suits a caption: caption and order of the images are drawn by the hash of set id and `seed`."""

    seed: int = 0

    @property
    def kind(self) -> str:
        return "choice"

    @property
    def annotator(self) -> str:
        return _ANNOTATOR

    @cached_property
    def prompt_hash(self) -> str:
        return prompts_hash(["questions"], f"choice {CHOICE_VERSION}", self.seed)

    def answers(self, each: ImageSet) -> list[Answer]:
        """One question; [] where images lack captions or have the same one."""
        choice = draw_choice(each, self.seed)
        if choice is None:
            return []
        content = {
            "caption": choice.caption,
            "order": list(choice.order),
            "answer": choice.answer,
            "options": list(choice.options),
            "letter": choice.letter,
        }
        return [Answer(choice_turns(choice), content)]
