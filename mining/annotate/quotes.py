"""What a set says of its images in words, as quotations for a prompt: captions, notes, summaries."""

from __future__ import annotations

from collections.abc import Sequence

from index.errors import BadInput
from mining.annotate.parse import comparison_of
from mining.sets.annotation import Annotation
from mining.sets.image_set import ImageSet, Member

__all__ = ["annotation_text", "captions_of", "image_names", "labelled_captions", "latest", "number_word", "source_of"]

_MOST_CAPTIONS = 5  # of one image
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def captions_of(member: Member) -> list[str]:
    """The distinct captions of an image, at most five, the one that the set's reasons speak of first."""
    said = [" ".join((caption or "").split()) for caption in (member.caption, *member.captions)]
    return list(dict.fromkeys(filter(None, said)))[:_MOST_CAPTIONS]


def labelled_captions(each: ImageSet, most: int = _MOST_CAPTIONS) -> list[tuple[str, str]] | None:
    """("Caption of image 1", its text) of every image, with `most` captions each; None where one has no caption."""
    said = [captions_of(member)[:most] for member in each.members]
    if not said or not all(said):
        return None
    return [
        (f"Caption{'s' if len(own) > 1 else ''} of image {number}", "\n".join(own))
        for number, own in enumerate(said, 1)
    ]


def image_names(count: int) -> str:
    """ "Image 1" and "Image 2"."""
    names = [f'"Image {number}"' for number in range(1, count + 1)]
    return " and ".join(names) if count < 3 else f"{', '.join(names[:-1])} and {names[-1]}"


def number_word(count: int) -> str:
    return _NUMBERS[count] if count < len(_NUMBERS) else str(count)


def source_of(text: str) -> tuple[str, str | None]:
    """KIND or KIND/ANNOTATOR as (kind, annotator). Raises BadInput for an empty part."""
    kind, slash, annotator = text.partition("/")
    if not kind.strip() or (slash and not annotator.strip()):
        raise BadInput(f"{text!r:.100}: write KIND or KIND/ANNOTATOR, such as difference_note or comparison/mixtral")
    return kind, annotator or None


def latest(annotations: Sequence[Annotation], kind: str, annotator: str | None) -> Annotation | None:
    """The annotation of this kind, by this annotator if one is named, that was written last; None without one."""
    found = [each for each in annotations if each.kind == kind and annotator in (None, each.annotator.name)]
    return found[-1] if found else None


def annotation_text(annotation: Annotation) -> str:
    """What an annotation says in words: its comparison, else its answers; "" where it has neither."""
    comparison = comparison_of(annotation) if annotation.kind == "comparison" else None
    if comparison is not None:
        return comparison.text()
    return "\n".join(turn.text.strip() for turn in annotation.turns if turn.role == "assistant").strip()
