"""Image sets as chat messages with images, as TRL and transformers' processors take them, and as Hugging Face datasets.

    {"messages": [{"role": "user", "content": [{"type": "text", "text": "Image 1: "}, {"type": "image", ...}, ...]},
                  {"role": "assistant", "content": [{"type": "text", "text": "..."}]}],
     "images": [PIL.Image, PIL.Image]}

An image's place is an "image" part; the n-th of them stands for the n-th of `images`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from index.errors import BadInput, ClipmineError, ImagesNotLocal, MissingDependency
from mining.export.member_images import MemberImages
from mining.export.read_sets import decoded, read_samples
from mining.export.sample import Sample
from mining.export.samples import Choice, Numbers, PerSet, Samples
from mining.export.skipped import LoggedSkips, OnSkipped, SkippedSet, tell_unused
from mining.export.templates import Template
from mining.export.turns import Answer, Question
from mining.sets.annotation import Turn
from mining.sets.attached import Names
from mining.sets.image_sets import ImageSets
from mining.sets.sources import Moved

if TYPE_CHECKING:
    import datasets

__all__ = ["messages_of", "to_datasets", "to_messages"]

# Fields of `ImageSet.to_json` that are no columns.
_NOT_COLUMNS = ("members", "size", "annotations")
# Samples in a shard of a streaming dataset, whose shards are shared out among workers.
_SHARD_SAMPLES = 1_000


def to_messages(
    sets: ImageSets,
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
) -> Iterator[dict[str, Any]]:
    """Yield {"messages": [...], "images": [PIL images in RGB]} for each sample, with the images as they are shown.

    moved: where the images' sources are now: see MemberImages. seed: of the draw with per_set="one". Sets without a
    conversation or with an image that can't be read are skipped; each is given to `on_skipped`, by default the first
    ten are written to the log and, at the end, the counts. The other arguments: see `mining.export.samples.Choice`.
    Raises what MemberImages raises.
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
    samples = Samples(sets, seed=seed, **choice)
    with LoggedSkips() as logged:
        tell_unused(samples, on_skipped, logged)
        for sample, _, images in _decoded(samples, samples.numbers(), MemberImages(sets, moved), on_skipped or logged):
            yield {"messages": messages_of(sample.turns), "images": [images[place] for place in sample.shown]}


def to_datasets(
    sets: ImageSets,
    *,
    moved: Moved = None,
    streaming: bool = False,
    kind: Names | None = None,
    annotator: Names | None = None,
    answer: Answer | None = None,
    per_set: PerSet = "all",
    question: Question = None,
    template: Template = None,
    rejected: bool = False,
    seed: int = 0,
) -> datasets.Dataset | datasets.IterableDataset:
    """A `datasets.Dataset` in datasets' own cache, or, streaming, an `IterableDataset` in shards for its workers.

    Columns: sample_id, set_id, strategy, level, difficulty, split, image_sim, text_sim, shared_nouns, axis, concept,
    entity, reasons, extra (JSON), kind, annotator, refs, row_ids, captions, messages, and images with the files' own
    bytes. The arguments are those of `to_messages`, and it skips what that skips, as the log says; without
    `on_skipped`, since datasets reads its cache instead where it has one. Raises BadInput where there are no samples,
    ImagesNotLocal where none could be read, MissingDependency without the package, and what `to_messages` raises.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingDependency("datasets", "to_datasets()", extra="datasets") from error

    choice: Choice = {
        "kind": kind,
        "annotator": annotator,
        "answer": answer,
        "per_set": per_set,
        "question": question,
        "template": template,
        "rejected": rejected,
    }
    samples = Samples(sets, seed=seed, **choice)
    with LoggedSkips() as logged:
        tell_unused(samples, None, logged)
    numbers = samples.numbers()
    shards = [numbers[first : first + _SHARD_SAMPLES] for first in range(0, len(numbers), _SHARD_SAMPLES)]
    # datasets reuses its cache for equal arguments, so these must differ when annotations, decisions or stores changed.
    state = {"samples": samples.digest(), "forgotten": MemberImages(sets, moved).forgotten()}
    arguments = {"sets": sets, "moved": moved, "seed": seed, "choice": choice, "shards": shards, "state": state}
    if not len(samples):
        raise BadInput(f"{sets.path}: there are no samples to export; loosen the filters")
    if streaming:
        return datasets.IterableDataset.from_generator(_rows, features=_features(datasets), gen_kwargs=arguments)
    try:
        return datasets.Dataset.from_generator(_rows, features=_features(datasets), gen_kwargs=arguments)
    except datasets.exceptions.DatasetGenerationError as error:
        raise (error.__cause__ if isinstance(error.__cause__, ClipmineError) else error) from None
    except ValueError as error:
        if "no data" not in str(error):  # what datasets says of a generator that yields nothing
            raise
        raise ImagesNotLocal(f"{sets.path}: of none of its {len(samples)} samples all images could be read") from error


def messages_of(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """Chat messages: a message a turn, whose content has a part for each text and each image."""
    return [{"role": turn.role, "content": [_part(part) for part in turn.parts]} for turn in turns]


def _part(part: str | int) -> dict[str, Any]:
    return {"type": "text", "text": part} if isinstance(part, str) else {"type": "image", "text": None}


def _decoded(
    samples: Samples, numbers: Numbers, images: MemberImages, tell: OnSkipped
) -> Iterator[tuple[Sample, list[bytes], list[Any]]]:
    for found in read_samples(images, samples.read(numbers)):
        opened = found if isinstance(found, SkippedSet) else decoded(found[0].set, found[1])
        if isinstance(found, SkippedSet) or isinstance(opened, SkippedSet):
            tell(opened)  # type: ignore[arg-type]  # mypy does not see that it is one in both cases
        else:
            yield *found, opened


def _rows(
    sets: ImageSets, moved: Moved, seed: int, choice: Choice, shards: list[Numbers], state: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield the rows of the shards. state: not read here; datasets compares the arguments with those of its cache."""
    samples, images = Samples(sets, seed=seed, **choice), MemberImages(sets, moved)
    with LoggedSkips() as logged:
        for shard in shards:
            # Decoded to find broken images; handed over as they are, since encoding again would change them.
            for sample, files, _ in _decoded(samples, shard, images, logged):
                each, annotation = sample.set, sample.annotation
                fields = {name: value for name, value in each.to_json().items() if name not in _NOT_COLUMNS}
                yield {
                    **fields,
                    "extra": json.dumps(fields["extra"], ensure_ascii=False) if fields["extra"] else None,
                    "sample_id": sample.sample_id,
                    "kind": annotation.kind if annotation else None,
                    "annotator": annotation.annotator.name if annotation else None,
                    "refs": [member.ref for member in each.members],
                    "row_ids": list(each.rows),
                    "captions": list(each.captions),
                    "messages": messages_of(sample.turns),
                    "images": [{"bytes": files[place], "path": None} for place in sample.shown],
                }


def _features(datasets: Any) -> Any:
    text, texts = datasets.Value("string"), datasets.List(datasets.Value("string"))
    message = {"role": text, "content": datasets.List({"type": text, "text": text})}
    names = ("sample_id", "set_id", "strategy", "split", "axis", "concept", "entity", "extra", "kind", "annotator")
    return datasets.Features(
        {
            **dict.fromkeys(names, text),
            "level": datasets.Value("int32"),
            **dict.fromkeys(("difficulty", "image_sim", "text_sim"), datasets.Value("float32")),
            **dict.fromkeys(("shared_nouns", "reasons", "refs", "captions"), texts),
            "row_ids": datasets.List(datasets.Value("int64")),
            "messages": datasets.List(message),
            "images": datasets.List(datasets.Image()),
        }
    )
