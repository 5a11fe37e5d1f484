"""Tiles cover the blocks in order, and products in two fp16 parts are as precise as fp32."""

from __future__ import annotations

import numpy as np
import torch

from index.graph.tiles import Asked, above, kth_best, tile_shape, tiles
from tests.index.vectors import clustered

CPU = torch.device("cpu")


def test_tiles_have_all_rows_in_order_and_start_anew_with_each_block() -> None:
    vectors = np.arange(50, dtype=np.float16).reshape(25, 2)
    blocks = [(100, vectors[:11]), (111, vectors[11:])]
    found = [(first, tile.numpy().copy()) for first, tile in tiles(blocks, CPU, rows=7)]
    assert [first for first, _ in found] == [100, 107, 111, 118]
    assert np.concatenate([tile for _, tile in found]).tolist() == vectors.tolist()


def test_blocks_of_any_float_type_become_fp32() -> None:
    for kind in (np.float16, np.float32, np.float64):
        ((_, tile),) = tiles([(0, np.full((3, 4), 0.5, kind))], CPU, rows=5)
        assert tile.dtype == torch.float32
        assert (tile == 0.5).all()


def test_the_tile_of_a_processor_does_not_depend_on_its_memory() -> None:
    assert tile_shape(CPU) == tile_shape(CPU)


def test_products_of_two_fp16_parts_differ_from_exact_ones_no_more_than_fp32_does() -> None:
    image, text = clustered(400, dim=512)
    rng = np.random.default_rng(1)
    queries = text[:50].astype(np.float32) + rng.normal(0, 1e-4, (50, 512)).astype(np.float32)  # no fp16 values
    exact = queries.astype(np.float64) @ image.astype(np.float64).T
    asked, rows = torch.from_numpy(queries), torch.from_numpy(image)
    in_parts, in_fp32 = (Asked(asked, halves).products(rows).numpy().copy() for halves in (True, False))
    assert np.abs(in_fp32 - exact).max() < 5e-7
    assert np.abs(in_parts - exact).max() < 5e-7
    rounded = np.abs(queries.astype(np.float16).astype(np.float64) @ image.astype(np.float64).T - exact).max()
    assert rounded > 5e-6  # what one fp16 part would lose


def test_queries_that_could_overflow_fp16_are_not_split() -> None:
    products = Asked(torch.full((1, 2), 70_000.0), halves=True).products(torch.ones(3, 2, dtype=torch.float16))
    assert products.tolist() == [[140_000.0] * 3]


def test_fp32_rows_are_multiplied_in_fp32() -> None:
    asked = Asked(torch.tensor([[1.0, 0.0]]), halves=True)
    assert asked.products(torch.tensor([[1 / 3, 5.0]])).item() == np.float32(1 / 3)


def test_products_above_a_threshold_are_found_line_by_line() -> None:
    line, column = above(torch.tensor([[1.0, 3.0, 2.0], [9.0, 0.0, 9.0]]), torch.tensor([1.0, 8.0]))
    assert list(zip(line.tolist(), column.tolist(), strict=True)) == [(0, 1), (0, 2), (1, 0), (1, 2)]


def test_the_kth_best_counts_equal_products() -> None:
    products = torch.tensor([[1.0, 3.0, 3.0, 2.0], [0.0, -1.0, -torch.inf, -torch.inf]])
    assert [kth_best(products, k).tolist() for k in (1, 2, 3)] == [[3.0, 0.0], [3.0, -1.0], [2.0, -torch.inf]]
