"""What the sets of a run carry into the folder: their side, difficulty, captions read, and reference texts."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from index.store.embedding_store import EmbeddingStore
from mining.select.assemble import assemble
from mining.sets.image_sets import ImageSets
from mining.strategies.context import Candidates, MiningConfig, MiningContext, candidates_table
from mining.strategies.context import padded as _padded


def _write(store: EmbeddingStore, folder: Path) -> ImageSets:
    rows = _padded(pa.array([[3, 1, 2], [5, 4, 6]]))
    table = candidates_table(
        rows,
        level=2,
        difficulty=0.5,
        reasons=[pa.array(["one", "two"])],
        reference=pa.array(["All of these images show: dog.", None]),
        member_captions=pa.array([["a", "b", None], None], pa.list_(pa.string())),
        extra=pa.array(['{"alike": "images"}', None]),
    )
    config = MiningConfig(str(store.path), str(folder / "pairs"), (("groups", 1.0),), sets=2)
    return assemble(config, [(MiningContext(config, "groups", 2, ""), Candidates(table, 2))])


def test_a_set_carries_what_its_strategy_said(world: EmbeddingStore, tmp_path: Path) -> None:
    found = {each.members[0].row_id: each for each in _write(world, tmp_path).with_annotations()}
    first, second = found[3], found[5]
    assert [member.row_id for member in first.members] == [3, 1, 2]  # in the strategy's order
    assert (first.level, first.difficulty, first.split) == (2, 0.5, None)
    assert dict(first.extra) == {"alike": "images"}
    embedded = world.metadata([2, 5, 4, 6], ["caption"])["caption"].to_pylist()
    assert [member.caption for member in first.members] == ["a", "b", embedded[0]]
    assert [member.caption for member in second.members] == embedded[1:]


def test_a_reference_becomes_a_group_caption_by_the_captions(world: EmbeddingStore, tmp_path: Path) -> None:
    found = {each.members[0].row_id: each for each in _write(world, tmp_path).with_annotations()}
    (said,) = found[3].annotations
    assert (said.kind, said.annotator.name) == ("group_caption", "captions")
    assert said.turns[0].images == (0, 1, 2)
    assert said.turns[1].parts == ("All of these images show: dog.",)
    assert found[5].annotations == ()
