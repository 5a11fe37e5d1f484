"""Pairs of a selection and of tars: keys, captions, the place of each image, and what was skipped."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from customize.clip.train.pairs import Pairs, _draw_held_out, gather_pairs
from index.encoder.model_spec import ModelSpec
from index.errors import BadInput, ImagesNotLocal, StoreInvalid
from index.store.embed import EmbedConfig
from index.store.embedding_store import EmbeddingStore
from index.store.forget import forget_rows
from index.store.read_image import read_image
from retrieval.selection import Selection
from tests.conftest import embed_store
from tests.index.corpora import picture, write_tar
from tests.mining.made_sets import write_test_selection


def test_a_selections_pairs_are_the_stores_rows(pairs: Pairs, known_store: EmbeddingStore) -> None:
    assert pairs.row_ids is not None
    assert sorted(pairs.row_ids.tolist()) == list(range(33))
    own = known_store.metadata(pairs.row_ids, ["key", "caption"])
    assert pairs.keys(range(33)) == own["key"].to_pylist()
    assert pairs.captions(np.arange(33)) == own["caption"].to_pylist()
    assert pairs.skipped == {}
    for row in (0, 17):
        assert pairs.image(row) == read_image(known_store, int(pairs.row_ids[row]))


def test_equal_captions_have_one_number(pairs: Pairs) -> None:
    captions = pairs.captions(range(len(pairs)))
    distinct = pairs.distinct_captions()
    assert len(distinct) == len(set(captions)) < 33
    assert [distinct[number] for number in pairs.text_of] == captions
    assert len(set(pairs.shard_of.tolist())) == len(pairs.shards) == 2


def test_exported_tars_name_their_rows_and_keys(small_export: str, pairs: Pairs, tmp_path: Path) -> None:
    exported = gather_pairs(str(tmp_path / "pairs.arrow"), selection=None, store=None, tars=small_export)
    assert exported.row_ids is not None
    assert pairs.row_ids is not None
    rows = {int(row_id): row for row, row_id in enumerate(pairs.row_ids)}
    order = [rows[int(row_id)] for row_id in exported.row_ids]
    assert exported.keys(range(33)) == pairs.keys(order)
    assert exported.image(3) == pairs.image(order[3])


def test_tars_without_a_store_have_no_rows_and_count_what_they_skip(tmp_path: Path) -> None:
    members = [("a.png", picture()), ("a.txt", b"red"), ("b.png", picture()), ("b.txt", b"blue"), ("c.png", picture())]
    write_tar(tmp_path / "0.tar", members)
    pairs = gather_pairs(str(tmp_path / "pairs.arrow"), selection=None, store=None, tars=str(tmp_path / "0.tar"))
    assert pairs.keys([0, 1]) == ["a", "b"]
    assert pairs.row_ids is None
    assert sum(pairs.skipped.values()) == 1  # c has no caption
    assert hashlib.sha256(pairs.image(1)).digest() == hashlib.sha256(picture()).digest()


def test_an_image_in_tars_is_a_pair_with_each_of_its_captions(tmp_path: Path) -> None:
    members = []
    for number in range(8):
        captions = "\n".join(f"picture {number}, text {text}" for text in range(5))
        members += [(f"{number}.png", picture((number, 10, 10))), (f"{number}.txt", captions.encode())]
    write_tar(tmp_path / "0.tar", members)
    pairs = gather_pairs(str(tmp_path / "pairs.arrow"), selection=None, store=None, tars=str(tmp_path / "0.tar"))
    assert len(pairs) == 40
    assert pairs.captions([0, 1, 39]) == ["picture 0, text 0", "picture 0, text 1", "picture 7, text 4"]
    assert pairs.keys([4, 5]) == ["0", "1"]
    assert pairs.image(5) == pairs.image(9) != pairs.image(4)


@pytest.mark.parametrize(("pairs", "held"), [(399, 0), (400, 20), (39_999, 1_999), (100_000, 2_000)])
def test_a_twentieth_is_held_out(pairs: int, held: int) -> None:
    places = pa.table({"shard": pa.array([0] * pairs, pa.int32()), "offset": pa.array(range(pairs), pa.int64())})
    drawn = _draw_held_out(places, None, 0)
    assert len(set(drawn.tolist())) == len(drawn) == held
    assert not held or not np.array_equal(drawn, _draw_held_out(places, None, 1))


def test_all_pairs_of_a_held_out_image_are_held_out(tmp_path: Path) -> None:
    members = []
    for number in range(8):
        captions = "\n".join(f"picture {number}, text {text}" for text in range(5))
        members += [(f"{number}.png", picture((number, 10, 10))), (f"{number}.txt", captions.encode())]
    write_tar(tmp_path / "0.tar", members)
    path, tar = str(tmp_path / "pairs.arrow"), str(tmp_path / "0.tar")
    trained = gather_pairs(path, selection=None, store=None, tars=tar, hold_out=3)
    held = Pairs.open(path, "held_out")
    assert len(trained) + len(held) == 40
    assert not set(held.keys(range(len(held)))) & set(trained.keys(range(len(trained))))
    assert trained.distinct_captions() == trained.captions(range(len(trained)))  # numbered from 0
    assert pickle.loads(pickle.dumps(held)).keys([0]) == held.keys([0])
    for hold_out in (1, 21):
        with pytest.raises(BadInput, match=f"--hold-out {hold_out}: must be 0, or 2 to half of the 40 pairs"):
            gather_pairs(str(tmp_path / "new.arrow"), selection=None, store=None, tars=tar, hold_out=hold_out)


def test_further_captions_of_a_row_do_not_get_its_text_vector(small_export: str, tmp_path: Path) -> None:
    known = {"row_id": 3, "captions": ["red", "blue"]}
    members = [("a.png", picture()), ("a.json", json.dumps(known).encode())]
    write_tar(tmp_path / "0.tar", members)
    pairs = gather_pairs(str(tmp_path / "pairs.arrow"), selection=None, store=None, tars=str(tmp_path / "0.tar"))
    assert pairs.captions([0, 1]) == ["red", "blue"]
    assert pairs.row_ids is None


def test_pairs_without_a_caption_are_left_out_and_counted(tmp_path: Path, tiny_clip_dir: Path) -> None:
    members = [(f"{key}.png", picture()) for key in "abcd"] + [("a.txt", b"red"), ("b.txt", b" "), ("c.txt", b"blue")]
    write_tar(tmp_path / "0.tar", sorted(members))
    source, model = str(tmp_path / "0.tar"), ModelSpec(model_dir=str(tiny_clip_dir))
    store = embed_store(EmbedConfig(source, str(tmp_path / "store"), model, allow_empty_caption=True, device="cpu"))
    pairs = gather(store, tmp_path / "chosen", list(range(4)))
    assert pairs.keys(range(len(pairs))) == ["a", "c"]
    assert pairs.skipped == {"empty_caption": 2}


def test_an_existing_file_is_opened_and_not_written_again(pairs: Pairs) -> None:
    again = gather_pairs(pairs.path, selection=None, store=None, tars="no such folder")
    assert again.keys(range(33)) == pairs.keys(range(33))


def test_an_image_that_changed_or_is_gone_is_named(small_export: str, tmp_path: Path) -> None:
    shutil.copytree(small_export, tmp_path / "tars")
    pairs = gather_pairs(str(tmp_path / "pairs.arrow"), selection=None, store=None, tars=str(tmp_path / "tars"))
    tar = tmp_path / "tars" / pairs.shards[pairs.shard_of[0]]
    data = bytearray(tar.read_bytes())
    start = data.find(pairs.image(0))
    data[start + 20] ^= 255
    tar.write_bytes(data)
    with pytest.raises(StoreInvalid, match="no longer holds the image of"):
        pairs.image(0)
    tar.unlink()
    with pytest.raises(ImagesNotLocal, match="is gone; put the corpus back"):
        pairs.image(0)


def gather(store: EmbeddingStore, folder: Path, rows: list[int]) -> Pairs:
    selection = Selection.open(write_test_selection(store, folder / "selection", {"shape": rows}))
    return gather_pairs(str(folder / "pairs.arrow"), selection=selection, store=store, tars=None)


def test_nothing_to_learn_from_is_refused(known_store: EmbeddingStore, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="selected no rows, so there is nothing to learn from"):
        gather(known_store, tmp_path / "empty", [])
    captions = known_store.metadata(range(known_store.rows), ["caption"])["caption"].to_pylist()
    same = [row for row, caption in enumerate(captions) if caption == captions[0]]
    assert len(same) > 1
    with pytest.raises(BadInput, match=f"all {len(same)} captions are equal"):
        gather(known_store, tmp_path / "same", same)
    assert not (tmp_path / "same" / "pairs.arrow").exists()


def test_pairs_forgotten_since_a_run_was_begun_stop_it(
    known_store: EmbeddingStore, small_selection: str, tmp_path: Path
) -> None:
    shutil.copytree(known_store.path, tmp_path / "store")
    shutil.copytree(small_selection, tmp_path / "selection")
    selection = Selection.open(tmp_path / "selection", store=tmp_path / "store")
    store = selection.store()
    path = str(tmp_path / "work" / "pairs.arrow")
    begun = gather_pairs(path, selection=selection, store=store, tars=None)
    assert begun.row_ids is not None
    forget_rows(store, row_ids=[int(begun.row_ids[0])])
    with pytest.raises(BadInput, match="holds 1 pair that the store forgot since this run was begun; delete the run's"):
        gather_pairs(path, selection=selection, store=store, tars=None)
    again = gather_pairs(str(tmp_path / "new.arrow"), selection=selection, store=store, tars=None)
    assert (len(again), again.skipped) == (len(begun) - 1, {"forgotten": 1})
