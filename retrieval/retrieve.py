"""Retrieval, end to end: concepts in, a selection out.

    from index.store.embedding_store import EmbeddingStore
    from retrieval import load_concepts, retrieve
    retrieve(EmbeddingStore.open("store"), load_concepts("birds.txt"), mode="both", k=50, out="selection")

For each prompt of each concept it takes the K best rows by text->image (T2I, eq. 2.3 of the REACT chapter), text->text
(T2T, eq. 2.2) or both, and applies the rules. Killed at any moment and run again, it continues after the last finished
block. The stages are in `query_blocks` (search), `rules` and `selection` (writing).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from index.encoder.model_spec import ModelSpec
from index.errors import BadInput
from index.files import as_url
from index.outputs import claim_folder, unused_claim_released
from index.store.embedding_store import EmbeddingStore
from retrieval.concepts import ConceptList, concept_list, load_concepts
from retrieval.mode_plans import settle_plans
from retrieval.query_blocks import (
    BLOCK_QUERIES,
    Mode,
    QueryBlock,
    RetrieveConfig,
    block_summary,
    candidates_file,
    is_block_done,
    plan_blocks,
    search_block,
)
from retrieval.rules import Loss, Rules, apply_rules, check_exclude
from retrieval.search.candidates import MODES, Candidates, read_candidates
from retrieval.search.retriever import Retriever
from retrieval.selection import SELECTION_SCHEMA, Selection, describe_store, store_identity
from retrieval.templates import Templates, load_templates
from retrieval.write_selection import PART_ROWS, erase_forgotten, register_selection, write_selection

if TYPE_CHECKING:
    from index.encoder.clip_encoder import Encoder  # imports torch

__all__ = [
    "CLAIM",
    "check_retrieval",
    "finish_selection",
    "finished_selection",
    "prepare_retrieval",
    "retrieval_claim",
    "retrieval_config",
    "retrieve",
]

_LOOKED_UP = ("key", "shard", "caption", "url")
_METADATA_BLOCK = 65_536
CLAIM = "retrieve.json"
_NO_OUTPUT = ("work/plans.json",)  # of what a retrieval writes


def retrieve(
    store: EmbeddingStore | str | os.PathLike[str],
    concepts: ConceptList | str | os.PathLike[str] | Iterable[str],
    *,
    out: str | os.PathLike[str],
    mode: Mode = "both",
    k: int = 50,
    templates: Templates | str | os.PathLike[str] | Iterable[str] = "simple",
    rules: Rules | None = None,
    reserve: float = 0.5,
    model: ModelSpec | None = None,
    encoder: Encoder | None = None,
    method: str | None = None,
    block_queries: int = BLOCK_QUERIES,
    on_progress: Callable[[int, int], None] | None = None,
) -> Selection:
    """Retrieve for a concept list and write the selection to the folder `out`.

    Args:
        store: an open store or its path.
        concepts: a concept list, the path of a concept file, or names.
        mode: "t2i", "t2t" or "both".
        k: rows a prompt.
        templates: a set's name, a file, or texts with `{}`; a concept file's own templates come first.
        reserve: extra ranks to keep as replacements, as a share of k.
        model, encoder: the model by name, or loaded already; by default the store's own. Another model is refused.
        method: "hnsw" or "exact"; by default the planner chooses.
        block_queries: prompts that are answered at once.
        on_progress: called as on_progress(done, total) with the number of queries answered.

    A complete selection of the same configuration is opened and returned, after the rows that the store forgot since
    were erased from its files; an unfinished one is continued.

    Raises:
        BadInput: k is larger than the store, T2T on a store without text embeddings, ...
        OutputExists: `out` holds something else.
        ModelMismatch: the model is not the store's.
    """
    opened = store if isinstance(store, EmbeddingStore) else EmbeddingStore.open(store)
    config = retrieval_config(
        opened.path,
        concepts,
        out=out,
        mode=mode,
        k=k,
        templates=templates,
        rules=rules,
        reserve=reserve,
        method=method,
        block_queries=block_queries,
    )
    with retrieval_claim(config):
        if prepare_retrieval(config):
            return finished_selection(config)
        _search_blocks(config, opened, lambda: encoder or _load(model), on_progress)
        return finish_selection(config)


def retrieval_claim(config: RetrieveConfig) -> AbstractContextManager[None]:
    """Release the output folder when the block ends with an error before anything was found."""
    return unused_claim_released(config.out, CLAIM, _NO_OUTPUT)


def _search_blocks(
    config: RetrieveConfig,
    store: EmbeddingStore,
    encoder: Callable[[], Encoder | None],
    on_progress: Callable[[int, int], None] | None,
) -> None:
    """Search the blocks that are not done yet. encoder: gives the encoder, None for the store's own."""
    plans = settle_plans(config)
    blocks = plan_blocks(config)
    total = sum(block.queries for block in blocks) * len(config.modes)
    done = 0

    def advance(queries: int) -> None:
        nonlocal done
        done += queries
        if on_progress is not None:
            on_progress(done, total)

    retriever: Retriever | None = None
    for block in blocks:
        if is_block_done(block, config):
            advance(block.queries * len(config.modes))
            continue
        retriever = retriever or Retriever(store, encoder())
        search_block(block, config, plans, retriever=retriever, on_progress=advance)


def retrieval_config(
    store: str | os.PathLike[str],
    concepts: ConceptList | str | os.PathLike[str] | Iterable[str],
    *,
    out: str | os.PathLike[str],
    templates: Templates | str | os.PathLike[str] | Iterable[str] = "simple",
    rules: Rules | None = None,
    **choices: Any,
) -> RetrieveConfig:
    """The configuration that `retrieve` makes of its arguments."""
    return RetrieveConfig(
        store=as_url(store),
        out=os.fspath(out),
        concepts=as_concepts(concepts),
        templates=load_templates(templates),
        rules=rules or Rules(),
        **choices,
    )


def finished_selection(config: RetrieveConfig) -> Selection:
    """The selection that is complete in the output folder, without the rows that were forgotten since."""
    store = EmbeddingStore.open(config.store)
    selection = erase_forgotten(Selection.open(config.out, store=store.path), store)
    register_selection(selection, store)
    return selection


def _load(model: ModelSpec | None) -> Encoder | None:
    if model is None:
        return None
    from index.encoder.loading import load_encoder

    return load_encoder(model)


def as_concepts(concepts: ConceptList | str | os.PathLike[str] | Iterable[str]) -> ConceptList:
    """A concept list from a list, the path of a concept file, or names."""
    if isinstance(concepts, ConceptList):
        return concepts
    if isinstance(concepts, (str, os.PathLike)):
        return load_concepts(concepts)
    return concept_list(concepts)


def prepare_retrieval(config: RetrieveConfig) -> bool:
    """Check the configuration and claim the output folder; True when its selection is complete already.

    Raises BadInput for a configuration that cannot work, OutputExists when `out` holds anything but this job.
    """
    return claim_folder(config.out, CLAIM, check_retrieval(config), besides=_NO_OUTPUT)


def check_retrieval(config: RetrieveConfig) -> dict[str, Any]:
    """What decides the selection, as plain JSON data. Raises BadInput for a configuration that cannot work."""
    store = EmbeddingStore.open(config.store)
    if config.k > store.rows:
        raise BadInput(f"k {config.k}: larger than the store, which has {store.rows} rows; choose at most {store.rows}")
    if "t2t" in config.modes and not store.has_text:
        raise BadInput(f"{store.path}: has no text embeddings, so no T2T; use the mode t2i, or embed the captions too")
    excluded = check_exclude(store, config.rules)
    job = config.to_json()
    job["store"] = store_identity(store)
    job["rules"]["exclude"] = store_identity(excluded) if excluded is not None else None
    return job


def finish_selection(config: RetrieveConfig) -> Selection:
    """Apply the rules to the candidates of all blocks and write the selection, its manifest last."""
    store = EmbeddingStore.open(config.store)
    blocks = plan_blocks(config)
    summaries = [block_summary(block, config) for block in blocks]
    candidates = Candidates.concatenate([read_candidates(candidates_file(config.out, block)) for block in blocks])
    count = len(config.concepts)
    hits = np.array([hits for summary in summaries for hits in summary["hits"]], np.int64)
    merged = Loss(
        "several-prompts",
        hits - np.bincount(candidates.concept[candidates.primary], minlength=count),
        np.zeros(count, np.int64),
    )
    outcome = apply_rules(candidates, config.rules, store, concepts=count, reserve=config.reserve)
    looked_up = _LookUp(store, [outcome.kept, outcome.reserve], config)
    selection = write_selection(
        config.out,
        config.to_json(),
        config.concepts,
        store=describe_store(store, config.out),
        hits=hits.tolist(),
        rows=looked_up.tables(outcome.kept),
        reserve=looked_up.tables(outcome.reserve),
        losses=[_loss_json(loss, config.concepts.labels) for loss in (merged, *outcome.losses)],
        search=_search_json(blocks, summaries),
    )
    register_selection(selection, store)
    return selection


class _LookUp:
    """Reads the metadata of all chosen rows once, in row order, and makes tables in the selection's order of it."""

    def __init__(self, store: EmbeddingStore, chosen: list[Candidates], config: RetrieveConfig) -> None:
        self._rows = np.unique(np.concatenate([candidates.row_id for candidates in chosen]))
        self._concepts = np.array(config.concepts.names, dtype=object)
        self._ids = np.array([concept.class_id for concept in config.concepts], dtype=object)
        self._prompts = config.concepts.prompts(config.templates)
        # large_string: 10 million captions are more than the 2 GiB that a string array can hold.
        schema = pa.schema([(name, pa.large_string()) for name in _LOOKED_UP])
        pieces = [
            store.metadata(self._rows[start : start + _METADATA_BLOCK], list(_LOOKED_UP)).cast(schema)
            for start in range(0, len(self._rows), _METADATA_BLOCK)
        ]
        self._metadata = pa.concat_tables([schema.empty_table(), *pieces]).combine_chunks()

    def tables(self, candidates: Candidates) -> Iterator[pa.Table]:
        """Tables of SELECTION_SCHEMA with up to PART_ROWS rows each; none for no candidates."""
        for start in range(0, len(candidates), PART_ROWS):
            yield self._table(candidates.take(np.arange(start, min(start + PART_ROWS, len(candidates)))))

    def _table(self, part: Candidates) -> pa.Table:
        found = self._metadata.take(pa.array(np.searchsorted(self._rows, part.row_id)))
        columns: dict[str, Any] = {
            "row_id": part.row_id,
            **{name: found.column(name) for name in _LOOKED_UP},
            "concept": self._concepts[part.concept],
            "class_id": pa.array(self._ids[part.concept], pa.string()),
            "prompt": [
                self._prompts[concept][prompt] for concept, prompt in zip(part.concept, part.prompt, strict=True)
            ],
            "mode": np.array(MODES, dtype=object)[part.mode],
            "score": part.score,
            "rank": part.rank,
            "both_ways": part.both_ways,
        }
        return pa.table({name: columns[name] for name in SELECTION_SCHEMA.names}).cast(SELECTION_SCHEMA)


def _loss_json(loss: Loss, names: tuple[str, ...]) -> dict[str, Any]:
    return {
        "rule": loss.rule,
        "rows": loss.rows,
        "overflow": int(loss.overflow.sum()),
        "by_concept": _nonzero(loss.by_concept, names),
    }


def _nonzero(counts: npt.NDArray[np.int64], names: tuple[str, ...]) -> dict[str, int]:
    return {names[place]: int(counts[place]) for place in np.flatnonzero(counts)}


def _search_json(blocks: list[QueryBlock], summaries: list[dict[str, Any]]) -> dict[str, Any]:
    """Numbers of prompts and of prompts cut to the model's context, and the plans with their number of blocks."""
    plans: dict[str, dict[str, Any]] = {}
    for summary in summaries:
        for mode, plan in summary["plans"].items():
            entry = plans.setdefault(json.dumps([mode, plan], sort_keys=True), {"mode": mode, **plan, "blocks": 0})
            entry["blocks"] += 1
    return {
        "prompts": sum(block.queries for block in blocks),
        "prompts_cut": sum(summary["prompts_cut"] for summary in summaries),
        "plans": list(plans.values()),
    }
