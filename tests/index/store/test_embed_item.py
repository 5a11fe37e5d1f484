"""An item gives a part with the right rows, and counts and lists what it rejects."""

from __future__ import annotations

import errno
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from index.corpus.decoders import Decoders
from index.encoder.loading import load_encoder
from index.encoder.model_spec import ModelSpec
from index.errors import BadInput, DiskFull
from index.store.embed import finish_store, plan_items, prepare_store
from index.store.embed_item import _decoding, embed_item
from index.store.embedding_store import EmbeddingStore
from index.store.read_image import read_image
from index.store.verify import check_files
from tests.conftest import embed_store, write_shapes_tar
from tests.folders import file_bytes
from tests.index.corpora import picture, sample_members, write_tar
from tests.index.store.conftest import Configure


def test_a_row_has_the_vectors_and_the_metadata_of_its_sample(small_store: EmbeddingStore, tiny_clip_dir: Path) -> None:
    encoder = load_encoder(ModelSpec(model_dir=str(tiny_clip_dir)), "cpu")
    assert small_store.fingerprint == encoder.fingerprint
    [row] = small_store.metadata([25]).to_pylist()
    image = Image.open(io.BytesIO(read_image(small_store, 25))).convert("RGB")
    assert (row["width"], row["height"]) == image.size
    assert (row["key"], row["shard"], row["captions"]) == ("000010005", "00001.tar", [row["caption"]])
    assert json.loads(row["extra"]) == {"color": row["caption"].split()[1]}
    assert row["url"] == "https://example.org/000010005.jpg"
    # Not to the bit: the batch was another one, and kernels may differ with its size.
    assert small_store.gather("image", [25])[0] == pytest.approx(encoder.encode_images([image])[0], abs=1e-3)
    assert small_store.gather("text", [25])[0] == pytest.approx(encoder.encode_texts([row["caption"]])[0], abs=1e-3)


def test_rows_for_which_the_model_gives_no_number_are_rejected(
    configure: Configure, tiny_clip_dir: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_clip_dir, tmp_path / "m"))
    weights = load_file(folder / "open_clip_model.safetensors")
    [_, red, *_] = load_encoder(ModelSpec(model_dir=str(tiny_clip_dir)), "cpu").tokenize(["red"]).ids[0].tolist()
    weights["token_embedding.weight"][red] = float("nan")
    save_file(weights, folder / "open_clip_model.safetensors")
    store = embed_store(configure(model=ModelSpec(model_dir=str(folder))))
    captions = store.metadata(np.arange(store.rows), ["caption"])["caption"].to_pylist()
    assert not any("red" in caption for caption in captions)
    assert store.manifest.totals["rejected"] == {"encoder_nan": 33 - store.rows}
    assert all(np.isfinite(block).all() for name in ("image", "text") for _, block in store.blocks(name))


def test_another_of_several_captions_can_be_embedded(configure: Configure, tmp_path: Path) -> None:
    first = sample_members("a", "first", captions=["first", "second"])
    write_tar(tmp_path / "0.tar", [*first, *sample_members("b", "only")])
    config = configure(source=str(tmp_path / "0.tar"))
    assert embed_store(config).metadata([0], ["caption", "captions"]).to_pylist() == [
        {"caption": "first", "captions": ["first", "second"]}
    ]
    store = embed_store(replace(config, out=str(tmp_path / "second"), caption_index=1))
    assert store.metadata([0], ["caption"])["caption"].to_pylist() == ["second"]
    assert store.manifest.totals["rejected"] == {"no_such_caption": 1}


def test_a_row_without_a_caption_has_no_text_vector_so_no_search_of_captions_finds_it(
    configure: Configure, tmp_path: Path
) -> None:
    bare = [(f"b{number}.png", picture((number, 9, 200))) for number in range(3)]
    captioned = [member for key in "cd" for member in sample_members(key, f"of {key}")]
    write_tar(tmp_path / "0.tar", [*bare, *captioned])
    config = configure(source=str(tmp_path / "0.tar"), allow_empty_caption=True)
    store = embed_store(config)
    lengths = np.linalg.norm(store.gather("text", np.arange(5)).astype(np.float32), axis=1)
    assert lengths == pytest.approx([0, 0, 0, 1, 1], abs=1e-3)
    assert np.linalg.norm(store.gather("image", [0]).astype(np.float32)) == pytest.approx(1, abs=1e-3)
    assert store.has_text
    marker = json.loads((Path(config.out) / "done" / "0000.json").read_text())
    assert marker["summary"] == {
        **{"number": 0, "read": 5, "rows": 5, "rejected": {}, "captions_cut": 0},
        "without_caption": 3,
    }


def test_a_store_without_any_caption_is_one_of_images_only(configure: Configure, tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", [(f"{number}.png", picture((number, 9, 200))) for number in range(3)])
    config = configure(source=str(tmp_path), allow_empty_caption=True)
    assert not embed_store(config).has_text
    write_tar(tmp_path / "1.tar", sample_members("c", "a caption"))
    grown = embed_store(config)
    assert grown.has_text
    assert np.flatnonzero(grown.gather("text", np.arange(4)).any(axis=1)).tolist() == [3]


def test_members_that_are_no_samples_are_kept_in_the_marker_and_in_nothing_else(
    configure: Configure, tmp_path: Path
) -> None:
    members = sample_members("a", "one")
    write_tar(tmp_path / "0.tar", members)
    plain = embed_store(configure(source=str(tmp_path / "0.tar")))
    write_tar(tmp_path / "0.tar", [*members, ("a.npy", b"x"), ("a.cls", b"7")])
    other = embed_store(configure(source=str(tmp_path / "0.tar"), out=str(tmp_path / "other")))
    summary = json.loads((Path(other.path) / "done" / "0000.json").read_text())["summary"]
    assert (summary["passed_over"], summary["passed_names"]) == ({".cls": 1, ".npy": 1}, ["a.npy", "a.cls"])
    assert other.manifest == plain.manifest


def test_a_tar_that_changes_between_listing_and_reading_is_an_error(
    configure: Configure, small_corpus: Path, tmp_path: Path
) -> None:
    corpus = Path(shutil.copytree(small_corpus, tmp_path / "corpus"))
    config = configure(source=str(corpus))
    items = plan_items(config)
    write_shapes_tar(corpus / "00000.tar", 3, seed=0)
    with pytest.raises(BadInput):
        embed_item(items[0], config)


def test_a_full_disk_leaves_nothing_half_written_and_a_later_run_finishes(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure()
    write = Path.write_bytes

    def full(self: Path, data: Any) -> int:
        if "metadata_0001" in self.name:
            write(self, data[:10])
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return write(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(DiskFull, match="no space left"):
            embed_store(config)
    names = file_bytes(config.out).keys()
    assert "metadata/metadata_0001.parquet" not in names
    assert not any(name.startswith("done/0001") or name.endswith(".partial") for name in names)
    store = embed_store(config)
    checked = check_files(store)
    assert (store.rows, checked.unknown, checked.problems) == (33, 0, ())


def test_in_is_out_plus_rejected_by_reason(configure: Configure, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    members = [
        *sample_members("a", "a dog"),
        ("b.png", picture()[:45]),
        ("b.txt", b"cut off"),
        ("c.png", b"<html>not an image"),
        ("c.txt", b"a page"),
        *sample_members("d", "  "),
        ("e.txt", b"no image"),
        *sample_members("f", "word " * 100),
    ]
    write_tar(corpus / "0.tar", members)
    write_tar(corpus / "1.tar", sample_members("a", "the same key in another shard"))
    config = configure(source=str(corpus), max_image_bytes=10_000)
    items = plan_items(config)
    summaries = [embed_item(item, config) for item in prepare_store(config, items)]
    summary = finish_store(config, items)
    reasons = {"broken_image": 1, "empty_caption": 1, "missing_image": 1, "unknown_format": 1}
    assert (summary.read, summary.rows, dict(summary.rejected)) == (7, 3, reasons)
    assert summary.read == summary.rows + sum(summary.rejected.values()) == sum(item.read for item in summaries)
    assert (summary.captions_cut, summary.duplicate_keys, summary.parts) == (1, 1, 2)
    store = EmbeddingStore.open(config.out)
    assert store.metadata([0, 1, 2], ["key", "text_tokens_cut"]).to_pylist() == [
        {"key": "a", "text_tokens_cut": False},
        {"key": "f", "text_tokens_cut": True},
        {"key": "a", "text_tokens_cut": False},
    ]
    rejects = pq.read_table(store.part_file(0, "rejects")).to_pylist()
    assert {row["key"]: (row["stage"], row["reason"]) for row in rejects} == {
        "b": ("decode", "broken_image"),
        "c": ("decode", "unknown_format"),
        "d": ("read", "empty_caption"),
        "e": ("read", "missing_image"),
    }
    assert store.manifest.totals["rejected"] == reasons


def test_two_runs_give_the_same_bytes_whatever_the_threads_and_processes(configure: Configure, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    members = [member for n in range(30) for member in sample_members(f"k{n:02d}", f"number {n}")]
    broken = [("m1.png", picture()[:45]), ("m1.txt", b"cut off"), ("m2.png", b"text"), ("m2.txt", b"a page")]
    write_tar(corpus / "0.tar", [*members[:40], *broken, *members[40:]])
    config = configure(source=str(corpus))
    embed_store(replace(config, out=str(tmp_path / "a"), decode_threads=1))
    embed_store(replace(config, out=str(tmp_path / "b"), decode_threads=5))
    embed_store(replace(config, out=str(tmp_path / "c"), decode_processes=3))
    assert file_bytes(tmp_path / "a") == file_bytes(tmp_path / "b") == file_bytes(tmp_path / "c")


@pytest.mark.parametrize(("cores", "expected"), [(1, 0), (4, 0), (5, 4), (16, 15)])
def test_a_worker_with_more_cores_than_threads_can_use_decodes_in_processes(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, cores: int, expected: int
) -> None:
    monkeypatch.setattr("torch.get_num_threads", lambda: cores)
    encoder = load_encoder(configure().model, "cpu")
    scaled, threads = _decoding(configure(), encoder)
    assert (isinstance(scaled, Decoders), threads) == (expected > 0, expected or cores)
    scaled, threads = _decoding(configure(decode_threads=9), encoder)
    assert (isinstance(scaled, Decoders), threads) == (False, 9)
    scaled, threads = _decoding(configure(decode_processes=0), encoder)
    assert (isinstance(scaled, Decoders), threads) == (False, cores)
