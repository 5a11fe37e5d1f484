"""Image sets as a map-style torch dataset, and the samples that it and the streaming one (`torch_stream`) give.

    loader = DataLoader(torch_dataset(pairs, preprocess), batch_size=64, shuffle=True, num_workers=4)

A sample is a dict: `images` float [n, 3, h, w] (a list where the transform gives no tensors of one shape; PIL images
without a transform), in the order of the set's members; `messages`, the conversation as chat messages, whose image
parts have the `index` of their image; `captions` n texts ("" where there is none), `refs` n names of the images,
`row_ids` int64 [n] (-1 for a foreign image), `sample_id`, `set_id`, `strategy`, `level`, and `difficulty`, `image_sim`,
`text_sim` (nan where unknown). Sets of one size go through torch's own collation; for sets of several sizes give the
loader `collate_fn=collate_sets`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from torch.utils.data._utils.collate import default_collate_fn_map
from torch.utils.data.dataloader import default_collate

from index.errors import BadInput
from index.moved import moved_name
from mining.export.member_images import MemberImages
from mining.export.read_sets import UnreadableMember, decoded, read_members
from mining.export.sample import Sample
from mining.export.samples import Choice, PerSet, Samples
from mining.export.skipped import LoggedSkips, OnSkipped, SkippedSet, tell_unused
from mining.export.templates import Template
from mining.export.turns import Answer, Question
from mining.sets.attached import Names
from mining.sets.image_sets import ImageSets
from mining.sets.sources import Moved

__all__ = ["Messages", "TorchSample", "TorchSets", "Transform", "collate_sets", "torch_dataset", "torch_sample"]

# PIL image in RGB -> the model's input, such as open_clip's preprocess.
Transform = Callable[[Any], Any]
_PER_SET = ("sample_id", "set_id", "strategy", "level", "difficulty", "image_sim", "text_sim")


def __getattr__(name: str) -> object:
    moved_name(__name__, name)


class Messages(list[dict[str, Any]]):
    """Chat messages; a batch has a list of them, since conversations differ in length."""


class TorchSample(dict[str, Any]):
    """A sample. A type of its own, so that torch's collation can say what to do about sets of several sizes."""


def _of_one_size(batch: Sequence[TorchSample], **_: Any) -> dict[str, Any]:
    sizes = sorted({len(sample["refs"]) for sample in batch})
    if len(sizes) > 1:
        raise BadInput(
            f"a batch has sets of {', '.join(map(str, sizes[:-1]))} and {sizes[-1]} images, which torch's own "
            "collation cannot join: give the DataLoader collate_fn=collate_sets (of mining.export), or take sets of "
            "one size with sets.filter(size=2)"
        )
    found: dict[str, Any] = default_collate([dict(sample) for sample in batch])
    return found


# torch's own way to say how a type is collated; see the documentation of `default_collate`.
default_collate_fn_map[Messages] = lambda batch, **_: list(batch)
default_collate_fn_map[TorchSample] = _of_one_size


class TorchSets(Dataset[TorchSample]):
    """Map-style dataset. An image that can't be read raises UnreadableMember, which names set and image."""

    def __init__(
        self,
        samples: Samples,
        images: MemberImages,
        transform: Transform | None = None,
    ) -> None:
        self.samples, self.transform = samples, transform
        self._images, self._numbers = images, samples.numbers()

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, place: int) -> TorchSample:
        found = next(self.samples.read(np.asarray([self._numbers[place]])))
        if isinstance(found, SkippedSet):
            raise UnreadableMember(found)
        images = decoded(found.set, read_members(self._images, found.set))
        if isinstance(images, SkippedSet):
            raise UnreadableMember(images)
        return torch_sample(found, images, self.transform)


def torch_dataset(
    sets: ImageSets,
    transform: Transform | None = None,
    *,
    moved: Moved = None,
    kind: Names | None = None,
    annotator: Names | None = None,
    answer: Answer | None = None,
    per_set: PerSet = "all",
    question: Question = None,
    template: Template = None,
    rejected: bool = False,
    seed: int = 0,
    on_skipped: OnSkipped | None = None,
) -> TorchSets:
    """A map-style dataset: see TorchSets.

    moved: where the images' sources are now: see MemberImages. seed: of the draw with per_set="one". on_skipped: called
    with each set that gives no sample, by default the first ten are written to the log, and the counts. The other
    arguments: see `mining.export.samples.Choice`; sets without a caption are given with empty messages.
    """
    choice: Choice = {
        "kind": kind,
        "annotator": annotator,
        "answer": answer,
        "per_set": per_set,
        "question": question,
        "template": template,
        "rejected": rejected,
    }
    samples = Samples(sets, silent=True, seed=seed, **choice)
    with LoggedSkips() as logged:
        tell_unused(samples, on_skipped, logged)
    return TorchSets(samples, MemberImages(sets, moved), transform)


def torch_sample(sample: Sample, images: list[Any], transform: Transform | None) -> TorchSample:
    """The sample as this module's docstring describes it. images: PIL, of all members of the set."""
    each = sample.set
    rows = [-1 if row is None else row for row in each.rows]
    fields = {
        "images": _stacked([transform(image) for image in images]) if transform else images,
        "messages": Messages(
            {"role": turn.role, "content": [_part(part) for part in turn.parts]} for turn in sample.turns
        ),
        "captions": [caption or "" for caption in each.captions],
        "refs": [member.ref for member in each.members],
        "row_ids": torch.tensor(rows, dtype=torch.int64),
        "sample_id": sample.sample_id,
        "set_id": each.set_id,
        "strategy": each.strategy,
        "level": each.level,
        "difficulty": math.nan if each.difficulty is None else each.difficulty,
        "image_sim": math.nan if each.image_sim is None else each.image_sim,
        "text_sim": math.nan if each.text_sim is None else each.text_sim,
    }
    return TorchSample(fields)


def collate_sets(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Collate sets of any sizes: the members of all, m together, and `sizes` int64 [sets].

    images: [m, 3, h, w], or a list of m; captions and refs: m texts; row_ids: int64 [m]; other fields: one value a set.
    """
    images = [image for sample in samples for image in sample["images"]]
    batch = {
        "images": _stacked(images),
        "messages": [sample["messages"] for sample in samples],
        "captions": [caption for sample in samples for caption in sample["captions"]],
        "refs": [ref for sample in samples for ref in sample["refs"]],
        "row_ids": torch.cat([sample["row_ids"] for sample in samples]),
        "sizes": torch.tensor([len(sample["row_ids"]) for sample in samples]),
        **{name: _column([sample[name] for sample in samples]) for name in _PER_SET},
    }
    if "position" in samples[0]:
        batch["position"] = torch.stack([sample["position"] for sample in samples])
    return batch


def _part(part: str | int) -> dict[str, Any]:
    return {"type": "text", "text": part} if isinstance(part, str) else {"type": "image", "index": part}


def _stacked(images: list[Any]) -> Any:
    tensors = bool(images) and all(isinstance(image, torch.Tensor) for image in images)
    return torch.stack(images) if tensors and len({image.shape for image in images}) == 1 else images


def _column(values: list[Any]) -> Any:
    return values if isinstance(values[0], str) else torch.tensor(values)
