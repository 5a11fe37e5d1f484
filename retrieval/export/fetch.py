"""Download a selection's images, join them to its rows, and replace those that are gone by each concept's next ranks.

    OUT/
      fetch.json                     the selection that is fetched here
      asked/round_00.parquet         the rows to download: in round 0 the selection, then next ranks
      tars/round_00/00000.tar, ...   downloaded images, by img2dataset; each .json holds row_id, concept, score, ...
      checked/round_00/00000.json    keys in a shard whose bytes are no image (mostly a page that says "moved")
      fetched.parquet                one row for each image: the selection's columns, and image_shard, image_key
      lost.parquet                   one row for each image that could not be downloaded, with the reason
      manifest.json                  written last: the counts

Each round asks for as many next ranks of a concept as the concept still lacks, until none lacks any or the reserve is
used up. Run again, it continues an interrupted fetch; where concepts of a finished fetch are still short, it retries
the downloads that failed for a passing reason. A folder that asked for rows that were forgotten since is refused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from index.corpus.download import DownloadOptions, download_table, downloaded_rows, retry_failed, row_states
from index.corpus.image_decoding import image_extension
from index.corpus.table_rows import usable_urls
from index.corpus.tars import iter_members
from index.corpus.url_table import FOLDER, ROW
from index.errors import BadInput
from index.files import atomic_file, exists, join, open_file, read_bytes, write_atomic
from index.outputs import claim_folder, unused_claim_released
from index.parquet import read_parquet
from index.store.output_register import register_output
from retrieval.distinct_rows import distinct_rows
from retrieval.search.candidates import place_in_group
from retrieval.selection import Section, Selection

__all__ = ["FetchSummary", "fetch_selection"]

BoolArray = npt.NDArray[np.bool_]
Progress = Callable[[int, int, int], None]  # round, its shards done, its shards in all
# Columns that are copied into each sample's .json.
_CLAIM = "fetch.json"
# What a fetch writes before the first image can arrive, by paths in its folder.
_NO_OUTPUT = ("asked", f"tars/round_00/{FOLDER}")
_KEPT = ("row_id", "source_key", "concept", "class_id", "prompt", "mode", "score", "rank")
_ASKED = ("row_id", "key", "caption", "url", "concept", "class_id", "prompt", "mode", "score", "rank")


@dataclass(frozen=True)
class FetchSummary:
    """Counts of images: asked + topped_up = arrived + sum(lost.values()).

    asked: images of the selection; topped_up: next ranks that were asked for; arrived: downloaded; lost: not
    downloaded, by reason (also "no_url"); short: rows that are still missing, by concept.
    """

    out: str
    asked: int
    topped_up: int
    arrived: int
    lost: dict[str, int]
    rounds: int
    short: dict[str, int]


def fetch_selection(
    selection: Selection | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    options: DownloadOptions | None = None,
    shard_size: int = 10_000,
    on_progress: Progress | None = None,
) -> FetchSummary:
    """Download a selection's URLs into the folder `out` and top up each concept; see the module's text.

    Raises BadInput when no row has a URL, or `out` was begun before rows of it were forgotten; OutputExists when `out`
    holds something else; and what `index.corpus.download.download_table` raises.
    """
    opened = selection if isinstance(selection, Selection) else Selection.open(selection)
    if not _with_url(_rows(opened, "rows")).any():
        raise BadInput(f"{opened.path}: none of its rows has a URL, so nothing can be fetched; use `clipmine export`")
    target = os.fspath(out)
    job = {"selection": opened.identity, "samples_per_shard": shard_size}
    with unused_claim_released(target, _CLAIM, _NO_OUTPUT):
        finished = claim_folder(target, _CLAIM, job, besides=_NO_OUTPUT)
        fetch = _Fetch(opened, target, options or DownloadOptions(), shard_size, on_progress)
        fetch.check_forgotten()
        if finished and not _read_summary(target).short:
            return _read_summary(target)
        for number in range(fetch.rounds()):
            fetch.download(number)
            if finished:
                retry_failed(fetch.tars(number), fetch.options)
        if not fetch.rounds():
            fetch.ask(distinct_rows(_rows(opened, "rows")))
        while (following := fetch.next_ranks()).num_rows:
            fetch.ask(following)
        return fetch.finish()


def _rows(selection: Selection, section: Section) -> pa.Table:
    return selection.table(_ASKED, section=section)


def _with_url(table: pa.Table) -> BoolArray:
    """bool [rows]: which rows have a URL that can be downloaded."""
    mask: BoolArray = usable_urls(table["url"]).to_numpy()
    return mask


class _Fetch:
    """A fetch and its output folder. All state is in the folder, so that an interrupted fetch can be continued."""

    def __init__(
        self, selection: Selection, out: str, options: DownloadOptions, shard_size: int, on_progress: Progress | None
    ) -> None:
        self.selection, self.out, self.options = selection, out, options
        self.shard_size, self.on_progress = shard_size, on_progress

    def rounds(self) -> int:
        number = 0
        while exists(self._asked_file(number)):
            number += 1
        return number

    def check_forgotten(self) -> None:
        """Raise BadInput where a row that was asked for was forgotten since: its image may be in a tar here."""
        asked = [self._asked(number)["row_id"].to_numpy() for number in range(self.rounds())]
        gone = int(self.selection.is_forgotten(np.unique(np.concatenate(asked))).sum()) if asked else 0
        if gone:
            raise BadInput(
                f"{self.out}: asked for {gone:,} {'row' if gone == 1 else 'rows'} that the store forgot since; delete "
                "the folder and run the same command again"
            )

    def tars(self, number: int) -> str:
        return join(self.out, f"tars/round_{number:02d}")

    def _asked_file(self, number: int) -> str:
        return join(self.out, f"asked/round_{number:02d}.parquet")

    def ask(self, rows: pa.Table) -> None:
        """Start a round with `rows` and download it."""
        number = self.rounds()
        names = ["source_key" if name == "key" else name for name in rows.column_names]
        with atomic_file(self._asked_file(number)) as partial:
            pq.write_table(rows.rename_columns(names), partial)
        self.download(number)

    def download(self, number: int) -> None:
        """Download the shards that a round still lacks."""
        report = self.on_progress
        download_table(
            self._asked_file(number),
            self.tars(number),
            self.options,
            keep_columns=_KEPT,
            shard_size=self.shard_size,
            progress=None if report is None else lambda done, shards: report(number, done, shards),
        )

    def _asked(self, number: int) -> pa.Table:
        table = read_parquet(self._asked_file(number))
        if "class_id" in table.column_names:
            return table
        # Begun before rows had class ids.
        concepts = table["concepts"].combine_chunks()
        ids = pa.ListArray.from_arrays(concepts.offsets, pa.nulls(len(concepts.values), pa.string()))
        return table.append_column("class_id", pa.nulls(len(table), pa.string())).append_column("class_ids", ids)

    def outcomes(self) -> pa.Table:
        """All rows that were asked for, round by round, with `reason` ("downloaded" for those that arrived)."""
        tables = []
        for number in range(self.rounds()):
            asked = self._asked(number)
            states = row_states(self.tars(number))
            reasons = np.array(states.reasons, dtype=object)[states.state]
            reasons[self._no_images(number)] = "not_an_image"
            table = asked.append_column("reason", pa.array(reasons, pa.string()))
            table = table.append_column("round", pa.array(np.full(asked.num_rows, number, np.int32)))
            tables.append(table.append_column(ROW, pa.array(np.arange(asked.num_rows))))
        return pa.concat_tables(tables)

    def _no_images(self, number: int) -> list[int]:
        """A round's table rows whose bytes are no image. img2dataset stores bytes without decoding them."""
        rows = []
        for table in downloaded_rows(self.tars(number)):
            for shard in table["shard"].unique().to_pylist():
                wrong = self._wrong_keys(number, shard)
                rows.extend(table.filter(pc.is_in(table["key"], pa.array(wrong, pa.string())))[ROW].to_pylist())
        return rows

    def _wrong_keys(self, number: int, shard: str) -> list[str]:
        checked = join(self.out, f"checked/round_{number:02d}/{shard.removesuffix('.tar')}.json")
        if not exists(checked):
            with open_file(join(self.tars(number), shard)) as stream:
                wrong = [
                    member.name.partition(".")[0]
                    for member in iter_members(stream, lambda name, size: not name.endswith((".json", ".txt")))
                    if member.data is not None and image_extension(member.data) is None
                ]
            write_atomic(checked, json.dumps(wrong))
        keys: list[str] = json.loads(read_bytes(checked))
        return keys

    def missing(self, outcomes: pa.Table) -> npt.NDArray[np.int64]:
        """int64 [concepts]: how many of the selection's rows each concept still lacks."""
        arrived = outcomes.filter(pc.equal(outcomes["reason"], "downloaded"))
        several = {"concept": "concepts", "class_id": "class_ids"}
        flat = pa.table({one: pc.list_flatten(arrived[all_of_them]) for one, all_of_them in several.items()})
        served = self.selection.places(flat)
        quota = np.array(list(self.selection.counts.values()), np.int64)
        missing: npt.NDArray[np.int64] = np.maximum(quota - np.bincount(served, minlength=len(quota)), 0)
        return missing

    def next_ranks(self) -> pa.Table:
        """The next rows of each concept's reserve, as many as it lacks; a row is used for one concept only."""
        outcomes = self.outcomes()
        missing = self.missing(outcomes)
        reserve = _rows(self.selection, "reserve")
        asked = pc.is_in(reserve["row_id"], value_set=outcomes["row_id"].combine_chunks()).to_numpy()
        first = np.zeros(reserve.num_rows, np.bool_)
        first[np.unique(reserve["row_id"].to_numpy(), return_index=True)[1]] = True
        left = reserve.filter(pa.array(first & ~asked & _with_url(reserve)))
        concept = self.selection.places(left)
        chosen = left.filter(pa.array(place_in_group(concept) < missing[concept]))
        return distinct_rows(chosen)

    def finish(self) -> FetchSummary:
        """Write fetched.parquet, lost.parquet and the manifest."""
        outcomes = self.outcomes()
        here = pc.equal(outcomes["reason"], "downloaded")
        topped_up = pc.greater(outcomes["round"], 0)
        outcomes = outcomes.append_column("topped_up", topped_up)
        arrived, lost = outcomes.filter(here), outcomes.filter(pc.invert(here)).drop_columns([ROW, "round"])
        self._write("fetched.parquet", self._located(arrived))
        self._write("lost.parquet", lost)
        reasons = lost["reason"].value_counts().to_pylist()
        missing = self.missing(outcomes)
        summary = FetchSummary(
            out=self.out,
            asked=outcomes.num_rows - int(pc.sum(topped_up).as_py() or 0),
            topped_up=int(pc.sum(topped_up).as_py() or 0),
            arrived=arrived.num_rows,
            lost={
                entry["values"]: entry["counts"] for entry in sorted(reasons, key=lambda entry: str(entry["values"]))
            },
            rounds=self.rounds(),
            short={self.selection.labels[place]: int(missing[place]) for place in np.flatnonzero(missing)},
        )
        plain = {name: value for name, value in asdict(summary).items() if name != "out"}
        write_atomic(
            join(self.out, "manifest.json"), json.dumps({"format": "clipmine-fetch", **plain}, indent=1) + "\n"
        )
        if self.selection.forgotten_rows is not None:
            register_output(self.selection.store(), "fetched images", self.out, ("asked/*.parquet",))
        return summary

    def _located(self, arrived: pa.Table) -> pa.Table:
        """`arrived` with `image_shard` (relative to the output folder) and `image_key`, by round and table row."""
        schema = pa.schema([("round", pa.int32()), (ROW, pa.int64())])
        schema = schema.append(pa.field("image_shard", pa.string())).append(pa.field("image_key", pa.string()))
        places = [schema.empty_table()]
        for number in range(self.rounds()):
            for table in downloaded_rows(self.tars(number)):
                shards = [f"tars/round_{number:02d}/{name}" for name in table["shard"].to_pylist()]
                columns = [[number] * table.num_rows, table[ROW], shards, table["key"]]
                places.append(pa.table(dict(zip(schema.names, columns, strict=True))).cast(schema))
        # Arrow's joins take no list columns, so the places are looked up by hand.
        found = pa.concat_tables(places)
        place = {key: at for at, key in enumerate(zip(found["round"].to_pylist(), found[ROW].to_pylist(), strict=True))}
        keys = zip(arrived["round"].to_pylist(), arrived[ROW].to_pylist(), strict=True)
        chosen = found.take(pa.array([place[key] for key in keys], pa.int64()))
        located = arrived.drop_columns([ROW, "round", "reason"])
        for name in ("image_shard", "image_key"):
            located = located.append_column(name, chosen[name])
        return located

    def _write(self, name: str, table: pa.Table) -> None:
        with atomic_file(join(self.out, name)) as partial:
            pq.write_table(table, partial, compression="zstd")


def _read_summary(out: str) -> FetchSummary:
    plain = json.loads(read_bytes(join(out, "manifest.json")))
    del plain["format"]
    return FetchSummary(out, **plain)
