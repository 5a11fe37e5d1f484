"""Features of the frozen vision tower, computed once an image and kept on disk.

A tower that is not trained gives an image the same features in every epoch and every run. A folder of features:

    FOLDER/<key>/features.json        what the key stands for: tower, layer, preprocessing, dtype; the shape of a row
    FOLDER/<key>/0000/images.txt      image keys of the rows, one a line, written after the rows themselves
    FOLDER/<key>/0000/00000.rows      features, dtype [up to 1024 images, tokens, width], without a header
    FOLDER/<key>/0001/...             of another writer

Each process of a run writes a part of its own (0000, 0001, ...) under a lock and reads all parts. A killed writer loses
the rows whose keys it had not yet written, and nothing else.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch

from customize.lmm.model.image_input import image_pixels
from customize.lmm.model.load import Lmm
from index.errors import BadInput, ClipmineError, StoreInvalid
from index.files import disk_full, hash_json, local_path, write_atomic
from index.outputs import only_writer

__all__ = ["KeyedImage", "VisionFeatures", "tower_features"]

FeatureDtype = Literal["float16", "bfloat16", "float32"]

ROWS = 1024  # images a file: 1.2 GB for LLaVA-1.5
BATCH = 32  # images that are encoded at once
FREE_SHARE = 0.9  # of the free disk, what the missing features may take
READERS = 4  # threads that read, decode and scale images
_INDEX, _ABOUT = "images.txt", "features.json"
# numpy has no bfloat16, so its bits are stored as integers.
_STORED: dict[str, Any] = {"float16": np.float16, "bfloat16": np.uint16, "float32": np.float32}


class KeyedImage(Protocol):
    """An image that is asked for: `customize.lmm.data.sample.ImageFile` and whatever has its two fields."""

    @property
    def key(self) -> str:
        """Equal for equal files, and without line breaks."""

    @property
    def read(self) -> Callable[[], bytes]:
        """Gives the encoded file; raises ClipmineError where it cannot be read."""


@torch.inference_mode()
def tower_features(lmm: Lmm, pixels: torch.Tensor) -> torch.Tensor:
    """The vision tower's outputs before the projector, [n, tokens, width], of pixels [n, 3, height, width].

    The layers and the strategy are the model's `vision_feature_layer` and `vision_feature_select_strategy`, as in
    transformers' `LlavaModel.get_image_features`.
    """
    llava = lmm.llava
    tower, layers = llava.model.vision_tower, llava.config.vision_feature_layer
    hidden = tower(pixels.to(llava.device, tower.dtype), output_hidden_states=True).hidden_states
    chosen = [hidden[layer] for layer in ([layers] if isinstance(layers, int) else layers)]
    if llava.config.vision_feature_select_strategy == "default":
        chosen = [each[:, 1:] for each in chosen]
    return torch.cat(chosen, dim=-1)


class VisionFeatures:
    """The features of images, from a folder where they are there, else computed and added to it.

    features = VisionFeatures(lmm, "cache")
    features.fill(images)               # optional: all at once, with an estimate of the disk first
    features.get(batch)                 # [n, tokens, width] on the CPU

    The tower computes in the dtype that it has when this is made, so a run makes it after `apply_trained`.

    Args:
        folder: where the cache is, local; None computes each time anew.
        dtype: of the stored features; float16 holds CLIP's with an error of 0.05%, and bfloat16 of 0.4%.
        part: number of this process among those that write at the same time, such as its rank.
    """

    def __init__(self, lmm: Lmm, folder: str | None = None, *, dtype: FeatureDtype = "float16", part: int = 0) -> None:
        if dtype not in _STORED:
            raise BadInput(f"features of dtype {dtype!r:.40}: choose {', '.join(_STORED)}")
        llava = lmm.llava
        config = llava.config
        layers = config.vision_feature_layer
        width = int(config.vision_config.hidden_size) * (1 if isinstance(layers, int) else len(layers))
        self._lmm, self._dtype, self._part = lmm, dtype, part
        self._shape = (lmm.image_tokens, width)
        self._folder: Path | None = None
        self._rows: dict[str, tuple[int, int]] = {}  # image key -> part, row
        self._files: dict[tuple[int, int], npt.NDArray[Any]] = {}
        if folder is not None:
            about = {name: lmm.source[name] for name in ("vision_tower", "preprocessing", "features")}
            about |= {
                "computed": str(llava.model.vision_tower.dtype),
                "dtype": dtype,
                "tokens": self._shape[0],
                "width": self._shape[1],
            }
            self._folder = local_path(folder) / hash_json(about)[:16]
            _claim(self._folder, about)
            self.refresh()

    def __contains__(self, key: object) -> bool:
        """Whether the cache has an image's features."""
        return key in self._rows

    @property
    def row_bytes(self) -> int:
        """Bytes on disk an image: 1,179,648 for LLaVA-1.5 in float16."""
        return self._shape[0] * self._shape[1] * int(np.dtype(_STORED[self._dtype]).itemsize)

    def refresh(self) -> None:
        """Read which features the parts of the cache have; call it after other processes have filled theirs.

        Raises StoreInvalid where a part has fewer rows than its index says.
        """
        if self._folder is None:
            return
        for part in sorted(self._folder.glob("[0-9]" * 4)):
            keys = _read_index(part / _INDEX)
            for number in range(-(-len(keys) // ROWS)):
                self._check_rows(part / f"{number:05d}.rows", min(ROWS, len(keys) - number * ROWS))
            for row, key in enumerate(keys):
                self._rows.setdefault(key, (int(part.name), row))

    def _check_rows(self, file: Path, rows: int) -> None:
        """Raise StoreInvalid where a file holds fewer rows; their images would be taken for unreadable ones."""
        if not file.is_file() or file.stat().st_size < rows * self.row_bytes:
            raise StoreInvalid(f"{file}: is cut off; delete {file.parent}, and the features are computed again")

    def estimate(self, images: Iterable[KeyedImage]) -> int:
        """Bytes of disk that the features of these images need beside those that are there.

        Raises:
            BadInput: that is more than 90% of the free disk.
        """
        missing = len({image.key for image in images} - self._rows.keys())
        needed = missing * self.row_bytes
        if self._folder is not None:
            free = shutil.disk_usage(self._folder).free
            if needed > FREE_SHARE * free:
                raise BadInput(
                    f"{self._folder}: the features of {missing:,} images take {needed / 1e9:,.1f} GB, and the disk has "
                    f"{free / 1e9:,.1f} GB free; compute them at each step instead (no cache), or choose another folder"
                )
        return needed

    def fill(
        self, images: Iterable[KeyedImage], on_progress: Callable[[int, int], None] | None = None
    ) -> dict[str, str]:
        """Compute the features that are missing, after checking that the disk can hold them.

        on_progress(done, total) counts missing images. Returns the keys of images that cannot be used, with the reason.

        Raises:
            BadInput: there is no folder, or the disk is too small.
            OutputExists: another process writes the same part.
            DiskFull: the disk has no space left; what was written stays.
        """
        if self._folder is None:
            raise BadInput("features cannot be filled without a folder for them")
        missing = list({image.key: image for image in images if image.key not in self._rows}.values())
        self.estimate(missing)
        failed: dict[str, str] = {}
        if not missing:
            return failed
        done = 0
        with ExitStack() as stack:
            part = self._folder / f"{self._part:04d}"
            stack.enter_context(only_writer(str(part)))
            stack.enter_context(disk_full(part))
            writer = _Writer(part, self.row_bytes)
            for batch, pixels in self._read_ahead(missing, failed):
                if batch:
                    first = writer.append(self._compute(pixels), [image.key for image in batch])
                    self._rows |= {image.key: (self._part, first + at) for at, image in enumerate(batch)}
                done = min(done + BATCH, len(missing))
                if on_progress is not None:
                    on_progress(done, len(missing))
        return failed

    def get(self, images: Sequence[KeyedImage]) -> torch.Tensor:
        """Features [n, tokens, width] of images, on the CPU, in the cache's dtype; missing ones are added to the cache.

        Raises:
            ClipmineError: an image cannot be read or decoded; the message names its key.
        """
        wanted = {image.key: image for image in images}
        fresh: dict[str, npt.NDArray[Any]] = {}
        failed: dict[str, str] = {}
        if self._folder is None:
            for batch, pixels in self._read_ahead(list(wanted.values()), failed):
                fresh |= dict(zip((image.key for image in batch), self._compute(pixels), strict=True))
        elif any(key not in self._rows for key in wanted):
            failed = self.fill(wanted.values())
        if failed:
            key, reason = next(iter(failed.items()))
            raise ClipmineError(f"image {key}: {reason}")
        out = np.empty((len(images), *self._shape), _STORED[self._dtype])
        for at, image in enumerate(images):
            out[at] = fresh[image.key] if self._folder is None else self._read(*self._rows[image.key])
        values = torch.from_numpy(out)
        return values.view(torch.bfloat16) if self._dtype == "bfloat16" else values

    def _compute(self, pixels: Sequence[torch.Tensor]) -> npt.NDArray[Any]:
        """The tower's features as they are stored, [n, tokens, width]."""
        if not pixels:
            return np.empty((0, *self._shape), _STORED[self._dtype])
        features = tower_features(self._lmm, torch.stack(list(pixels))).to(getattr(torch, self._dtype)).cpu()
        if not bool(torch.isfinite(features).all()):
            raise BadInput(f"the vision tower's features are not finite in {self._dtype}: choose bfloat16 or float32")
        stored: npt.NDArray[Any] = (features.view(torch.uint16) if self._dtype == "bfloat16" else features).numpy()
        return stored

    def _read_ahead(
        self, images: Sequence[KeyedImage], failed: dict[str, str]
    ) -> Iterator[tuple[list[KeyedImage], list[torch.Tensor]]]:
        """Batches of images with their pixels, the next one being read meanwhile; adds to `failed` what cannot be."""
        batches = [images[first : first + BATCH] for first in range(0, len(images), BATCH)]
        with ThreadPoolExecutor(READERS, thread_name_prefix="images") as readers:
            ahead = [readers.submit(self._pixels, image) for image in (batches[0] if batches else ())]
            for number, batch in enumerate(batches):
                now, following = ahead, batches[number + 1] if number + 1 < len(batches) else ()
                ahead = [readers.submit(self._pixels, image) for image in following]
                kept: list[KeyedImage] = []
                pixels: list[torch.Tensor] = []
                for image, future in zip(batch, now, strict=True):
                    try:
                        pixels.append(future.result())
                        kept.append(image)
                    except ClipmineError as error:
                        failed[image.key] = str(error)
                yield kept, pixels

    def _pixels(self, image: KeyedImage) -> torch.Tensor:
        if "\n" in image.key:
            raise BadInput("its key has a line break")
        return image_pixels(self._lmm.processor, image.read())

    def _read(self, part: int, row: int) -> npt.NDArray[Any]:
        place = (part, row // ROWS)
        opened = self._files.get(place)
        if opened is None or row % ROWS >= len(opened):
            assert self._folder is not None
            file = self._folder / f"{part:04d}" / f"{place[1]:05d}.rows"
            size = file.stat().st_size // self.row_bytes
            if row % ROWS >= size:
                raise StoreInvalid(f"{file}: is cut off; delete {file.parent}, and the features are computed again")
            shape = (size, *self._shape)
            opened = self._files[place] = np.memmap(file, _STORED[self._dtype], "r", 0, shape)
        features: npt.NDArray[Any] = opened[row % ROWS]
        return features


class _Writer:
    """Appends rows to a part: first the features, then their keys."""

    def __init__(self, part: Path, row_bytes: int) -> None:
        self._part, self._row_bytes = part, row_bytes
        self._rows = len(_read_index(part / _INDEX))
        self._cut_off()

    def append(self, rows: npt.NDArray[Any], keys: Sequence[str]) -> int:
        """Write rows under their keys; returns the number of the first one."""
        first, start = self._rows, 0
        while start < len(rows):
            file, row = divmod(self._rows + start, ROWS)
            count = min(len(rows) - start, ROWS - row)
            with open(self._part / f"{file:05d}.rows", "ab") as stream:
                # Rows beyond the index may be there, of a writer that was killed.
                stream.truncate(row * self._row_bytes)
                stream.write(np.ascontiguousarray(rows[start : start + count]).data)
                stream.flush()
                os.fdatasync(stream.fileno())
            start += count
        with open(self._part / _INDEX, "a", encoding="utf-8") as index:
            index.write("".join(f"{key}\n" for key in keys))
        self._rows += len(rows)
        return first

    def _cut_off(self) -> None:
        """Remove a key that a killed writer wrote in part."""
        path = self._part / _INDEX
        if path.exists():
            whole = path.read_bytes().rpartition(b"\n")
            if whole[2]:
                write_atomic(path, whole[0] + whole[1])


def _read_index(path: Path) -> list[str]:
    """The keys of a part's rows; a last line without its end was being written when the writer was killed."""
    if not path.exists():
        return []
    return path.read_bytes().decode("utf-8", "replace").split("\n")[:-1]


def _claim(folder: Path, about: dict[str, Any]) -> None:
    path = folder / _ABOUT
    if path.exists():
        try:
            same = json.loads(path.read_text("utf-8")) == json.loads(json.dumps(about))
        except ValueError:
            same = False
        if not same:
            raise StoreInvalid(f"{path}: is damaged; delete {folder}, and the features are computed again")
        return
    write_atomic(path, json.dumps(about, indent=1, sort_keys=True) + "\n")
