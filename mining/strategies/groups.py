"""`groups`: several images with something in common, for group captioning (SAM, MM 2024; Li et al., CVPR 2020).

With a Selection the images of a group were retrieved for one concept; otherwise their captions are close to that of one
anchor, fit their images and share a noun. The images are spread: every two of a group are less similar than the upper
quartile of pairs of one concept (or of close captions). Anchors are sampled, so the cost grows with the sets wanted and
not with the store.

`reference` is what all captions of a group name: their shared nouns, each with the words for colour, size, material and
the like that all captions give it. It is no caption that a person wrote, and null where the captions share no noun.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mining.strategies.bands import BANDS, OVERSAMPLED, thin
from mining.strategies.context import (
    CANDIDATES_SCHEMA,
    Candidates,
    MapItems,
    MiningContext,
    candidates_table,
    padded,
    sentences,
)
from mining.strategies.group_members import GroupItem, choose_members, members_file
from mining.strategies.group_words import WordsItem, read_words, write_words
from mining.strategies.measured import Measured
from mining.strategies.minable import Minable, concept_rows, minable_rows
from mining.strategies.neighbors.caption_fit import close_captions
from mining.strategies.neighbors.similarity import set_similarity, similarities
from mining.strategies.neighbors.work_arrays import read_arrays, write_array

__all__ = ["groups"]

RowIds = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

# Neighbours of an anchor's caption. Half of them have a caption that fits, and some of these are far from each other.
NEIGHBORS = 48
# Captions are close from this quantile of the similarity to the nearest other one: lower than for pairs, since the
# captions of a group must share a noun as well.
CLOSE = 0.5
# Anchors for each set wanted.
ANCHORS_A_SET = 16
LEAST_ANCHORS = 2_000
# Anchors of an item: 48 MB of vectors at a time and a few seconds.
ITEM_ANCHORS = 4_096
# Groups whose captions are read as one item.
ITEM_GROUPS = 5_000
# Images are far below this quantile of the similarity of two images of one concept. With the median a group of eight
# would need 28 pairs that are all below it.
FAR = 0.75
# Pairs on which the quantile is measured.
_MEASURED = 20_000


@dataclass(frozen=True)
class _Lists:
    """Images that may be in one group: rows int64 [a, k], an anchor first, padded with -1. concept: [a], or -1."""

    rows: RowIds
    concept: RowIds
    names: pa.Array
    considered: int
    dropped: dict[str, int]
    notes: tuple[str, ...]
    measured: dict[str, float]


@dataclass(frozen=True)
class _Chosen:
    """The groups to propose: members int64 [n, m], padded with -1, and the rest [n]."""

    members: RowIds
    image_sim: Floats
    level: npt.NDArray[np.int32]
    concept: RowIds
    words: pa.Table


def groups(ctx: MiningContext, map_items: MapItems) -> Candidates:
    """Groups of `group_size` images of one concept; the level is the quarter by difference, 4 the most different."""
    config = ctx.config
    minable = minable_rows(ctx, ctx.open_store())
    lists = _of_concepts(ctx, minable) if config.selection is not None else _of_captions(ctx, map_items, minable)
    limits = Measured(ctx)
    far = limits.settle("far", _far(ctx, minable, lists.rows))
    write_array(ctx, "lists.npy", lists.rows)
    items = [
        GroupItem(number, start, min(start + ITEM_ANCHORS, len(lists.rows)), far)
        for number, start in enumerate(range(0, len(lists.rows), ITEM_ANCHORS))
    ]
    map_items(choose_members, items, "mine groups: choose members")
    least, most = config.group_size
    members = np.concatenate(
        [np.empty((0, most), np.int64), *(read_arrays(ctx, members_file(item))["members"] for item in items)]
    )
    enough = (members >= 0).sum(axis=1) >= least
    members, concept = members[enough], lists.concept[enough]
    # Twice as many as are proposed, as some captions share no noun.
    read = thin(members, concept, 2 * OVERSAMPLED * ctx.wanted, config.seed)
    words = _words(ctx, map_items, members[read])
    members, concept = padded(words["rows"]), concept[read]
    share = (members >= 0).sum(axis=1) >= least
    words, members, concept = words.filter(pa.array(share)), members[share], concept[share]
    image_sim, _ = set_similarity(minable.store, "image", members)
    level = limits.levels(np.nan_to_num(image_sim, nan=far - 1e-6), far)
    kept = thin(members, concept * (BANDS + 1) + level, OVERSAMPLED * ctx.wanted, config.seed)
    dropped = lists.dropped | {
        f"fewer than {least} images that differ": int((~enough).sum()),
        "captions that share no noun": int((~share).sum()),
        "more than needed": int(enough.sum()) - len(read) + len(members) - len(kept),
    }
    chosen = _Chosen(members[kept], image_sim[kept], level[kept], concept[kept], words.take(pa.array(kept)))
    table = _candidates(chosen, lists.names, far)
    how = f"images of a group are less similar than {far:.3f}, the upper quartile over pairs of one concept"
    notes, measured = (*lists.notes, how, *limits.notes), lists.measured | limits.values
    return Candidates(table, lists.considered, dropped, notes=notes, measured=measured)


def _of_captions(ctx: MiningContext, map_items: MapItems, minable: Minable) -> _Lists:
    """Sampled anchors with the rows whose captions are close to theirs."""
    anchors = minable.sample(max(LEAST_ANCHORS, ANCHORS_A_SET * ctx.wanted), ctx.random("anchors"))
    neighbors = min(NEIGHBORS, minable.count - 1)
    close = close_captions(ctx, map_items, minable, anchors, neighbors, quantile=CLOSE, same_words=True)
    rows, times = np.unique(close.rows[:, 0], return_counts=True)
    lists = np.full((len(rows), 1 + int(times.max(initial=0))), -1, np.int64)
    lists[:, 0] = rows
    inside = np.arange(lists.shape[1] - 1) < times[:, None]  # the pairs of an anchor follow each other
    lists[:, 1:][inside] = close.rows[np.argsort(close.rows[:, 0], kind="stable"), 1]
    dropped = {"anchors without close captions": len(anchors) - len(rows)}
    return _Lists(
        lists, np.full(len(rows), -1), pa.array([], pa.string()), len(anchors), dropped, (close.how,), close.measured
    )


def _of_concepts(ctx: MiningContext, minable: Minable) -> _Lists:
    """Random rows of each concept of the selection, equally many lists of each."""
    names, rows, bounds = concept_rows(minable, str(ctx.config.selection))
    each = max(1, -(-ANCHORS_A_SET * ctx.wanted // max(1, len(names))))
    pieces, of = [np.empty((0, NEIGHBORS), np.int64)], [np.empty(0, np.int64)]
    few = 0
    for code, (start, stop) in enumerate(pairwise(bounds.tolist())):
        if stop - start < ctx.config.group_size[0]:
            few += 1
            continue
        pieces.append(rows[start:stop][ctx.random("concept", code).integers(0, stop - start, (each, NEIGHBORS))])
        of.append(np.full(each, code))
    notes = ("members were retrieved for one concept",)
    found = np.concatenate(pieces)
    dropped = {"concepts of too few images": few} if few else {}
    return _Lists(found, np.concatenate(of), names, len(found) + few, dropped, notes, {})


def _far(ctx: MiningContext, minable: Minable, lists: RowIds) -> float:
    """The quantile FAR of the image similarity of an anchor and another picture of its list."""
    known = np.argwhere(lists[:, 1:] >= 0)
    drawn = ctx.random("far").permutation(len(known))[:_MEASURED]
    some = known[np.sort(drawn)]
    pairs = np.stack([lists[some[:, 0], 0], lists[some[:, 0], some[:, 1] + 1]], axis=1)
    similarity = similarities(minable.store, "image", pairs)
    similarity = similarity[similarity < ctx.config.near_duplicates]
    return round(float(np.quantile(similarity, FAR)), 3) if len(similarity) else ctx.config.near_duplicates


def _words(ctx: MiningContext, map_items: MapItems, members: RowIds) -> pa.Table:
    """What all captions of each group say, as `mining.strategies.group_words` writes it."""
    write_array(ctx, "groups.npy", members)
    items = [
        WordsItem(number, start, min(start + ITEM_GROUPS, len(members)))
        for number, start in enumerate(range(0, max(len(members), 1), ITEM_GROUPS))
    ]
    map_items(write_words, items, "mine groups: read captions")
    return pa.concat_tables([read_words(ctx, item) for item in items]).combine_chunks()


def _candidates(chosen: _Chosen, names: pa.Array, far: float) -> pa.Table:
    """The candidates: a table for each size of a group, joined."""
    sizes = (chosen.members >= 0).sum(axis=1)
    tables = [CANDIDATES_SCHEMA.empty_table()]
    for size in np.unique(sizes).tolist():
        some = np.flatnonzero(sizes == size)
        words = chosen.words.take(pa.array(some)).combine_chunks()
        columns = {"shared_nouns": words["nouns"], "member_captions": words["captions"]}
        together = pa.array(["all captions are close to that of one image"] * len(some), pa.string())
        if len(names):
            columns["concept"] = names.take(pa.array(chosen.concept[some]))
            together = sentences("all were retrieved for {}", columns["concept"])
        far_apart = sentences(
            f"image similarity {{}}, every two below {far:.2f} (quarter {{}} of {BANDS})",
            chosen.image_sim[some],
            chosen.level[some],
        )
        columns["reference"] = _reference(words["phrases"])
        tables.append(
            candidates_table(
                chosen.members[some, :size],
                level=chosen.level[some],
                difficulty=chosen.level[some] / BANDS,
                reasons=[together, far_apart, words["reason"].combine_chunks()],
                **columns,
            )
        )
    return pa.concat_tables(tables)


def _reference(phrases: pa.ChunkedArray) -> pa.Array:
    """What all captions of each group say; null where they share no noun, even with a concept: that is a search's."""
    said = (f"All of these images show: {', '.join(own)}." if own else None for own in phrases.to_pylist())
    return pa.array(list(said), pa.string())
