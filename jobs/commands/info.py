"""`clipmine info`: what a store holds, from its manifests, or what a folder of image sets holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jobs.options import output_options
from jobs.summary import Line, only_summary_on_stdout, print_summary

if TYPE_CHECKING:
    from mining.sets.sets_info import SetsInfo

NOT_UNDERSTOOD = "rejected"  # the kind of annotations that keep such answers, see `mining.annotate.journal`


@click.command
@click.argument("folder", metavar="STORE|PAIRS")
@output_options
def command(folder: str, as_json: bool) -> None:
    """Show what a store holds: rows, model, size, indexes and their recall; or what a folder of image sets holds: sets,
    sources, annotations and decisions."""
    with only_summary_on_stdout():
        from mining.sets.sets_info import holds_image_sets, sets_info

        pairs = sets_info(folder) if holds_image_sets(folder) else None
    if pairs is not None:
        print_summary(pairs, _lines_of_sets(pairs), as_json=as_json)
    else:
        _show_store(folder, as_json)


def _lines_of_sets(info: SetsInfo) -> list[Line]:
    lines: list[Line] = [("sets", info.sets)]
    if info.forgotten:
        lines.append(("- hidden, with forgotten rows", info.forgotten))
    lines += [(f"- {each.strategy}, level {each.level}", each.sets) for each in info.strategies]
    lines += [(f"split {name}", count) for name, count in info.splits.items()]
    lines.append(("images, each once a set", info.images))
    for source in info.sources:
        if source.path is None:
            lines.append((source.name, f"has no folder; sets with images known by name or URL only: {source.sets:,}"))
        else:
            lines.append((source.name, source.path + ("" if source.is_there else " (is not there)")))
    lines.append(("annotations", sum(each.count for each in info.annotations)))
    for each in info.annotations:
        what = "answer not understood" if each.kind == NOT_UNDERSTOOD else each.kind
        lines.append((f"- {what} by {each.annotator}", each.count))
    return [*lines, ("sets rejected by people", info.rejected), ("sets kept by people", info.kept)]


def _show_store(store: str, as_json: bool) -> None:
    with only_summary_on_stdout():
        from jobs.folders import refuse_other_folder

        refuse_other_folder(store, "a store or image sets")
        from index.graph.info import store_info
        from index.sizes import show_bytes

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
        lines += [("visits" if not number else "", line) for number, line in enumerate(index.visits)]
        lines += [("pilot" if not number else "", line) for number, line in enumerate(index.pilot)]
    next_step = None if info.indexes else f"clipmine index {store}"
    print_summary(info, lines, as_json=as_json, next_step=next_step)
