"""Compaction overwrites the bytes of forgotten rows; counts, ids and what was added meanwhile stay."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest

import index.store.compact
from index.encoder.model_spec import ModelSpec
from index.errors import OutputExists, StoreInvalid
from index.lease import only_writer
from index.store.adopt import adopt_store
from index.store.compact import compact_store
from index.store.embed_item import EmbedConfig
from index.store.embedding_store import EmbeddingStore
from index.store.forget import forget_rows
from index.store.markers import read_marker
from index.store.store_manifest import FileRecord, Origin, part_paths, read_manifest, write_manifest
from index.store.verify import check_files
from tests.conftest import embed_store
from tests.index.foreign import write_foreign


@pytest.fixture
def store(small_store: EmbeddingStore, tmp_path: Path) -> EmbeddingStore:
    shutil.copytree(small_store.path, tmp_path / "store")
    return EmbeddingStore.open(tmp_path / "store")


def test_compaction_wipes_the_files_and_keeps_counts_ids_and_checksums(store: EmbeddingStore) -> None:
    forget_rows(store, row_ids=[3, 19, 21])
    before = store.metadata(np.arange(store.rows), ["key", "captions"]).to_pylist()
    vectors = store.gather("image", np.arange(store.rows))
    report = compact_store(str(store.path))
    assert (report.rows, report.parts) == (3, 2)
    after = EmbeddingStore.open(store.path)
    assert check_files(after).problems == ()
    assert after.metadata(np.arange(after.rows), ["key", "captions"]).to_pylist() == before
    assert np.array_equal(after.gather("image", np.arange(after.rows)), vectors)
    raw = np.load(after.part_file(0, "text"))
    assert np.flatnonzero(~raw.any(axis=1)).tolist() == [3, 19]
    table = pq.read_table(after.part_file(0, "metadata"))
    assert table.num_rows == 20
    assert all(value is None for value in table.slice(3, 1).to_pylist()[0].values())
    assert b"000000003" not in after.part_file(0, "metadata").read_bytes()


def test_compacting_again_or_after_an_interruption_ends_in_the_same_bytes(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    forget_rows(store, row_ids=[3, 21])
    shutil.copytree(store.path, tmp_path / "interrupted")
    compact_store(str(store.path))
    # As if it had been killed after the first part's metadata: the manifest still has the old checksum.
    wiped = part_paths(0)["metadata"]
    shutil.copy(store.path / wiped, tmp_path / "interrupted" / wiped)
    compact_store(str(tmp_path / "interrupted"))
    compact_store(str(store.path))
    for path in sorted(store.path.rglob("*.*")):
        if path.is_file():
            assert (tmp_path / "interrupted" / path.relative_to(store.path)).read_bytes() == path.read_bytes()


def test_a_compacted_store_is_not_embedded_again(small_corpus: Path, tiny_clip_dir: Path, tmp_path: Path) -> None:
    config = EmbedConfig(
        str(small_corpus), str(tmp_path / "s"), ModelSpec(model_dir=str(tiny_clip_dir)), batch_size=8, device="cpu"
    )
    store = embed_store(config)
    forget_rows(store, row_ids=[3])
    compact_store(config.out)
    wiped = store.part_file(0, "image").read_bytes()
    assert embed_store(config).rows == store.rows
    assert store.part_file(0, "image").read_bytes() == wiped


def test_a_foreign_store_can_be_compacted_too(tmp_path: Path) -> None:
    adopt_store(write_foreign(tmp_path, {0: 3, 1: 4}))
    forget_rows(EmbeddingStore.open(tmp_path), keys=["1/2"])
    compact_store(str(tmp_path))
    store = EmbeddingStore.open(tmp_path)
    assert store.rows == 7
    assert store.metadata([4, 5], ["caption", "NSFW"]).to_pylist() == [
        {"caption": "caption 1 1", "NSFW": "UNLIKELY"},
        {"caption": None, "NSFW": None},
    ]


def test_a_store_with_nothing_forgotten_has_nothing_to_compact(store: EmbeddingStore) -> None:
    assert compact_store(str(store.path)).rows == 0


def test_a_part_that_is_added_while_rows_are_overwritten_stays(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = store.manifest
    write_manifest(str(store.path), replace(whole, parts=whole.parts[:1]))
    forget_rows(store, row_ids=[3])
    overwrite = index.store.compact._overwrite

    def grow_meanwhile(opened: EmbeddingStore, number: int, positions: npt.NDArray[np.int64]) -> dict[str, FileRecord]:
        write_manifest(str(store.path), whole)
        return overwrite(opened, number, positions)

    monkeypatch.setattr(index.store.compact, "_overwrite", grow_meanwhile)
    assert compact_store(str(store.path)).parts == 1
    grown = EmbeddingStore.open(store.path)
    assert (grown.rows, len(grown.parts)) == (33, 2)
    assert check_files(grown).problems == ()


def test_the_original_checksums_stay_known_through_every_compaction(store: EmbeddingStore) -> None:
    first = store.parts[0].files["image"]
    assert first.original == Origin(first.size, first.sha256)
    for row in (3, 4):
        forget_rows(store, row_ids=[row])
        compact_store(str(store.path))
    record = read_manifest(str(store.path)).parts[0].files["image"]
    assert record.sha256 != first.sha256
    assert record.original == first.original
    marker = read_marker(str(store.path), 0)
    assert marker is not None
    assert marker.files["image"] == record
    assert '"origin"' not in json.dumps(json.loads((store.path / "done" / "0001.json").read_text()))


def test_nothing_is_overwritten_while_another_job_writes_in_the_store(store: EmbeddingStore) -> None:
    forget_rows(store, row_ids=[3])
    with (
        only_writer(str(store.path)),
        pytest.raises(OutputExists, match=r"another process is writing there .*run `clipmine compact` again"),
    ):
        compact_store(str(store.path))
    assert store.embeddings("image", 0)[3].any()


def test_a_folder_that_is_no_store_stays_untouched(tmp_path: Path) -> None:
    with pytest.raises(StoreInvalid, match="no such store"):
        compact_store(str(tmp_path / "nothing"))
    assert not list(tmp_path.iterdir())
