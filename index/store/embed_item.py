"""The embedding job's work item: it reads one item of a corpus and writes one part of the store.

An item's files have the same bytes on every executor: batches are cut inside the item at `batch_size`, and the files
hold no times and no hosts. The item's marker `done/NNNN.json` is written last.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from index.corpus.decoders import Decoders, ScaledImage, scale_image
from index.corpus.image_decoding import MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS
from index.corpus.reading import KeyRule, Reading
from index.corpus.samples import PassedOver, Reject, ShardItem
from index.corpus.sources import read_item
from index.encoder.model_spec import ModelSpec, model_identity
from index.errors import BadInput
from index.files import exists, file_size, hash_json, is_local, join, local_path, write_atomic
from index.read_ahead import read_ahead
from index.store.markers import ItemSummary, Marker, read_marker, remove_marker, write_marker
from index.store.metadata import METADATA_SCHEMA, REJECTS_SCHEMA, parquet_bytes
from index.store.store_manifest import FileRecord, part_paths

if TYPE_CHECKING:
    from index.corpus.batches import Batch
    from index.encoder.clip_encoder import Encoder

__all__ = [
    "DECODE_THREADS",
    "EmbedConfig",
    "embed_item",
    "hash_config",
    "hashed_config",
    "is_done",
]

# A worker with more cores than this decodes in processes: more threads would wait for Python's lock.
DECODE_THREADS = 4


@dataclass(frozen=True)
class EmbedConfig:
    """What to embed, with what, into where. Paths are made absolute, so that a worker in another folder finds them."""

    source: str
    out: str
    model: ModelSpec
    batch_size: int = 64  # images through the encoder at once, on every executor
    shard_size: int = 10_000  # images of an item, for a folder of images; img2dataset's default
    caption_pattern: str | None = None
    caption_index: int = 0  # which of a sample's captions is embedded
    allow_empty_caption: bool = False
    # How names and texts are read: `index.corpus.reading`.
    key_rule: KeyRule = "webdataset"
    image_ext: Sequence[str] = ()
    caption_ext: Sequence[str] = ()
    caption_field: str | None = None
    caption_encoding: str | None = None
    max_image_bytes: int = MAX_IMAGE_BYTES
    max_image_pixels: int = MAX_IMAGE_PIXELS
    # These change no byte of the store on one kind of hardware, so they are not part of the configuration's hash.
    device: str | None = None
    decode_threads: int | None = None  # without processes; by default the worker's cores
    decode_processes: int | None = None  # 0 for threads alone; by default the worker's cores decide

    def __post_init__(self) -> None:
        least_values = {
            "batch_size": 1,
            "shard_size": 1,
            "caption_index": 0,
            "decode_threads": 1,
            "decode_processes": 0,
        }
        for name, least in least_values.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise BadInput(f"{name} must be at least {least}, not {value}")
        for name in ("source", "out"):
            path = getattr(self, name)
            if path and is_local(path):
                object.__setattr__(self, name, str(local_path(path).absolute()))
        self.reading.unusual()  # its own checks

    @property
    def reading(self) -> Reading:
        """The options of reading the corpus."""
        return Reading(
            self.caption_pattern,
            self.allow_empty_caption,
            self.key_rule,
            tuple(self.image_ext),
            tuple(self.caption_ext),
            self.caption_field,
            self.caption_encoding,
        )


def hashed_config(config: EmbedConfig) -> dict[str, Any]:
    """The fields of `config` that decide the store's bytes; paths are not among them."""
    return {
        "model": model_identity(config.model),
        "batch_size": config.batch_size,
        "shard_size": config.shard_size,
        "caption_pattern": config.caption_pattern,
        "caption_index": config.caption_index,
        "allow_empty_caption": config.allow_empty_caption,
        "max_image_bytes": config.max_image_bytes,
        "max_image_pixels": config.max_image_pixels,
        **config.reading.unusual(),
    }


def hash_config(config: EmbedConfig) -> str:
    """The hash of `hashed_config`."""
    return hash_json(hashed_config(config))


def is_done(item: ShardItem, config: EmbedConfig) -> bool:
    """Whether the item was embedded from this source with this configuration, and its files have the recorded sizes."""
    marker = read_marker(config.out, item.number)
    if marker is None or marker.signature != item.signature or marker.config_hash != hash_config(config):
        return False
    paths = {record.path: record.size for record in marker.files.values()}
    return all(exists(join(config.out, path)) and file_size(join(config.out, path)) == paths[path] for path in paths)


def embed_item(item: ShardItem, config: EmbedConfig) -> ItemSummary:
    """Embed one item: write its vectors, metadata and rejects, then its marker.

    Raises:
        BadInput: the source has changed since it was listed, or the model cannot be loaded.
        DiskFull: no space left; no partial file is left behind and the marker is not written.
    """
    from index.corpus.batches import cut_batches, decode_ahead, decode_sample
    from index.encoder.loading import load_encoder

    encoder = load_encoder(config.model, config.device)
    scaled, threads = _decoding(config, encoder)
    decode = partial(decode_sample, scaled=scaled, caption_index=config.caption_index)
    part = _PartRows(encoder)
    # Two batches ahead: while one is encoded, one is ready and one is being decoded.
    passed = PassedOver()
    samples = read_item(item, config.max_image_bytes, passed)
    decoded = decode_ahead(samples, decode, threads, 2 * config.batch_size + threads)
    with closing(read_ahead(cut_batches(decoded, encoder, config.batch_size), 1)) as ready:
        for entry in ready:
            if isinstance(entry, Reject):
                part.rejects.append(entry)
            else:
                part.add(entry)
    summary = ItemSummary(
        number=item.number,
        read=part.rows + len(part.rejects),
        rows=part.rows,
        rejected=part.reject_counts(),
        captions_cut=part.captions_cut,
        passed_over=dict(sorted(passed.counts.items())),
        passed_names=passed.names,
        without_caption=part.without_caption,
    )
    remove_marker(config.out, item.number)  # of an earlier run: the files that it lists are replaced now
    files: dict[str, FileRecord] = {}
    for kind, path in part_paths(item.number).items():
        data = part.file_bytes(kind)
        write_atomic(join(config.out, path), data)
        files[kind] = FileRecord(path, len(data), sha256(data).hexdigest())
    marker = Marker(item.signature, hash_config(config), encoder.fingerprint, summary, files)
    write_marker(config.out, item.number, marker)
    return summary


def _decoding(config: EmbedConfig, encoder: Encoder) -> tuple[Callable[[bytes], ScaledImage], int]:
    """How images are decoded, and by how many threads at a time: here, or each in a process of its own."""
    import torch

    cores = torch.get_num_threads()
    processes = config.decode_processes
    if processes is None:  # one core is left for the worker, which reads, tokenizes and feeds the GPU
        processes = cores - 1 if cores > DECODE_THREADS and config.decode_threads is None else 0
    bounds = config.max_image_bytes, config.max_image_pixels
    if processes:
        return _decoders(encoder.scaling, *bounds), processes
    here = partial(scale_image, scale=encoder.to_pixels, max_bytes=bounds[0], max_pixels=bounds[1])
    return here, config.decode_threads or cores


# Kept from one item to the next: starting them takes a tenth of a second each.
_decoders = lru_cache(maxsize=1)(Decoders)


class _PartRows:
    """The rows of one item, collected in memory, and the bytes of their files. 10,000 rows of 512 take about 25 MB."""

    def __init__(self, encoder: Encoder) -> None:
        self.rejects: list[Reject] = []
        self._encoder = encoder
        self._metadata: list[dict[str, Any]] = []
        none = np.empty((0, encoder.dim), np.float16)
        self._vectors: dict[str, list[npt.NDArray[np.float16]]] = {"image": [none], "text": [none]}

    @property
    def rows(self) -> int:
        """Rows added, without the rejects."""
        return len(self._metadata)

    @property
    def captions_cut(self) -> int:
        """Rows whose caption is longer than the text tower's context."""
        return sum(row["text_tokens_cut"] for row in self._metadata)

    @property
    def without_caption(self) -> int:
        """Rows with an empty caption."""
        return sum(not row["caption"].strip() for row in self._metadata)

    def reject_counts(self) -> dict[str, int]:
        """Rejects by reason."""
        return dict(sorted(Counter(reject.reason for reject in self.rejects).items()))

    def add(self, batch: Batch) -> None:
        """Encode a batch; rows whose vectors are not finite are rejected as `encoder_nan`.

        The text vector of an empty caption is zero, as a forgotten row's is, so that no search of captions returns it.
        """
        image = self._encoder.encode_pixels(batch.pixels)
        text = self._encoder.encode_tokens(batch.tokens)
        finite = np.isfinite(np.concatenate([image, text], axis=1)).all(axis=1).tolist()
        for row, is_finite in zip(batch.rows, finite, strict=True):
            if is_finite:
                self._metadata.append(row)
            else:
                self.rejects.append(Reject(row["key"], row["shard"], "embed", "encoder_nan"))
        text[[not row["caption"].strip() for row in batch.rows]] = 0
        keep = np.flatnonzero(finite)
        self._vectors["image"].append(image[keep])
        self._vectors["text"].append(text[keep])

    def file_bytes(self, kind: str) -> bytes:
        """The bytes of the part's "image", "text", "metadata" or "rejects" file."""
        if kind == "metadata":
            return parquet_bytes(pa.Table.from_pylist(self._metadata, schema=METADATA_SCHEMA))
        if kind == "rejects":
            return parquet_bytes(pa.Table.from_pylist([asdict(r) for r in self.rejects], schema=REJECTS_SCHEMA))
        stream = io.BytesIO()
        np.save(stream, np.concatenate(self._vectors[kind]), allow_pickle=False)
        return stream.getvalue()
