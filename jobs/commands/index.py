"""`clipmine index`: HNSW indexes over a store, with their recall measured."""

from __future__ import annotations

import click

from jobs.options import executor_options, output_options
from jobs.summary import Line, only_summary_on_stdout, print_summary


@click.command
@click.argument("store")
@click.option(
    "--modality", type=click.Choice(["image", "text", "both"]), default="both", show_default=True, help="What to index."
)
@click.option("--recall", type=float, default=0.95, show_default=True, help="recall@10 that efSearch is chosen for.")
@click.option(
    "--memory", default="16GB", show_default=True, metavar="SIZE", help="Memory of the machine; sets the shard size."
)
@click.option("-M", "links", type=int, default=32, show_default=True, help="Links of each row in the graph (HNSW's M).")
@click.option("--ef-construction", type=int, default=100, show_default=True, help="HNSW's efConstruction.")
@click.option(
    "--queries", type=int, default=1_000, show_default=True, help="Number of captions that recall is measured on."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the sample of captions.")
@executor_options()
@output_options
def command(
    store: str,
    modality: str,
    recall: float,
    memory: str,
    links: int,
    ef_construction: int,
    queries: int,
    seed: int,
    executor: str,
    workers: int | None,
    as_json: bool,
) -> None:
    """Build HNSW indexes over STORE and measure their recall against exact search, on text queries.

    The smallest efSearch that meets --recall is stored with the index, and searches use it.
    """
    with only_summary_on_stdout():
        from index.graph.build import IndexConfig
        from index.graph.capacity import parse_bytes, show_bytes
        from jobs.index_job import run_index

        config = IndexConfig(
            store,
            memory=parse_bytes(memory),
            M=links,
            ef_construction=ef_construction,
            recall=recall,
            queries=queries,
            seed=seed,
        )
        summaries = run_index(config, modality, executor=executor, workers=workers)
    lines: list[Line] = []
    for summary in summaries:
        lines += [(f"{summary.modality}: rows", summary.rows)]
        if summary.skipped:
            lines.append(("- zero or forgotten", summary.skipped))
        lines += [
            (f"{summary.modality}: indexed", summary.indexed),
            (f"{summary.modality}: shards", f"{summary.shards} of {summary.codec}, {show_bytes(summary.size)}"),
            (f"{summary.modality}: recall", summary.recall.sentence()),
        ]
    print_summary(
        summaries, lines, as_json=as_json, next_step=f"clipmine retrieve {store} --concepts FILE --out SELECTION"
    )
