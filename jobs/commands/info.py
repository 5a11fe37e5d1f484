"""`clipmine info`: what a store holds, from its manifests."""

from __future__ import annotations

import click

from jobs.options import output_options
from jobs.summary import Line, only_summary_on_stdout, print_summary


@click.command
@click.argument("store")
@output_options
def command(store: str, as_json: bool) -> None:
    """Show what STORE holds: rows, model, size, indexes and their recall."""
    with only_summary_on_stdout():
        from index.graph.capacity import show_bytes
        from index.graph.info import store_info

        info = store_info(store)
    lines: list[Line] = [("rows", info.rows)]
    if info.forgotten:
        lines.append(("- forgotten", info.forgotten))
    lines += [
        ("parts", info.parts),
        ("vectors", f"{info.dim} long, {'image and text' if info.has_text else 'image only'}"),
        ("model", info.model),
        ("size", f"{show_bytes(info.size)} without indexes"),
        ("images", info.corpus_root or "not local (the embeddings were adopted)"),
    ]
    for index in info.indexes:
        covered = "" if index.rows == info.rows else f" of {info.rows:,} (the store has grown: index it again)"
        shards = f"{index.shards} shards" if index.shards > 1 else "1 shard"
        lines.append((f"{index.modality} index", f"{index.rows:,} rows{covered}, {shards} of {index.codec}"))
        lines.append(("", index.recall))
    next_step = None if info.indexes else f"clipmine index {store}"
    print_summary(info, lines, as_json=as_json, next_step=next_step)
