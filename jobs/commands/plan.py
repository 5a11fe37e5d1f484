"""`clipmine plan`: what an index would cost."""

from __future__ import annotations

import json

import click

from jobs.options import output_options
from jobs.summary import plain


@click.command
@click.option("--rows", required=True, metavar="COUNT", help="Rows of the corpus, such as 20000, 12M, 1.5B.")
@click.option("--dim", type=int, default=512, show_default=True, help="Dimensions of a vector.")
@click.option(
    "--memory", required=True, metavar="SIZE", help="Memory of the machine that searches, such as 64GB or 256GiB."
)
@click.option("-M", "links", type=int, default=32, show_default=True, help="Links of each row in the graph (HNSW's M).")
@click.option("--cores", type=int, help="Cores of the machine that builds.  [default: this machine's]")
@click.option("--measure", is_flag=True, help="Measure the rates of this machine first, with one core.")
@output_options
def command(rows: str, dim: int, memory: str, links: int, cores: int | None, measure: bool, as_json: bool) -> None:
    """Estimate the memory, shards, build time and disk of an index.

    The figures follow from --rows, --dim and --memory; build times from rates that were measured on one kind of
    machine. With --measure, small indexes of made-up vectors are built and searched here, and the rates follow from
    them: hours to build, and queries a second.
    """
    from index.cores import usable_cores
    from index.graph.capacity import plan_capacity
    from index.graph.rates import measure_rates
    from index.sizes import parse_bytes, parse_count

    sizes = parse_count(rows), dim, parse_bytes(memory), links, cores or usable_cores()
    plan = plan_capacity(*sizes)
    if measure and plan.codec != "fp32":
        plan = plan_capacity(*sizes, measure_rates(plan.codec, dim, links))
    click.echo(json.dumps(plain(plan)) if as_json else plan.table())
