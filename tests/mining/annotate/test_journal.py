"""The journal: each decided set is in one part, whatever ended a run and when."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from index.errors import BadInput
from mining.annotate.journal import REJECTED, Journal
from mining.sets.annotation import Annotation, Annotator
from mining.sets.image_sets import ImageSets
from tests.mining.annotate.asking import said_of
from tests.mining.made_sets import annotation, many_pairs, texts_of, write_sets

COUNT = 12


@pytest.fixture
def pairs(tmp_path: Path) -> ImageSets:
    return write_sets(tmp_path, many_pairs(12, COUNT))


def journal(pairs: ImageSets, part_sets: int = 5) -> Journal:
    return Journal(ImageSets.open(pairs.path), Path(pairs.path) / "annotations/name.run", "name", part_sets)


def fill(pairs: ImageSets, kept: Journal, first: int, last: int) -> None:
    for number in range(first, last):
        set_id = pairs[number].set_id
        kept.add(set_id, [annotation(set_id, f"{number}: {text}") for text in range(1 + number % 2)])


def part_names(pairs: ImageSets) -> list[str]:
    return [name for name, _ in ImageSets.open(pairs.path).annotations.parts]


def whole(pairs: ImageSets, count: int = COUNT) -> bool:
    """Whether the folder has exactly what `fill` wrote for the first sets."""
    found = said_of(pairs, "comparison")
    wanted = {pairs[number].set_id: [f"{number}: {text}" for text in range(1 + number % 2)] for number in range(count)}
    return found == wanted


def test_parts_are_cut_on_the_way_and_at_the_end(pairs: ImageSets) -> None:
    kept = journal(pairs)
    fill(pairs, kept, 0, COUNT)
    assert part_names(pairs) == ["name_000000", "name_000005"]
    assert kept.waiting == 2
    kept.write_parts()
    kept.write_parts()
    assert part_names(pairs) == ["name_000000", "name_000005", "name_000010"]
    assert kept.parts == 3
    kept.close()
    assert whole(pairs)


@pytest.mark.parametrize("ends", [(3, 12), (5, 12), (7, 8, 9, 12), tuple(range(1, 13))])
@pytest.mark.parametrize("killed", [False, True])
def test_a_run_goes_on_where_another_ended_or_was_killed(pairs: ImageSets, ends: tuple[int, ...], killed: bool) -> None:
    begun = 0
    for end in ends:
        kept = journal(pairs)
        assert set(kept.decided) == {pairs[number].set_id for number in range(begun)}
        fill(pairs, kept, begun, end)
        if not killed or end == COUNT:
            kept.write_parts()
        kept.close()
        if killed:
            with open(kept.path, "ab") as stream:
                stream.write(b'{"set_id": "half')
        begun = end
    assert whole(pairs)


def test_a_part_that_was_deleted_or_lacks_its_marker_is_written_again(pairs: ImageSets) -> None:
    kept = journal(pairs)
    fill(pairs, kept, 0, COUNT)
    kept.write_parts()
    kept.close()
    folder = Path(pairs.path) / "annotations"
    (folder / "name_000005.json").unlink()
    (folder / "name_000000.json").unlink()
    (folder / "name_000000.parquet").unlink()
    kept = journal(pairs)
    assert kept.waiting == 10
    kept.write_parts()
    kept.close()
    assert whole(pairs)
    assert part_names(pairs) == ["name_000000", "name_000005", "name_000010"]


@pytest.mark.parametrize("lost", ["all", "last"])
def test_parts_that_do_not_belong_to_the_journal_are_an_error(pairs: ImageSets, lost: str) -> None:
    kept = journal(pairs)
    fill(pairs, kept, 0, COUNT)
    kept.write_parts()
    kept.close()
    lines = kept.path.read_bytes().splitlines(keepends=True)
    kept.path.write_bytes(b"" if lost == "all" else b"".join(lines[:11]))
    with pytest.raises(BadInput, match="does not fit the journal"):
        journal(pairs)


def test_parts_of_other_names_do_not_matter(pairs: ImageSets) -> None:
    pairs.add_annotations([annotation(pairs[0].set_id, "other")], "name_5")
    pairs.add_annotations([annotation(pairs[0].set_id, "more")], "other_000000")
    kept = journal(pairs)
    fill(pairs, kept, 1, 3)
    kept.write_parts()
    kept.close()
    assert texts_of(ImageSets.open(pairs.path).with_annotations()[1]) == ["1: 0", "1: 1"]


def test_rejected_answers_are_counted_by_their_reasons_and_their_set_is_not_annotated(pairs: ImageSets) -> None:
    kept = journal(pairs)
    content = {"kind": "comparison", "reason": "no list", "text": "Hm.", "attempts": 3}
    set_id = pairs[0].set_id
    kept.add(set_id, [Annotation.make(set_id, REJECTED, Annotator("model"), (), content)])
    kept.close()
    again = journal(pairs)
    assert again.decided == {set_id: False}
    assert again.kinds == {REJECTED: 1}
    assert again.reasons == {"no list": 1}
    again.close()


def test_a_damaged_line_is_named(pairs: ImageSets) -> None:
    kept = journal(pairs)
    fill(pairs, kept, 0, 2)
    kept.close()
    line = kept.path.read_bytes().splitlines()[0]
    kept.path.write_bytes(line + b"\n" + json.dumps(["no set"]).encode() + b"\n")
    with pytest.raises(BadInput, match=r"journal\.jsonl, line 2: is not a decided set"):
        journal(pairs)
