"""Comparisons by a model: phase 1 from captions, phase 2 from the images themselves. CaD-VI, sections 3.1 and 3.3.

ComparisonTask()                                                    # a language model reads the captions
ComparisonTask(from_images=True)                                    # a multimodal model sees the images alone
ComparisonTask(from_images=True, refine="difference_note")          # and checks an existing note
ComparisonTask(from_images=True, refine="comparison/mixtral-8x7b")  # and checks the comparison of phase 1
ComparisonTask(from_images=True, as_trained=True)                   # a model tuned on these conversations sees them
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from index.errors import BadInput
from mining.annotate.choice import image_places
from mining.annotate.conversation import HINT_CAPTIONS, asked_as_trained, cad_question, images_phrase
from mining.annotate.parse import parse_comparison
from mining.annotate.prompts import load_prompt, prompts_hash, quoted_blocks
from mining.annotate.quotes import annotation_text, image_names, labelled_captions, latest, number_word, source_of
from mining.annotate.task import Answer, Asked, Unparsed
from mining.chat.chat import ChatRequest
from mining.sets.annotation import Turn
from mining.sets.image_set import ImageSet

__all__ = ["ComparisonTask", "repeated"]

# CaD-VI's limit of new tokens for a comparison.
NEW_TOKENS = 750


@dataclass(frozen=True)
class ComparisonTask:
    """from_images: whether the model sees the images. with_captions: whether it also gets their captions.

    refine: KIND or KIND/ANNOTATOR of an annotation that the model checks against the images; a set without one is not
    asked about. as_trained: ask with the question of the training conversations (`mining.annotate.conversation`), for a
    model that was tuned on them and may know no other; its training needs the part `hints` to use a note or captions.
    seed: of the wording of the question that the annotation's conversation begins with.
    """

    from_images: bool = False
    with_captions: bool = False
    refine: str | None = None
    as_trained: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.refine or self.with_captions or self.as_trained) and not self.from_images:
            named = ("refine", "with_captions", "as_trained")
            given = ", ".join(f"--{name.replace('_', '-')}" for name in named if getattr(self, name))
            raise BadInput(f"{given}: shows the model images, so it needs --from-images too (from_images=True)")
        if self.refine is not None:
            source_of(self.refine)

    @property
    def kind(self) -> str:
        return "comparison"

    @property
    def needs_images(self) -> bool:
        return self.from_images

    @property
    def reads(self) -> tuple[str, ...]:
        """The kinds of annotations that are read."""
        return (source_of(self.refine)[0],) if self.refine else ()

    @cached_property
    def prompt_hash(self) -> str:
        names = ("comparison-captions", "comparison-images", "questions")
        settings = [self.from_images, self.with_captions, self.refine, self.seed]
        return prompts_hash(names, *settings, *(["as trained", HINT_CAPTIONS] if self.as_trained else []))

    def asked(self, each: ImageSet, images: tuple[bytes, ...], attempt: int) -> list[Asked]:
        """One question; [] for fewer than two images, and where captions or the annotation to refine are missing."""
        if each.size < 2:
            return []
        captions = labelled_captions(each)
        form = load_prompt("comparison-captions").sections["strict form" if attempt else "form"]
        names = image_names(each.size)
        if not self.from_images:
            if captions is None:
                return []
            text = load_prompt("comparison-captions").fill(
                "ask", images=f"{number_word(each.size)} images", names=names, form=form, quotes=quoted_blocks(captions)
            )
            return [Asked("", repeated((Turn("user", (text,)),), (), attempt, NEW_TOKENS))]
        prompt, given, parent = load_prompt("comparison-images"), "", None
        hints: list[tuple[str, str]] = []
        if self.refine is not None:
            parent = latest(each.annotations, *source_of(self.refine))
            said = annotation_text(parent) if parent is not None else ""
            if not said:
                return []
            hints.append(("Note", said))
            given += prompt.fill("note", quotes=quoted_blocks(hints)) + "\n\n"
        if self.with_captions:
            if captions is None:
                return []
            hints += labelled_captions(each, HINT_CAPTIONS) or []
            given += prompt.fill("captions", quotes=quoted_blocks(captions)) + "\n\n"
        if self.as_trained:
            trained = "\n" + asked_as_trained(cad_question(each, seed=self.seed), hints)
            turn = Turn("user", (*image_places(range(each.size)), trained))
            # There is no stricter wording, so the second attempt is sampled already.
            return [Asked("", repeated((turn,), images, attempt + 1 if attempt else 0, NEW_TOKENS), parent)]
        text = prompt.fill("ask", images=images_phrase(each.size), names=names, form=form, given=given)
        turn = Turn("user", (*image_places(range(each.size)), "\n" + text))
        return [Asked("", repeated((turn,), images, attempt, NEW_TOKENS), parent)]

    def parse(self, each: ImageSet, asked: Asked, text: str, cut: bool = False) -> Answer | Unparsed:
        """The comparison; content: `Comparison.to_json()`; turns: a question of the training conversation, its text."""
        found = parse_comparison(text, cut)
        if isinstance(found, Unparsed):
            return found
        if not found.commonalities and not found.differences:
            return Unparsed("both lists are empty")
        if cut and not found.differences:
            return Unparsed("the reply ends before its differences")
        question = Turn("user", (*image_places(range(each.size)), "\n" + cad_question(each, seed=self.seed)))
        return Answer((question, Turn("assistant", (found.text(),))), found.to_json())


def repeated(turns: tuple[Turn, ...], images: tuple[bytes, ...], attempt: int, new_tokens: int) -> ChatRequest:
    """A greedy request; from the third attempt on a sampled one, since the same words would give the same reply."""
    if attempt < 2:
        return ChatRequest(turns, images, new_tokens)
    return ChatRequest(turns, images, new_tokens, temperature=0.7, seed=attempt)
