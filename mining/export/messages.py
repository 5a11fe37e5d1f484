"""Image sets as chat messages with images, as TRL and transformers' processors take them, and as Hugging Face datasets.

    {"messages": [{"role": "user", "content": [{"type": "text", "text": "Image 1: "}, {"type": "image", ...}, ...]},
                  {"role": "assistant", "content": [{"type": "text", "text": "..."}]}],
     "images": [PIL.Image, PIL.Image]}

An image's place is an "image" part; the n-th of them stands for the n-th of `images`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from index.errors import MissingDependency
from mining.export.conversations import Answer, answered_sets
from mining.export.member_images import decoded_sets
from mining.export.skipped import OnSkipped, warn
from mining.sets.image_set import ImageSet
from mining.sets.image_sets import ImageSets

if TYPE_CHECKING:
    import datasets

__all__ = ["messages_of", "to_datasets", "to_messages"]

Folder = str | os.PathLike[str]
# Sets in a shard of a streaming dataset, whose shards are shared out among workers.
_SHARD_SETS = 1_000


def to_messages(
    sets: ImageSets,
    *,
    answer: Answer | None = None,
    store: Folder | None = None,
    on_skipped: OnSkipped | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield {"messages": [...], "images": [PIL images in RGB]} for each set.

    answer: set -> turns of (question, answer), None to skip it; by default the captions unchanged. store: where the
    store is now, if it was moved. Sets without an answer or with an image that can't be read are skipped; each is given
    to `on_skipped`, by default written to the log. Raises ImagesNotLocal where the store has no images.
    """
    for _, messages, images in _chats(sets, answer, store, on_skipped or warn):
        yield {"messages": messages, "images": images}


def to_datasets(
    sets: ImageSets, *, answer: Answer | None = None, store: Folder | None = None, streaming: bool = False
) -> datasets.Dataset | datasets.IterableDataset:
    """A `datasets.Dataset` in datasets' own cache, or, streaming, an `IterableDataset` in shards for its workers.

    Columns: set_id, strategy, level, image_sim, text_sim, shared_nouns, axis, concept, entity, reasons, row_ids,
    captions, messages, images. Skips the sets that `to_messages` skips, with a line in the log each. Raises
    MissingDependency without the package, and what `to_messages` raises.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingDependency("datasets", "to_datasets()", extra="datasets") from error

    features = _features(datasets)
    shards = [sets.numbers[first : first + _SHARD_SETS] for first in range(0, len(sets), _SHARD_SETS)]
    arguments = {"sets": sets, "answer": answer, "store": store, "shards": shards}
    if streaming:
        return datasets.IterableDataset.from_generator(_rows, features=features, gen_kwargs=arguments)
    return datasets.Dataset.from_generator(_rows, features=features, gen_kwargs=arguments)


def messages_of(each: ImageSet, turns: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """Chat messages; the images are in the first question, each after its number, as in `mining.export.llava`."""
    messages: list[dict[str, Any]] = []
    for number, (question, answered) in enumerate(turns):
        content: list[dict[str, Any]] = []
        if number == 0:
            for place in range(1, each.size + 1):
                content += [_text(("\n" if place > 1 else "") + f"Image {place}: "), {"type": "image", "text": None}]
            question = "\n" + question
        messages += [
            {"role": "user", "content": [*content, _text(question)]},
            {"role": "assistant", "content": [_text(answered)]},
        ]
    return messages


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _chats(
    sets: ImageSets, answer: Answer | None, store: Folder | None, on_skipped: OnSkipped
) -> Iterator[tuple[ImageSet, list[dict[str, Any]], list[Any]]]:
    turns: dict[str, list[tuple[str, str]]] = {}
    answered = answered_sets(sets, answer, on_skipped, turns)
    for each, images in decoded_sets(sets.store(store), answered, on_skipped):
        yield each, messages_of(each, turns.pop(each.set_id)), images


def _rows(sets: ImageSets, answer: Answer | None, store: Folder | None, shards: list[Any]) -> Iterator[dict[str, Any]]:
    for shard in shards:
        for each, messages, images in _chats(sets.take(shard), answer, store, warn):
            fields = {name: value for name, value in each.to_json().items() if name not in ("members", "size")}
            own = {"row_ids": list(each.rows), "captions": list(each.captions)}
            yield {**fields, **own, "messages": messages, "images": images}


def _features(datasets: Any) -> Any:
    text, texts = datasets.Value("string"), datasets.List(datasets.Value("string"))
    message = {"role": text, "content": datasets.List({"type": text, "text": text})}
    return datasets.Features(
        {
            **dict.fromkeys(("set_id", "strategy", "axis", "concept", "entity"), text),
            "level": datasets.Value("int32"),
            **dict.fromkeys(("image_sim", "text_sim"), datasets.Value("float32")),
            **dict.fromkeys(("shared_nouns", "reasons", "captions"), texts),
            "row_ids": datasets.List(datasets.Value("int64")),
            "messages": datasets.List(message),
            "images": datasets.List(datasets.Image()),
        }
    )
