from __future__ import annotations

import errno
import io
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from index.corpus.decoding import decode_ahead
from index.corpus.samples import Reject, Sample
from index.encoder.clip_encoder import load_encoder
from index.encoder.model_spec import ModelSpec
from index.errors import BadInput, DiskFull, OutputExists, StoreInvalid
from index.store.embed import EmbedConfig, embed_item, finish_store, is_done, plan_items, prepare_store
from index.store.embedding_store import EmbeddingStore, verify_checksums
from index.store.read_image import read_image
from tests.conftest import embed_store, write_shapes_tar
from tests.index.corpora import picture, sample_members, write_tar

Configure = Callable[..., EmbedConfig]


@pytest.fixture
def configure(small_corpus: Path, tiny_clip_dir: Path, tmp_path: Path) -> Configure:
    """A configuration of the small corpus and the tiny CLIP, with changes."""

    def make(**changes: Any) -> EmbedConfig:
        plain = EmbedConfig(
            str(small_corpus),
            str(tmp_path / "store"),
            ModelSpec(model_dir=str(tiny_clip_dir)),
            batch_size=8,
            device="cpu",
        )
        return replace(plain, **changes)

    return make


def tree(folder: Path | str) -> dict[str, bytes]:
    """Every file below `folder` with its bytes, hidden ones too."""
    root = Path(folder)
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def sample_of(key: str, image: bytes = b"") -> Sample:
    return Sample(key, "s", 0, len(image), image, "c", ("c",), None, None, None, "", "{}")


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


def test_two_runs_give_the_same_bytes_whatever_the_threads(configure: Configure, tmp_path: Path) -> None:
    embed_store(configure(out=str(tmp_path / "a"), decode_threads=1))
    embed_store(configure(out=str(tmp_path / "b"), decode_threads=5))
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_a_store_does_not_depend_on_where_corpus_and_model_lie(
    configure: Configure, small_corpus: Path, tiny_clip_dir: Path, tmp_path: Path
) -> None:
    embed_store(configure(out=str(tmp_path / "a")))
    corpus = shutil.copytree(small_corpus, tmp_path / "moved")
    model = ModelSpec(model_dir=str(shutil.copytree(tiny_clip_dir, tmp_path / "model_elsewhere")))
    embed_store(configure(source=str(corpus), model=model, out=str(tmp_path / "b")))
    a, b = tree(tmp_path / "a"), tree(tmp_path / "b")
    manifests = a.pop("manifest.json").decode(), b.pop("manifest.json").decode()
    assert a == b
    assert manifests[0].replace(str(small_corpus), str(corpus)) == manifests[1]
    assert str(tmp_path).encode() not in b"".join(b.values())


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


def test_a_part_of_rejects_only_has_no_rows_and_shifts_nothing(configure: Configure, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number, image in enumerate((picture(), b"junk", picture())):
        write_tar(corpus / f"{number}.tar", [(f"k{number}.png", image), (f"k{number}.txt", b"a caption")])
    store = embed_store(configure(source=str(corpus)))
    assert [part.rows for part in store.parts] == [1, 0, 1]
    assert store.metadata([0, 1], ["key"])["key"].to_pylist() == ["k0", "k2"]
    assert [len(block) for _, block in store.blocks("image", 1)] == [1, 1]


def test_a_corpus_without_one_good_image_makes_no_store(configure: Configure, tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", [("a.png", b"junk"), ("a.txt", b"a caption")])
    config = configure(source=str(tmp_path / "0.tar"))
    with pytest.raises(BadInput, match=r"none of its 1 samples could be embedded \(1 unknown_format\)"):
        embed_store(config)
    with pytest.raises(StoreInvalid):
        EmbeddingStore.open(config.out)


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


def test_a_resumed_run_embeds_only_what_is_missing(configure: Configure, tmp_path: Path) -> None:
    whole = tree(embed_store(configure(out=str(tmp_path / "whole"))).path)
    config = configure()
    items = plan_items(config)
    assert prepare_store(config, items) == items
    embed_item(items[1], config)
    assert [is_done(item, config) for item in items] == [False, True]
    assert prepare_store(config, items) == items[:1]
    with pytest.raises(StoreInvalid, match="item 0 is not embedded yet"):
        finish_store(config, items)
    embed_item(items[0], config)
    finish_store(config, items)
    assert prepare_store(config, items) == []
    assert tree(config.out) == whole


def test_stopped_at_any_write_and_run_again_it_gives_the_same_bytes(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tree(embed_store(configure(out=str(tmp_path / "whole"))).path)
    rename = Path.replace
    for stop in range(12):  # embed.json, 2 x (4 files + marker), the manifest
        config = configure(out=str(tmp_path / f"run{stop}"))
        left = stop

        def dying(self: Path, target: Any) -> Path:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            return rename(self, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", dying)
            with pytest.raises(KeyboardInterrupt):
                embed_store(config)
        assert not (Path(config.out) / "manifest.json").exists()
        embed_store(config)
        assert tree(config.out) == whole, f"stopped before write {stop}"


def test_killed_for_real_and_run_again_it_gives_the_same_bytes(
    configure: Configure, tiny_clip_dir: Path, tmp_path: Path
) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number in range(40):
        write_shapes_tar(corpus / f"{number:05d}.tar", 6, seed=number)
    whole = tree(embed_store(configure(source=str(corpus), out=str(tmp_path / "whole"))).path)
    config = configure(source=str(corpus))
    program = (
        "from tests.conftest import *\n"
        f"embed_store(EmbedConfig({config.source!r}, {config.out!r}, ModelSpec(model_dir={str(tiny_clip_dir)!r}), "
        "batch_size=8, device='cpu'))"
    )
    root = Path(__file__).parents[3]
    with subprocess.Popen([sys.executable, "-c", program], cwd=root) as process:
        deadline = time.monotonic() + 300  # importing torch takes a minute on a busy machine
        while not (Path(config.out) / "done" / "0002.json").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    assert not (Path(config.out) / "manifest.json").exists()
    # What the killed writer may leave: it goes when the job resumes.
    (Path(config.out) / "img_emb" / ".img_emb_0003.npy.1-1.partial").write_bytes(b"half")
    embed_store(config)
    assert tree(config.out) == whole


def test_another_configuration_is_refused_and_what_differs_is_named(
    configure: Configure, tiny_clip_dir: Path, tmp_path: Path
) -> None:
    config = configure()
    items = plan_items(config)
    prepare_store(config, items)
    with pytest.raises(OutputExists, match="was begun with batch_size 8, not 16"):
        prepare_store(replace(config, batch_size=16), items)
    with pytest.raises(OutputExists, match="was begun with caption_index 0, not 1"):
        prepare_store(replace(config, caption_index=1), items)
    other = ModelSpec(model_dir=str(tiny_clip_dir), precision="bf16")
    with pytest.raises(OutputExists, match="was begun with model precision fp32, not bf16"):
        prepare_store(replace(config, model=other), items)
    prepare_store(replace(config, decode_threads=3), items)


def test_a_folder_with_other_things_in_it_is_never_written_to(configure: Configure, tmp_path: Path) -> None:
    for name, content in (("notes/readme.txt", b"mine"), ("laion/img_emb/img_emb_0.npy", b"theirs")):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        folder = tmp_path / name.partition("/")[0]
        with pytest.raises(OutputExists, match="is not empty"):
            prepare_store(configure(out=str(folder)), plan_items(configure()))
        assert len(tree(folder)) == 1
    with pytest.raises(OutputExists, match="is a file"):
        prepare_store(configure(out=str(tmp_path / "notes" / "readme.txt")), plan_items(configure()))


def test_an_empty_corpus_and_an_unknown_model_leave_no_folder_behind(configure: Configure, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput):
        embed_store(configure(source=str(tmp_path / "empty")))
    with pytest.raises(BadInput, match="unknown model"):
        embed_store(configure(model=ModelSpec("ViT-B33", "openai")))
    with pytest.raises(BadInput, match="batch_size must be at least 1"):
        configure(batch_size=0)
    assert not (tmp_path / "store").exists()


def test_a_source_that_changed_since_is_an_error_and_one_that_grew_appends_parts(
    configure: Configure, small_corpus: Path, tmp_path: Path
) -> None:
    corpus = Path(shutil.copytree(small_corpus, tmp_path / "corpus"))
    config = configure(source=str(corpus))
    before = embed_store(config)
    ids = np.arange(before.rows)
    keys, vectors = before.metadata(ids, ["key"]), before.gather("image", ids)
    write_shapes_tar(corpus / "00002.tar", 4, seed=2)
    grown = embed_store(config)
    assert (grown.rows, len(grown.parts)) == (before.rows + 4, 3)
    assert grown.metadata(ids, ["key"]) == keys
    assert np.array_equal(grown.gather("image", ids), vectors)
    (corpus / "00002.tar").rename(tmp_path / "away.tar")
    with pytest.raises(BadInput, match=r"has 2 items, .* has more"):
        embed_store(config)
    (tmp_path / "away.tar").rename(corpus / "00000b.tar")
    with pytest.raises(BadInput, match=r"item 1 \(00000b\.tar\) is not what was embedded"):
        embed_store(config)


def test_a_tar_that_changes_between_listing_and_reading_is_an_error(
    configure: Configure, small_corpus: Path, tmp_path: Path
) -> None:
    corpus = Path(shutil.copytree(small_corpus, tmp_path / "corpus"))
    config = configure(source=str(corpus))
    items = plan_items(config)
    write_shapes_tar(corpus / "00000.tar", 3, seed=0)
    with pytest.raises(BadInput):
        embed_item(items[0], config)


def test_a_damaged_part_is_embedded_again(configure: Configure) -> None:
    config = configure()
    whole = tree(embed_store(config).path)
    (Path(config.out) / "text_emb" / "text_emb_0001.npy").unlink()
    (Path(config.out) / "done" / "0000.json").write_text("{")
    assert prepare_store(config, plan_items(config)) == plan_items(config)
    embed_store(config)
    assert tree(config.out) == whole


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
    names = tree(config.out).keys()
    assert "metadata/metadata_0001.parquet" not in names
    assert not any(name.startswith("done/0001") or name.endswith(".partial") for name in names)
    store = embed_store(config)
    assert (store.rows, verify_checksums(store)) == (33, 0)


def test_decoding_runs_ahead_in_order_within_its_bound() -> None:
    decoded = 0

    def samples() -> Any:
        for number in range(50):
            yield Reject(f"r{number}", "s", "read", "x") if number % 7 == 0 else sample_of(str(number))

    def decode(sample: Sample) -> Any:
        nonlocal decoded
        decoded += 1
        time.sleep(0.001)
        return Reject(sample.key, "s", "decode", "x")

    running = decode_ahead(samples(), decode, threads=3, ahead=10)
    first = [next(running).key for _ in range(5)]  # type: ignore[union-attr]
    time.sleep(0.1)
    assert first == ["r0", "1", "2", "3", "4"]
    assert decoded <= 5 + 10 + 1  # given out, in the queue, and one that waits for its place
    assert [entry.key for entry in running][-2:] == ["48", "r49"]  # type: ignore[union-attr]


def test_errors_of_reading_and_decoding_come_through_and_closing_ends_the_threads() -> None:
    import threading

    def broken() -> Any:
        yield sample_of("a")
        raise OSError("the network is gone")

    def fail(_: Sample) -> Any:
        raise ValueError("a bug")

    with pytest.raises(OSError, match="network is gone"):
        list(decode_ahead(broken(), lambda s: Reject(s.key, "s", "decode", "x"), threads=2, ahead=4))
    with pytest.raises(ValueError, match="a bug"):
        list(decode_ahead((sample_of(str(n)) for n in range(100)), fail, threads=2, ahead=4))
    running = decode_ahead((sample_of(str(n)) for n in range(10**9)), lambda s: Reject(s.key, "s", "decode", "x"), 2, 4)
    next(running)
    running.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("ahead", "decode"))]


def test_images_wait_for_decoding_within_a_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("index.corpus.decoding._WAITING_BYTES", 1000)
    read = 0

    def samples() -> Any:
        nonlocal read
        for number in range(20):
            read += 1
            yield sample_of(str(number), b"x" * (5000 if number == 0 else 400))

    def slow(sample: Sample) -> Any:
        time.sleep(0.02)
        assert read <= int(sample.key) + 5
        return Reject(sample.key, "s", "decode", "x")

    assert len(list(decode_ahead(samples(), slow, threads=2, ahead=100))) == 20
