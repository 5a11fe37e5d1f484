"""`clipmine mine`: a store in, image sets out."""

from __future__ import annotations

from collections.abc import Sequence

import click

from jobs.options import executor_options, output_options, refuse_without_effect
from jobs.summary import Line, found_nothing, only_summary_on_stdout, print_summary

# The strategies that read an option.
_READ_BY = {
    "captions": ("overlap", "attribute", "groups"),
    "nouns": ("overlap",),
    "names": ("overlap",),
    "min_shared_nouns": ("overlap",),
    "rare_nouns": ("overlap",),
    "axes": ("attribute",),
    "facts": ("attribute",),
    "ceiling": ("similar", "attribute"),
    "entity": ("identity",),
    "order": ("identity",),
    "context": ("identity",),
    "set_size": ("identity",),
    "group_size": ("groups",),
}


def _numbers(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    try:
        return None if value is None else tuple(sorted({int(part) for part in value.split(",")}))
    except ValueError as error:
        raise click.BadParameter(f"{value!r}: whole numbers separated by commas, as in 1,2,3") from error


def _range(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, int]:
    least, _, most = value.partition("-")
    try:
        return int(least), int(most or least)
    except ValueError as error:
        raise click.BadParameter(f"{value!r}: a whole number, or a range as in 3-8") from error


def _words(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (value or "").split(",") if part.strip())


@click.command
@click.argument("store")
@click.option(
    "--strategy",
    "mix",
    required=True,
    metavar="NAME[:SHARE],...",
    help="similar, diverse, identity, groups, overlap, contrast, attribute, random; or a mix: similar:0.5,overlap:0.5",
)
@click.option("--out", required=True, metavar="PAIRS", help="Folder for the image sets.")
@click.option("--sets", type=int, default=10_000, show_default=True, help="Number of sets, over all strategies.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random choices.")
@click.option(
    "--max-per-image", type=int, default=10, show_default=True, help="Most sets that may contain the same image."
)
@click.option(
    "--near-duplicates",
    type=float,
    default=0.94,
    show_default=True,
    metavar="COSINE",
    help="Image cosine from which two images are duplicates.",
)
@click.option(
    "--ceiling",
    type=float,
    metavar="COSINE",
    help="similar, attribute: pair nearly identical images too, up to this cosine, if their pixels differ."
    "  [default: --near-duplicates]",
)
@click.option(
    "--levels",
    callback=_numbers,
    metavar="N,N,...",
    help="Only sets of these levels, in equal numbers.  [default: all levels]",
)
@click.option(
    "--selection",
    metavar="SELECTION",
    help="Mine only rows of this selection; similar, diverse, groups: one of its concepts a set.",
)
@click.option("--decisions", metavar="FILE", help="Skip the sets that were rejected on the pairs page.")
@click.option(
    "--captions",
    type=click.Choice(["caption", "all"]),
    default="caption",
    show_default=True,
    help="overlap, attribute, groups: parse the embedded caption, or all captions of an image.",
)
@click.option(
    "--nouns",
    type=click.Choice(["lexicon", "spacy", "nltk"]),
    default="lexicon",
    show_default=True,
    help="overlap: the tool that finds nouns.",
)
@click.option("--names", is_flag=True, help="overlap: names of people, products and places are nouns too.")
@click.option("--min-shared-nouns", type=int, metavar="N", help="overlap: at least N, instead of levels.")
@click.option("--rare-nouns", is_flag=True, help="overlap: prefer pairs that share rare nouns.")
@click.option("--axes", callback=_words, metavar="NAME,...", help="attribute: only these axes.  [default: all]")
@click.option(
    "--facts",
    callback=_words,
    metavar="FIELD,...",
    help="attribute: compare these metadata fields, as in truth.objects, instead of captions.",
)
@click.option(
    "--entity", metavar="FIELD", help="identity: metadata field that names the individual, as in truth.objects.entity."
)
@click.option(
    "--order",
    metavar="FIELD",
    help="identity: metadata field of the steps of a story, as in truth.step; a set is a window of consecutive steps.",
)
@click.option(
    "--context",
    metavar="FIELD",
    help="identity: metadata field in which the images of a set differ, as in truth.place."
    "  [default: images that are less similar]",
)
@click.option("--set-size", type=int, default=2, show_default=True, help="identity: number of images in a set.")
@click.option(
    "--group-size",
    callback=_range,
    default="3-8",
    show_default=True,
    metavar="N|MIN-MAX",
    help="groups: number of images in a set.",
)
@click.option(
    "--hold-out",
    type=float,
    default=0.0,
    metavar="SHARE",
    help="Hold out this part of the images, as in 0.1: no set has images of both sides, and `split` says which."
    "  [default: none]",
)
@click.option("--strict", is_flag=True, help="Exit 2 when fewer sets were found than asked for.")
@executor_options()
@output_options
def command(
    store: str,
    mix: str,
    executor: str,
    workers: int | None,
    as_json: bool,
    **choices: object,
) -> int | None:
    """Mine pairs (or larger sets) of images from STORE, each with the reasons for it.

    For every strategy: no set twice, no near-duplicates, no forgotten rows, no image in more than --max-per-image
    sets, and equal numbers of sets at each level as far as possible.

    Exit status: 1 when no set was found, 2 with --strict when fewer were found than asked for.
    """
    with only_summary_on_stdout():
        from jobs.mine_job import run_mine
        from mining.strategies.context import MiningConfig
        from mining.strategies.registry import parse_mix

        _check_strategy_options([name for name, _ in parse_mix(mix)])
        config = MiningConfig(store=store, strategies=parse_mix(mix), **choices)  # type: ignore[arg-type]
        sets = run_mine(config, executor=executor, workers=workers)
    lines: list[Line] = [("sets", int(sets.manifest["sets"]))]
    for each in sets.manifest["strategies"]:
        lines += _strategy_lines(each)
    lines += [("note", note) for note in sets.manifest["notes"]]
    lines += [("short", sentence) for sentence in sets.manifest["shortfall"]]
    next_step = f"clipmine serve {store} --pairs {config.out}" if sets.manifest["sets"] else None
    print_summary({"path": config.out, **sets.manifest}, lines, as_json=as_json, next_step=next_step)
    if not sets.manifest["sets"]:
        return found_nothing(f"{config.out}: no set was found; the lines above say what was dropped")
    return None


def _check_strategy_options(strategies: Sequence[str]) -> None:
    """UsageError for an option that none of the strategies reads."""
    for option, readers in _READ_BY.items():
        if not set(readers) & set(strategies):
            refuse_without_effect([option], f"without --strategy {' or '.join(readers)}")


def _strategy_lines(summary: dict[str, object]) -> list[Line]:
    """The counts (proposed - dropped - spare = made) of a strategy on one side of a hold-out, then its notes."""
    dropped, levels = summary["dropped"], summary["levels"]
    split = summary.get("split")  # a summary of an earlier release has none
    name = summary["strategy"] if split is None else f"{summary['strategy']} ({split})"
    assert isinstance(dropped, dict)
    assert isinstance(levels, dict)
    lines: list[Line] = [(f"{name}: proposed", summary["proposed"])]
    lines += [(f"{name}: - {reason}", count) for reason, count in dropped.items()]
    lines += [(f"{name}: - spare", summary["spare"]), (f"{name}: made", summary["made"])]
    if set(levels) - {"0"}:
        lines.append((f"{name}: levels", ", ".join(f"{level}: {count:,}" for level, count in levels.items())))
    notes = summary["notes"]
    assert isinstance(notes, list)
    return lines + [(f"{name}: note", note) for note in notes]
