"""Reads question files: CaD-VI's evaluation records, the benchmarks' own files, LLaVA's question files.

    CaD-VI        {"image": [a, b], "text": "Image 1: <image>...", "answer": "A", "question_id": "0_1", "category"?}
    LLaVA         {"question_id", "image", "text", "category"?}, or {"image", "conversations": [question, answer]}
    NLVR2         {"sentence", "label": "True", "identifier": "dev-850-0-0", ...}
    BISON         {"data": [{"bison_id", "caption", "image_candidates": [{"image_filename", "image_id"}, ...],
                  "true_image_id"}]}
    SVO-Probes    CSV with sentence, pos_image_id, neg_image_id, subj_neg, verb_neg, obj_neg
    COLA          [[url, caption, url, caption], ...]
    EQBEN         [{"image0", "image1", "caption0", "caption1"}, ...], also with the underscores of Winoground
    SEED-Bench    {"questions": [{"question", "choice_a", ..., "answer", "data_id", "data_type", ...}], "question_type"}

What asks for an image to a caption becomes CaD-VI's question ("Which image suits the caption ..."), so that figures
compare. Where a file has the right image first, a coin by the hash of the question's id decides which is shown first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from customize.lmm.evaluate.question import Question, options_in
from customize.lmm.evaluate.seed_bench import parse_seed
from index.errors import BadInput
from index.files import exists, file_size, open_file
from mining.annotate.choice import Choice, choice_turns
from mining.annotate.prompts import drawn
from mining.sets.annotation import Turn
from mining.sets.importers.json_stream import load_json
from mining.sets.importers.llava import parse_llava, read_images
from mining.sets.importers.questions import parse_cad_eval, parse_nlvr2
from mining.sets.importers.record import (
    NamedImage,
    RecordRejected,
    id_text,
    marked_turn,
    named_image,
    pick,
    require_text,
)
from mining.sets.importers.record_files import Unread, read_records, suffix_of

__all__ = ["ReadQuestions", "read_questions"]

_LARGEST = 512 << 20  # bytes of a file that is one JSON object; SEED-Bench's has 8 MB
# CaD-VI's question about a statement of NLVR2.
_STATEMENT = (
    "There are two images, one on the left and one on the right.\nLeft image: ",
    0,
    "\nRight image: ",
    1,
    '\nIs the statement "{}" True or False?\nAnswer with "True" or "False" directly.',
)


@dataclass(frozen=True)
class ReadQuestions:
    """The questions of a file, and how many records were left out, by reason."""

    questions: tuple[Question, ...]
    skipped: Mapping[str, int] = field(default_factory=dict)


def read_questions(
    path: str, *, data_type: str | None = None, frames: int = 2, limit: int | None = None
) -> ReadQuestions:
    """Read a file of questions, of any of the forms above.

    data_type: "image" or "video" of SEED-Bench. frames: of its videos, 1 or 2. limit: the first so many questions, of
    which both rounds of a pair are two.
    Raises BadInput for a file that is missing, of another form, or without any question.
    """
    skipped: Counter[str] = Counter()
    found: list[Question] = []
    ids: Counter[str] = Counter()
    for number, record in enumerate(_records(path, data_type, frames)):
        try:
            if isinstance(record, Unread):
                raise RecordRejected(record.reason)
            parsed = _parse(record, number)
            for question in parsed:
                _require_unicode(question)
        except RecordRejected as rejected:
            skipped[rejected.reason] += 1
            continue
        for question in parsed:
            ids[question.question_id] += 1
            again = ids[question.question_id]
            found.append(question if again == 1 else replace(question, question_id=f"{question.question_id}#{again}"))
        if limit is not None and len(found) >= limit:
            break
    if not found:
        why = f" ({', '.join(f'{reason}: {count}' for reason, count in skipped.most_common(3))})" if skipped else ""
        raise BadInput(f"{path}: has no questions{why}; see docs/cad.md for the files that can be read")
    return ReadQuestions(tuple(found[:limit]), dict(skipped))


def _records(path: str, data_type: str | None, frames: int) -> Iterator[Any]:
    if not exists(path):
        raise BadInput(f"{path}: does not exist")
    if suffix_of(path) == ".json" and (whole := _one_object(path)) is not None:
        if isinstance(whole.get("questions"), list):
            yield from parse_seed(whole, data_type, frames)
        elif isinstance(whole.get("data"), list):
            yield from whole["data"]
        else:
            raise BadInput(f"{path}: is one JSON object without a list `questions` (SEED-Bench) or `data` (BISON)")
        return
    yield from read_records(path, ("image", "images"))


def _one_object(path: str) -> Mapping[str, Any] | None:
    """The object that the file is; None where it is a list or a line a record."""
    try:
        with open_file(path, "r") as stream:
            start = stream.read(4096).lstrip("\ufeff \t\r\n")
            if not start.startswith("{"):
                return None
            if file_size(path) > _LARGEST:
                raise BadInput(f"{path}: is larger than {_LARGEST >> 20} MiB, and no list of records")
            text = start + stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: cannot be read ({type(error).__name__})") from error
    try:
        whole = load_json(text.strip())
    except (ValueError, RecursionError):
        return None  # a line a record, as NLVR2's dev.json
    return whole if isinstance(whole, dict) and not {"sentence", "text", "conversations"} & set(whole) else None


def _require_unicode(question: Question) -> None:
    """Raise RecordRejected where a text has half a surrogate pair, which no tokenizer and no file takes."""
    texts = [part for part in question.turn.parts if isinstance(part, str)]
    names = [name for image in question.images for name in (image.name, *image.also) if name]
    try:
        "".join([*texts, *names, question.answer, question.question_id, question.category or ""]).encode()
    except UnicodeEncodeError as error:
        raise RecordRejected("a text that is no Unicode") from error


def _parse(record: Any, number: int) -> list[Question]:
    """The questions of a record; two for a pair of images with two captions. Raises RecordRejected."""
    if isinstance(record, Question):
        return [record]
    if isinstance(record, list) and len(record) == 4:
        left, first, right, second = (require_text(value, "an element") for value in record)
        return _two_rounds(str(number), (named_image(left), named_image(right)), (first, second), None)
    if not isinstance(record, Mapping):
        raise RecordRejected("no record of a known form")
    if {"sentence", "label", "identifier"} <= set(record):
        return [_statement(record)]
    if {"sentence", "pos_image_id", "neg_image_id"} <= set(record):
        return [_svo(record, number)]
    if "image_candidates" in record:
        return [_bison(record)]
    for line in ("", "_"):
        if {f"image{line}0", f"image{line}1", f"caption{line}0", f"caption{line}1"} <= set(record):
            return [*_winoground(record, line, number)]
    if "conversations" in record:
        return [_conversation(record, number)]
    return [_asked(record, number)]


def _asked(record: Mapping[str, Any], number: int) -> Question:
    """A record with `text`, as CaD-VI and LLaVA's scripts have them. Without markers the images stand first."""
    (text,) = pick(record, ("text",))
    value = require_text(text, "text")
    if "answer" in record and "<image>" in value:
        draft = parse_cad_eval(record)
        said = draft.said[0]
        turn, images, answer = said.turns[0], draft.images, said.turns[1].text
    else:
        images, _ = read_images(record.get("image"))
        turn = marked_turn("user", value, 0)
        if not turn.images and images:
            turn = Turn("user", (*range(len(images)), "\n" + value))
        if sorted(turn.images) != list(range(len(images))):
            raise RecordRejected("as many <image> markers as images are needed")
        answer = require_text(record.get("answer", ""), "answer")
    own = id_text(record.get("question_id"))
    category = id_text(record.get("category"))
    return Question(own or str(number), turn, tuple(images), answer.strip(), options_in(turn.text), category)


def _conversation(record: Mapping[str, Any], number: int) -> Question:
    """The first question of a LLaVA or CaD-Inst record, with its answer."""
    draft = parse_llava(record)
    turns = [turn for turn in draft.said[0].turns if turn.role != "system"]
    if len(turns) < 2 or turns[0].role != "user" or turns[1].role != "assistant":
        raise RecordRejected("no question with an answer")
    if sorted(turns[0].images) != list(range(len(draft.images))):
        raise RecordRejected("images outside the first question")
    answer, options = turns[1].text.strip(), options_in(turns[0].text)
    return Question(draft.record_id or str(number), turns[0], tuple(draft.images), answer, options)


def _statement(record: Mapping[str, Any]) -> Question:
    draft = parse_nlvr2(record)
    sentence, label = draft.said[0].turns[0].text, draft.said[0].turns[1].text
    parts = tuple(part.format(sentence) if isinstance(part, str) else part for part in _STATEMENT)
    return Question(str(draft.record_id), Turn("user", parts), tuple(draft.images), label.strip().capitalize())


def _svo(record: Mapping[str, Any], number: int) -> Question:
    sentence = require_text(record["sentence"], "sentence")
    images = [_svo_image(record[f"{side}_image_id"], record.get(f"{side}_url")) for side in ("pos", "neg")]
    names = {"subject": ("subj_neg",), "verb": ("verb_neg",), "object": ("obj_neg", "object_neg")}
    wrong = [name for name, fields in names.items() if any(_is_true(record.get(field)) for field in fields)]
    if len(wrong) != 1:
        raise RecordRejected("not one of subject, verb and object differs")
    return _pick(id_text(record.get("id")) or str(number), sentence, images, wrong[0])


def _svo_image(value: Any, url: Any) -> NamedImage:
    name = str(value).strip()
    if not name:
        raise RecordRejected("an image without a name")
    # CaD-VI's files pad the number to five digits.
    also = (f"{name.zfill(5)}.jpg", f"{name}.jpg") if name.isdigit() else ()
    return NamedImage(name, url if isinstance(url, str) else None, also)


def _bison(record: Mapping[str, Any]) -> Question:
    caption, candidates, right = pick(record, ("caption", "image_candidates", "true_image_id"))
    if not isinstance(candidates, Sequence) or len(candidates) != 2:
        raise RecordRejected("not two candidates")
    images = []
    for each in candidates:
        own = id_text(each.get("image_id")) if isinstance(each, Mapping) else None
        if own is None:
            raise RecordRejected("a candidate without an image_id")
        name = id_text(each.get("image_filename"))
        if name is None and not (own.isascii() and own.isdecimal()):
            raise RecordRejected("a candidate without an image_filename")
        images.append((own != id_text(right), NamedImage(name or f"COCO_val2014_{int(own):012d}.jpg")))
    if sum(wrong for wrong, _ in images) != 1:
        raise RecordRejected("not one candidate is the right one")
    ordered = [image for _, image in sorted(images, key=lambda each: each[0])]
    return _pick(str(record.get("bison_id")), require_text(caption, "caption"), ordered, None)


def _winoground(record: Mapping[str, Any], line: str, number: int) -> list[Question]:
    names = [require_text(record[f"image{line}{side}"], "an image") for side in (0, 1)]
    said = [record[f"caption{line}{side}"] for side in (0, 1)]
    captions = [require_text(value[0] if isinstance(value, list) and value else value, "a caption") for value in said]
    category = record.get("collapsed_tag") or record.get("tag") or names[0].split("/")[0]
    images = (named_image(names[0]), named_image(names[1]))
    return _two_rounds(id_text(record.get("id")) or str(number), images, captions, str(category))


def _two_rounds(
    own: str, images: tuple[NamedImage, NamedImage], captions: Sequence[str], category: str | None
) -> list[Question]:
    return [
        replace(_shown(f"{own}_{number}", caption, images, number, category), pair=own)
        for number, caption in enumerate(captions)
    ]


def _pick(own: str, caption: str, images: Sequence[NamedImage], category: str | None) -> Question:
    """images: the right one first."""
    place = drawn(2, "right image", own)
    ordered = (images[0], images[1]) if place == 0 else (images[1], images[0])
    return _shown(own, caption, ordered, place, category)


def _shown(own: str, caption: str, images: Iterable[NamedImage], right: int, category: str | None) -> Question:
    turn, answer = choice_turns(Choice(" ".join(caption.split()), (0, 1), right))
    return Question(own, turn, tuple(images), answer.text, options_in(turn.text), category)


def _is_true(value: Any) -> bool:
    return value is True or str(value).strip().casefold() in ("true", "1", "1.0")
