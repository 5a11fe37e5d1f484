"""Downloading a table of URLs into webdataset tars with img2dataset, and trying failed rows again later.

`download_table` fetches a Parquet or CSV table. A run that was killed is continued by the next one, which fetches the
missing shards; of a folder of tables that got more files, it fetches the new ones. `retry_failed`, which img2dataset
lacks, writes the rows that failed for a temporary reason (timeouts, 5xx, ...) to new shards after the last one:
finished shards do not change and keys stay unique.

By default images are stored with the bytes that were served, since img2dataset's resizing ignores EXIF rotation.
img2dataset does not limit the size of a response. Proxies are those of the environment variables that urllib reads
(`http_proxy`, `https_proxy`, `no_proxy`).
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
from dataclasses import dataclass
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
    An image is not stored when its X-Robots-Tag header has one of `disallowed_header_directives`; () stores all.
    """

    processes: int = 1
    threads: int = 64  # of each process; they mostly wait for servers
    timeout: int = 10  # seconds
    retries: int = 0  # immediately, in the same run
    image_size: int | None = None
    resize_mode: str = "keep_ratio"
    distributor: str = "multiprocessing"  # or "ray": the cluster at RAY_ADDRESS, or a Ray started on this machine
    user_agent_token: str | None = None
    disallowed_header_directives: tuple[str, ...] = ("noai", "noimageai", "noindex", "noimageindex")

    def __post_init__(self) -> None:
        if self.distributor not in _DISTRIBUTORS:
            raise BadInput(f"distributor {self.distributor!r}: choose one of {', '.join(_DISTRIBUTORS)}")
        if self.resize_mode not in _RESIZE_MODES:
            raise BadInput(f"resize mode {self.resize_mode!r}: choose one of {', '.join(_RESIZE_MODES)}")
        for name in ("processes", "threads", "timeout"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name} {getattr(self, name)}: must be at least 1")


def download_table(
    table: str,
    out: str,
    options: DownloadOptions | None = None,
    *,
    url_col: str = "url",
    caption_col: str | None = "caption",
    keep_columns: Sequence[str] = (),
    shard_size: int = 10_000,
    progress: Progress | None = None,
) -> DownloadSummary:
    """Fetch a table's images into `out/00000.tar`, ...; continues where an interrupted run stopped.

    `keep_columns` are copied into each sample's json, and so to `Sample.extra`, beside `table_row`.

    Raises:
        BadInput: the table cannot be used.
        OutputExists: `out` holds another download.
        DiskFull: no space left where `out` is.
        ClipmineError: img2dataset stopped; the message has its last line.
    """
    options = options or DownloadOptions()
    wanted = TablePlan(url_col, caption_col, tuple(keep_columns), shard_size, options.image_size, options.resize_mode)
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
        status = _watch(arguments, log, out, plan.shards, progress)
        _remove_unfinished(out)
        if len(finished_shards(out)) < plan.shards:
            log.seek(0)
            lines = log.read().decode("utf-8", "replace").splitlines()
            if any("No space left" in line or "quota exceeded" in line for line in lines):
                raise DiskFull(f"{out}: no space left on the disk; free some and run the same command again")
            if status or len(finished_shards(out)) == before:
                last = next((line.strip() for line in reversed(lines) if line.strip()), "no output")
                raise ClipmineError(f"{out}: img2dataset stopped ({last}); run the same command again to go on")


def _watch(arguments: dict[str, Any], log: IO[bytes], out: str, shards: int, progress: Progress | None) -> int:
    """Run img2dataset in its own process group until it ends, reporting finished shards; return its exit status."""
    root = str(Path(__file__).resolve().parents[2])
    environment = {
        **os.environ,
        "NO_ALBUMENTATIONS_UPDATE": "1",  # albumentations asks the network for its newest version at import
        "WANDB_MODE": "disabled",
        "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
        **_ray_address(),
    }
    command = [sys.executable, "-m", "index.corpus.img2dataset_process", json.dumps(arguments)]
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


def _ray_address() -> dict[str, str]:
    """The address of the Ray cluster that this process uses, if any: img2dataset's tasks go to the same one."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return {}
    return {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}


def _remove_unfinished(out: str) -> None:
    """Remove tars and tables of shards without a `_stats.json`: they are incomplete and must not be read."""
    done = {shard_name(number) for number in finished_shards(out)}
    for ending in (".tar", ".parquet"):
        for name in list_names(out, ending):
            if name.removesuffix(ending) not in done:
                files.remove(files.join(out, name))
