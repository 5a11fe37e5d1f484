"""Export a selection: webdataset tars for trainers, or a URL list that img2dataset downloads.

    export_selection("selection", "out")                     # tars, see retrieval.export.tars
    export_selection("selection", "out", format="urls")      # out/urls.parquet (or "csv": out/urls.csv)

A row that serves several concepts is exported once, with the list of them. Rows that could not be exported are counted
by reason, and the first ones are named. Run again after rows were forgotten, a finished export is written again where
it holds them: rows that the store forgot are never in its result.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from index.errors import BadInput, ImagesNotLocal
from index.files import atomic_file, exists, join, read_bytes, remove, write_atomic
from index.outputs import claim_folder, unused_claim_released
from index.parquet import read_parquet
from index.store.output_register import register_output
from retrieval.distinct_rows import distinct_rows
from retrieval.export.tars import (
    FORGOTTEN,
    LOADED,
    ExportConfig,
    delete_shards,
    export_item,
    list_export_items,
    shard_name,
    undone_items,
)
from retrieval.selection import Section, Selection

__all__ = ["CLAIM", "ExportSummary", "export_selection", "finish_export", "prepare_export", "url_table"]

CLAIM = "export.json"
Format = Literal["webdataset", "urls", "csv"]
# Rows named in the summary; all are in the shards' parquet files.
_NAMED = 10


@dataclass(frozen=True)
class ExportSummary:
    """Counts of rows: asked = exported + sum(left_out.values()).

    left_out: rows that could not be exported, by reason; named: the first of them, each with its reason. not_loaded:
    exported images by format, of formats that common trainers drop (`retrieval.export.tars.LOADED` are read).
    """

    out: str
    asked: int
    exported: int
    left_out: dict[str, int]
    named: list[str]
    not_loaded: dict[str, int] = field(default_factory=dict)


def export_selection(
    selection: Selection | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    format: Format = "webdataset",
    shard_size: int = 10_000,
    store: str | os.PathLike[str] | None = None,
    reencode: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> ExportSummary:
    """Write `selection` to the folder `out`. Run again after an interruption, it continues after the last whole shard.

    store: path of the store, if it was moved. reencode: "jpg" or "png", for images in formats that trainers drop.
    on_progress(done, total): rows. Raises BadInput for an unknown format, an empty selection or no URL at all;
    ImagesNotLocal where the images cannot be read; OutputExists. A list of URLs needs no store; where it cannot be
    opened, it is not known what was forgotten.
    """
    if format not in get_args(Format):
        raise BadInput(f"format {format!r}: unknown; valid ones: {', '.join(get_args(Format))}")
    given = selection if isinstance(selection, Selection) else None
    place = store if store is not None or given is None else given.store_path
    opened = Selection.open(given.path if given is not None else selection, store=place)  # type: ignore[arg-type]
    target = os.fspath(out)
    if format != "webdataset":
        return _export_urls(opened, target, format)
    config = ExportConfig(opened.path, target, opened.store_path, shard_size, reencode)
    items = list_export_items(config)
    with unused_claim_released(target, CLAIM):
        if prepare_export(config):
            return _read_summary(target)
        for item in items:
            export_item(item, config)
            if on_progress is not None:
                on_progress(item.last, items[-1].last)
        return finish_export(config)


def prepare_export(config: ExportConfig) -> bool:
    """Claim the output folder; True when this export is complete and holds no forgotten row. Raises OutputExists."""
    job = {"selection": Selection.open(config.selection).identity, "samples_per_shard": config.shard_size}
    if config.reencode is not None:  # a default of earlier versions, which did not note it
        job["reencode"] = config.reencode
    if not claim_folder(config.out, CLAIM, {**job, "format": "webdataset"}):
        return False
    if not undone_items(config):
        return True
    remove(join(config.out, "manifest.json"))
    return False


def finish_export(config: ExportConfig) -> ExportSummary:
    """Add up the shards' counts and write the summary as manifest.json.

    Raises ImagesNotLocal when not one image was there; the shards without images are deleted then.
    """
    asked = exported = 0
    left_out: dict[str, int] = {}
    named: list[str] = []
    formats: Counter[str] = Counter()
    for item in list_export_items(config):
        stats = json.loads(read_bytes(join(config.out, f"{shard_name(item.number)}_stats.json")))
        asked += stats["count"]
        exported += stats["successes"]
        formats.update(stats.get("formats", {}))  # shards of earlier versions have none
        for status, count in stats["status_dict"].items():
            if status != "success":
                left_out[status] = left_out.get(status, 0) + count
        if stats["count"] != stats["successes"] and len(named) < _NAMED:
            named.extend(_name_failures(config.out, item.number)[: _NAMED - len(named)])
    if not exported and set(left_out) != {FORGOTTEN}:
        delete_shards(config)
        raise ImagesNotLocal(
            f"{config.selection}: none of its {asked} images could be read ({named[0]}, ...); put the corpus back "
            "where the store expects it, and export again"
        )
    not_loaded = {name: count for name, count in sorted(formats.items()) if name not in LOADED}
    summary = _write_summary(ExportSummary(config.out, asked, exported, left_out, named, not_loaded))
    store = Selection.open(config.selection, store=config.store).store()
    register_output(store, "export", config.out, ("*.parquet",), without={"error_message": FORGOTTEN})
    return summary


def url_table(selection: Selection, section: Section = "rows") -> pa.Table:
    """One row an image with a URL: url, caption, row_id, source_key, concept, class_id, concepts, class_ids, prompt,
    mode, score, rank. Forgotten rows are not in it."""
    names = ["row_id", "key", "caption", "url", "concept", "class_id", "prompt", "mode", "score", "rank"]
    table = distinct_rows(selection.table(names, section=section))
    with_url = table.filter(pc.fill_null(pc.greater(pc.utf8_length(table["url"]), 0), False))
    renamed = with_url.rename_columns(["source_key" if name == "key" else name for name in with_url.column_names])
    several = ["concept", "class_id", "concepts", "class_ids"]
    return renamed.select(["url", "caption", "row_id", "source_key", *several, "prompt", "mode", "score", "rank"])


def _export_urls(selection: Selection, out: str, format: Format) -> ExportSummary:
    asked = pc.count_distinct(selection.table(["row_id"], include_forgotten=True)["row_id"]).as_py()
    shown = pc.count_distinct(selection.table(["row_id"])["row_id"]).as_py()
    table = url_table(selection)
    name = f"urls.{'parquet' if format == 'urls' else 'csv'}"
    if not table.num_rows and not exists(join(out, name)):
        raise BadInput(f"{selection.path}: none of its rows has a URL; export the images themselves instead")
    with unused_claim_released(out, CLAIM):
        if claim_folder(out, CLAIM, {"selection": selection.identity, "format": format}):
            summary = _read_summary(out)
            if summary.left_out.get(FORGOTTEN, 0) == asked - shown:
                return summary
            remove(join(out, "manifest.json"))
        with atomic_file(join(out, name)) as partial:
            if format == "urls":
                pq.write_table(table, partial)
            else:
                pa_csv.write_csv(table.drop_columns(["concepts", "class_ids"]), partial)
    lost = {FORGOTTEN: asked - shown, "no url": shown - table.num_rows}
    left_out = {reason: rows for reason, rows in lost.items() if rows}
    summary = _write_summary(ExportSummary(out, asked, table.num_rows, left_out, []))
    if selection.forgotten_rows is not None:
        register_output(selection.store(), "export", out, (name,))
    return summary


def _name_failures(out: str, number: int) -> list[str]:
    columns = ["row_id", "source_key", "source_shard", "error_message"]
    table = read_parquet(join(out, f"{shard_name(number)}.parquet"), columns)
    rows = table.filter(pc.is_valid(table["error_message"])).to_pylist()
    return [f"row {row['row_id']}{_where(row)}: {row['error_message']}" for row in rows]


def _where(row: dict[str, Any]) -> str:
    return "" if row["source_key"] is None else f" ({row['source_key']} in {row['source_shard']})"


def _write_summary(summary: ExportSummary) -> ExportSummary:
    plain = {name: value for name, value in asdict(summary).items() if name != "out"}
    write_atomic(
        join(summary.out, "manifest.json"), json.dumps({"format": "clipmine-export", **plain}, indent=1) + "\n"
    )
    return summary


def _read_summary(out: str) -> ExportSummary:
    plain = json.loads(read_bytes(join(out, "manifest.json")))
    del plain["format"]
    return ExportSummary(out, **plain)
