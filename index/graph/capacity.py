"""The cost of an index, computed before it is built: bytes, shards, memory, hours, disk.

Everything follows from the numbers of rows and dimensions. Sizes are those of faiss's file layout; rates are measured.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import Literal

from index.errors import BadInput
from index.graph.codecs import CODEC_NAMES, CodecName
from index.graph.inverted_lists import list_count, training_rows
from index.graph.rates import Rates
from index.sizes import show_bytes

__all__ = [
    "CODECS",
    "FITTED_ROWS",
    "CapacityPlan",
    "Codec",
    "build_bytes",
    "choose_codec",
    "choose_shard_rows",
    "index_bytes",
    "plan_capacity",
    "row_bytes",
]

Codec = Literal["fp32", "fp16", "sq8", "sq4", "rabitq"]
# Bytes of a component. fp32 is for comparison only: on 100,000 x 512 vectors at efSearch 64, recall@10 was 0.945 with
# both fp32 and fp16.
CODECS: dict[Codec, float] = {"fp32": 4, "fp16": 2, "sq8": 1, "sq4": 0.5, "rabitq": 0.125}

# Rows that one core adds in a second to a graph of M 32, efConstruction 100, 512 dimensions, when 100,000 rows are in
# it (AVX-512, faiss 1.15: 3,536 measured; 4,200 at 20,000 rows). A step from one node to the next takes the same time
# in any graph; the number of steps grows with the logarithm of the rows.
_BUILD_ROWS_PER_CORE = 3_500.0
_BUILD_MEASURED_AT = 100_000
_BUILD_MEASURED_DIM = 512
# When faiss's arrays grow, the old and the new copy exist at the same time.
_BUILD_PEAK = 2.0
# Image shards of so many rows get links that are fitted to captions (`index.graph.query_graph`). Meanwhile they need
# the nearest rows found for each, captions' answers, and the reduced vectors of rows and captions; bytes of a
# row, summed from the arrays' types.
FITTED_ROWS = 8_192
_LINKING_LISTS, _LINKING_DIM = 800, 128
# A row's number and cell in the lists of the layout by meaning.
_LIST_BYTES = 6
# A killed build repeats one shard at most: 10 M rows take one core about an hour and a half.
MAX_SHARD_ROWS = 10_000_000
MIN_SHARD_ROWS = 1_000


@dataclass(frozen=True)
class CapacityPlan:
    """The cost of one modality's index, if not said otherwise; sizes are in bytes.

    Attributes:
        codec: how the index stores vectors.
        sizes: bytes of the whole index for each codec, fp32 included for comparison.
        shards: files that the index is built in, each of at most `shard_rows` rows.
        build_memory: peak memory of building one shard.
        serve_memory: memory that search uses when all of the memory-mapped index is in it.
        fits: whether `serve_memory` is within the memory asked for.
        store_bytes: embeddings of both modalities, fp16, without metadata.
        disk_bytes: store and two indexes.
        rebuild_bytes: the same while one index is built again: the earlier one stays until the new one is complete.
        build_core_hours: time to build one modality on one core.
        queries_per_second: of `cores` cores at efSearch 64, the whole index in memory; None where no rates are known.
    """

    rows: int
    dim: int
    memory: int
    M: int
    cores: int
    codec: Codec
    sizes: dict[Codec, int]
    shards: int
    shard_rows: int
    build_memory: int
    serve_memory: int
    fits: bool
    store_bytes: int
    disk_bytes: int
    rebuild_bytes: int
    build_core_hours: float
    queries_per_second: float | None = None

    @property
    def build_hours(self) -> float:
        """Time to build one modality on `cores` cores that are busy all the time."""
        return self.build_core_hours / self.cores

    def table(self) -> str:
        """The plan as aligned lines for a terminal."""
        asked = show_bytes(self.memory)
        serving = "fits" if self.fits else f"more than {asked}: search reads the rest from disk as it needs it"
        lines = [
            ("rows", f"{self.rows:,} x {self.dim}, two modalities (image and text)"),
            ("embeddings", f"{show_bytes(self.store_bytes)} fp16, both modalities"),
            *(
                (f"index, {codec}", f"{show_bytes(size)} a modality" + (" (chosen)" if codec == self.codec else ""))
                for codec, size in self.sizes.items()
            ),
            ("shards", f"{self.shards:,} a modality, of at most {self.shard_rows:,} rows"),
            ("memory to build", f"{show_bytes(self.build_memory)} for each shard that is built at the same time"),
            ("memory to serve", f"{show_bytes(self.serve_memory)} a modality ({serving})"),
            (
                "time to build",
                f"{_show_hours(self.build_core_hours)} of one core a modality, "
                f"about {_show_hours(self.build_hours)} on {self.cores} cores",
            ),
            (
                "disk",
                f"{show_bytes(self.disk_bytes)} for embeddings and both indexes, {show_bytes(self.rebuild_bytes)} "
                "while one of them is built again; metadata not counted",
            ),
        ]
        if self.shards > 1:
            vectors = round(self.shard_rows * self.dim * CODECS["fp16"])
            grouped = (
                f"{show_bytes(_LIST_BYTES * self.rows)} of lists more; each worker keeps {show_bytes(vectors)} of "
                "vectors in its temporary folder while it builds; a query searches some of the shards"
            )
            lines.append(("--layout meaning", grouped))
        if self.queries_per_second is not None:
            searched = f"{self.queries_per_second:,.2g} queries/s of {self.cores} cores at efSearch 64, index in memory"
            lines.append(("searches", searched))
        width = max(len(name) for name, _ in lines)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in lines)


def row_bytes(dim: int, codec: Codec, M: int = 32) -> int:
    """Bytes of one row in a faiss HNSW file: vector, 2 M links of four bytes on level 0, M on each higher level, level
    number and offset. That gives 1,296 for 512 components in fp16, as measured on a file of 20,000 such rows.

    With rabitq: the code, two floats and the row's number; `index_bytes` adds the centroids of the lists.
    """
    if codec == "rabitq":
        return math.ceil(dim / 8) + 8 + 8
    # A level has 1/M of the rows of the one under it, so the higher levels hold about 1/(M - 1) x M links a row.
    upper = 4 * M / (M - 1)
    return round(dim * CODECS[codec] + 4 * 2 * M + upper + 4 + 8)


def index_bytes(rows: int, dim: int, codec: Codec, M: int = 32, shard_rows: int = MAX_SHARD_ROWS) -> int:
    """Bytes of the graphs, or the inverted lists and their centroids, of an index in shards of `shard_rows` rows."""
    if codec != "rabitq":
        return rows * row_bytes(dim, codec, M)
    shards = math.ceil(rows / shard_rows)
    lists = list_count(min(rows, shard_rows))
    # A centroid has its vector, links to others (M 16) and the head of a list.
    return rows * row_bytes(dim, codec, M) + shards * lists * (4 * dim + 4 * 2 * 16 + 16)


def choose_codec(rows: int, dim: int, memory: int, M: int = 32) -> CodecName:
    """The largest codec with which the whole index fits into `memory` bytes; the smallest one where none does."""
    return next((codec for codec in CODEC_NAMES if index_bytes(rows, dim, codec, M) <= memory), CODEC_NAMES[-1])


def build_bytes(rows: int, dim: int, codec: Codec, M: int = 32) -> int:
    """Peak memory of building a shard of `rows` rows."""
    if codec == "rabitq":
        return math.ceil(_BUILD_PEAK * index_bytes(rows, dim, codec, M)) + training_rows(rows) * dim * 4
    # With sq4 a graph may have fp16 vectors until its links are chosen.
    row = row_bytes(dim, "fp16" if codec == "sq4" else codec, M)
    linking = _LINKING_LISTS + 4 * min(dim, _LINKING_DIM) if rows >= FITTED_ROWS else 0
    return math.ceil(rows * max(_BUILD_PEAK * row, row + linking))


def choose_shard_rows(dim: int, codec: Codec, memory: int, M: int = 32) -> int:
    """Rows of a shard that can be built within `memory` bytes.

    They do not depend on the number of rows in all, so that a store that grows keeps its full shards.

    Raises:
        BadInput: not even `MIN_SHARD_ROWS` rows fit.
    """
    rows = bisect_right(range(MAX_SHARD_ROWS + 1), memory, key=lambda count: build_bytes(count, dim, codec, M)) - 1
    if rows < MIN_SHARD_ROWS:
        needed = show_bytes(build_bytes(MIN_SHARD_ROWS, dim, codec, M))
        raise BadInput(f"--memory {show_bytes(memory)} is too little to build an index: give at least {needed}")
    return rows


def plan_capacity(
    rows: int, dim: int, memory: int, M: int = 32, cores: int = 1, rates: Rates | None = None
) -> CapacityPlan:
    """The cost of indexes over `rows` vectors of `dim` components on a machine with `memory` bytes and `cores` cores.

    rates: of the machine, for the codec that is chosen (`index.graph.rates`); by default the build's were measured
    elsewhere, and those of searches are not known.

    Raises:
        BadInput: a number below 1, M outside 4..128, or memory too small for any shard.
    """
    for name, value in (("--rows", rows), ("--dim", dim), ("--memory", memory), ("--cores", cores)):
        if value < 1:
            raise BadInput(f"{name} is {value}: it must be at least 1")
    if not 4 <= M <= 128:
        raise BadInput(f"M is {M}: choose 4 to 128 links (32 is the default)")
    codec = choose_codec(rows, dim, memory, M)
    most = choose_shard_rows(dim, codec, memory, M)
    shards = math.ceil(rows / most)
    size = index_bytes(rows, dim, codec, M, most)
    store_bytes = round(2 * rows * dim * CODECS["fp16"])
    return CapacityPlan(
        rows=rows,
        dim=dim,
        memory=memory,
        M=M,
        cores=cores,
        codec=codec,
        sizes={each: index_bytes(rows, dim, each, M) for each in CODECS},
        shards=shards,
        shard_rows=min(most, rows),
        build_memory=build_bytes(min(most, rows), dim, codec, M),
        serve_memory=size,
        fits=size <= memory,
        store_bytes=store_bytes,
        disk_bytes=store_bytes + 2 * size,
        rebuild_bytes=store_bytes + 3 * size,
        build_core_hours=_build_seconds(rows, min(most, rows), dim, rates) / 3600,
        queries_per_second=None if rates is None else cores * rates.queries_in_a_second(min(most, rows)) / shards,
    )


def _build_seconds(rows: int, shard_rows: int, dim: int, rates: Rates | None) -> float:
    if rates is not None:
        return rates.seconds_to_build(shard_rows) * rows / shard_rows
    steps = math.log(max(shard_rows, 1_000)) / math.log(_BUILD_MEASURED_AT)
    return rows * steps * (dim / _BUILD_MEASURED_DIM) / _BUILD_ROWS_PER_CORE


def _show_hours(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{math.ceil(hours * 60)} min"
