"""What all captions of a group say: the nouns that they share, and the attributes that all of them give a noun."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mining.strategies.captions.caption_rows import captions_of
from mining.strategies.context import MiningContext
from mining.strategies.neighbors.work_arrays import has_arrays, read_array, read_table, write_table
from mining.text.caption_facts import Facts, facts_of
from mining.text.nouns import noun_extractor

__all__ = ["WordsItem", "agreeing", "read_words", "shared_phrases", "write_words"]

_WORDS_SCHEMA = pa.schema(
    [
        ("rows", pa.list_(pa.int64())),  # the members that are left, ascending
        ("nouns", pa.list_(pa.string())),
        ("phrases", pa.list_(pa.string())),
        ("reason", pa.string()),
        ("captions", pa.list_(pa.string())),  # the members' captions with `--captions all`; else null
    ]
)
# Axes whose value stands before a noun. "a brown dog" and "a tan dog" are of one group of colours but share no word.
_BEFORE = ("size", "shape", "color", "pattern", "material", "attribute")


@dataclass(frozen=True)
class WordsItem:
    """The groups first .. last - 1 of `groups.npy`."""

    number: int
    first: int
    last: int


def write_words(item: WordsItem, ctx: MiningContext) -> int:
    """Write the shared nouns and phrases of each group, and a reason; returns the number of groups.

    Without a selection a group keeps only the members whose captions have the noun that most share with the anchor.
    """
    if has_arrays(ctx, _file(item)):
        return item.last - item.first
    groups = read_array(ctx, "groups.npy")[item.first : item.last]
    rows = np.unique(groups[groups >= 0])
    table = ctx.open_store().metadata(rows, ["caption", "captions"])
    lists = captions_of(table, ctx.config.captions)
    found_nouns = iter(noun_extractor("lexicon")([text for each in lists for text in each]))
    by_caption = [[frozenset(next(found_nouns)) for _ in each] for each in lists]
    nouns = [frozenset[str]().union(*each) for each in by_caption]
    found: list[tuple[list[int], list[str], list[str], str, list[str | None] | None]] = []
    for group in groups:
        places = np.searchsorted(rows, group[group >= 0]).tolist()
        if ctx.config.selection is None:
            places = agreeing([nouns[place] for place in places], places)
        places = sorted(places)
        shared = sorted(frozenset.intersection(*(nouns[place] for place in places)))
        phrases = shared_phrases(shared, ["\n".join(lists[place]) for place in places])
        reason = f"all captions name {', '.join(phrases)}" if phrases else "their captions share no noun"
        said = None
        if ctx.config.captions == "all":
            said = [_best(lists[place], by_caption[place], shared) for place in places]
        found.append((rows[places].tolist(), shared, phrases, reason, said))
    columns = [list(column) for column in zip(*found, strict=True)] or [[]] * 5
    write_table(ctx, _file(item), pa.table(columns, schema=_WORDS_SCHEMA))
    return item.last - item.first


def read_words(ctx: MiningContext, item: WordsItem) -> pa.Table:
    """The table that `write_words` wrote, a row for each group: rows, nouns, phrases, reason, captions."""
    return read_table(ctx, _file(item), _WORDS_SCHEMA)


def agreeing(nouns: Sequence[frozenset[str]], places: Sequence[int]) -> list[int]:
    """The `places` [n] whose captions (`nouns` [n], the anchor first) name the noun that most share with the anchor.

    Only the anchor's place where its caption has no noun.
    """
    if not nouns[0]:
        return [places[0]]
    counts = Counter(noun for each in nouns for noun in each & nouns[0])
    best = min(nouns[0], key=lambda noun: (-counts[noun], noun))
    return [place for place, each in zip(places, nouns, strict=True) if best in each]


def shared_phrases(nouns: Sequence[str], captions: Sequence[str]) -> list[str]:
    """Each noun with the words that all captions put before it: ["brown dog", "beach"]."""
    if not nouns:
        return []
    facts = [facts_of(caption) for caption in captions]
    phrases = []
    for noun in nouns:
        words = []
        for axis in _BEFORE:
            said = {_value(_said_of(each, axis, noun)) for each in facts}
            if len(said) == 1 and (word := said.pop()):
                words.append(word)
        phrases.append(" ".join([*words, noun]))
    return phrases


def _best(captions: Sequence[str], nouns: Sequence[frozenset[str]], shared: Sequence[str]) -> str | None:
    """The first caption that names the most of the shared nouns; None without a caption."""
    best = max(range(len(captions)), key=lambda place: len(nouns[place].intersection(shared)), default=None)
    return None if best is None else captions[best]


def _said_of(facts: Facts, axis: str, noun: str) -> str | None:
    """What a caption says of a noun, or of the only one that somebody wears ("boy's shirt")."""
    worn = [value for (name, owner), value in facts.items() if name == axis and owner.endswith(f"'s {noun}")]
    return facts.get((axis, noun)) or (worn[0] if len(worn) == 1 else None)


def _value(value: str | None) -> str | None:
    """The words of a fact: "tan" of "brown|tan"."""
    return None if value is None else value.rpartition("|")[2]


def _file(item: WordsItem) -> str:
    return f"words_{item.number:05d}.parquet"
