"""The embedding job resumes wherever it was stopped with the same bytes, and never mixes configurations or sources."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from index.encoder.model_spec import ModelSpec, weights_file
from index.errors import BadInput, OutputExists, StoreInvalid
from index.store.embed import finish_store, plan_items, prepare_store
from index.store.embed_item import embed_item, is_done
from index.store.embedding_store import EmbeddingStore
from tests.conftest import embed_store, write_shapes_tar
from tests.folders import file_bytes
from tests.index.corpora import picture, write_tar
from tests.index.store.conftest import Configure


def test_a_store_does_not_depend_on_where_corpus_and_model_lie(
    configure: Configure, small_corpus: Path, tiny_clip_dir: Path, tmp_path: Path
) -> None:
    embed_store(configure(out=str(tmp_path / "a")))
    corpus = shutil.copytree(small_corpus, tmp_path / "moved")
    model = ModelSpec(model_dir=str(shutil.copytree(tiny_clip_dir, tmp_path / "model_elsewhere")))
    embed_store(configure(source=str(corpus), model=model, out=str(tmp_path / "b")))
    a, b = file_bytes(tmp_path / "a"), file_bytes(tmp_path / "b")
    manifests = a.pop("manifest.json").decode(), b.pop("manifest.json").decode()
    assert a == b
    assert manifests[0].replace(str(small_corpus), str(corpus)) == manifests[1]
    assert str(tmp_path).encode() not in b"".join(b.values())


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
    assert not list(Path(config.out).iterdir())
    write_tar(tmp_path / "0.tar", [("a.png", picture())])
    assert embed_store(replace(config, allow_empty_caption=True)).rows == 1


@pytest.mark.parametrize(
    ("factor", "precision", "why"),
    [
        (float("nan"), "fp32", r"33 encoder_nan\); the model's own weights hold inf or NaN \(visual\.proj\)"),
        (3e6, "fp16", r"33 encoder_nan\); .* inf or NaN in fp16, though its weights are finite: use --precision fp32"),
    ],
)
def test_a_model_that_gives_nothing_but_nan_is_told_by_its_cause(
    configure: Configure, tiny_clip_dir: Path, tmp_path: Path, factor: float, precision: Any, why: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_clip_dir, folder)
    weights = weights_file(str(folder))
    state = load_file(weights)
    state["visual.proj"] = state["visual.proj"] * factor
    save_file(state, weights)
    config = configure(model=ModelSpec(model_dir=str(folder), precision=precision))
    items = plan_items(config)
    for item in prepare_store(config, items):
        embed_item(item, config)
    with pytest.raises(BadInput, match=why):
        finish_store(config, items)


def test_a_resumed_run_embeds_only_what_is_missing(configure: Configure, tmp_path: Path) -> None:
    whole = file_bytes(embed_store(configure(out=str(tmp_path / "whole"))).path)
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
    assert file_bytes(config.out) == whole


def test_stopped_at_any_write_and_run_again_it_gives_the_same_bytes(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = file_bytes(embed_store(configure(out=str(tmp_path / "whole"))).path)
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
        assert file_bytes(config.out) == whole, f"stopped before write {stop}"


def test_killed_for_real_and_run_again_it_gives_the_same_bytes(
    configure: Configure, tiny_clip_dir: Path, tmp_path: Path
) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number in range(40):
        write_shapes_tar(corpus / f"{number:05d}.tar", 6, seed=number)
    whole = file_bytes(embed_store(configure(source=str(corpus), out=str(tmp_path / "whole"))).path)
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
    assert file_bytes(config.out) == whole


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
        assert len(file_bytes(folder)) == 1
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
    write_shapes_tar(corpus / "00000a.tar", 4, seed=3)
    between = embed_store(config)
    assert (between.rows, len(between.parts)) == (before.rows + 8, 4)
    assert between.metadata(np.arange(grown.rows), ["key"]) == grown.metadata(np.arange(grown.rows), ["key"])
    assert set(between.metadata(np.arange(grown.rows, between.rows), ["shard"])["shard"].to_pylist()) == {"00000a.tar"}
    (corpus / "00002.tar").rename(tmp_path / "away.tar")
    for name in ("away.tar", "00000b.tar"):
        with pytest.raises(BadInput, match=r"00002\.tar is gone or has changed since"):
            embed_store(config)
        if name == "away.tar":
            (tmp_path / name).rename(corpus / "00000b.tar")


def test_a_damaged_part_is_embedded_again(configure: Configure) -> None:
    config = configure()
    whole = file_bytes(embed_store(config).path)
    (Path(config.out) / "text_emb" / "text_emb_0001.npy").unlink()
    (Path(config.out) / "done" / "0000.json").write_text("{")
    assert prepare_store(config, plan_items(config)) == plan_items(config)
    embed_store(config)
    assert file_bytes(config.out) == whole
