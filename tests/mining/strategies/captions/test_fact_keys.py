"""Keys of captions: two captions have a key in common when they agree in all facts but the one of that key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mining.strategies.captions.fact_keys import MOST_FACTS, FactsItem, open_facts, write_facts
from mining.strategies.captions.noun_sets import RowSlice
from mining.text.axes import AXES
from tests.folders import file_times
from tests.mining.worlds import captions_context


def keys_of(folder: Path, captions: Sequence[str | None], axes: tuple[str, ...] = AXES) -> list[dict[str, int]]:
    """For each row the key of each axis that its caption states."""
    folder.mkdir(exist_ok=True)
    ctx = captions_context(folder, captions)
    write_facts(FactsItem(RowSlice(0, 0, len(captions)), axes), ctx)
    _, texts, entries = open_facts(ctx, 0)
    rows = texts["row"].to_pylist()
    found: list[dict[str, int]] = [{} for _ in captions]
    for entry in entries.to_pylist():
        found[rows[entry["caption"]]][AXES[entry["axis"]]] = entry["key"]
    return found


def test_captions_that_differ_in_one_axis_have_the_key_of_that_axis_in_common(tmp_path: Path) -> None:
    brown, black, sleeps = keys_of(
        tmp_path,
        ["A brown dog runs on the beach", "the black dog is running on a beach", "a brown dog on a beach sleeps"],
    )
    assert brown["color"] == black["color"]
    assert brown["action"] == sleeps["action"]
    assert brown["color"] != sleeps["color"]
    assert brown["action"] != black["action"]


def test_a_caption_without_the_axis_has_no_key_of_it(tmp_path: Path) -> None:
    without, with_color = keys_of(tmp_path, ["a ball on a bed", "a red ball on a bed"])
    assert "color" not in without
    assert "color" in with_color


def test_only_the_axes_asked_for_get_entries_and_keys_do_not_depend_on_them(tmp_path: Path) -> None:
    all_axes, _ = keys_of(tmp_path / "all", ["two red balls on a bed", "a dog"])
    color, _ = keys_of(tmp_path / "color", ["two red balls on a bed", "a dog"], ("color",))
    assert set(color) == {"color"}
    assert color["color"] == all_axes["color"]


def test_captions_with_no_or_too_many_facts_are_skipped(tmp_path: Path) -> None:
    endless = " and ".join(f"a red ball by a {color} box" for color in ("green", "blue") * MOST_FACTS)
    assert keys_of(tmp_path, [None, "photo", endless]) == [{}, {}, {}]


def test_entries_are_sorted_by_slot_and_a_finished_item_is_kept(tmp_path: Path) -> None:
    ctx = captions_context(tmp_path, ["a brown dog runs", "two red balls on a bed", "a cat under a table"])
    item = FactsItem(RowSlice(0, 0, 3), AXES)
    count = write_facts(item, ctx)
    begins, texts, entries = open_facts(ctx, 0)
    slots = [key >> 48 for key in entries["key"].to_pylist()]
    assert slots == sorted(slots)
    assert [int(begins[slot]) for slot in (0, slots[0], 1 << 16)] == [0, 0, count]
    assert texts["said"].to_pylist() == ["dog", "ball, bed", "cat, table"]
    written = file_times(ctx.folder)
    assert write_facts(item, ctx) == count
    assert file_times(ctx.folder) == written
