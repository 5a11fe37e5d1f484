"""`clipmine serve`: stores over HTTP, from this process or from Ray."""

from __future__ import annotations

import os
from dataclasses import replace

import click

from jobs.options import executor_option, refuse_without_effect


def replicas_type(value: str | int) -> int | tuple[int, int]:
    """A number of replicas, or a range such as 1-4: the least and the most."""
    least, dash, most = str(value).partition("-")
    if not least.isdecimal() or (dash and not most.isdecimal()):
        raise click.BadParameter(f"{value} is neither a number of replicas, such as 2, nor a range, such as 1-4")
    if int(least) < 1:
        raise click.BadParameter(f"{value}: there is at least 1 replica")
    if dash and int(most) < int(least):
        raise click.BadParameter(f"{value}: give the smaller number first")
    return (int(least), int(most)) if dash else int(least)


@click.command
@click.argument("stores", nargs=-1, metavar="[STORE]...")
@click.option("--store", "named", multiple=True, metavar="NAME=PATH", help="A store and what clients call it.")
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0 listens on every address.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: a free port.")
@click.option("--name", help="Name of a single STORE for clients.  [default: its folder's name]")
@click.option(
    "--tokens-file", metavar="FILE", help="Bearer tokens, one a line; also CLIPMINE_TOKENS, separated by commas."
)
@click.option("--cors", multiple=True, metavar="ORIGIN", help="An origin whose pages may call the service.")
@click.option(
    "--allowed-host", "hosts", multiple=True, metavar="NAME", help="A name by which clients call the service."
)
@click.option("--proxy", "proxies", multiple=True, metavar="ADDRESS", help="A reverse proxy that says who asks.")
@click.option("--allow-urls", is_flag=True, help="Let image_url queries fetch images from public hosts.")
@click.option("--no-exact", is_flag=True, help="Refuse exact scans where there is an index.")
@click.option("--pairs", metavar="PAIRS", help="Image sets, of STORE or others: adds their page, at /page/pairs/.")
@click.option("--decisions", metavar="FILE", help="File for the page's rejections.  [default: PAIRS/decisions.jsonl]")
@click.option("--queue", type=int, default=2_048, show_default=True, help="Queries that may wait; beyond: status 429.")
@click.option("--max-k", type=int, default=1_000, show_default=True, help="Most results a query may ask for.")
@click.option(
    "--max-seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="A search that is expected to take longer is refused.",
)
@click.option(
    "--list-memory",
    type=click.IntRange(min=1),
    default=512,
    show_default=True,
    metavar="MB",
    help="For the concept lists in progress; one client may take half.",
)
@click.option("--max-body", type=int, default=32, show_default=True, metavar="MB", help="Largest request body.")
@click.option(
    "--limit", "limits", multiple=True, metavar="NAME=NUMBER", help="Another bound of docs/service.md; may be repeated."
)
@executor_option(("local", "ray"), former={"--ray": "ray"})
@click.option(
    "--encoder-replicas",
    type=replicas_type,
    metavar="N|MIN-MAX",
    default=1,
    show_default=True,
    help="With ray. 1-4: as many of 1 to 4 as the requests need.",
)
@click.option(
    "--shard-groups",
    type=click.IntRange(min=1),
    help="With ray: groups that the index's shards are split into.  [default: 2, or 1 for one shard]",
)
@click.option(
    "--shard-replicas",
    type=replicas_type,
    metavar="N|MIN-MAX",
    default=1,
    show_default=True,
    help="With ray: of each shard group; also a range.",
)
@click.option("--debug", is_flag=True, help="Show the trace of an error.", expose_value=False)
def command(
    stores: tuple[str, ...],
    named: tuple[str, ...],
    host: str,
    port: int,
    name: str | None,
    tokens_file: str | None,
    cors: tuple[str, ...],
    hosts: tuple[str, ...],
    proxies: tuple[str, ...],
    allow_urls: bool,
    no_exact: bool,
    pairs: str | None,
    decisions: str | None,
    queue: int,
    max_k: int,
    max_seconds: float,
    list_memory: int,
    max_body: int,
    limits: tuple[str, ...],
    executor: str,
    encoder_replicas: int | tuple[int, int],
    shard_groups: int | None,
    shard_replicas: int | tuple[int, int],
) -> None:
    """Serve one STORE or several over HTTP: a page at /, an API at /docs, concept lists as streams.

    A store that grows, or whose index is built again, is opened anew while the service runs.
    Stops at Ctrl-C or SIGTERM, after it has answered the requests that it is working on.
    """
    if executor != "ray":
        refuse_without_effect(["encoder_replicas", "shard_groups", "shard_replicas"], "without --executor ray")
    # Before faiss and torch load: their idle threads spin by default, on cores that the requests need.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from index.errors import BadInput
    from jobs.serve_job import name_stores, read_tokens, run_serve
    from retrieval.service.settings import Settings, read_limits

    settings = Settings(
        name=name,
        tokens=read_tokens(tokens_file, os.environ.get("CLIPMINE_TOKENS")),
        cors_origins=cors,
        hosts=hosts,
        proxies=proxies,
        allow_urls=allow_urls,
        allow_exact=not no_exact,
        queue=queue,
        max_k=max_k,
        search_seconds=max_seconds,
        list_bytes=list_memory << 20,
        max_body_bytes=max_body << 20,
    )
    settings = replace(settings, **read_limits(limits))
    paths = name_stores(stores, named, name)
    if executor == "ray":
        if len(paths) > 1:
            raise BadInput("--executor ray serves one store: leave it out, or serve each store on another --port")
        if pairs is not None or decisions is not None:
            raise BadInput(
                "--pairs is served from one process: leave out --executor ray, or serve the pairs on another --port"
            )
        from jobs.serve_ray.start import run_serve_ray

        ((called, path),) = paths.items()
        run_serve_ray(
            path,
            replace(settings, name=called),
            host=host,
            port=port,
            encoder_replicas=encoder_replicas,
            shard_groups=shard_groups,
            shard_replicas=shard_replicas,
        )
    else:
        run_serve(paths, settings, host=host, port=port, pairs=pairs, decisions=decisions)
