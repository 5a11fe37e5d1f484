"""Look-alikes that differ in one attribute: exactly those of hand-made stores, on drawn scenes as the truth has it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.errors import BadInput
from mining.strategies.attribute import _reason, attribute
from mining.strategies.context import Candidates, MiningConfig, MiningContext, in_process
from mining.text.axes import AXES
from scenes.comparing.axes import LOCAL_AXES
from scenes.comparing.compare import compare
from scenes.comparing.edit import edit
from scenes.language.captions import captions as scene_captions
from scenes.world.sample import sample
from scenes.world.scene import Scene, to_json
from tests.folders import file_times
from tests.mining.made_sets import write_test_selection
from tests.retrieval.stores import make_store, unit

CAPTIONS = [
    "A brown dog runs on the beach",
    "the black dog is running on a beach",
    "a brown dog on a beach sleeps",
    "two brown dogs run on the beach",
    "a brown cat runs on the beach",
    "a black and brown dog runs on the beach",
    "click to enlarge",
    "a white dog runs on the beach",  # on an image that is not alike
]


def alike(rows: int, apart: Sequence[int] = ()) -> Any:
    """Image vectors of look-alikes, the earlier rows the more alike; the rows `apart` are like no other.

    Rows i and j have the cosine w_i w_j, and w falls from 0.95 to 0.85.
    """
    weights = np.linspace(0.95, 0.85, rows)
    weights[list(apart)] = 0.1
    return unit(np.column_stack([weights, np.diag(np.sqrt(1 - weights**2))]))


def context(folder: Path, texts: Sequence[str | None], vectors: Any = None, **choices: Any) -> MiningContext:
    columns: dict[str, Any] = {name: choices.pop(name) for name in ("lists", "extra") if name in choices}
    columns["captions"] = columns.pop("lists", [[each] for each in texts])
    which = choices.pop("which", "caption")
    make_store(folder, alike(len(texts)) if vectors is None else vectors, caption=texts, **columns)
    strategies = (("attribute", 1.0),)
    config = MiningConfig(str(folder / "store"), str(folder / "out"), strategies, captions=which, **choices)
    return MiningContext(config, "attribute", config.sets, str(folder / "work"))


def mine(ctx: MiningContext) -> Candidates:
    return attribute(ctx, in_process(ctx))


def differing(found: Candidates) -> set[tuple[tuple[int, ...], str]]:
    return {(tuple(row["rows"]), row["axis"]) for row in found.table.to_pylist()}


def test_look_alikes_that_differ_in_one_attribute_of_the_subject_are_paired(tmp_path: Path) -> None:
    found = mine(context(tmp_path, CAPTIONS, alike(8, apart=[7]), sets=100))
    assert differing(found) == {((0, 1), "color"), ((0, 2), "action"), ((0, 3), "count")}
    rows = {tuple(row["rows"]): row for row in found.table.to_pylist()}
    assert rows[0, 1]["member_captions"] == CAPTIONS[:2]
    assert rows[0, 1]["reasons"][0] == "color of the dog: brown / black; 5 other facts agree"
    assert rows[0, 3]["reasons"][0].startswith("count of the dog: a / two (the second: more)")
    assert rows[0, 1]["difficulty"] == pytest.approx(rows[0, 1]["level"] / 5)
    assert rows[0, 1]["level"] > rows[0, 3]["level"]  # the more alike, the subtler
    assert json.loads(rows[0, 1]["extra"])["difference"]["owner"] == "dog"


def test_what_is_looked_at_adds_up(tmp_path: Path) -> None:
    found = mine(context(tmp_path, CAPTIONS, sets=100))
    assert found.considered == 8 * 7  # each row with all others
    assert found.dropped["found twice"] == 8 * 7 // 2
    assert found.considered == found.table.num_rows + sum(found.dropped.values())


def test_one_fact_of_one_image_only_is_said_in_the_singular() -> None:
    stated = {"axis": "color", "owner": "dog", "one": "brown", "other": "black", "degree": None, "agree": 1}
    assert _reason(stated | {"unstated": 1}).endswith("1 other fact agrees, 1 is stated of one image only")
    assert _reason(stated | {"unstated": 2}).endswith("1 other fact agrees, 2 are stated of one image only")


def test_named_axes_restrict_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    assert {axis for _, axis in differing(mine(context(tmp_path, CAPTIONS, axes=("color",))))} <= {"color"}
    (tmp_path / "other").mkdir()
    with pytest.raises(BadInput, match=f"unknown axis 'smell': choose from {', '.join(AXES)}"):
        mine(context(tmp_path / "other", CAPTIONS, axes=("smell",)))


def test_the_truth_of_edits_gives_pairs_that_differ_in_nothing_else(tmp_path: Path) -> None:
    scenes: list[Scene] = []
    vectors: list[Any] = []
    for number in range(24):
        original = sample("corpus", number)
        scenes.append(original)
        for axis in (LOCAL_AXES[number % len(LOCAL_AXES)], "lightness"):
            try:
                scenes.append(edit(original, axis, seed=number))
            except ValueError:
                continue
        more = alike(3)[: len(scenes) - len(vectors)]  # an original and its edits are look-alikes
        vectors += [np.pad(each, (4 * number, 4 * (23 - number))) for each in more]
    extra = [json.dumps({"truth": json.loads(to_json(scene))}) for scene in scenes]
    facts = ("truth.objects", "truth.place", "truth.light", "truth.view")
    found = mine(context(tmp_path, ["a picture"] * len(scenes), np.array(vectors), extra=extra, facts=facts, sets=200))
    assert found.table.num_rows > 20
    degrees = set()
    for row in found.table.to_pylist():
        one, other = (scenes[place] for place in row["rows"])
        assert len(compare(one, other).differences) == 1
        degrees.add(json.loads(row["extra"])["difference"].get("degree"))
    assert {"lighter", "darker"} & degrees


def test_on_the_scenes_nearly_all_pairs_truly_differ_so(tmp_path: Path) -> None:
    changes = {
        "color": {"hue", "saturation", "lightness"}, "count": {"count"}, "place": {"place"}, "action": {"pose"},
        "size": {"size", "part_scale"}, "light": {"light"}, "view": {"view"},
    }  # fmt: skip
    scenes = [sample("corpus", number) for number in range(150)]
    texts = [list(scene_captions(scene).clean) for scene in scenes]
    ctx = context(tmp_path, [each[-1] for each in texts], lists=texts, which="all", sets=1_000)
    right = pairs = 0
    for row in mine(ctx).table.to_pylist():
        if row["axis"] in changes and not {"animal", "person"} & set(row["reasons"][0].split()):
            pairs += 1
            found = {each.change for each in compare(*(scenes[place] for place in row["rows"])).differences}
            right += bool(found & changes[row["axis"]])
    assert pairs > 20
    assert right >= 0.8 * pairs  # their vectors are not those of their images


def test_with_a_selection_both_images_are_of_one_concept(tmp_path: Path) -> None:
    ctx = context(tmp_path, ["a red shoe on a box", "a blue shoe on a box"] * 10)
    store = ctx.open_store()
    selection = write_test_selection(store, tmp_path / "selection", {"shoe": range(10), "box": range(10, 20)})
    (tmp_path / "again").mkdir()
    config = MiningConfig(ctx.config.store, ctx.config.out, ctx.config.strategies, selection=selection)
    table = mine(MiningContext(config, "attribute", 20, str(tmp_path / "again"))).table
    assert table.num_rows
    for row in table.to_pylist():
        assert row["concept"] == ("shoe" if row["rows"][0] < 10 else "box")
        assert (row["rows"][0] < 10) == (row["rows"][1] < 10)


@pytest.mark.parametrize("caption", [None, "", "一只狗", "a dog " * 10_000])
def test_captions_that_say_nothing_or_too_much_give_nothing(tmp_path: Path, caption: str | None) -> None:
    assert mine(context(tmp_path, [caption] * 10)).table.num_rows == 0


def test_done_items_are_not_done_again_and_give_the_same(tmp_path: Path) -> None:
    ctx = context(tmp_path, CAPTIONS, sets=100)
    first = mine(ctx)
    written = {name: time for name, time in file_times(ctx.folder).items() if not name.endswith(".npy")}
    assert mine(ctx).table == first.table
    assert {name: time for name, time in file_times(ctx.folder).items() if not name.endswith(".npy")} == written
