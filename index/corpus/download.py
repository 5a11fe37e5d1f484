"""Downloading a table of URLs into webdataset tars with img2dataset, and trying failed rows again later.

`download_table` fetches a Parquet or CSV table. A run that was killed is continued by the next one, which fetches the
missing shards; of a folder of tables that got more files, it fetches the new ones. `retry_failed`, which img2dataset
lacks, writes the rows that failed for a temporary reason (timeouts, 5xx, ...) to new shards after the last one:
finished shards do not change and keys stay unique.

By default images are stored with the bytes that were served, since img2dataset's resizing ignores EXIF rotation.
`index.corpus.fetch_image` says how one image is fetched, and within which limits.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from index import files
from index.corpus.download_status import (
    PERMANENT,
    DownloadSummary,
    downloaded_rows,
    finished_shards,
    retryable_rows,
    row_states,
    shard_name,
    summarize,
)
from index.corpus.fetch_image import FetchLimits
from index.corpus.ray_address import check_answers, ray_address
from index.corpus.url_table import (
    FOLDER,
    ROW,
    TablePlan,
    append_part,
    drop_unrecorded_parts,
    list_names,
    prepare_table,
    read_part,
    read_plan,
)
from index.errors import BadInput, ClipmineError, DiskFull

__all__ = [
    "PERMANENT",
    "DownloadOptions",
    "DownloadSummary",
    "download_table",
    "downloaded_rows",
    "retry_failed",
    "row_states",
    "summarize",
]

Progress = Callable[[int, int], None]  # shards done, shards in all
_RESIZE_MODES = ("no", "keep_ratio", "keep_ratio_largest", "center_crop", "border")
_DISTRIBUTORS = ("multiprocessing", "ray")


@dataclass(frozen=True)
class DownloadOptions:
    """How to fetch; which rows are fetched does not depend on it.

    `image_size` None keeps the bytes that were served; else img2dataset resizes to it by `resize_mode` and stores JPEG.
    An image is not stored when its X-Robots-Tag header has one of `disallowed_header_directives`, for all agents or for
    `user_agent_token`, the name that is sent to servers; () stores all.
    """

    processes: int = 1
    threads: int = 64  # of each process; they mostly wait for servers
    timeout: int = 10  # seconds without a byte from a server
    response_timeout: int | None = None  # seconds for a whole response; None: 5 timeouts
    max_bytes: int = 50_000_000  # of a response; `index.corpus.image_decoding` rejects what has more than 67 million
    max_wait: int = 30  # seconds, where a server asks for it with Retry-After
    retries: int = 0  # immediately, in the same run, of what failed for a passing reason
    image_size: int | None = None
    resize_mode: str = "keep_ratio"
    distributor: str = "multiprocessing"  # or "ray": the cluster at RAY_ADDRESS, or a Ray started on this machine
    user_agent_token: str | None = None
    disallowed_header_directives: tuple[str, ...] = ("noai", "noimageai", "noml", "noindex", "noimageindex")

    def __post_init__(self) -> None:
        if self.distributor not in _DISTRIBUTORS:
            raise BadInput(f"distributor {self.distributor!r}: choose one of {', '.join(_DISTRIBUTORS)}")
        if self.resize_mode not in _RESIZE_MODES:
            raise BadInput(f"resize mode {self.resize_mode!r}: choose one of {', '.join(_RESIZE_MODES)}")
        for name, least in {"processes": 1, "threads": 1, "timeout": 1, "max_bytes": 1, "max_wait": 0}.items():
            if getattr(self, name) < least:
                raise BadInput(f"{name} {getattr(self, name)}: must be at least {least}")
        if self.response_timeout is not None and self.response_timeout < self.timeout:
            raise BadInput(f"response timeout {self.response_timeout}: must be at least the timeout, {self.timeout}")

    @property
    def limits(self) -> FetchLimits:
        """The limits of one response."""
        return FetchLimits(self.timeout, self.response_timeout or 5 * self.timeout, self.max_bytes, self.max_wait)


def download_table(
    table: str,
    out: str,
    options: DownloadOptions | None = None,
    *,
    url_col: str = "url",
    caption_col: str | None = "caption",
    keep_columns: Sequence[str] = (),
    shard_size: int = 10_000,
    columns: Sequence[str] = (),
    progress: Progress | None = None,
) -> DownloadSummary:
    """Fetch a table's images into `out/00000.tar`, ...; continues where an interrupted run stopped.

    `keep_columns` are copied into each sample's json, and so to `Sample.extra`, beside `table_row`. `columns` names all
    columns of CSV and TSV files that have no header.

    Raises:
        BadInput: the table cannot be used, or no Ray cluster answers at RAY_ADDRESS.
        OutputExists: `out` holds another download.
        DiskFull: no space left where `out` is.
        ClipmineError: img2dataset stopped; the message has its last line.
    """
    options = options or DownloadOptions()
    kept, size, names = tuple(keep_columns), options.image_size, tuple(columns)
    wanted = TablePlan(url_col, caption_col, kept, shard_size, size, options.resize_mode, names)
    plan = prepare_table(table, out, wanted)
    if len(finished_shards(out)) < plan.shards:
        _run(out, plan, options, progress)
    return summarize(out)


def retry_failed(
    out: str,
    options: DownloadOptions | None = None,
    *,
    permanent: frozenset[str] = PERMANENT,
    max_attempts: int = 5,
    progress: Progress | None = None,
) -> DownloadSummary:
    """Fetch the rows again that failed for a reason not in `permanent`, at most `max_attempts` times over all runs.

    They go into shards numbered after the last one. If a download or a retry was interrupted, this call finishes it and
    does nothing more. Raises as `download_table`, and BadInput when `out` holds no download.
    """
    options = options or DownloadOptions()
    plan = read_plan(out)
    if (options.image_size, options.resize_mode) != (plan.image_size, plan.resize_mode):
        raise BadInput(f"{out}: was downloaded with image size {plan.image_size} and resize mode {plan.resize_mode}")
    if len(finished_shards(out)) < plan.shards:
        _run(out, plan, options, progress)
        return summarize(out, permanent, max_attempts)
    rows = retryable_rows(row_states(out), permanent, max_attempts)
    if len(rows):
        plan = append_part(out, plan, _rows_to_retry(out, plan, rows))
        _run(out, plan, options, progress)
    return summarize(out, permanent, max_attempts)


def _rows_to_retry(out: str, plan: TablePlan, rows: npt.NDArray[np.int64]) -> pa.Table:
    """The prepared rows with these numbers, each once: parts of earlier retries hold some of them again."""
    pieces: list[pa.Table] = []
    missing = rows
    for part in range(len(plan.part_rows)):
        numbers = read_part(out, part, [ROW])[ROW].to_numpy()
        found = np.isin(numbers, missing)
        if found.any():
            pieces.append(read_part(out, part).filter(pa.array(found)))
            missing = np.setdiff1d(missing, numbers)
    return pa.concat_tables(pieces)


def _run(out: str, plan: TablePlan, options: DownloadOptions, progress: Progress | None) -> None:
    """Run img2dataset for the missing shards."""
    drop_unrecorded_parts(out, plan)
    address = _ray_address() if options.distributor == "ray" else None
    arguments: dict[str, Any] = {
        "url_list": files.join(out, FOLDER),
        "input_format": "parquet",
        "url_col": "url",
        "caption_col": "caption" if plan.caption_col else None,
        "save_additional_columns": [ROW, *plan.keep_columns],
        "output_folder": out,
        "output_format": "webdataset",
        "incremental_mode": "incremental",
        "number_sample_per_shard": plan.shard_size,
        "processes_count": options.processes,
        "thread_count": options.threads,
        "timeout": options.timeout,
        "retries": options.retries,
        "distributor": options.distributor,
        "user_agent_token": options.user_agent_token,
        "disallowed_header_directives": list(options.disallowed_header_directives),
        "compute_hash": "sha256",
        "enable_wandb": False,
    }
    if options.image_size is None:
        arguments |= {"resize_mode": "no", "disable_all_reencoding": True, "extract_exif": False}
    else:
        # Small images stay as they are; those that are JPEG already keep their bytes.
        arguments |= {"resize_mode": options.resize_mode, "image_size": options.image_size}
        arguments |= {"resize_only_if_bigger": True, "skip_reencode": True}
    before = len(finished_shards(out))
    with tempfile.TemporaryFile() as log, files.disk_full(out):
        status = _watch([arguments, asdict(options.limits)], address, log, out, plan.shards, progress)
        _remove_unfinished(out)
        if len(finished_shards(out)) < plan.shards:
            log.seek(0)
            lines = log.read().decode("utf-8", "replace").splitlines()
            if any("No space left" in line or "quota exceeded" in line for line in lines):
                raise DiskFull(f"{out}: no space left on the disk; free some and run the same command again")
            if status or len(finished_shards(out)) == before:
                last = next((line.strip() for line in reversed(lines) if line.strip()), "no output")
                if last.startswith("RAY_ADDRESS"):  # `join_ray`
                    raise BadInput(last)
                raise ClipmineError(f"{out}: img2dataset stopped ({last}); run the same command again to go on")


def _watch(
    arguments: list[dict[str, Any]],
    address: str | None,
    log: IO[bytes],
    out: str,
    shards: int,
    progress: Progress | None,
) -> int:
    """Run img2dataset in its own process group until it ends, reporting finished shards; return its exit status."""
    root = str(Path(__file__).resolve().parents[2])
    environment = {
        **os.environ,
        "NO_ALBUMENTATIONS_UPDATE": "1",  # albumentations asks the network for its newest version at import
        "WANDB_MODE": "disabled",
        "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
        **({"RAY_ADDRESS": address} if address else {}),
    }
    command = [sys.executable, "-m", "index.corpus.img2dataset_process", *map(json.dumps, arguments)]
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True
    )
    pause = 0.5 if files.is_local(out) else 5.0  # seconds; listing an object store costs money
    try:
        done = -1
        while child.poll() is None:
            time.sleep(pause)
            if progress is not None and (now := len(finished_shards(out))) != done:
                progress(done := now, shards)
        return child.returncode
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        child.communicate()


def _ray_address() -> str:
    """The address of the Ray cluster that this process uses, if any, else of the one that RAY_ADDRESS names.

    BadInput when nothing answers there.
    """
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        return str(ray.get_runtime_context().gcs_address)
    address = ray_address()
    check_answers(address)
    return address


def _remove_unfinished(out: str) -> None:
    """Remove tars and tables of shards without a `_stats.json`: they are incomplete and must not be read."""
    done = {shard_name(number) for number in finished_shards(out)}
    for ending in (".tar", ".parquet"):
        for name in list_names(out, ending):
            if name.removesuffix(ending) not in done:
                files.remove(files.join(out, name))
