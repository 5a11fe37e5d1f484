"""Pairs that differ in one axis: on hand-made captions exactly those, on the scenes world as its truth has it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from index.errors import BadInput
from mining.strategies import attribute as attribute_module
from mining.strategies.attribute import attribute
from mining.strategies.context import Candidates, MiningContext, in_process
from mining.text.axes import AXES
from scenes.comparing.compare import compare
from scenes.language.captions import captions as scene_captions
from scenes.world.sample import sample
from tests.folders import file_times
from tests.mining.worlds import captions_context

CAPTIONS = [
    "A brown dog runs on the beach",
    "the black dog is running on a beach",
    "a brown dog on a beach sleeps",
    "a brown dog runs in the snow",
    "two brown dogs run on the beach",
    "a dog runs on the beach",
    "a brown cat runs on the beach",
    "a black and brown dog runs on the beach",
]
# compare's changes that an axis may show as.
CHANGES = {
    "color": {"hue", "saturation", "lightness"},
    "count": {"count"},
    "place": {"place"},
    "action": {"pose"},
    "size": {"size", "part_scale"},
    "light": {"light"},
}


def mine_attribute(ctx: MiningContext) -> Candidates:
    return attribute(ctx, in_process(ctx))


def test_exactly_the_captions_that_differ_in_one_axis_are_paired(tmp_path: Path) -> None:
    table = mine_attribute(captions_context(tmp_path, CAPTIONS, sets=100)).table
    found = {(tuple(row["rows"]), row["axis"]) for row in table.to_pylist()}
    assert found == {((0, 1), "color"), ((0, 2), "action"), ((0, 3), "place"), ((0, 4), "count")}
    reasons = dict(zip(map(tuple, table["rows"].to_pylist()), table["reasons"].to_pylist(), strict=True))
    assert reasons[0, 1] == ["color of the dog: brown / black; all else agrees: dog, beach"]
    assert reasons[0, 3] == ["place: beach / snow; all else agrees: dog"]
    assert set(table["level"].to_pylist()) == {1}


def test_a_caption_that_leaves_the_axis_out_does_not_differ_in_it(tmp_path: Path) -> None:
    table = mine_attribute(
        captions_context(tmp_path, ["a red ball on a bed", "a ball on a bed", "a big ball on a bed"])
    ).table
    assert table.num_rows == 0


def test_named_axes_restrict_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    ctx = captions_context(tmp_path, CAPTIONS, axes=("color",))
    assert set(mine_attribute(ctx).table["axis"].to_pylist()) == {"color"}
    (tmp_path / "other").mkdir()
    with pytest.raises(BadInput, match=f"unknown axis 'smell': choose from {', '.join(AXES)}"):
        mine_attribute(captions_context(tmp_path / "other", CAPTIONS, axes=("smell",)))


def test_on_the_scenes_nineteen_pairs_in_twenty_truly_differ_so(tmp_path: Path) -> None:
    scenes = [sample("corpus", number) for number in range(300)]
    texts = [list(scene_captions(scene).clean) for scene in scenes]
    ctx = captions_context(tmp_path, [each[-1] for each in texts], lists=texts, which="all", sets=1_000)
    right, pairs = 0, Counter[str]()
    for row in mine_attribute(ctx).table.to_pylist():
        if row["axis"] in CHANGES and not {"animal", "person"} & set(row["reasons"][0].split()):
            pairs[row["axis"]] += 1
            changes = {each.change for each in compare(*(scenes[place] for place in row["rows"])).differences}
            right += bool(changes & CHANGES[row["axis"]])
    assert pairs.total() > 40
    assert len(pairs) >= 3
    assert right >= 0.95 * pairs.total()


def test_a_list_is_never_compared_all_with_all(tmp_path: Path) -> None:
    colors = ("red", "green", "blue", "white")
    captions = [f"a {colors[row % 4]} kite in the sky, number {row}" for row in range(600)]
    mined = mine_attribute(captions_context(tmp_path, captions, sets=10_000))
    assert 600 < mined.table.num_rows <= 600 * attribute_module.PARTNERS
    assert mined.considered <= mined.measured["stated_slots"] * attribute_module.PARTNERS


def test_one_text_on_many_images_counts_once(tmp_path: Path) -> None:
    table = mine_attribute(
        captions_context(tmp_path, ["a red shoe on a box"] * 50 + ["A blue shoe on a box"] * 50)
    ).table
    assert table.num_rows == 1


@pytest.mark.parametrize("caption", [None, "", "一只狗", "a dog " * 10_000])
def test_captions_that_say_nothing_or_too_much_give_nothing(tmp_path: Path, caption: str | None) -> None:
    assert mine_attribute(captions_context(tmp_path, [caption] * 10)).table.num_rows == 0


def test_done_items_are_not_done_again_and_give_the_same(tmp_path: Path) -> None:
    ctx = captions_context(tmp_path, CAPTIONS, sets=100)
    first = mine_attribute(ctx)
    written = file_times(ctx.folder)
    assert mine_attribute(ctx).table == first.table
    assert file_times(ctx.folder) == written
