"""Writes held-out pairs of scenes in the formats of BISON, SVO-Probes, NLVR2, EQBEN, COLA and CaD-QA.

    python -m scenes.held_out.pair_tasks --out DIR        # then: clipmine evaluate MODEL --task bison --data DIR

    DIR/BISON.jsonl, SVO_Probes.jsonl, NLVR2.jsonl, EQBEN.jsonl, COLA.jsonl, CaD_QA_eval.jsonl   as CaD-VI has them
    DIR/CaD_summaries.jsonl       all true commonalities and differences of pairs, as CaD-Inst writes them
    DIR/pairs.jsonl               the same pairs with both scenes' truth, and each item with its axis and facts
    DIR/FOLDER/NUMBER/image0.jpg, image1.jpg

    DIR/pair_tasks.json           the numbers of this call; written last

Images are of the test split of the easy world; see `scenes.held_out.pairs`.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from scenes.comparing.compare import Commonality, Difference, compare
from scenes.drawing.render import render
from scenes.held_out.claims import Claim
from scenes.held_out.pair_questions import pair_questions, statements
from scenes.held_out.pairs import Claimed, alike, captioned, edited, exchanged_colors, one_change, triplets
from scenes.tars import encode_jpeg
from scenes.world.scene import Scene, to_json
from scenes.world.seeded_random import rng_of

__all__ = ["FILES", "PAIRS", "main", "pair_truth", "write_pair_tasks"]

FILES = {
    "bison": "BISON.jsonl",
    "svo": "SVO_Probes.jsonl",
    "nlvr2": "NLVR2.jsonl",
    "eqben": "EQBEN.jsonl",
    "cola": "COLA.jsonl",
    "cad-qa": "CaD_QA_eval.jsonl",
    "cad-summaries": "CaD_summaries.jsonl",
}
PAIRS = "pairs.jsonl"
_DONE = "pair_tasks.json"
# Scenes of the tasks begin apart, so that they share none.
_FIRST = {"bison": 0, "nlvr2": 100_000, "cola": 200_000, "eqben": 300_000, "cad-qa": 400_000, "pairs": 500_000}
_SVO = 600_000
_SHOWN = "Image 1: <image>\nImage 2: <image>\n"
_LETTER = "A. Image 1\nB. Image 2\nAnswer with the option's letter from the given choices directly."
_SUMMARY = (
    "List what the two images have in common and how they differ: object types, attributes, counts, actions, "
    "locations and relative positions."
)
Record = dict[str, Any]


def write_pair_tasks(out: str | Path, pairs: int = 150, *, size: int = 96) -> list[Path]:
    """Write the files of all tasks, with `pairs` pairs each, into the folder `out`; returns the paths of the files.

    size: of the images, in pixels. Deterministic. SVO-Probes has a third of the pairs for each of subject, verb and
    object. A folder with these numbers in pair_tasks.json is complete and left as it is.
    """
    folder = Path(out)
    paths = [*(folder / name for name in FILES.values()), folder / PAIRS]
    done, about = folder / _DONE, {"pairs": pairs, "size": size}
    if done.exists() and json.loads(done.read_text()) == about:
        return paths
    done.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    draw = _Images(folder, size)
    makers: dict[str, Callable[[_Images, int], Iterator[Record]]] = {
        "bison": _bison,
        "svo": _svo,
        "nlvr2": _nlvr2,
        "eqben": _eqben,
        "cola": _cola,
        "cad-qa": _cad_qa,
    }
    for name, make in makers.items():
        _write(folder / FILES[name], make(draw, pairs))
    truths = list(_truths(draw, pairs))
    _write(folder / FILES["cad-summaries"], map(_summary, truths))
    _write(folder / PAIRS, truths)
    done.write_text(json.dumps(about) + "\n")
    return paths


def pair_truth(first: Scene, second: Scene) -> Record:
    """What is true of two scenes as JSON data: {"scenes": [...], "commonalities": [...], "differences": [...]}.

    An item has its `axis` (CaD-VI's six), `text`, and the `facts` that it states about each scene; a difference also
    has `change`, the edit that makes it, and `amount`.
    """
    found = compare(first, second)
    return {
        "scenes": [json.loads(to_json(scene)) for scene in (first, second)],
        "commonalities": [_item(each) for each in found.commonalities],
        "differences": [{**_item(each), "change": each.change, "amount": each.amount} for each in found.differences],
        "text": found.text(),
    }


def _item(each: Commonality | Difference) -> Record:
    facts = [[list(fact) for fact in facts] for facts in (each.facts_a, each.facts_b)]
    return {"axis": each.axis, "text": each.text, "facts": facts}


@dataclasses.dataclass(frozen=True)
class _Images:
    """Draws pairs of scenes into the folder."""

    folder: Path
    size: int

    def pair(self, name: str, scenes: Iterable[Scene]) -> list[str]:
        """Draw scenes as NAME/image0.jpg, NAME/image1.jpg; returns the names."""
        names = []
        for number, scene in enumerate(scenes):
            names.append(f"{name}/image{number}.jpg")
            path = self.folder / names[-1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_jpeg(render(scene, self.size).image))
        return names


def _write(path: Path, records: Iterable[Record]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    partial.replace(path)


def _choice(images: Sequence[str], claim: Claim, right: int, own: str | int) -> Record:
    text = f'{_SHOWN}Which image suits the caption "{claim.text()}" better?\n{_LETTER}'
    return {"image": list(images), "text": text, "answer": "AB"[right], "question_id": own}


def _one_round(draw: _Images, folder: str, own: int, pair: Claimed) -> Record:
    """A question with the caption of one image, which a fair coin shows first or second."""
    right = int(rng_of("order", folder, pair.first.id, pair.second.id).random() < 0.5)
    scenes = (pair.second, pair.first) if right else (pair.first, pair.second)
    record = _choice(draw.pair(f"{folder}/{own:05d}", scenes), pair.caption, right, own)
    return record if pair.category is None else {**record, "category": pair.category}


def _two_rounds(draw: _Images, folder: str, own: int, pair: Claimed) -> Iterator[Record]:
    images = draw.pair(f"{folder}/{own:05d}", (pair.first, pair.second))
    for number, claim in enumerate((pair.caption, pair.other)):
        if claim is not None:
            yield _choice(images, claim, number, f"{own}_{number}")


def _bison(draw: _Images, count: int) -> Iterator[Record]:
    for own, pair in enumerate(itertools.islice(captioned(_FIRST["bison"]), count)):
        yield _one_round(draw, "bison", own, pair)


def _svo(draw: _Images, count: int) -> Iterator[Record]:
    found = triplets(-(-count // 3), _SVO)
    for own, pair in enumerate([pair for pairs in found.values() for pair in pairs][:count]):
        yield _one_round(draw, "svo", own, pair)


def _nlvr2(draw: _Images, count: int) -> Iterator[Record]:
    """A true and a false statement for every second pair each, so that half of all are true."""
    shown = "There are two images, one on the left and one on the right.\nLeft image: <image>\nRight image: <image>\n"
    asked = 'Is the statement "{}" True or False?\nAnswer with "True" or "False" directly.'
    own = 0
    for left, right in alike(_FIRST["nlvr2"]):
        both = statements(left, right)
        if both is None:
            continue
        said = both[own % 2]
        images = draw.pair(f"nlvr2/{own:05d}", (left, right))
        text = shown + asked.format(said.text)
        yield {"image": images, "text": text, "answer": str(said.truth), "question_id": own}
        own += 1
        if own == count:
            return


def _eqben(draw: _Images, count: int) -> Iterator[Record]:
    """The first folder of an image is its category, as EQBEN's five sub-sets are."""
    for own, pair in enumerate(itertools.islice(one_change(_FIRST["eqben"]), count)):
        yield from _two_rounds(draw, (pair.category or "").replace(" ", "-"), own, pair)


def _cola(draw: _Images, count: int) -> Iterator[Record]:
    for own, pair in enumerate(itertools.islice(exchanged_colors(_FIRST["cola"]), count)):
        yield from _two_rounds(draw, "cola", own, pair)


def _cad_qa(draw: _Images, count: int) -> Iterator[Record]:
    """One question a pair, drawn from all that have a clear answer; kinds are drawn first, so that none prevails."""
    own = 0
    for first, second in _mixed(_FIRST["cad-qa"]):
        asked = pair_questions(first, second)
        kinds = sorted({each.kind for each in asked})
        if not kinds:
            continue
        rng = rng_of("cad-qa", first.id, second.id)
        kind = kinds[int(rng.random() * len(kinds))]
        question = next(each for each in asked if each.kind == kind)
        images = draw.pair(f"cad-qa/{own:05d}", (first, second))
        record = {"image": images, "text": _SHOWN + question.question, "answer": question.answer}
        yield {**record, "question_id": f"{own:05d}", "category": question.kind}
        own += 1
        if own == count:
            return


def _mixed(first: int) -> Iterator[tuple[Scene, Scene]]:
    """Pairs of different scenes that are alike, and scenes with their edits, in turn."""
    for different, changed in zip(alike(first), edited(first + 50_000), strict=False):
        yield different
        yield changed


def _truths(draw: _Images, count: int) -> Iterator[Record]:
    for own, (first, second) in enumerate(itertools.islice(_mixed(_FIRST["pairs"]), count)):
        kind = "edited" if "~" in first.id + second.id else "different"
        images = draw.pair(f"pairs/{own:05d}", (first, second))
        yield {"pair": f"{own:05d}", "kind": kind, "image": images, **pair_truth(first, second)}


def _summary(truth: Record) -> Record:
    return {
        "image": truth["image"],
        "text": _SHOWN + _SUMMARY,
        "answer": truth["text"],
        "question_id": truth["pair"],
        "category": truth["kind"],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line with these arguments, or with the process's."""
    parser = argparse.ArgumentParser(description="Write held-out pairs in the formats of the benchmarks of pairs.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the questions and images")
    parser.add_argument("--pairs", type=int, default=150, help="pairs of each task (default: 150)")
    parser.add_argument("--size", type=int, default=96, help="pixels of an image's side (default: 96)")
    given = parser.parse_args(arguments)
    print(*write_pair_tasks(given.out, given.pairs, size=given.size), sep="\n")


if __name__ == "__main__":
    main()
