"""Every file of a store is compared with its record; what differs is named, with what to do."""

from __future__ import annotations

from collections.abc import Callable
from os import fspath
from pathlib import Path

import numpy as np
import pytest

from index.store.adopt import adopt_store
from index.store.embedding_store import EmbeddingStore
from index.store.forget import forget_rows
from index.store.lookup import build_lookup, plan_lookups
from index.store.store_manifest import part_paths, read_manifest
from index.store.verify import check_files, check_lists, check_lookups, files_to_check
from tests.index.foreign import change_vectors, write_foreign
from tests.retrieval.stores import make_store, random_unit

CHANGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "one bit": (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "has changed: its SHA-256 is another"),
    "cut off": (lambda data: data[:-7], "bytes instead of"),
    "empty": (lambda data: b"", "has 0 bytes instead of"),
}


def unchecked(path: Path) -> EmbeddingStore:
    """The store without the checks of `open`, which would stop at the first damaged part."""
    return EmbeddingStore(path, read_manifest(fspath(path)))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return make_store(tmp_path, random_unit(20), random_unit(20, seed=1), parts=3).path


def test_a_whole_store_has_no_problems_and_each_file_is_counted(store: Path) -> None:
    done: list[int] = []
    checked = check_files(unchecked(store), lambda: done.append(1))
    assert (checked.files, checked.sampled, checked.unknown) == (9, 0, 0)
    assert (checked.problems, checked.odd_vectors) == ((), ())
    assert len(done) == 9 == files_to_check(unchecked(store))
    assert checked.size == sum(
        path.stat().st_size for folder in ("img_emb", "text_emb", "metadata") for path in (store / folder).iterdir()
    )


@pytest.mark.parametrize("kind", ["image", "text", "metadata"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_file_is_named_with_its_part(store: Path, kind: str, change: str) -> None:
    edit, what = CHANGES[change]
    path = store / part_paths(1)[kind]
    path.write_bytes(edit(path.read_bytes()))
    [problem] = check_files(unchecked(store)).problems
    assert (problem.file, problem.part) == (part_paths(1)[kind], "0001")
    assert what in problem.what
    assert "clipmine embed" in problem.remedy


def test_all_problems_are_named_not_only_the_first(store: Path) -> None:
    (store / part_paths(0)["image"]).unlink()
    (store / part_paths(2)["metadata"]).write_bytes(b"junk")
    problems = check_files(unchecked(store)).problems
    assert [(problem.part, problem.what) for problem in problems] == [
        ("0000", "is missing"),
        ("0002", problems[1].what),
    ]
    assert "4 bytes instead of" in problems[1].what


def test_an_interrupted_compaction_is_mentioned_where_rows_are_forgotten(store: Path) -> None:
    forget_rows(EmbeddingStore.open(store), row_ids=[0])
    (store / part_paths(0)["image"]).write_bytes(b"")
    [problem] = check_files(unchecked(store)).problems
    assert "clipmine compact" in problem.remedy


def test_adopted_files_are_compared_by_sample_or_by_sum(tmp_path: Path) -> None:
    adopt_store(write_foreign(tmp_path, {0: 4_000, 1: 3}))
    checked = check_files(unchecked(tmp_path))
    assert (checked.sampled, checked.problems) == (6, ())

    def turn(vectors: np.ndarray) -> None:
        vectors[1_000] = -vectors[1_000]

    change_vectors(tmp_path, 1, lambda vectors: vectors.fill(0.5))
    [problem] = check_files(unchecked(tmp_path)).problems
    assert (problem.part, problem.what) == ("1", "was replaced since the store was adopted")
    assert "adopt and index the store again" in problem.remedy
    adopt_store(tmp_path, checksums=True)
    change_vectors(tmp_path, 0, turn)
    [problem] = check_files(unchecked(tmp_path)).problems
    assert (problem.part, problem.what) == ("0", "has changed: its SHA-256 is another")


def test_rows_with_inf_or_nan_are_named_and_are_no_problem(tmp_path: Path) -> None:
    write_foreign(tmp_path, {0: 20, 1: 20})
    change_vectors(tmp_path, 1, lambda vectors: vectors[3:5].fill(np.nan), "text_emb")
    adopt_store(tmp_path)
    checked = check_files(unchecked(tmp_path))
    [odd] = checked.odd_vectors
    assert (odd.part, odd.modality, odd.not_finite, odd.first_not_finite) == ("1", "text", 2, 23)
    assert checked.problems == ()


def test_lists_of_forgotten_rows_are_checked_by_their_names(store: Path) -> None:
    forget_rows(EmbeddingStore.open(store), row_ids=[3, 4])
    assert check_lists(unchecked(store)) == []
    [file] = (store / "forgotten").iterdir()
    whole = file.read_bytes()
    np.save(file, np.array([3, 5]))
    [problem] = check_lists(unchecked(store))
    assert "has changed" in problem.what
    file.write_bytes(whole[:-4])
    [problem] = check_lists(unchecked(store))
    assert "cannot be read" in problem.what
    file.unlink()
    np.save(store / "forgotten" / "own.npy", np.array([20]))
    [problem] = check_lists(unchecked(store))
    assert "not among 0 to 19" in problem.what


def test_a_damaged_look_up_file_is_named(store: Path) -> None:
    [item] = plan_lookups(read_manifest(fspath(store)))
    build_lookup(item, fspath(store))
    assert check_lookups(unchecked(store)) == []
    [file] = (store / "lookup").iterdir()
    file.write_bytes(b"junk")
    [problem] = check_lookups(unchecked(store))
    assert (problem.file, problem.remedy) == (str(file), f"clipmine index {store}")
