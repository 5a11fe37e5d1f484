from __future__ import annotations

import json
import pickle
from pathlib import Path

import jsonschema
import pytest

import mining
from index.errors import BadInput, StoreInvalid
from mining import ImageSets, PairSet, export
from mining.sets.decisions import Decisions
from tests.mining.made_sets import many_pairs, write_sets
from tests.retrieval.stores import make_store, random_unit

SCHEMA = json.loads((Path(__file__).parents[3] / "docs/image-sets.schema.json").read_text())


@pytest.fixture
def sets(tmp_path: Path) -> ImageSets:
    return write_sets(
        tmp_path,
        [[0, 1], [2, 3], [4, 5], [8, 7, 6]],
        strategy=["overlap", "overlap", "similar", "identity"],
        level=[4, 6, 1, 1],
        image_sim=[0.2, 0.4, 0.8, None],
        text_sim=[0.9, None, 0.5, None],
        shared_nouns=[["dog", "ball", "tree", "man"], ["dog", "cat"], [], []],
        concept=[None, "dog", "cat", None],
        entity=[None, None, None, "Lionel"],
    )


def ids(sets: ImageSets) -> list[str]:
    return [each.set_id for each in sets]


def test_what_is_exported_is_there() -> None:
    assert all(hasattr(mining, name) for name in mining.__all__)


def test_a_set_comes_back_with_its_members_in_their_order(sets: ImageSets) -> None:
    assert len(sets) == 4
    story = sets[3]
    assert (story.set_id, story.rows, story.size) == ("8_7_6", (8, 7, 6), 3)
    assert [member.position for member in story.members] == [0, 1, 2]
    assert story.captions == ("caption 8", "caption 7", "caption 6")
    assert [member.key for member in story.members] == ["k0008", "k0007", "k0006"]
    assert {member.entity for member in story.members} == {"Lionel"}
    first = sets[0]
    assert (first.strategy, first.level, first.image_sim, first.text_sim) == ("overlap", 4, 0.2, 0.9)
    assert first.shared_nouns == ("dog", "ball", "tree", "man")
    assert first.reasons == ("drawn by chance",)


def test_iteration_keeps_the_order_of_the_view(sets: ImageSets) -> None:
    assert ids(sets) == ["0_1", "2_3", "4_5", "8_7_6"]
    assert ids(sets[::-1]) == ["8_7_6", "4_5", "2_3", "0_1"]
    assert sets[-1].set_id == "8_7_6"
    with pytest.raises(IndexError):
        sets[4]


def test_filters_are_joined_by_and(sets: ImageSets) -> None:
    assert ids(sets.filter(strategy="overlap")) == ["0_1", "2_3"]
    assert ids(sets.filter(strategy=["overlap", "similar"], level=[1, 6])) == ["2_3", "4_5"]
    assert ids(sets.filter(strategy="overlap", min_level=5)) == ["2_3"]
    assert ids(sets.filter(max_level=4, size=2)) == ["0_1", "4_5"]
    assert ids(sets.filter(shared_nouns="dog")) == ["0_1", "2_3"]
    assert ids(sets.filter(shared_nouns=["dog", "ball"])) == ["0_1"]
    assert ids(sets.filter(concept=["dog", "cat"])) == ["2_3", "4_5"]
    assert ids(sets.filter(entity="Lionel")) == ["8_7_6"]
    assert ids(sets.filter(axis="color")) == []
    assert ids(sets.filter(strategy="overlap").filter(level=6)) == ["2_3"]
    assert ids(sets.filter()) == ids(sets)


def test_a_set_without_a_similarity_meets_no_bound_on_it(sets: ImageSets) -> None:
    assert ids(sets.filter(min_image_sim=0.4)) == ["2_3", "4_5"]
    assert ids(sets.filter(max_image_sim=0.4)) == ["0_1", "2_3"]
    assert ids(sets.filter(min_text_sim=-1)) == ["0_1", "4_5"]


def test_what_was_rejected_in_whatever_order_is_filtered_out(sets: ImageSets) -> None:
    decisions = Decisions({(0, 1): "reject", (6, 7, 8): "reject", (2, 3): "keep", (1, 2): "reject"})
    assert ids(sets.filter(decisions=decisions)) == ["2_3", "4_5"]


def test_an_unknown_strategy_is_named_with_those_there_are(sets: ImageSets) -> None:
    with pytest.raises(BadInput, match=r"no sets of strategy 'overlapp'; it has identity, overlap, similar"):
        sets.filter(strategy="overlapp")


def test_a_filter_is_lazy_and_a_view_travels(sets: ImageSets) -> None:
    view = sets.filter(strategy="overlap")
    assert "numbers" not in vars(view)
    assert ids(pickle.loads(pickle.dumps(view))) == ["0_1", "2_3"]
    assert repr(view).endswith("2 of 4 sets>")


def test_counts_by_strategy_and_level(sets: ImageSets) -> None:
    assert sets.counts() == {("identity", 1): 1, ("overlap", 4): 1, ("overlap", 6): 1, ("similar", 1): 1}
    assert sets.filter(strategy="similar").counts() == {("similar", 1): 1}
    assert sets.strategies == ("identity", "overlap", "similar")


def test_more_sets_than_a_group_holds_come_out_in_any_order(tmp_path: Path) -> None:
    rows = many_pairs(100, 2_500)
    sets = write_sets(tmp_path, rows, images=100)
    assert len(sets) == 2_500
    assert [list(each.rows) for each in sets] == rows
    backwards = sets[::-7]
    assert [list(each.rows) for each in backwards] == rows[::-7]
    assert list(sets[1_234].rows) == rows[1_234]


def test_every_set_as_json_meets_the_schema(sets: ImageSets) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for each in sets:
        fields = json.loads(json.dumps(each.to_json(), allow_nan=False))
        jsonschema.validate(fields, SCHEMA)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**fields, "more": 1}, SCHEMA)


def test_a_similarity_that_is_no_number_is_unknown(tmp_path: Path) -> None:
    sets = write_sets(tmp_path, [[0, 1]], image_sim=[float("nan")])
    assert sets[0].image_sim is None


def test_the_scene_and_the_named_individual_come_from_the_truth(tmp_path: Path) -> None:
    truths = [
        {"objects": [{"type": "dog", "entity": "Rex"}, {"type": "cat", "entity": None}]},
        {"objects": [{"entity": "Rex"}, {"entity": "Mia"}]},
        {"objects": "none"},
    ]
    extra = [json.dumps({"truth": truth}) for truth in truths] + [None, "{}", '{"truth": {"x": NaN}}']
    store = make_store(tmp_path, random_unit(6), extra=extra)
    sets = write_sets(tmp_path, [[0, 1], [2, 3], [4, 5]], store=store)
    members = [member for each in sets for member in each.members]
    assert [member.scene for member in members] == [*truths, None, None, {"x": None}]
    assert [member.entity for member in members] == ["Rex", None, None, None, None, None]


def test_pairs_alone_open_as_a_pair_set(tmp_path: Path, sets: ImageSets) -> None:
    assert len(PairSet.open(write_sets(tmp_path / "two", [[0, 1]]).path)) == 1
    with pytest.raises(BadInput, match=r"1 of its sets have more than two members.*filter\(size=2\)"):
        PairSet.open(sets.path)


def test_the_store_is_found_where_it_was_moved_along(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    write_sets(tmp_path / "here", [[0, 1]])
    (tmp_path / "here").rename(tmp_path / "there")
    assert ImageSets.open(tmp_path / "there/pairs").store().path == tmp_path / "there/store"


def test_another_store_is_an_error(tmp_path: Path, sets: ImageSets) -> None:
    other = make_store(tmp_path / "other", random_unit(5))
    with pytest.raises(StoreInvalid, match="is not the store that"):
        sets.store(other.path)


@pytest.mark.parametrize(
    ("method", "function"),
    [(name, name) for name in ("to_llava", "to_messages", "to_datasets", "to_webdataset", "torch_stream")]
    + [("torch", "torch_dataset")],
)
def test_a_method_of_an_earlier_version_names_the_function_that_it_became(
    sets: ImageSets, method: str, function: str
) -> None:
    assert hasattr(export, function)
    with pytest.raises(
        AttributeError, match=rf"ImageSets.{method}\(...\) is now mining.export.{function}\(sets, ...\)"
    ):
        getattr(sets, method)
    with pytest.raises(AttributeError, match="'ImageSets' object has no attribute 'nothing'"):
        getattr(sets, "nothing")  # noqa: B009


def test_what_the_export_wing_offers_is_there() -> None:
    assert all(callable(getattr(export, name)) for name in export.__all__)
