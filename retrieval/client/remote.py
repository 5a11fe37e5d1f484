"""Retrieval through a service: concepts in, and the selection out that `retrieval.retrieve` writes from the store.

    retrieve_remote("http://host:8000", load_concepts("birds.txt"), mode="both", k=50, out="selection")

The service searches and applies the rules; its answers are written here. A service sends no reserve, so that section is
empty. An answer that breaks off is not kept: run it again from the start.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pyarrow as pa

from index.errors import BadInput, ClipmineError
from index.outputs import claim_folder, unused_claim_released
from retrieval.client.answers import ConceptAnswer, ConceptsSummary
from retrieval.client.client import Client
from retrieval.client.requests import rules_item
from retrieval.concepts import ConceptList
from retrieval.query_blocks import Mode, RetrieveConfig
from retrieval.retrieve import CLAIM, as_concepts
from retrieval.rules import Rules
from retrieval.search.planner import Method
from retrieval.selection import SELECTION_SCHEMA, Selection
from retrieval.service.schemas import IndexesResponse
from retrieval.templates import Templates, load_templates
from retrieval.write_selection import PART_ROWS, write_selection

__all__ = ["retrieve_remote"]

_LOOKED_UP = ("key", "shard", "caption", "url")


def retrieve_remote(
    service: Client | str,
    concepts: ConceptList | str | os.PathLike[str] | Iterable[str],
    *,
    out: str | os.PathLike[str],
    mode: Mode = "both",
    k: int = 50,
    templates: Templates | str | os.PathLike[str] | Iterable[str] = "simple",
    rules: Rules | None = None,
    reserve: float = 0.5,
    method: Method | None = None,
    token: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Selection:
    """Have a service retrieve for a concept list and write the selection to the folder `out`.

    service: its URL (with `token` where it asks for one), or an open client. The other arguments are those of
    `retrieval.retrieve.retrieve`; rules may not name a store to exclude. A complete selection of the same request is
    opened and returned, unless the service's store forgot rows since: it does not say which.

    Raises:
        BadInput: the service refuses the request, or its store forgot rows since `out` was written.
        OutputExists: `out` holds something else.
        ClipmineError: the service cannot be reached, its answer broke off, or some of its shards did not answer (a
            selection without their rows would look complete).
    """
    if isinstance(service, str):
        with Client(service, token) as client:
            return retrieve_remote(
                client, concepts, out=out, mode=mode, k=k, templates=templates, rules=rules, reserve=reserve,
                method=method, on_progress=on_progress,
            )  # fmt: skip
    config = RetrieveConfig(
        store=service.url,
        out=os.fspath(out),
        concepts=as_concepts(concepts),
        templates=load_templates(templates),
        mode=mode,
        k=k,
        reserve=reserve,
        rules=rules or Rules(),
        method=method,
    )
    asked = {**config.to_json(), "rules": rules_item(config.rules)}
    served = service.indexes()
    store = _describe(service.url, served)
    with unused_claim_released(config.out, CLAIM):
        if claim_folder(config.out, CLAIM, {**asked, "store": store}):
            return _finished(config.out, served)
        return _ask(service, config, method, {**store, "forgotten": served.forgotten}, on_progress)


def _ask(
    service: Client,
    config: RetrieveConfig,
    method: Method | None,
    store: dict[str, Any],
    on_progress: Callable[[int, int], None] | None,
) -> Selection:
    """Ask for all concepts and write the selection. store: the manifest's entry."""
    with service.concepts(
        config.concepts, config.templates, config.mode, config.k, config.rules, columns=_LOOKED_UP,
        reserve=config.reserve, method=method, on_progress=on_progress,
    ) as stream:  # fmt: skip
        answers = {}
        for answer in stream:
            answers[answer.name, answer.class_id] = (answer.hits, _table(answer))
    summary = stream.summary
    if summary.partial:
        raise ClipmineError(
            f"{service.url}: {', '.join(summary.missing)} did not answer, so rows may be missing; nothing was written, "
            "run the same command again later"
        )
    asked_for = [(concept.name, concept.class_id) for concept in config.concepts]
    absent = [name for name, class_id in asked_for if (name, class_id) not in answers]
    if absent:
        raise ClipmineError(f"{service.url}: sent nothing for {absent[0]!r} ({len(absent)} such); ask again")
    return write_selection(
        config.out,
        config.to_json(),
        config.concepts,
        store=store,
        hits=[answers[own][0] for own in asked_for],
        rows=_parts([answers[own][1] for own in asked_for]),
        reserve=[],
        losses=_losses(summary),
        search=_search(summary),
    )


def _finished(out: str, served: IndexesResponse) -> Selection:
    """The finished selection in `out`. Raises BadInput where the store forgot rows since it was written."""
    selection = Selection.open(out)
    since = served.forgotten - int(selection.manifest["store"].get("forgotten", served.forgotten))
    if since:
        raise BadInput(
            f"{out}: its store forgot {since:,} {'row' if since == 1 else 'rows'} since it was retrieved, which may be "
            "among its own; delete the folder and run the same command again"
        )
    return selection


def _describe(url: str, served: IndexesResponse) -> dict[str, Any]:
    """The manifest's `store` entry for a store that only the service can open; see `selection.describe_store`."""
    return {
        "path": None,
        "relative": None,
        "url": url,
        "rows": served.rows,
        "parts": served.parts,
        "identity": served.identity,
        "model": served.model,
    }


def _table(answer: ConceptAnswer) -> pa.Table:
    rows = answer.rows
    columns: dict[str, Any] = {
        **{name: [getattr(row, name) for row in rows] for name in ("row_id", "prompt", "mode", "score", "rank")},
        **{name: [row.columns.get(name) for row in rows] for name in _LOOKED_UP},
        "concept": [answer.name] * len(rows),
        "class_id": [answer.class_id] * len(rows),
        "both_ways": [row.both_ways for row in rows],
    }
    try:
        return pa.table({field.name: pa.array(columns[field.name], field.type) for field in SELECTION_SCHEMA})
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise BadInput(f"concept {answer.name!r}: its rows hold values of another type: {error}") from error


def _parts(tables: list[pa.Table]) -> Iterator[pa.Table]:
    whole = pa.concat_tables([SELECTION_SCHEMA.empty_table(), *tables])
    for start in range(0, whole.num_rows, PART_ROWS):
        yield whole.slice(start, PART_ROWS)


def _losses(summary: ConceptsSummary) -> list[dict[str, Any]]:
    return [
        {"rule": rule, "rows": rows, "overflow": 0, "by_concept": dict(summary.by_concept[rule])}
        for rule, rows in summary.losses.items()
    ]


def _search(summary: ConceptsSummary) -> dict[str, Any]:
    plans = []
    for mode, plan in summary.plans.items():
        chosen, _, why = plan.partition(": ")
        plans.append({"mode": mode, "method": chosen, "why": why or "the service's choice"})
    return {"prompts": summary.prompts, "prompts_cut": summary.prompts_cut, "plans": plans}
