"""`identity`: one individual in several pictures of different contexts, named by a field of the metadata.

Sets have `set_size` members. With `order` a set is a window of consecutive steps, and a story of fewer steps is one set
of them all: with `--entity truth.story --order truth.step --set-size 4` a set is a story, or four steps of one.

Another context is what makes an individual hard to recognise. With `context` the members differ in that field. Without
it, and without an order, all images of a set are less similar than the median pair of images of one individual.

The work is two maps: each range of rows lists the individuals in it (`mining.strategies.individual_rows`), and each
bucket of names makes the sets of its individuals (`mining.strategies.individual_sets`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from index.errors import BadInput
from mining.strategies.bands import BANDS, OVERSAMPLED, even_bands, thin
from mining.strategies.context import CANDIDATES_SCHEMA, Candidates, MapItems, MiningContext, padded
from mining.strategies.individual_rows import RangeItem, list_range
from mining.strategies.individual_sets import BucketItem, make_sets, read_sets
from mining.strategies.measured import Measured
from mining.strategies.metadata_fields import field_column, fields_there
from mining.strategies.minable import minable_rows
from mining.strategies.neighbors.similarity import set_similarity

__all__ = ["identity"]

Floats = npt.NDArray[np.float32]

# Rows whose metadata is read as one item; parsing their JSON takes a few seconds on a core.
ITEM_ROWS = 100_000
# Rows that name an individual, a bucket; a bucket is sorted in memory.
BUCKET_ROWS = 5_000_000
# How often the rows of an individual are shuffled and cut into sets; each row is in at most so many sets.
SHUFFLES = 16
# Sets to make for each that is proposed: half of them are of images too alike, and repeats are dropped.
MADE_A_SET = 4


def identity(ctx: MiningContext, map_items: MapItems) -> Candidates:
    """Sets of one individual; the level is the band of image similarity, 1 the most similar, 4 the least.

    Raises BadInput without `entity`, or when no row has a value of it.
    """
    config = ctx.config
    if config.entity is None:
        raise BadInput("identity needs --entity FIELD, which names the individual in the metadata")
    store = ctx.open_store()
    minable = minable_rows(ctx, store)
    entity, order, context = (
        field_column(store, field) if field else "" for field in (config.entity, config.order, config.context)
    )
    buckets = -(-minable.count // BUCKET_ROWS)
    ranges = [
        RangeItem(f"{number:06d}", start, min(start + ITEM_ROWS, minable.count), buckets, (entity, order, context))
        for number, start in enumerate(range(0, minable.count, ITEM_ROWS))
    ]
    seen = map_items(list_range, ranges, "mine identity: read metadata")
    named, unordered, without = (
        sum(getattr(each, name) for each in seen) for name in ("named", "unordered", "without_context")
    )
    if not named:
        raise BadInput(f"{store.path}: no row has a value in {config.entity}; {fields_there(minable)}")
    for field, lacking, among in ((config.order, unordered, named), (config.context, without, named - unordered)):
        if field and lacking == among:
            raise BadInput(f"{store.path}: no row of an individual has a value in {field}; {fields_there(minable)}")
    wanted = MADE_A_SET * OVERSAMPLED * ctx.wanted
    a_turn = max(1, (named - unordered - without) // config.set_size)
    turns = min(SHUFFLES, -(-wanted // a_turn))
    names = tuple(item.name for item in ranges)
    items = [
        BucketItem(f"{each:04d}", each, names, turns, min(1.0, wanted / (a_turn * turns))) for each in range(buckets)
    ]
    made = map_items(make_sets, items, "mine identity: make sets")
    table = pa.concat_tables([read_sets(ctx, item) for item in items]).combine_chunks()
    found = table.num_rows
    members = padded(table["rows"])
    kept = thin(members, np.zeros(found, np.int64), wanted, config.seed)
    table, members = table.take(pa.array(kept)), members[kept]
    mean, largest = set_similarity(store, "image", members)
    limit = config.near_duplicates
    limits = Measured(ctx)
    notes = [f"{config.entity} names an individual {named:,} time{'s' * (named != 1)}"]
    if config.order:
        notes.append(f"members are consecutive in {config.order}, in the order of the images that are there")
    elif not config.context:
        limit = limits.settle("another context below", _median(largest, config.near_duplicates))
        notes.append(f"another context: images less similar than {limit:.3f}, the median for one individual")
    least = limits.settle("least", _least(mean, limit))
    table = _with_levels(table, mean, least, limit)
    alike = _at_least(largest, limit)
    table = table.filter(pa.array(~alike))
    dropped = {"images too alike": int(alike.sum()), "more than needed": found - len(kept)}
    unused = {
        **({f"no value in {config.order}": unordered} if config.order else {}),
        **({f"no value in {config.context}": without} if config.context else {}),
        **({"in a story of one step": sum(each.one_step for each in made)} if config.order else {}),
        "named too seldom": sum(each.alone for each in made),
        "of individuals on the other side": sum(each.other_side for each in made),
    }
    unused = {reason: count for reason, count in unused.items() if count}
    if unused:
        notes.append(f"in no set: {', '.join(f'{count:,} {reason}' for reason, count in unused.items())}")
    return Candidates(table, found, dropped, unused, (*notes, *limits.notes), limits.values)


def _median(largest: Floats, near_duplicates: float) -> float:
    """The median similarity of the pictures of one individual that are not one picture."""
    other = largest[largest < near_duplicates]  # False for NaN
    return round(float(np.median(other)), 3) if len(other) else near_duplicates


def _at_least(largest: Floats, limit: float) -> npt.NDArray[np.bool_]:
    """bool [n]: False for NaN, so that a later filter counts sets without a vector."""
    return np.asarray(largest >= limit, np.bool_)


def _least(image_sim: Floats, ceiling: float) -> float:
    """The lower end of the bands of image similarity: the 1st percentile, but below the ceiling."""
    known = image_sim[np.isfinite(image_sim)]
    least = round(float(np.quantile(known, 0.01)), 3) if len(known) else 0.0
    return min(least, round(ceiling - 0.001, 6))


def _with_levels(table: pa.Table, image_sim: Floats, least: float, ceiling: float) -> pa.Table:
    """Set level and difficulty: bands of equal width of image similarity, from `least` to the ceiling above it."""
    clipped = np.clip(np.nan_to_num(image_sim, nan=least).astype(np.float64), least, ceiling - 1e-6)
    level = BANDS + 1 - even_bands(clipped, least, ceiling)
    for name, values in (("level", level), ("difficulty", level / BANDS)):
        column = CANDIDATES_SCHEMA.field(name)
        table = table.set_column(CANDIDATES_SCHEMA.get_field_index(name), column, pa.array(values, column.type))
    return table
