"""The mining job: a store in, image sets out. Strategies run one after the other, each over its items on any executor.

Run again after a kill, it skips the items whose files exist and the strategies whose proposals exist.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, replace
from typing import Any

import pyarrow.parquet as pq

from index.errors import BadInput
from index.files import exists, join, make_folder, read_bytes, remove, write_atomic
from index.outputs import claim_folder, only_writer, remove_folder, unused_claim_released
from index.parquet import read_parquet
from index.store.embedding_store import EmbeddingStore
from jobs.executors.execute import check_executor, execute
from jobs.places import with_absolute
from jobs.shared_storage import SharedFolder
from mining.select.assemble import assemble
from mining.sets.decisions import read_decisions
from mining.sets.forgotten_rows import register_image_sets
from mining.sets.image_sets import ImageSets
from mining.strategies.context import (
    CANDIDATES_SCHEMA,
    HELD_OUT,
    TRAIN,
    Candidates,
    MapItems,
    MiningConfig,
    MiningContext,
)
from mining.strategies.minable import open_selection
from mining.strategies.registry import check_strategies, get_strategy
from retrieval.selection import store_identity

# The file that names the configuration a folder belongs to.
CLAIM = "mine.json"
# The options of the first release are always part of a run's identity, but `out` and `strict`, which do not change the
# sets. Later ones are no part of it at their defaults, so that a run of a release that lacked them is found finished.
IDENTITY = (
    *("store", "strategies", "sets", "seed", "max_per_image", "near_duplicates", "levels", "min_shared_nouns"),
    *("rare_nouns", "nouns", "axes", "captions", "entity", "order", "set_size", "selection", "decisions"),
)


def run_mine(config: MiningConfig, *, executor: str = "local", workers: int | None = None) -> ImageSets:
    """Mine what `config` asks for into `config.out`; run again after an interruption, it continues.

    Raises:
        BadInput: a strategy, field, decisions file or selection that cannot be used; with `config.strict`, a quota that
            was not met (the sets are written nevertheless).
        OutputExists: the folder holds sets mined with another configuration.
        What `jobs.executors.execute.execute` raises.
    """
    check_executor(executor, workers)
    config = with_absolute(config, "store", "out", "selection", "decisions", executor=executor)
    store = EmbeddingStore.open(config.store)
    check_strategies(config, store)
    contexts = list_mining(config)
    job = _identity(config) | {"store": store_identity(store)}
    decisions = None
    if config.decisions is not None:
        decisions = read_decisions(config.decisions)
        job["decisions"] = hashlib.sha256(read_bytes(config.decisions)).hexdigest()
    if config.selection is not None:
        job["selection"] = open_selection(config.selection, store).identity | {"store": None}
    with only_writer(config.out), unused_claim_released(config.out, CLAIM):
        begun = exists(join(config.out, CLAIM))
        if claim_folder(config.out, CLAIM, job):
            sets = ImageSets.open(config.out)
            register_image_sets(config.out, sets.sources)
        else:
            try:
                shared = SharedFolder(config.out)
                proposed: list[tuple[MiningContext, Candidates]] = []
                for ctx in contexts:
                    proposed.append(_propose(_with_measured(ctx, proposed), executor, workers, shared))
                sets = assemble(config, proposed, decisions)
            except BadInput:
                if not begun:  # a corrected command has another configuration, which the claim would refuse
                    remove_folder(join(config.out, "work"))
                    remove(join(config.out, CLAIM))
                raise
            remove_folder(join(config.out, "work"))
    if config.strict and sets.manifest["shortfall"]:
        raise BadInput(
            f"--strict: {'; '.join(sets.manifest['shortfall'])} (the sets that were found are in {config.out})"
        )
    return sets


def list_mining(config: MiningConfig) -> list[MiningContext]:
    """A context for each strategy, and with a hold-out for each side of it.

    Quotas are rounded by largest remainder, so that they add up to `config.sets`. Raises BadInput for a hold-out that
    is less than one set.
    """
    sides = [(TRAIN, 1 - config.hold_out), (HELD_OUT, config.hold_out)] if config.hold_out else [(None, 1.0)]
    cells = [(name, split, share * part) for name, share in config.strategies for split, part in sides]
    exact = [share * config.sets for _, _, share in cells]
    quotas = [int(each) for each in exact]
    by_remainder = sorted(range(len(exact)), key=lambda place: (quotas[place] - exact[place], place))
    for place in by_remainder[: config.sets - sum(quotas)]:
        quotas[place] += 1
    found = [
        MiningContext(config, name, quota, join(config.out, "work", name, *([split] if split else [])), split)
        for (name, split, _), quota in zip(cells, quotas, strict=True)
        if quota or split is None
    ]
    if config.hold_out and {ctx.split for ctx in found} != {TRAIN, HELD_OUT}:
        raise BadInput(
            f"--hold-out {config.hold_out:g} of --sets {config.sets} leaves no set on one side; ask for more sets"
        )
    return found


def _identity(config: MiningConfig) -> dict[str, Any]:
    """The options that decide which sets a run makes."""
    at_default = {each.name for each in fields(config) if getattr(config, each.name) == each.default}
    left_out = {"out", "strict", *at_default.difference(IDENTITY)}
    return {name: value for name, value in asdict(config).items() if name not in left_out}


def _with_measured(ctx: MiningContext, proposed: Sequence[tuple[MiningContext, Candidates]]) -> MiningContext:
    """The context; for a held-out side with what the strategy measured on the training side, which comes before it."""
    if ctx.split != HELD_OUT:
        return ctx
    own = [found.measured for other, found in proposed if other.strategy == ctx.strategy]
    return replace(ctx, measured=own[0]) if own else ctx


def _propose(
    ctx: MiningContext, executor: str, workers: int | None, shared: SharedFolder
) -> tuple[MiningContext, Candidates]:
    """The strategy's proposals; read from the files of an earlier run if it finished them."""
    table_file, marker = join(ctx.folder, "candidates.parquet"), join(ctx.folder, "candidates.json")
    if exists(marker):
        said = json.loads(read_bytes(marker))
        table = read_parquet(table_file).cast(CANDIDATES_SCHEMA)
        return ctx, Candidates(table, **said | {"notes": tuple(said["notes"])})
    make_folder(ctx.folder)
    found = get_strategy(ctx.strategy)(ctx, _map_items(ctx, executor, workers, shared))
    buffer = io.BytesIO()
    pq.write_table(found.table, buffer, compression="zstd")
    write_atomic(table_file, buffer.getvalue())
    said = {each.name: getattr(found, each.name) for each in fields(found) if each.name != "table"}
    write_atomic(marker, json.dumps(said))
    return ctx, found


def _map_items(ctx: MiningContext, executor: str, workers: int | None, shared: SharedFolder) -> MapItems:
    def map_items(function: Callable[[Any, MiningContext], Any], items: Sequence[Any], label: str) -> list[Any]:
        # A single item runs here: workers of Ray or Spark take seconds to start.
        where = executor if len(items) > 1 else "local"
        return execute(where, function, items, ctx, workers=workers, shared=shared, label=label)

    return map_items
