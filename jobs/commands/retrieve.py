"""`clipmine retrieve`: a concept list in, a selection out; from a store here or from a service."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from jobs.options import executor_options, given, model_options, model_spec, output_options, refuse_without_effect
from jobs.summary import Line, found_nothing, only_summary_on_stdout, print_summary

if TYPE_CHECKING:
    from retrieval.concepts import ConceptList
    from retrieval.retrieval_plan import RetrievalPlan
    from retrieval.selection import Selection

# Rules that make one row of several, so that they never leave nothing.
_JOINS = ("several-prompts", "both-modes", "cross-concept")
# What cannot go with --url, and why.
_LOCAL_ONLY = {
    "store": "names a store as well; give one of the two",
    "exclude": "names a store of this machine, which a service does not open",
    "exclude_threshold": "belongs to --exclude, which a service does not take",
    "reserve": "asks for extra ranks, which a service does not send",
    **dict.fromkeys(("executor", "workers"), "shares out a search here, and a service searches itself"),
    **dict.fromkeys(("plan", "plan_rows"), "plans a search of a store here, and a service searches itself"),
    **dict.fromkeys(
        ("model", "pretrained", "model_dir", "random_weights", "precision"),
        "names a model, and the service has its own; leave it out",
    ),
}


@click.command
@click.argument("store", required=False)
@click.option(
    "--url",
    metavar="URL",
    help="Retrieve from a service (http://host:8000); its bearer token, if any, is read from CLIPMINE_TOKEN.",
)
@click.option(
    "--concepts",
    required=True,
    metavar="FILE",
    help="One concept a line, CSV with the columns name,id, or YAML with templates or prompts; -: standard input.",
)
@click.option("--out", metavar="SELECTION", help="Folder for the selection; on several machines, one that all see.")
@click.option(
    "--mode",
    type=click.Choice(["t2t", "t2i", "both"]),
    default="both",
    show_default=True,
    help="text->text, text->image, or both.",
)
@click.option("-k", type=int, default=50, show_default=True, help="Rows to retrieve for each prompt.")
@click.option(
    "--templates",
    multiple=True,
    default=["simple"],
    show_default=True,
    metavar="SET|FILE",
    help="Prompt templates: openai_imagenet, simple, name, a file, or a text with {}; may be given several times.",
)
@click.option("--min-score", type=float, help="Lowest cosine, in both modes.")
@click.option("--min-score-t2i", type=float, help="Lowest cosine of text->image; wins over --min-score.")
@click.option("--min-score-t2t", type=float, help="Lowest cosine of text->text; wins over --min-score.")
@click.option(
    "--min-side",
    type=int,
    help="Fewest pixels of an image's shorter side; rows of unknown size are dropped and counted.",
)
@click.option(
    "--exclude", metavar="STORE", help="Drop near-duplicates of this store's images, such as an evaluation set."
)
@click.option(
    "--exclude-threshold",
    type=float,
    default=0.94,
    show_default=True,
    help="Cosine from which --exclude drops an image.",
)
@click.option(
    "--cross-concept",
    type=click.Choice(["best", "keep-all", "drop"]),
    default="best",
    show_default=True,
    help="A row that several concepts retrieve goes to the one that ranks it highest, to all, or to none.",
)
@click.option(
    "--exact-duplicates/--keep-exact-duplicates", default=True, help="Drop images with the same bytes.  [default: drop]"
)
@click.option("--near-duplicates", type=float, metavar="COSINE", help="Drop images this close to a better one (0.94).")
@click.option("--per-concept", type=int, metavar="N", help="Most rows for each concept.")
@click.option(
    "--reserve",
    type=float,
    default=0.5,
    show_default=True,
    help="Extra ranks to keep for replacing lost images, as a share of k.",
)
@click.option("--method", type=click.Choice(["hnsw", "exact"]), help="Search method.  [default: the cheaper one]")
@click.option("--plan", is_flag=True, help="Show what it would cost, and retrieve nothing.")
@click.option("--plan-rows", metavar="COUNT", help="With --plan: for so many rows, such as 400M, instead of STORE's.")
@executor_options()
@model_options
@output_options
@click.pass_context
def command(
    context: click.Context,
    /,
    store: str | None,
    url: str | None,
    concepts: str,
    out: str | None,
    mode: str,
    k: int,
    templates: tuple[str, ...],
    plan: bool,
    plan_rows: str | None,
    executor: str,
    workers: int | None,
    per_concept: int | None,
    as_json: bool,
    **rest: Any,
) -> int | None:
    """Retrieve the rows that match a concept list from STORE, or from the service at --url.

    Finds the K best rows for every concept and prompt by text->image (t2i), text->text (t2t) or both, then applies
    the filters, each of which reports how many rows it removed. The model is the store's own; naming one checks that it
    is the same. A service gives the same rows, but no reserve.

    With --workers, or on ray or spark, the search is shared out: each worker opens some shards of the index, or reads a
    range of rows, for many queries at once. The selection is the same.

    Two concepts may share a name when each has an id. Run again, a finished selection is not searched again; rows that
    were forgotten since are erased from it. Exit status: 1 when no row was selected.
    """
    _check_source(context, store, url)
    if rest["exclude"] is None:
        refuse_without_effect(["exclude_threshold"], "without --exclude")
    for score, other in (("min_score_t2i", "t2t"), ("min_score_t2t", "t2i")):
        if mode == other:
            refuse_without_effect([score], f"with --mode {mode}")
    if not plan:
        refuse_without_effect(["plan_rows"], "without --plan")
        if out is None:
            raise click.UsageError("say where to write the selection: --out SELECTION", context)
    naming = {name: rest.pop(name) for name in ("model", "pretrained", "model_dir", "random_weights", "precision")}
    choices = {name: rest.pop(name) for name in ("reserve", "method")}
    spec = model_spec(**naming)
    with only_summary_on_stdout():
        from retrieval.concepts import load_concepts
        from retrieval.rules import Rules

        listed = load_concepts(concepts)
        if store is not None and not given(["mode"]) and not _has_captions(str(store)):
            click.echo(f"clipmine: {store} has no captions that can be searched, so --mode is t2i", err=True)
            mode = "t2i"
        choices |= {"mode": mode, "k": k, "templates": templates, "rules": Rules(per_concept=per_concept, **rest)}
        if plan:
            planned = _plan(str(store), listed, plan_rows, workers, choices)
        elif url is None:
            choices |= {"model": spec, "executor": executor, "workers": workers}
            selection = _retrieve(store, url, listed, str(out), choices)
        else:
            selection = _retrieve(store, url, listed, str(out), choices)
    if plan:
        print_summary(planned, planned.lines(), as_json=as_json)
        return None
    lines: list[Line] = [("concepts", len(listed)), *(("concept list", note) for note in listed.notes)]
    lines += [("hits", int(selection.manifest["hits"]))]
    lines += [(f"- {rule}", lost) for rule, lost in selection.losses.items() if lost]
    lines += [("rows selected", selection.rows)]
    lines += [("rows in reserve", selection.reserve_rows if url is None else "none: a service sends no reserve")]
    without = [name for name, rows in selection.counts.items() if not rows]
    if without:
        named_first = ", ".join(without[:5])
        lines.append(("concepts without rows", f"{len(without)} of {len(selection.concepts)}: {named_first}"))
    for found in selection.manifest["search"]["plans"]:
        lines.append((f"search {found['mode']}", f"{found['method']}: {found['why']}"))
    export = "--out DIR" if url is None else "--store STORE --out DIR"
    next_step = f"clipmine export {selection.path} {export}" if selection.rows else None
    told = {"path": selection.path, "concept_list": listed.notes, **selection.manifest}
    print_summary(told, lines, as_json=as_json, next_step=next_step)
    return None if selection.rows else found_nothing(f"{selection.path}: {_why_empty(selection)}")


def _has_captions(store: str) -> bool:
    from index.store import EmbeddingStore

    return EmbeddingStore.open(store).has_text


def _why_empty(selection: Selection) -> str:
    """Which rule dropped most of the hits."""
    losses = {rule: lost for rule, lost in selection.losses.items() if lost and rule not in _JOINS}
    if not losses:
        return "no row was selected, since no query had a hit; lower --min-score"
    rule = max(losses, key=losses.__getitem__)
    hits = int(selection.manifest["hits"])
    return f"no row was selected: the rule {rule} dropped {losses[rule]:,} of {hits:,} hits; loosen it"


def _check_source(context: click.Context, store: str | None, url: str | None) -> None:
    if url is None:
        if store is None:
            raise click.UsageError("say where to retrieve from: a STORE, or the --url of a service")
        return
    for parameter in context.command.params:
        name = str(parameter.name)
        if name in _LOCAL_ONLY and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            shown = parameter.opts[0] if name != "store" else f"STORE {store}"
            raise click.UsageError(f"--url and {shown} contradict each other: it {_LOCAL_ONLY[name]}")


def _retrieve(
    store: str | None, url: str | None, concepts: ConceptList, out: str, choices: dict[str, Any]
) -> Selection:
    """Retrieve from the store or the service, with progress on stderr."""
    from jobs.retrieve_job import run_retrieve

    if url is None and (choices["executor"] != "local" or choices["workers"] is not None):
        return run_retrieve(str(store), concepts, out=out, **choices)  # each stage shows its own progress
    from jobs.progress import Progress

    with Progress("retrieve", unit="queries") as progress:
        if url is None:
            return run_retrieve(str(store), concepts, out=out, on_progress=progress.reach, **choices)
        from retrieval.client.remote import retrieve_remote

        # From the environment: other users of the machine see a process's arguments.
        token = os.environ.get("CLIPMINE_TOKEN") or None
        return retrieve_remote(url, concepts, out=out, token=token, on_progress=progress.reach, **choices)


def _plan(
    store: str, concepts: ConceptList, rows: str | None, workers: int | None, choices: dict[str, Any]
) -> RetrievalPlan:
    """What the retrieval would cost on workers of this machine's cores."""
    from index.cores import usable_cores
    from index.sizes import parse_count
    from retrieval.retrieval_plan import plan_retrieval
    from retrieval.retrieve import retrieval_config

    config = retrieval_config(store, concepts, out="", **choices)
    count = None if rows is None else parse_count(rows)
    return plan_retrieval(config, rows=count, workers=workers or 1, cores=usable_cores())
