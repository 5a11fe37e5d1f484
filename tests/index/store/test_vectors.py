"""Vectors are mapped from .npy files, and rows with inf or NaN or of another length than 1 are found and mended."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from index.errors import StoreInvalid
from index.store.vectors import (
    OddVectors,
    VectorFindings,
    hide_not_finite,
    inspect_vectors,
    normalise,
    not_finite_rows,
    off_unit,
    open_vectors,
    read_header,
)

DTYPES = ["float16", "float32"]


def unit(rows: int, dtype: str, dim: int = 8) -> np.ndarray:
    vectors = np.random.default_rng(0).normal(size=(rows, dim))
    scaled: np.ndarray = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(dtype)
    return scaled


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_file_is_mapped_as_numpy_reads_it(tmp_path: Path, dtype: str, order: Literal["C", "F"]) -> None:
    vectors = np.asarray(unit(700, dtype), order=order)
    np.save(tmp_path / "a.npy", vectors)
    mapped = open_vectors(tmp_path / "a.npy")
    assert mapped.dtype == vectors.dtype
    assert np.array_equal(mapped, vectors)
    assert not mapped.flags.writeable
    assert len(not_finite_rows(mapped)) == len(off_unit(mapped)) == 0


def test_a_file_without_rows_is_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.empty((0, 8), np.float16))
    assert open_vectors(tmp_path / "a.npy").shape == (0, 8)
    assert len(not_finite_rows(open_vectors(tmp_path / "a.npy"))) == 0


@pytest.mark.parametrize(
    ("array", "why"),
    [
        (np.zeros(5, np.float16), "not rows of float16"),
        (np.zeros((5, 2), np.float64), "not rows of float16"),
        (np.zeros((5, 2), ">f2"), "not rows of float16"),
        (np.array([[{"run": "me"}]], dtype=object), "not rows of float16"),
    ],
)
def test_what_is_no_file_of_vectors_is_refused(tmp_path: Path, array: np.ndarray, why: str) -> None:
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(StoreInvalid, match=rf"a\.npy: .*{why}"):
        open_vectors(tmp_path / "a.npy")


def test_missing_damaged_and_cut_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreInvalid, match="is missing"):
        read_header(tmp_path / "a.npy")
    (tmp_path / "a.npy").write_bytes(b"junk")
    with pytest.raises(StoreInvalid, match="cannot be read as a"):
        read_header(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", unit(9, "float16"))
    header = read_header(tmp_path / "a.npy")
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-1])
    with pytest.raises(StoreInvalid, match="cannot be read as a"):
        header.map()
    (tmp_path / "a.npy").unlink()
    with pytest.raises(StoreInvalid, match="is missing"):
        header.map()


@pytest.mark.parametrize("dtype", DTYPES)
def test_single_rows_are_read_without_a_map(tmp_path: Path, dtype: str) -> None:
    vectors = unit(30, dtype)
    np.save(tmp_path / "a.npy", vectors)
    header = read_header(tmp_path / "a.npy")
    ids = np.array([29, 0, 7, 7])
    assert np.array_equal(header.read(ids), vectors[ids])
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-1])
    with pytest.raises(StoreInvalid, match="cut off"):
        header.read(ids)
    (tmp_path / "a.npy").unlink()
    with pytest.raises(StoreInvalid, match="cannot be read"):
        header.read(ids)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan, -np.nan])
def test_rows_with_inf_or_nan_are_found_wherever_they_are_and_hidden(dtype: str, bad: float) -> None:
    vectors = unit(1_000, dtype)
    vectors[[0, 255, 256, 999], [0, 3, 7, 4]] = bad
    vectors[5] = np.finfo(dtype).max
    assert not_finite_rows(vectors).tolist() == [0, 255, 256, 999]
    hidden = hide_not_finite(vectors)
    assert np.isfinite(hidden).all()
    assert np.flatnonzero(~hidden.any(axis=1)).tolist() == [0, 255, 256, 999]
    assert hide_not_finite(hidden) is hidden


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_of_another_length_are_found_and_normalised(dtype: str) -> None:
    vectors = unit(600, dtype)
    vectors[[1, 300, 599]] *= np.array([[0.5], [1.02], [50]], dtype)
    vectors[7] = 0
    assert off_unit(vectors).tolist() == [1, 300, 599]
    lengths = np.linalg.norm(normalise(vectors).astype(np.float64), axis=1)
    assert lengths[7] == 0
    assert np.delete(lengths, 7) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("scale", [1e-30, 1e25, 1e38])
def test_lengths_beyond_float32_are_measured(scale: float) -> None:
    vectors = (unit(3, "float32") * np.float32(scale)).astype(np.float32)
    findings = inspect_vectors(vectors, VectorFindings())
    assert (findings.zero, findings.not_unit) == (0, 3)
    assert np.linalg.norm(normalise(vectors), axis=1) == pytest.approx(1, abs=1e-5)


def test_one_pass_counts_all_rows_and_tells_how_far_it_is() -> None:
    vectors = unit(40_000, "float16")
    vectors[17_000], vectors[30_000, 1], vectors[39_999] = np.nan, np.inf, 0
    vectors[3] *= 4
    told: list[int] = []
    found = inspect_vectors(vectors, VectorFindings(), told.append)
    assert (found.rows, found.zero, found.not_finite, found.first_not_finite) == (40_000, 1, 2, 17_000)
    assert (found.not_unit, found.unit_length, found.usable) == (1, False, 39_997)
    assert found.lengths == pytest.approx((1, 4), abs=0.01)
    assert sum(told) == 40_000
    assert len(told) > 1
    odd = OddVectors.of("7", "image", 100_000, found)
    assert (odd.part, odd.not_finite, odd.first_not_finite, odd.not_unit) == ("7", 2, 117_000, 1)
