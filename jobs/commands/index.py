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
@click.option("--recall", type=float, help="recall@10 that efSearch is chosen for.  [first: 0.95]")
@click.option(
    "--memory",
    metavar="SIZE",
    help="Memory of the machine; sets codec and shard size of the first index.  [first: 16GB]",
)
@click.option("-M", "links", type=int, help="Links of each row in the graph (HNSW's M).  [first: 32]")
@click.option("--ef-construction", type=int, help="HNSW's efConstruction.  [first: 100]")
@click.option(
    "--codec",
    type=click.Choice(["fp16", "sq8", "sq4", "rabitq"]),
    help="How vectors are stored, from the largest to the smallest.  [first: by --memory]",
)
@click.option("--shard-rows", metavar="N", help="Rows of a shard, such as 5M.  [first: by --memory]")
@click.option(
    "--layout",
    type=click.Choice(["rows", "meaning"]),
    help="Rows of a shard: consecutive, or near each other, so that a query visits few shards.  [first: rows]",
)
@click.option("--queries", type=int, help="Number of captions that recall is measured on.  [first: 1000]")
@click.option("--seed", type=int, help="Seed of the sample of captions.  [first: 0]")
@click.option("--pilot", is_flag=True, help="Measure every codec on a sample of STORE, and take the best that fits.")
@click.option("--checksums", is_flag=True, help="Read the shards that are there; build damaged ones again.")
@executor_options()
@output_options
def command(
    store: str,
    modality: str,
    recall: float | None,
    memory: str | None,
    links: int | None,
    ef_construction: int | None,
    codec: str | None,
    shard_rows: str | None,
    layout: str | None,
    queries: int | None,
    seed: int | None,
    pilot: bool,
    checksums: bool,
    executor: str,
    workers: int | None,
    as_json: bool,
) -> None:
    """Build HNSW indexes over STORE and measure their recall against exact search, on text queries.

    The smallest efSearch that meets --recall is stored with the index, and searches use it. Searches go on with the
    index that is there until the new one is complete.

    The first index fixes what the options say. Later runs keep that, whatever the size of STORE or of the memory,
    except for the options that are given; they build shards for new rows, and shards that have changed.

    A first index that does not fit --memory in fp16 is preceded by a pilot, which `clipmine info` shows: smaller codecs
    are built over a sample of STORE, and the first one that fits and reaches --recall is taken.

    With --layout meaning, shards hold rows that are near each other. How far from the nearest shard a query must still
    look is measured too: `clipmine info` shows recall against the share of the shards that are visited.
    """
    with only_summary_on_stdout():
        from index.graph.build import IndexConfig
        from index.sizes import parse_bytes, parse_count, show_bytes
        from jobs.index_job import run_index

        config = IndexConfig(
            store,
            memory=None if memory is None else parse_bytes(memory),
            M=links,
            ef_construction=ef_construction,
            recall=recall,
            queries=queries,
            seed=seed,
            codec=codec,
            shard_rows=None if shard_rows is None else parse_count(shard_rows),
            layout=layout,
        )
        summaries = run_index(config, modality, executor=executor, workers=workers, checksums=checksums, pilot=pilot)
    lines: list[Line] = []
    for summary in summaries:
        lines += [(f"{summary.modality}: rows", summary.rows)]
        if summary.skipped:
            lines.append(("- without a direction, or forgotten", summary.skipped))
        lines += [
            (f"{summary.modality}: indexed", summary.indexed),
            (f"{summary.modality}: shards", f"{summary.shards} of {summary.codec}, {show_bytes(summary.size)}"),
            (f"{summary.modality}: recall", summary.recall.sentence()),
        ]
        if summary.over_memory is not None:
            lines.append(("note", summary.over_memory))
    print_summary(
        summaries, lines, as_json=as_json, next_step=f"clipmine retrieve {store} --concepts FILE --out SELECTION"
    )
