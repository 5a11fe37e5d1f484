"""`clipmine mine`."""

from __future__ import annotations

import click

from jobs.options import executor_options, output_options
from jobs.summary import Line, only_summary_on_stdout, print_summary


def _numbers(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    try:
        return None if value is None else tuple(sorted({int(part) for part in value.split(",")}))
    except ValueError as error:
        raise click.BadParameter(f"{value!r}: whole numbers separated by commas, as in 1,2,3") from error


def _words(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (value or "").split(",") if part.strip())


@click.command
@click.argument("store")
@click.option(
    "--strategy",
    "mix",
    required=True,
    metavar="NAME[:SHARE],...",
    help="similar, diverse, identity, overlap, contrast, attribute, random, or a mix: similar:0.5,attribute:0.5",
)
@click.option("--out", required=True, metavar="PAIRS", help="Folder for the image sets.")
@click.option("--sets", type=int, default=10_000, show_default=True, help="How many sets in all.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--max-per-image", type=int, default=10, show_default=True, help="Sets in which one image may appear.")
@click.option(
    "--near-duplicates",
    type=float,
    default=0.94,
    show_default=True,
    metavar="COSINE",
    help="From here on two images are one picture.",
)
@click.option("--levels", callback=_numbers, metavar="N,N,...", help="Only these levels, evenly.  [default: all found]")
@click.option(
    "--selection", metavar="SELECTION", help="Mine only the rows of this selection; diverse takes its concepts."
)
@click.option("--decisions", metavar="FILE", help="Leave out what was rejected on the pairs page.")
@click.option(
    "--captions",
    type=click.Choice(["caption", "all"]),
    default="caption",
    show_default=True,
    help="overlap, attribute: parse the embedded caption, or all of an image's.",
)
@click.option(
    "--nouns",
    type=click.Choice(["lexicon", "spacy", "nltk"]),
    default="lexicon",
    show_default=True,
    help="overlap: who finds the nouns.",
)
@click.option("--min-shared-nouns", type=int, metavar="N", help="overlap: at least N, instead of levels.")
@click.option("--rare-nouns", is_flag=True, help="overlap: rare nouns weigh more.")
@click.option("--axes", callback=_words, metavar="NAME,...", help="attribute: only these axes.  [default: all]")
@click.option("--entity", metavar="FIELD", help="identity: what names the individual, as in truth.objects.entity.")
@click.option("--order", metavar="FIELD", help="identity: what orders a set's members, as in truth.step.")
@click.option("--set-size", type=int, default=2, show_default=True, help="identity: images a set.")
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
) -> None:
    """Mine pairs (or larger sets) of images from STORE, each with the reasons for it.

    Whatever the strategy: no pair twice, no near-duplicates, no forgotten rows, no image in more than
    --max-per-image sets, levels in equal numbers as far as they reach.
    """
    with only_summary_on_stdout():
        from jobs.mine_job import run_mine
        from mining.strategies.context import MiningConfig
        from mining.strategies.registry import parse_mix

        config = MiningConfig(store=store, strategies=parse_mix(mix), **choices)  # type: ignore[arg-type]
        sets = run_mine(config, executor=executor, workers=workers)
    lines: list[Line] = [("sets", int(sets.manifest["sets"]))]
    for each in sets.manifest["strategies"]:
        lines += _strategy_lines(each)
    lines += [("note", note) for note in sets.manifest["notes"]]
    lines += [("short", sentence) for sentence in sets.manifest["shortfall"]]
    next_step = f"clipmine serve {store} --pairs {config.out}" if sets.manifest["sets"] else None
    print_summary({"path": config.out, **sets.manifest}, lines, as_json=as_json, next_step=next_step)


def _strategy_lines(summary: dict[str, object]) -> list[Line]:
    """proposed - dropped - spare = made, then what the strategy says."""
    name, dropped, levels = summary["strategy"], summary["dropped"], summary["levels"]
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
