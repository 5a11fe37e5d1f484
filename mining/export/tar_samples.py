"""The samples of the tars that `to_webdataset` wrote, read forward: a tar is opened once and read in large pieces."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import IO, Any, Unpack, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from index.errors import BadInput
from index.files import exists, join, open_file, read_bytes
from index.parquet import read_parquet
from mining.export.sample import Sample, Wording
from mining.export.samples import Numbers, PerSet, TurnChoice, draw_numbers, with_captions
from mining.export.skipped import SkippedSet
from mining.export.tars import FORMAT, INDEX_SCHEMA, VERSION
from mining.sets.attached import names_of
from mining.sets.image_set import ImageSet

__all__ = ["TarSamples"]

_BLOCK = 512  # bytes; POSIX.1-1988 (ustar): headers and files begin at multiples of it
_PIECE = 8 << 20  # bytes that are read at a time
_LACKING = "has no conversation that was asked for"


class TarSamples:
    """The samples of a folder of tars: see `mining.export.sample_files.SampleFiles`."""

    rejected = 0  # sets: the tars have none of them

    # The files of so many sets are held while they are shuffled: 50 MB for pairs of photographs of 100 kB.
    window = 256

    def __init__(self, folder: str | os.PathLike[str], *, seed: int = 0, **choice: Unpack[TurnChoice]) -> None:
        """choice: as `Samples` takes it, of the annotations that were written.

        Raises BadInput where the folder is not a finished export, or no set of it has such an annotation.
        """
        self.folder = os.fspath(folder)
        index = _read_index(self.folder)
        self._sets = index.select(["number", "set_id", "shard", "offset", "bytes"])
        self._kinds, self._annotators = (names_of(each) for each in (choice.get("kind"), choice.get("annotator")))
        answer, self._seed = choice.get("answer"), seed
        self._wording = Wording(answer, choice.get("question"), choice.get("template"), silent=True)
        if choice.get("per_set", "all") not in get_args(PerSet):
            raise BadInput(f"per_set {choice['per_set']!r:.50}: choose {' or '.join(get_args(PerSet))}")
        self._one = choice.get("per_set") == "one"
        chosen = self._kinds or self._annotators
        if chosen and answer:
            raise BadInput("choose annotations by kind and annotator, or give an answer function")
        # place: the set of each sample; which: its place among the set's chosen conversations, -1 for none of them.
        self._places, self._which = self._conversations(index["conversations"])
        if chosen and not len(self._places):
            raise BadInput(f"{self.folder}: no set in it has such an annotation; it was exported with others")
        if answer:
            self._places, self._which = self._places[:0], self._which[:0]
        if not chosen:
            self._places, self._which = with_captions(self._places, self._which, index.num_rows)
        self._several = np.bincount(self._places, minlength=index.num_rows) > 1

    def __len__(self) -> int:
        return len(np.unique(self._places)) if self._one else len(self._places)

    def digest(self) -> str:
        """A hash of the ids of the samples' sets, in order, and of which of their conversations the samples are."""
        ids = self._sets["set_id"].take(pa.array(self._places)).to_pylist()
        return hashlib.sha256("\n".join(ids).encode() + self._which.astype("<i8").tobytes()).hexdigest()

    def unused(self) -> Iterator[SkippedSet]:
        """Yield the sets of the tars that lack an annotation that was asked for."""
        for name in self._sets["set_id"].take(pa.array(self._lacking())).to_pylist():
            yield SkippedSet(name, None, None, _LACKING)

    def unused_counts(self) -> dict[str, int]:
        """How many sets `unused` would yield, by reason."""
        count = len(self._lacking())
        return {_LACKING: count} if count else {}

    def _lacking(self) -> Numbers:
        return np.setdiff1d(np.arange(self._sets.num_rows), self._places)

    def blocks(self, epoch: int) -> list[Numbers]:
        """The samples of an epoch, cut into one block for each tar."""
        every = np.arange(len(self._places))
        numbers = draw_numbers(self._places, [self._seed, epoch]) if self._one else every
        shards = self._sets["shard"].to_numpy()[self._places[numbers]]
        return np.split(numbers, np.flatnonzero(np.diff(shards)) + 1)

    def read(self, numbers: Numbers) -> Iterator[tuple[Sample, list[bytes]] | SkippedSet]:
        """Yield an item for each number, in this order. The sets of a window are read in the order of the tars."""
        with closing(_Tars(self.folder)) as tars:
            for first in range(0, len(numbers), self.window):
                window = numbers[first : first + self.window]
                held = self._held(tars, np.unique(self._places[window]))
                for number in window.tolist():
                    record = held[int(self._places[number])]
                    yield record if isinstance(record, SkippedSet) else self._sample(number, *record)

    def _held(self, tars: _Tars, places: Numbers) -> dict[int, tuple[ImageSet, list[bytes]] | SkippedSet]:
        """The sets at these places, which ascend, by place."""
        rows = self._sets.take(pa.array(places)).to_pylist()
        held: dict[int, tuple[ImageSet, list[bytes]] | SkippedSet] = {}
        for begin, end in _pieces(rows):
            piece = tars.piece(rows[begin], rows[end - 1])
            for place, row in zip(places[begin:end].tolist(), rows[begin:end], strict=True):
                start = row["offset"] - rows[begin]["offset"]
                try:
                    if isinstance(piece, str):
                        raise ValueError(piece)
                    held[place] = _parsed(piece[start : start + row["bytes"]], f"{row['number']:09d}")
                except (BadInput, ValueError, KeyError, TypeError) as error:
                    why = piece if isinstance(piece, str) else f"its tar is damaged ({error})"
                    held[place] = SkippedSet(row["set_id"], None, None, why)
        return held

    def _sample(self, number: int, each: ImageSet, files: list[bytes]) -> tuple[Sample, list[bytes]] | SkippedSet:
        which = int(self._which[number])
        if which < 0:
            sample = self._wording.of_set(each)
        else:
            spoken = [said for said in each.annotations if said.turns]
            if which >= len(spoken):
                return SkippedSet(each.set_id, None, None, "its tar is damaged (an annotation is gone)")
            several = bool(self._several[self._places[number]])
            sample = self._wording.of_annotation(each, spoken[which], several)
        return sample if isinstance(sample, SkippedSet) else (sample, files)

    def _conversations(self, lists: pa.ChunkedArray) -> tuple[Numbers, Numbers]:
        """(set, place among the set's conversations) of the chosen ones, in the order of the sets."""
        counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy().astype(np.int64)
        places = np.repeat(np.arange(len(counts)), counts)
        which = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
        said = lists.combine_chunks().flatten()
        good = np.ones(len(places), np.bool_)
        if self._kinds:
            good &= _is_one_of(said.field("kind"), self._kinds)
        if self._annotators:
            own, earlier = _is_one_of(said.field("annotator"), self._annotators), said.field("replaces")
            own[pc.list_parent_indices(earlier).to_numpy()[_is_one_of(pc.list_flatten(earlier), self._annotators)]] = (
                True
            )
            good &= own
        return places[good], which[good]


def _is_one_of(values: pa.Array, wanted: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    return np.array(pc.is_in(values, pa.array(wanted, pa.string()))).astype(np.bool_)


class _Tars:
    """The tars of a folder, of which one is open at a time."""

    def __init__(self, folder: str) -> None:
        self._folder, self._shard = folder, -1
        self._stream: IO[bytes] | None = None

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()

    def piece(self, first: Mapping[str, Any], last: Mapping[str, Any]) -> memoryview | str:
        """The bytes of neighbouring sets of one tar, or why they can't be read."""
        shard = int(first["shard"])
        try:
            if self._stream is None or self._shard != shard:
                self.close()
                self._stream = None
                self._stream, self._shard = open_file(join(self._folder, f"{shard:05d}.tar"), buffering=0), shard
            if self._stream.tell() != first["offset"]:
                self._stream.seek(first["offset"])
            return memoryview(self._stream.read(last["offset"] + last["bytes"] - first["offset"]))
        except FileNotFoundError:
            return "its tar is missing"
        except OSError as error:
            return f"its tar is unreadable: {error.strerror or type(error).__name__}"


def _read_index(folder: str) -> pa.Table:
    name = join(folder, "manifest.json")
    if not exists(name):
        raise BadInput(f"{folder}: is no finished export of to_webdataset (it has no manifest.json)")
    try:
        manifest = json.loads(read_bytes(name))
    except ValueError as error:
        raise BadInput(f"{name}: is damaged ({error}); export again into a new folder") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BadInput(f"{name}: is not the manifest of image sets in tars")
    version = manifest.get("version", 1)
    if version != VERSION:
        remedy = "update clipmine to read it" if isinstance(version, int) and version > VERSION else "export again"
        raise BadInput(f"{name}: has version {version!r} of the format, this clipmine reads {VERSION}; {remedy}")
    try:
        table = read_parquet(join(folder, "index.parquet"))
        return table.select(INDEX_SCHEMA.names).cast(INDEX_SCHEMA).combine_chunks()
    except (OSError, KeyError, pa.ArrowException) as error:
        raise BadInput(
            f"{join(folder, 'index.parquet')}: missing or damaged ({str(error).splitlines()[0]}); export again into a "
            "new folder"
        ) from error


def _pieces(rows: list[dict[str, Any]]) -> Iterator[tuple[int, int]]:
    """Cut the rows (begin, end) where a tar ends, a set lies between two, or a piece would be too large."""
    begin = 0
    for place in range(1, len(rows) + 1):
        if place < len(rows):
            last, row = rows[place - 1], rows[place]
            follows = row["shard"] == last["shard"] and row["offset"] == last["offset"] + last["bytes"]
            if follows and row["offset"] + row["bytes"] - rows[begin]["offset"] <= _PIECE:
                continue
        yield begin, place
        begin = place


def _parsed(data: memoryview, key: str) -> tuple[ImageSet, list[bytes]]:
    """A set and its image files from its run of a tar. Raises ValueError, KeyError or TypeError for anything else."""
    files: dict[str, memoryview] = {}
    place = 0
    while place < len(data):
        name = bytes(data[place : place + 100]).rstrip(b"\0").decode()
        size = int(bytes(data[place + 124 : place + 136]).rstrip(b"\0 "), 8)
        own, _, extension = name.partition(".")
        if own != key or place + _BLOCK + size > len(data):
            raise ValueError(f"{name!r:.50} where {key} should be")
        files[extension] = data[place + _BLOCK : place + _BLOCK + size]
        place += _BLOCK + -(-size // _BLOCK) * _BLOCK
    fields = json.loads(bytes(files["json"]))
    images = [bytes(files[name]) for name in fields.pop("images")]
    return ImageSet.from_json(fields), images
