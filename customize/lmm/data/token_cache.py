"""A source's samples as token ids in memory-mapped files: encoded once, opened at once by the next run.

    tokens = encode_source(source, encoder, folder="work/tokens", processes=4)
    tokens.lengths               # int32 [samples], 0 where a sample was skipped
    tokens[17]                   # EncodedSample

The folder is named after the source's samples, the tokenizer, the template and the context, so that another of them
makes another one. A sample takes four bytes for each token with one for each image, not one for each image token.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from customize.lmm.data.encode import Encoder, TokenRow, expand
from customize.lmm.data.sample import EncodedSample, ImageFile, LmmSample
from customize.lmm.data.skipped import NAMED, SkippedSample
from customize.lmm.data.source import Numbers, Source
from index.errors import BadInput, ClipmineError
from index.files import atomic_file, hash_json, join, local_path, make_folder, read_bytes, write_atomic
from index.outputs import only_writer

__all__ = ["UNREADABLE", "EncodedSource", "OnProgress", "encode_source"]

OnProgress = Callable[[str, int, int], None]

UNREADABLE = "an image that cannot be read"
_VERSION = 1
_TRAINED = np.uint32(1 << 31)  # set in the id of a trained token
_CHUNK = 2048  # samples that are encoded at a time
_READERS = 8  # threads that read images
_NAMES = pa.schema([("sample_id", pa.string()), ("keys", pa.list_(pa.string())), ("places", pa.list_(pa.string()))])


@dataclass(frozen=True)
class _Chunk:
    """Encoded samples: the tokens of all, one after another, and what belongs to each."""

    tokens: npt.NDArray[np.uint32]
    counts: npt.NDArray[np.int64]  # stored tokens of each sample, 0 where it was skipped
    lengths: npt.NDArray[np.int32]
    trained: npt.NDArray[np.int32]
    image_tokens: list[tuple[int, ...]]
    names: pa.RecordBatch
    reasons: Counter[str]
    named: list[str]


class EncodedSource:
    """The encoded samples of a source, by number. Safe for threads.

    Attributes:
        name: of the source.
        lengths: int32 [n], tokens of the model's input, images included; 0 where the sample was skipped.
        trained: int32 [n], tokens with a loss.
        images: int32 [n], how many images a sample shows.
        reasons, named: how many samples were skipped, by reason, and the first of them as lines.
    """

    def __init__(self, source: Source, folder: str, image_token_id: int) -> None:
        self._source, self._image_token_id = source, image_token_id
        self.name = source.name
        about = json.loads(read_bytes(join(folder, "manifest.json")))
        self.reasons: dict[str, int] = about["reasons"]
        self.named: list[str] = about["named"]
        place = local_path(folder)
        tokens = place / "tokens.bin"
        size = tokens.stat().st_size // 4
        self._tokens = np.memmap(tokens, np.uint32, "r", shape=(size,)) if size else np.zeros(0, np.uint32)
        self._starts: npt.NDArray[np.int64] = np.load(place / "starts.npy")
        self.lengths: npt.NDArray[np.int32] = np.load(place / "lengths.npy")
        self.trained: npt.NDArray[np.int32] = np.load(place / "trained.npy")
        self._image_starts: npt.NDArray[np.int64] = np.load(place / "image_starts.npy")
        self._image_tokens: npt.NDArray[np.int32] = np.load(place / "image_tokens.npy")
        self.images = np.diff(self._image_starts).astype(np.int32)
        self._names = pa.ipc.open_file(pa.memory_map(str(place / "names.arrow"))).read_all()

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, number: int) -> EncodedSample:
        """The sample. Raises IndexError where it was skipped."""
        if not self.lengths[number]:
            raise IndexError(f"{self.name}: sample {number} was skipped")
        stored = self._tokens[self._starts[number] : self._starts[number + 1]]
        images = slice(self._image_starts[number], self._image_starts[number + 1])
        row = TokenRow(
            (stored & ~_TRAINED).astype(np.int64),
            (stored & _TRAINED) != 0,
            self.image_files(number),
            tuple(self._image_tokens[images].tolist()),
        )
        return expand(row, self._image_token_id, self._names["sample_id"][number].as_py(), self.name)

    def image_files(self, number: int) -> tuple[ImageFile, ...]:
        """The images of a sample, in the order of their tokens."""
        if not self.images[number]:
            return ()
        keys, places = (self._names[name][number].as_py() for name in ("keys", "places"))
        return tuple(self._source.image(key, place) for key, place in zip(keys, places, strict=True))

    def usable(self) -> Numbers:
        """int64: the numbers of the samples that were not skipped."""
        return np.flatnonzero(self.lengths)


def encode_source(
    source: Source,
    encoder: Encoder,
    folder: str | os.PathLike[str],
    *,
    processes: int = 0,
    check_images: bool = False,
    on_progress: OnProgress | None = None,
) -> EncodedSource:
    """Encode all samples of a source into a folder below `folder`, unless they are there.

    processes: that encode; 0 for this one alone. check_images: read every image once, so that samples whose images
    cannot be read are skipped here and not while training. on_progress: called with a text, how many samples are done
    and how many there are. Raises BadInput where no sample can be trained on.
    """
    key = hash_json([source.digest(), encoder.digest(), check_images, _VERSION])[:24]
    target = join(folder, f"tokens-{key}")
    marker = local_path(join(target, "manifest.json"))
    if not marker.exists():
        make_folder(target)
        with only_writer(target):
            if not marker.exists():
                _write(source, encoder, target, processes, check_images, on_progress)
    found = EncodedSource(source, target, encoder.image_token_id)
    if not found.lengths.any():
        why = "; ".join(f"{count:,}: {reason}" for reason, count in found.reasons.items())
        raise BadInput(f"{source.name}: none of its {len(found):,} samples can be trained on ({why})")
    return found


def _write(
    source: Source,
    encoder: Encoder,
    target: str,
    processes: int,
    check_images: bool,
    on_progress: OnProgress | None,
) -> None:
    place = local_path(target)
    reasons: Counter[str] = Counter()
    named: list[str] = []
    counts, lengths, trained = [np.zeros(1, np.int64)], [np.zeros(0, np.int32)], [np.zeros(0, np.int32)]
    image_tokens: list[tuple[int, ...]] = []
    with ExitStack() as stack:
        tokens = stack.enter_context(stack.enter_context(atomic_file(place / "tokens.bin")).open("wb"))
        names = stack.enter_context(pa.OSFile(str(stack.enter_context(atomic_file(place / "names.arrow"))), "wb"))
        writer = stack.enter_context(pa.ipc.new_file(names, _NAMES))
        for chunk in _chunks(source, encoder, processes, check_images):
            tokens.write(chunk.tokens.tobytes())
            writer.write_batch(chunk.names)
            counts.append(chunk.counts)
            lengths.append(chunk.lengths)
            trained.append(chunk.trained)
            image_tokens += chunk.image_tokens
            reasons += chunk.reasons
            named += chunk.named[: NAMED - len(named)]
            if on_progress is not None:
                on_progress(f"{source.name}: samples encoded", sum(map(len, lengths)), len(source))
    _save(place / "starts.npy", np.cumsum(np.concatenate(counts)))
    _save(place / "lengths.npy", np.concatenate(lengths))
    _save(place / "trained.npy", np.concatenate(trained))
    _save(place / "image_starts.npy", np.cumsum([0, *map(len, image_tokens)]))
    _save(place / "image_tokens.npy", np.array([count for own in image_tokens for count in own], np.int32))
    write_atomic(place / "manifest.json", json.dumps({"reasons": dict(reasons.most_common()), "named": named}))


def _chunks(source: Source, encoder: Encoder, processes: int, check_images: bool) -> Iterator[_Chunk]:
    """The chunks of all samples, in order."""
    spans = [(first, min(first + _CHUNK, len(source))) for first in range(0, len(source), _CHUNK)]
    if processes < 2 or len(spans) < 2:
        with ThreadPoolExecutor(_READERS) as readers:
            work = _Work(source, encoder, readers if check_images else None)
            for span in spans:
                yield work.chunk(*span)
        return
    pool = ProcessPoolExecutor(
        min(processes, len(spans)), get_context("spawn"), _start_process, (source, encoder, check_images)
    )
    with pool:
        # Only so many chunks are under way that their tokens fit in memory.
        waiting = [pool.submit(_of_process, *span) for span in spans[: 2 * processes]]
        coming = iter(spans[2 * processes :])
        while waiting:
            try:
                found = waiting.pop(0).result()
            except BrokenProcessPool as error:
                raise ClipmineError(
                    f"{source.name}: a process that encodes samples ended early, as for lack of memory; run again, or "
                    "with fewer processes"
                ) from error
            waiting += [pool.submit(_of_process, *span) for span in islice(coming, 1)]
            yield found


@dataclass(frozen=True)
class _Work:
    """Encodes chunks. readers: threads that read every image; None to read none."""

    source: Source
    encoder: Encoder
    readers: ThreadPoolExecutor | None

    def chunk(self, first: int, last: int) -> _Chunk:
        """The samples first .. last - 1."""
        numbers = np.arange(first, last)
        read = list(self.source.read(numbers))
        samples = [each for each in read if isinstance(each, LmmSample)]
        rows = iter(self._checked(samples, self.encoder.rows(samples)))
        found = [next(rows) if isinstance(each, LmmSample) else each for each in read]
        skipped = [each for each in found if isinstance(each, SkippedSample)]
        kept = [each if isinstance(each, TokenRow) else _EMPTY for each in found]
        names = [
            {
                "sample_id": each.sample_id,
                "keys": [image.key for image in row.images],
                "places": [str(getattr(image, "place", "")) for image in row.images],
            }
            for each, row in zip(read, kept, strict=True)
        ]
        return _Chunk(
            tokens=np.concatenate([np.where(row.trained, row.ids | int(_TRAINED), row.ids) for row in kept]).astype(
                np.uint32
            ),
            counts=np.array([len(row.ids) for row in kept], np.int64),
            lengths=np.array([row.length for row in kept], np.int32),
            trained=np.array([row.trained.sum() for row in kept], np.int32),
            image_tokens=[row.image_tokens for row in kept],
            names=pa.RecordBatch.from_pylist(names, schema=_NAMES),
            reasons=Counter(each.reason for each in skipped),
            named=[str(each) for each in skipped[:NAMED]],
        )

    def _checked(
        self, samples: Sequence[LmmSample], rows: Sequence[TokenRow | SkippedSample]
    ) -> list[TokenRow | SkippedSample]:
        if self.readers is None:
            return list(rows)
        images = {image.key: image for row in rows if isinstance(row, TokenRow) for image in row.images}
        problems = dict(zip(images, self.readers.map(_problem, images.values()), strict=True))
        checked: list[TokenRow | SkippedSample] = []
        for sample, row in zip(samples, rows, strict=True):
            broken = None
            if isinstance(row, TokenRow):
                broken = next((problem for image in row.images if (problem := problems[image.key])), None)
            checked.append(row if not broken else SkippedSample(sample.sample_id, sample.source, UNREADABLE, broken))
        return checked


_EMPTY = TokenRow(np.zeros(0, np.int64), np.zeros(0, np.bool_))
_work: list[_Work] = []  # of a process of the pool


def _start_process(source: Source, encoder: Encoder, check_images: bool) -> None:
    # The processes share the cores; each of them tokenizes with one thread.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _work.append(_Work(source, encoder, ThreadPoolExecutor(_READERS) if check_images else None))


def _of_process(first: int, last: int) -> _Chunk:
    return _work[0].chunk(first, last)


def _problem(image: ImageFile) -> str:
    try:
        image.read()
    except ClipmineError as error:
        return str(error)
    return ""


def _save(path: Path, values: npt.NDArray[Any]) -> None:
    with atomic_file(path) as partial, partial.open("wb") as stream:
        np.save(stream, values)
