"""The rules that hold for all strategies, and that every proposal is accounted for."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from mining.select.assemble import assemble
from mining.sets.decisions import Decisions
from mining.sets.image_sets import ImageSets
from mining.strategies.context import CANDIDATES_SCHEMA, HELD_OUT, TRAIN, Candidates, MiningConfig, MiningContext
from tests.mining.worlds import mining_store
from tests.retrieval.stores import forget


def _candidates(rows: list[list[int]], levels: list[int] | None = None) -> Candidates:
    table = pa.table(
        {
            "rows": rows,
            "level": levels or [0] * len(rows),
            "reasons": [[f"reason {number}"] for number in range(len(rows))],
        }
    )
    for field in CANDIDATES_SCHEMA:
        if field.name not in table.column_names:
            table = table.append_column(field.name, pa.nulls(len(rows), field.type))
    return Candidates(table.select(CANDIDATES_SCHEMA.names).cast(CANDIDATES_SCHEMA), considered=len(rows))


def _assemble(
    store: EmbeddingStore,
    folder: Path,
    proposed: dict[str, Candidates],
    sets: int = 10,
    rejected: list[tuple[int, ...]] | None = None,
    **choices: Any,
) -> ImageSets:
    share = 1 / len(proposed)
    config = MiningConfig(
        str(store.path), str(folder / "pairs"), tuple((name, share) for name in proposed), sets=sets, **choices
    )
    refs = [tuple(sorted(f"*/{row}" for row in rows)) for rows in rejected or []]
    decisions = Decisions(dict.fromkeys(refs, "reject"))
    wanted = round(sets * share)
    return assemble(
        config, [(MiningContext(config, name, wanted, ""), each) for name, each in proposed.items()], decisions
    )


def _accounted_for(sets: ImageSets) -> None:
    for each in sets.manifest["strategies"]:
        assert each["proposed"] == each["made"] + sum(each["dropped"].values()) + each["spare"]
        assert each["made"] == sum(each["levels"].values())
    assert sum(each["made"] for each in sets.manifest["strategies"]) == sets.manifest["sets"]


def _rows(sets: ImageSets) -> list[tuple[int, ...]]:
    return [tuple(member.row_id or 0 for member in each.members) for each in sets]


def test_every_rule_takes_its_part_and_all_is_accounted_for(tmp_path: Path) -> None:
    store = mining_store(tmp_path)
    forget(store, [7])
    proposed = _candidates([[0, 1], [1, 0], [7, 8], [238, 239], [2, 3], [4, 5], [4, 6]])
    sets = _assemble(store, tmp_path, {"random": proposed}, rejected=[(2, 3)], max_per_image=1)
    assert len(sets) == 2
    assert sets.manifest["strategies"][0]["dropped"] == {
        "forgotten rows": 1,
        "rejected by a decision": 1,
        "near-duplicates": 1,
        "the same set again": 1,
        "an image in enough sets": 1,
    }
    _accounted_for(sets)


def test_a_set_that_two_strategies_propose_is_made_once(world: EmbeddingStore, tmp_path: Path) -> None:
    one = _candidates([[0, 1], [2, 3]])
    sets = _assemble(world, tmp_path, {"similar": one, "random": _candidates([[1, 0], [4, 5]])})
    assert sorted(tuple(sorted(rows)) for rows in _rows(sets)) == [(0, 1), (2, 3), (4, 5)]
    _accounted_for(sets)


def test_a_shortfall_says_how_many_and_why(world: EmbeddingStore, tmp_path: Path) -> None:
    sets = _assemble(world, tmp_path, {"random": _candidates([[0, 1], [238, 239], [238, 239]])}, sets=5)
    assert sets.manifest["shortfall"] == [
        "random: 4 of 5 sets are missing: only 3 were proposed, of which the filters dropped some (2 near-duplicates)"
    ]


def test_levels_are_in_equal_numbers(world: EmbeddingStore, tmp_path: Path) -> None:
    rows = [[number, number + 100] for number in range(100)]
    sets = _assemble(world, tmp_path, {"overlap": _candidates(rows, [1] * 80 + [2] * 20)}, sets=20)
    assert sets.manifest["strategies"][0]["levels"] == {"1": 10, "2": 10}
    assert sorted(Counter(each.level for each in list(sets)[:10]).values()) == [5, 5]


def test_only_the_levels_asked_for_and_one_that_nobody_reaches_is_named(world: EmbeddingStore, tmp_path: Path) -> None:
    rows = [[number, number + 100] for number in range(100)]
    proposed = {"overlap": _candidates(rows, [1] * 80 + [2] * 20), "random": _candidates([[5, 9]])}
    sets = _assemble(world, tmp_path, proposed, sets=20, levels=(2, 9))
    overlap, random = sets.manifest["strategies"]
    assert overlap["levels"] == {"2": 10}
    assert overlap["notes"] == ["no set at level 9, which was asked for"]
    assert overlap["dropped"] == {"levels not asked for": 80}
    assert random["made"] == 1  # a strategy without levels is not asked about them
    _accounted_for(sets)


def test_sets_have_their_similarities(world: EmbeddingStore, tmp_path: Path) -> None:
    sets = _assemble(world, tmp_path, {"identity": _candidates([[10, 4, 60], [0, 1]])}, near_duplicates=1.0)
    found = {"_".join(map(str, rows)): each for rows, each in zip(_rows(sets), sets, strict=True)}
    for modality, name in (("image", "image_sim"), ("text", "text_sim")):
        a, b, c = world.gather(modality, [10, 4, 60]).astype(np.float64)  # type: ignore[arg-type]
        assert getattr(found["10_4_60"], name) == pytest.approx((a @ b + a @ c + b @ c) / 3, abs=1e-5)
    assert found["10_4_60"].size == 3


def test_a_store_without_text_has_no_text_similarity(tmp_path: Path) -> None:
    sets = _assemble(mining_store(tmp_path, text=False), tmp_path, {"random": _candidates([[0, 1]])})
    assert next(iter(sets)).text_sim is None


def test_images_with_the_same_bytes_are_one_picture_whatever_the_limit(tmp_path: Path) -> None:
    digests = [f"{row:064x}" for row in range(240)]
    digests[239] = digests[238]
    store = mining_store(tmp_path, sha256=digests)
    sets = _assemble(store, tmp_path, {"random": _candidates([[238, 239], [0, 1]])}, near_duplicates=1.01)
    assert _rows(sets) == [(0, 1)]


def test_a_strategy_that_has_compared_the_pixels_has_a_limit_of_its_own(world: EmbeddingStore, tmp_path: Path) -> None:
    checked = replace(_candidates([[238, 239], [0, 1]]), near_duplicates=2.0)
    both = {"similar": checked, "random": _candidates([[238, 239], [2, 3]])}
    assert sorted(_rows(_assemble(world, tmp_path, both))) == [
        (0, 1), (2, 3), (238, 239),
    ]  # fmt: skip
    (tmp_path / "other").mkdir()
    only = _assemble(world, tmp_path / "other", {"random": _candidates([[238, 239], [2, 3]])})
    assert _rows(only) == [(2, 3)]


def test_any_set_of_a_larger_one_is_looked_at_for_one_picture(world: EmbeddingStore, tmp_path: Path) -> None:
    sets = _assemble(world, tmp_path, {"identity": _candidates([[0, 238, 239], [0, 1, 2]])}, near_duplicates=0.97)
    assert _rows(sets) == [(0, 1, 2)]


def test_the_order_of_proposals_plays_no_part(world: EmbeddingStore, tmp_path: Path) -> None:
    rows = [[a, b] for a in range(40) for b in range(a + 1, 40)]
    levels = [1 + (a + b) % 3 for a, b in rows]
    forth = _assemble(world, tmp_path / "a", {"overlap": _candidates(rows, levels)}, sets=50, max_per_image=3)
    back = _assemble(
        world, tmp_path / "b", {"overlap": _candidates(rows[::-1], levels[::-1])}, sets=50, max_per_image=3
    )
    assert _rows(forth) == _rows(back)


def test_the_manifest_says_what_was_asked_and_of_which_store(world: EmbeddingStore, tmp_path: Path) -> None:
    _assemble(world, tmp_path, {"random": _candidates([[0, 1]])}, seed=3)
    manifest = json.loads((tmp_path / "pairs/manifest.json").read_text())
    assert manifest["seed"] == manifest["config"]["seed"] == 3
    assert [source["rows"] for source in manifest["sources"].values()] == [240]
    assert manifest["strategies"][0]["considered"] == 1


def _sides(
    store: EmbeddingStore, folder: Path, train: list[list[int]], held: list[list[int]], wanted: int = 10, **choices: Any
) -> ImageSets:
    config = MiningConfig(str(store.path), str(folder / "pairs"), (("random", 1.0),), hold_out=0.2, **choices)
    contexts = [MiningContext(config, "random", wanted, "", split) for split in (TRAIN, HELD_OUT)]
    return assemble(config, list(zip(contexts, map(_candidates, (train, held)), strict=True)))


def test_held_out_sets_show_no_picture_of_the_training_sets(tmp_path: Path) -> None:
    store = mining_store(tmp_path)  # rows 238 and 239 are one picture
    sets = _sides(store, tmp_path, [[0, 238], [1, 2]], [[3, 239], [4, 5], [6, 7]])
    assert {(each.split, rows) for each, rows in zip(sets, _rows(sets), strict=True)} == {
        ("train", (0, 238)), ("train", (1, 2)), ("held-out", (4, 5)), ("held-out", (6, 7)),
    }  # fmt: skip
    train, held = sets.manifest["strategies"]
    assert (train["split"], held["split"]) == ("train", "held-out")
    assert held["dropped"] == {"with a picture of the training sets": 1}
    assert train["dropped"] == {}
    _accounted_for(sets)


def test_only_pictures_that_training_sets_use_count_against_held_out_ones(tmp_path: Path) -> None:
    store = mining_store(tmp_path)
    forget(store, [0])  # so the training set with row 238 is not made, and its copy, row 239, may be held out
    sets = _sides(store, tmp_path, [[0, 238], [1, 2]], [[3, 239]])
    assert sorted(_rows(sets)) == [(1, 2), (3, 239)]


def test_a_hold_out_that_leaves_nothing_is_an_error_and_nothing_is_written(
    world: EmbeddingStore, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=r"--hold-out 0\.2 leaves no held-out set \(random \(held-out\): 10 of 10 sets"):
        _sides(world, tmp_path, [[0, 1]], [[0, 2]])
    with pytest.raises(BadInput, match="leaves no training set"):
        _sides(world, tmp_path, [], [[0, 2]])
    assert not (tmp_path / "pairs").exists()


def test_a_difficulty_outside_0_to_1_is_an_error_of_the_strategy(tmp_path: Path) -> None:
    store = mining_store(tmp_path, rows=12)
    good = _candidates([[0, 1], [2, 3]])
    place = CANDIDATES_SCHEMA.get_field_index("difficulty")
    for wrong in (1.25, -0.1, float("nan")):
        column = pa.array([0.5, wrong], pa.float32())
        bad = replace(good, table=good.table.set_column(place, CANDIDATES_SCHEMA.field(place), column))
        with pytest.raises(ValueError, match="the strategy identity gave the difficulty"):
            _assemble(store, tmp_path, {"identity": bad})
    assert not (tmp_path / "pairs").exists()


@pytest.mark.parametrize(
    ("count", "said"),
    [(1, "1 rejected set of the decisions file belongs"), (2, "2 rejected sets of the decisions file belong")],
)
def test_rejected_sets_of_other_stores_are_counted(tmp_path: Path, count: int, said: str) -> None:
    store = mining_store(tmp_path, rows=12)
    decisions = Decisions({(f"other/{each}", f"other/{each + 1}"): "reject" for each in range(count)})
    config = MiningConfig(str(store.path), str(tmp_path / "pairs"), (("random", 1.0),), sets=1)
    proposed = [(MiningContext(config, "random", 1, ""), _candidates([[0, 1]]))]
    assert assemble(config, proposed, decisions).manifest["notes"] == [f"{said} to other stores or collections"]


def test_rows_of_one_picture_count_as_one_image(tmp_path: Path) -> None:
    # A row a caption: rows 0, 10, 20, ... show one picture, 1, 11, 21, ... the next.
    store = mining_store(tmp_path, 40, sha256=[f"{row % 10:064x}" for row in range(40)])
    pairs = [[0, 1], [10, 11], [21, 0], [31, 30], [0, 2], [12, 10], [0, 3], [20, 4], [30, 5], [6, 7], [16, 18]]
    sets = _assemble(store, tmp_path, {"random": _candidates(pairs)}, sets=11, max_per_image=3, near_duplicates=1.01)
    made = [tuple(sorted(row % 10 for row in rows)) for rows in _rows(sets)]
    assert len(set(made)) == len(made)
    assert max(Counter(picture for pair in made for picture in pair).values()) <= 3
    (summary,) = sets.manifest["strategies"]
    assert summary["dropped"]["the same set again"] == 4
    assert summary["dropped"]["an image in enough sets"] == 2
    assert "show the picture of another row; they count as one image" in " ".join(sets.manifest["notes"])
    _accounted_for(sets)


def test_a_rejected_pair_of_pictures_does_not_come_back_by_other_rows(tmp_path: Path) -> None:
    store = mining_store(tmp_path, 40, sha256=[f"{row % 10:064x}" for row in range(40)])
    proposed = {"random": _candidates([[10, 11], [2, 3]])}
    sets = _assemble(store, tmp_path, proposed, rejected=[(20, 31)], near_duplicates=1.01)
    assert _rows(sets) == [(2, 3)]
    assert sets.manifest["strategies"][0]["dropped"] == {"rejected by a decision": 1}
