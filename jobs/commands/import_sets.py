"""`clipmine import`: a foreign collection of image sets in, image sets out."""

from __future__ import annotations

from typing import Any

import click

from jobs.options import output_options, refuse_without_effect
from jobs.summary import Line, only_summary_on_stdout, print_summary

_FORMATS = (
    "cad-inst",
    "cad-eval",
    "nlvr2",
    "spot-the-diff",
    "birds-to-words",
    "subtle-diff",
    "mimic-it",
    "vist",
    "llava",
    "table",
)


@click.command("import")
@click.argument("files", nargs=-1, required=True, metavar="SRC...")
@click.option("--format", "form", required=True, type=click.Choice(_FORMATS), help="What the files are.")
@click.option("--out", required=True, metavar="PAIRS", help="Folder for the image sets.")
@click.option(
    "--images",
    multiple=True,
    metavar="DIR_OR_TAR",
    help="Where the images are: a folder (with its tars), a tar, or MIMIC-IT's file of images. May be repeated.",
)
@click.option(
    "--map",
    "mapping",
    metavar="ROLE=COLUMN,...",
    help="table: its columns. Roles: id, image, caption, question, answer, conversations, split; image and caption "
    "once for each image of a set.",
)
@click.option("--kind", metavar="KIND", help="table: kind of the annotations.  [default: by its columns]")
@click.option("--collection", metavar="NAME", help="Name of the collection.  [default: the format's]")
@click.option("--annotator", metavar="NAME", help="Who wrote the annotations.  [default: the collection]")
@click.option("--licence", metavar="TEXT", help="Licence of the collection, where you know it better.")
@click.option("--homepage", metavar="URL", help="Homepage of the collection.")
@click.option("--only-complete", is_flag=True, help="Leave out records of which an image is not found.")
@click.option("--strict", is_flag=True, help="Exit 2 when a record was left out or an image not found.")
@output_options
def command(form: str, mapping: str | None, as_json: bool, **choices: Any) -> None:
    """Import image sets and what was said of them from SRC: files, folders or patterns.

    Images stay where they are: members keep their path or place in a tar, length and SHA-256. Records with the same
    images become several annotations of one set.
    """
    if form != "table":
        refuse_without_effect(["kind"], "without --format table")
    with only_summary_on_stdout():
        from jobs.import_job import run_import
        from mining.sets.importers.import_config import ImportConfig
        from mining.sets.importers.table import parse_mapping

        pairs = parse_mapping(mapping) if mapping else ()
        config = ImportConfig(format=form, mapping=pairs, **choices)
        sets = run_import(config)
    said = sets.manifest["import"]
    summary = {"path": config.out, **sets.manifest}
    next_step = f"clipmine serve STORE --pairs {config.out} (STORE: any store)"
    print_summary(summary, _lines(sets.manifest, said), as_json=as_json, next_step=next_step)


def _lines(manifest: Any, said: dict[str, Any]) -> list[Line]:
    """Counts that add up: records - skipped = imported; images named - not found = found."""
    lines: list[Line] = [("records", said["records"])]
    lines += [(f"- {reason}", count) for reason, count in said["skipped"].items()]
    lines += [
        ("imported", said["imported"]),
        ("sets", int(manifest["sets"])),
        ("annotations", said["annotations"]),
        ("images named", said["images_named"]),
    ]
    if said["annotations"] and said["without_annotation"]:
        lines.insert(-1, ("- records without one, kept as sets", said["without_annotation"]))
    lines += [(f"- {reason}", count) for reason, count in said["images_not_found"].items()]
    lines.append(("images found", said["images_found"]))
    if said["incomplete_sets"]:
        lines.append(("sets with an image not found", said["incomplete_sets"]))
    if said["repeated_ids"]:
        lines.append(("ids that came twice", said["repeated_ids"]))
    lines += [("skipped", f"{reason}: {each}") for reason, named in said["examples"].items() for each in named[:3]]
    lines += [
        ("not found", f"{name} ({reason})")
        for reason, named in said["images_not_found_examples"].items()
        for name in named[:3]
    ]
    return lines + [("note", note) for note in said["notes"]]
