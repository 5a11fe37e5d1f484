"""The work items of a corpus of which a part is embedded already: what is done keeps its number, what is new follows.

Row ids never change, so a finished item stays what it was, whatever the names of new files. Its marker knows it by its
signature; which images of a folder it holds, its metadata and rejects tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import count

from index.corpus.folder_items import FolderCorpus
from index.corpus.samples import ShardItem
from index.corpus.sources import Corpus
from index.errors import BadInput
from index.files import join
from index.parquet import read_parquet
from index.store.done_items import DoneItems
from index.store.embed_item import EmbedConfig
from index.store.markers import Marker
from index.store.store_manifest import part_paths

__all__ = ["arrange_items"]


def arrange_items(corpus: Corpus, config: EmbedConfig, config_hash: str) -> list[ShardItem]:
    """The corpus's items, with the numbers that finished ones have in `config.out`.

    Raises:
        BadInput: files that were embedded are gone or have changed (the message names one).
    """
    markers = DoneItems(config.out).markers
    items = {item.number: item for item in corpus.items}
    if any(marker.config_hash != config_hash for marker in markers.values()):
        return corpus.items  # a store of another configuration, which is refused later
    if all(number in items and items[number].signature == marker.signature for number, marker in markers.items()):
        return corpus.items
    if corpus.folder is not None:
        done, new = _of_folder(corpus.folder, config, markers)
    else:
        done, new = _of_tars(corpus.items, config, markers)
    free = (number for number in count() if number not in done)
    numbered = [*done.values(), *(replace(item, number=number) for item, number in zip(new, free, strict=False))]
    return sorted(numbered, key=lambda item: item.number)


def _of_tars(
    items: Iterable[ShardItem], config: EmbedConfig, markers: Mapping[int, Marker]
) -> tuple[dict[int, ShardItem], list[ShardItem]]:
    """Finished items by number, and the others."""
    by_signature = {item.signature: item for item in items}
    done = {}
    for number, marker in markers.items():
        item = by_signature.pop(marker.signature, None)
        if item is None:
            name = next(_shards(config.out, number), f"the tar of part {number:04d}")
            raise _changed(config, f"{name} is gone or has changed")
        done[number] = replace(item, number=number)
    return done, list(by_signature.values())


def _of_folder(
    folder: FolderCorpus, config: EmbedConfig, markers: Mapping[int, Marker]
) -> tuple[dict[int, ShardItem], list[ShardItem]]:
    done: dict[int, ShardItem] = {}
    embedded: set[str] = set()
    for number, marker in markers.items():
        images = frozenset(_shards(config.out, number))
        if gone := images - folder.images:
            raise _changed(config, f"{min(gone)} is gone")
        # Versions that read fewer kinds of files made items without the others.
        made = (folder.item(number, images, usual_only=usual) for usual in (False, True))
        item = next((each for each in made if each.signature == marker.signature), None)
        if item is None:
            first, last = (min(images), max(images)) if images else ("its first image", "its last")
            raise _changed(
                config, f"an image or side-car of part {number:04d}, from {first} to {last}, was added or has changed"
            )
        done[number] = item
        embedded |= images
    return done, folder.items(config.shard_size, without=embedded)


def _shards(out: str, number: int) -> Iterator[str]:
    """The distinct shards of an item's rows and rejects: of a folder's item, its image files."""
    seen = set()
    for kind in ("metadata", "rejects"):
        table = read_parquet(join(out, part_paths(number)[kind]), ["shard"])
        for shard in table["shard"].to_pylist():
            if shard is not None and shard not in seen:
                seen.add(shard)
                yield shard


def _changed(config: EmbedConfig, what: str) -> BadInput:
    return BadInput(
        f"{config.source}: {what} since it was embedded into {config.out}; put it back as it was, or embed into "
        "another --out (files may be added at any time)"
    )
