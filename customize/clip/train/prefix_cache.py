"""A cache on disk of the frozen prefix: the output of the frozen blocks below the first trained one, for each image.

Without augmentation the frozen blocks give an image the same output in every epoch. The cache holds these hidden states
in float16:

    OUT/work/prefix_00000.npy     float16 [up to 4096 pairs, tokens, width]
    OUT/work/prefix_00000.json    written last; rows whose image could not be decoded, and the rows used instead

Workers compute different parts, and a run that was killed computes the missing parts only. Works for open_clip's own
vision transformer.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from customize.clip.train.distributed import Worker
from customize.clip.train.image_inputs import Transform, decode_row
from customize.clip.train.pairs import Pairs
from index.files import atomic_file, exists, join, local_path, read_bytes, write_atomic
from index.npy_stream import start_npy

__all__ = ["CachedPrefix", "build_prefix", "can_cache_prefix", "prefix_bytes", "prefix_fits"]

PART = 4096  # pairs a file: 0.3 GB for ViT-B-32, computed by a GPU in seconds, so a kill loses little
BATCH = 64  # images that are encoded at once
FREE_SHARE = 0.5  # share of the free disk that the cache may take when it was not asked for
READERS = 4


def can_cache_prefix(model: Any, frozen_blocks: int) -> bool:
    """Whether the image tower is open_clip's own transformer and has frozen blocks below the first trained one."""
    visual = model.visual
    return frozen_blocks > 0 and hasattr(visual, "_embeds") and hasattr(visual, "_pool")


def prefix_fits(model: Any, pairs: int, folder: str, share: float = FREE_SHARE) -> bool:
    """Whether the cache of `pairs` pairs takes at most a `share` of the free disk of `folder`.

    What the cache takes there already counts as free, so that a run that continues comes to the same answer.
    """
    own = sum(file.stat().st_size for file in local_path(folder).glob("prefix_*.npy"))
    return prefix_bytes(model, pairs) <= share * (shutil.disk_usage(local_path(folder)).free + own)


def prefix_bytes(model: Any, pairs: int) -> int:
    """The size of the cache of `pairs` pairs, in bytes."""
    tokens, width = model.visual.positional_embedding.shape
    return 2 * pairs * int(tokens) * int(width)  # float16


class CachedPrefix:
    """The cache as image inputs (see `customize.clip.train.image_inputs`): float16 [tokens, width] a pair."""

    decodes = False

    def __init__(self, pairs: Pairs, folder: str, frozen_blocks: int) -> None:
        self.kind = f"cached activations of the first {frozen_blocks} blocks"
        self._frozen = frozen_blocks
        parts = range(-(-len(pairs) // PART))
        self._parts = [
            np.load(local_path(_file(folder, part, "npy")), mmap_mode="r", allow_pickle=False) for part in parts
        ]
        self._replaced: dict[int, int] = {}
        for part in parts:
            replaced = json.loads(read_bytes(_file(folder, part, "json")))["replaced"]
            self._replaced |= {int(row): used for row, used in replaced.items()}

    def load(self, row: int, epoch: int) -> tuple[int, torch.Tensor]:
        states = torch.from_numpy(np.array(self._parts[row // PART][row % PART]))
        return self._replaced.get(row, row), states

    def features(self, model: Any, inputs: torch.Tensor) -> torch.Tensor:
        """The rest of `encode_image`, from the first trained block on: [n, d]."""
        visual = model.visual
        hidden = _through(visual.transformer, inputs.float(), slice(self._frozen, None))
        pooled: torch.Tensor = visual._pool(hidden)[0]
        return pooled if visual.proj is None else pooled @ visual.proj


def build_prefix(
    pairs: Pairs,
    model: Any,
    transform: Transform,
    frozen_blocks: int,
    folder: str,
    device: str,
    worker: Worker,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Compute this worker's missing parts of the cache in `folder`.

    on_progress(done, total) counts the pairs of this worker's parts.
    """
    parts = range(worker.rank, -(-len(pairs) // PART), worker.world_size)
    rows = [range(part * PART, min((part + 1) * PART, len(pairs))) for part in parts]
    total, done = sum(map(len, rows)), 0
    with ThreadPoolExecutor(READERS, thread_name_prefix="prefix") as readers:

        def pixels(row: int) -> tuple[int, torch.Tensor]:
            used, image = decode_row(pairs, row)
            return used, transform(image)

        def submit(own: range) -> list[Future[tuple[int, torch.Tensor]]]:
            return [readers.submit(pixels, row) for row in own]

        for part, own in zip(parts, rows, strict=True):
            if _is_done(folder, part):
                done += len(own)
                continue
            replaced: dict[str, int] = {}
            with atomic_file(_file(folder, part, "npy")) as partial, open(partial, "wb") as stream:
                ahead = submit(own[:BATCH])
                for first in range(0, len(own), BATCH):
                    loaded = [future.result() for future in ahead]
                    ahead = submit(own[first + BATCH : first + 2 * BATCH])
                    states = _prefix(model, torch.stack([tensor for _, tensor in loaded]).to(device), frozen_blocks)
                    if not first:
                        start_npy(stream, states.dtype, (len(own), *states.shape[1:]))
                    stream.write(np.ascontiguousarray(states).data)
                    replaced |= {
                        str(row): used for row, (used, _) in zip(own[first:], loaded, strict=False) if used != row
                    }
                    if on_progress is not None:
                        on_progress(done + first + len(loaded), total)
            write_atomic(_file(folder, part, "json"), json.dumps({"replaced": replaced}))
            done += len(own)


@torch.inference_mode()
def _prefix(model: Any, images: torch.Tensor, frozen_blocks: int) -> npt.NDArray[np.float16]:
    """Hidden states [n, tokens, width] before block `frozen_blocks`, of images float32 [n, 3, height, width]."""
    visual = model.visual
    hidden = _through(visual.transformer, visual._embeds(images), slice(0, frozen_blocks))
    states: npt.NDArray[np.float16] = hidden.half().cpu().numpy()
    return states


def _through(transformer: Any, hidden: torch.Tensor, blocks: slice) -> torch.Tensor:
    """Run some of the transformer's blocks, as `open_clip.transformer.Transformer.forward` runs all of them."""
    if not transformer.batch_first:
        hidden = hidden.transpose(0, 1).contiguous()
    for block in transformer.resblocks[blocks]:
        if transformer.grad_checkpointing and torch.is_grad_enabled():
            from torch.utils.checkpoint import checkpoint

            hidden = checkpoint(block, hidden, None, None, None, use_reentrant=False)
        else:
            hidden = block(hidden, attn_mask=None)
    return hidden if transformer.batch_first else hidden.transpose(0, 1)


def _is_done(folder: str, part: int) -> bool:
    return exists(_file(folder, part, "json")) and exists(_file(folder, part, "npy"))


def _file(folder: str, part: int, suffix: str) -> str:
    return join(folder, f"prefix_{part:05d}.{suffix}")
