"""`clipmine concat`: folders of image sets in; one folder out, with their annotations and decisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click

from jobs.options import output_options
from jobs.summary import Line, only_summary_on_stdout, print_summary

# The counts of a folder that the summary shows where they are not 0.
_LABELS = {
    "there already": "repeated",
    "with forgotten rows, left out": "forgotten",
    "under a new id": "renamed",
    "annotations": "annotations",
    "annotations there already": "annotations_repeated",
    "annotations of sets left out": "annotations_forgotten",
    "decisions": "decisions",
}


@dataclass(frozen=True)
class ConcatSummary:
    """inputs: a `mining.sets.concat.ConcatInput` for each folder, as JSON; sets is the sum of what they kept."""

    out: str
    sets: int
    annotations: int
    inputs: list[dict[str, Any]]
    notes: list[str]


@click.command
@click.argument("pairs", nargs=-1, required=True)
@click.option("--out", required=True, metavar="ALL", help="Folder for the joined image sets.")
@output_options
def command(pairs: tuple[str, ...], out: str, as_json: bool) -> None:
    """Join folders of image sets, PAIRS..., into one, in their order.

    A set with the same id and the same images again is kept once, with the annotations of both. A set with the id of
    another one gets a new id. Corrections and decisions come along; sets with rows that were forgotten do not. Run
    again after an interruption, it goes on.
    """
    with only_summary_on_stdout():
        from mining.sets.concat import concat_image_sets

        sets = concat_image_sets(pairs, out)
        inputs = list(sets.manifest["concat"])
        said = sum(each["annotations_kept"] for each in inputs)
        summary = ConcatSummary(out, sum(each["kept"] for each in inputs), said, inputs, list(sets.manifest["notes"]))
    lines: list[Line] = []
    for each in inputs:
        lines += [(f"sets of {each['path']}", each["sets"])]
        lines += [(f"- {label}", each[name]) for label, name in _LABELS.items() if each.get(name)]
    lines += [("sets written", summary.sets), ("annotations written", summary.annotations), ("written to", out)]
    lines += [("note", note) for note in summary.notes]
    store = next((source.path for source in sets.sources.values() if source.kind == "store" and source.path), None)
    next_step = f"clipmine serve {store or 'STORE'} --pairs {out}" + ("" if store else " (STORE: any store)")
    print_summary(summary, lines, as_json=as_json, next_step=next_step)
