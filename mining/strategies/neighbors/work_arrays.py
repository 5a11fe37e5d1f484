"""Arrays and tables in a strategy's working folder: what the driver hands to its items, and what these hand back.

Files are written atomically, so one that exists is complete, and an item that finds its file is finished.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from index.errors import StoreInvalid
from index.files import exists, join, open_file, write_atomic
from index.parquet import read_parquet
from mining.strategies.context import MiningContext

__all__ = [
    "has_arrays",
    "read_array",
    "read_arrays",
    "read_table",
    "save_array",
    "write_array",
    "write_arrays",
    "write_table",
]


def write_array(ctx: MiningContext, name: str, array: npt.NDArray[Any]) -> None:
    """Write one array as NAME, a .npy file."""
    save_array(join(ctx.folder, name), array)


def save_array(path: str, array: npt.NDArray[Any]) -> None:
    """Write a .npy file of any folder."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_atomic(path, buffer.getvalue())


def read_array(ctx: MiningContext, name: str) -> npt.NDArray[Any]:
    """The array of `write_array`."""
    with open_file(join(ctx.folder, name)) as stream:
        array: npt.NDArray[Any] = np.load(stream, allow_pickle=False)
    return array


def has_arrays(ctx: MiningContext, name: str) -> bool:
    """Whether the file NAME was written, by any of the functions here."""
    return exists(join(ctx.folder, name))


def write_arrays(ctx: MiningContext, name: str, **arrays: npt.NDArray[Any]) -> None:
    """Write named arrays as NAME, an .npz file."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # its stub takes the names for its own options
    write_atomic(join(ctx.folder, name), buffer.getvalue())


def read_arrays(ctx: MiningContext, name: str) -> dict[str, npt.NDArray[Any]]:
    """The arrays of `write_arrays`. Raises StoreInvalid, which says to delete the folder, for a damaged file."""
    try:
        with open_file(join(ctx.folder, name)) as stream, np.load(stream, allow_pickle=False) as arrays:
            return {each: arrays[each] for each in arrays.files}
    except (ValueError, OSError) as error:
        raise StoreInvalid(f"{join(ctx.folder, name)}: is damaged; delete {ctx.folder} and mine again") from error


def write_table(ctx: MiningContext, name: str, table: pa.Table) -> None:
    """Write a table as NAME, a .parquet file."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    write_atomic(join(ctx.folder, name), buffer.getvalue())


def read_table(ctx: MiningContext, name: str, schema: pa.Schema) -> pa.Table:
    """The table of `write_table`."""
    return read_parquet(join(ctx.folder, name)).cast(schema)
