"""`clipmine annotate`: image sets in, what a model (or rules) says of them added to the folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from jobs.options import executor_option, output_options
from jobs.summary import Line, only_summary_on_stdout, print_summary

if TYPE_CHECKING:
    from mining.annotate.config import AnnotateConfig
    from mining.annotate.summary import AnnotateSummary


def _words(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (value or "").split(",") if part.strip())


@click.command
@click.argument("pairs")
@click.option(
    "--annotator",
    type=click.Choice(["openai", "transformers", "captions"]),
    default="captions",
    show_default=True,
    help="openai: a server with OpenAI's protocol (vLLM, SGLang, Ollama, `transformers serve`, a hosted one); "
    "transformers: a checkpoint run here; captions: rules that compare captions, without a model.",
)
@click.option(
    "--kind",
    type=click.Choice(["comparison", "cad-qa", "choice", "judge"]),
    default="comparison",
    show_default=True,
    help="comparison: commonalities and differences; cad-qa: questions and answers (openai, transformers); choice: "
    "which image suits a caption (captions); judge: ratings of answers (openai, transformers).",
)
@click.option("--model", metavar="NAME|DIR", help="The server's name of the model; transformers: a checkpoint.")
@click.option("--base-url", metavar="URL", help="openai: the server, such as http://host:8000/v1.")
@click.option(
    "--key-variable",
    metavar="NAME",
    help="openai: environment variable that holds the key.  [default: OPENAI_API_KEY, where it is set]",
)
@click.option("--concurrency", type=int, metavar="N", help="openai: most requests at once.  [default: 64]")
@click.option("--timeout", type=float, metavar="SECONDS", help="openai: wait so long for an answer.  [default: 600]")
@click.option(
    "--patience", type=float, metavar="SECONDS", help="openai: wait so long for a server that is away.  [default: 300]"
)
@click.option("--adapter", metavar="DIR", help="transformers: a LoRA adapter for --model.")
@click.option("--device", help="transformers: cpu, cuda, ...  [default: the fastest available]")
@click.option("--precision", type=click.Choice(["fp32", "fp16", "bf16"]), help="transformers: number format.")
@click.option("--batch-size", type=int, metavar="N", help="transformers: requests answered together.")
@click.option("--name", metavar="NAME", help="Name of the annotations' part.  [default: kind, mode and model]")
@click.option("--from-images", is_flag=True, help="comparison: show the model the images instead of their captions.")
@click.option("--with-captions", is_flag=True, help="comparison: with --from-images, show the captions too.")
@click.option(
    "--refine",
    metavar="KIND[/ANNOTATOR]",
    help="Annotations to refine (comparison, with --from-images), to ask about (cad-qa) or to judge (judge): those of "
    "a kind, and of one annotator where it is named; the last one of each set. `info PAIRS` lists both.",
)
@click.option(
    "--as-trained",
    is_flag=True,
    help="comparison, with --from-images: ask with the question of the training conversations, for a model that was "
    "tuned on them.",
)
@click.option("--rounds", type=int, metavar="N", help="cad-qa: questions that are asked for.")
@click.option(
    "--images",
    "images",
    multiple=True,
    metavar="[SOURCE=]DIR",
    help="Where the images are now, if they were moved. May be repeated for several sources.",
)
@click.option("--strategy", callback=_words, metavar="NAME,...", help="Only sets of these strategies.")
@click.option("--split", callback=_words, metavar="NAME,...", help="Only sets of these splits.")
@click.option("--annotated", metavar="KIND", help="Only sets with an annotation of this kind.")
@click.option("--not-annotated", metavar="KIND", help="Only sets without an annotation of this kind.")
@click.option("--limit", type=int, metavar="N", help="Only N sets, drawn by --seed.")
@click.option("--shard", metavar="I/N", help="Only the I-th of N equal shares: one a machine.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all draws.")
@click.option("--max-new-tokens", type=int, metavar="N", help="Longest answer.  [default: the kind's]")
@click.option("--temperature", type=float, help="Of sampling; 0 is greedy.  [default: the kind's]")
@click.option(
    "--attempts", type=int, default=3, show_default=True, help="Attempts at an answer that is not understood."
)
@click.option("--max-requests", type=int, metavar="N", help="Stop after N requests, over all runs of this name.")
@click.option("--max-tokens", type=int, metavar="N", help="Stop before N tokens, prompts and answers.")
@click.option("--max-cost", type=float, metavar="AMOUNT", help="Stop before this cost; needs the prices.")
@click.option("--price-in", type=float, metavar="AMOUNT", help="Price of a million prompt tokens.")
@click.option("--price-out", type=float, metavar="AMOUNT", help="Price of a million answer tokens.")
@click.option(
    "--cache", metavar="DIR", help="Folder of answers, shared between runs.  [default: PAIRS/annotations/answers]"
)
@executor_option(("local", "ray"))
@click.option("--workers", type=click.IntRange(min=1), help="ray: actors, each with the model.  [default: by GPUs]")
@output_options
def command(
    pairs: str, images: tuple[str, ...], executor: str, workers: int | None, as_json: bool, **options: Any
) -> None:
    """Annotate the image sets of PAIRS: ask a model about each set, or compare captions by rules.

    What a model answers is kept as annotations of the sets; an answer that is not understood is asked for again. Run
    the same command again after an interruption or a limit: sets that are decided are not asked again, and no answer
    is paid for twice.
    """
    with only_summary_on_stdout():
        from jobs.annotate_job import part_statistics, run_annotate, sample_reply
        from mining.annotate.config import AnnotateConfig

        config = AnnotateConfig.of(pairs, moved=_moved(images), **options)
        summary = run_annotate(config, executor=executor, workers=workers)
        statistics = part_statistics(config)
        sample = None if summary.annotated or not summary.rejected else sample_reply(config)
    lines = _lines(config.part, summary)
    lines += [("" if line.startswith(" ") else "statistics", line) for line in statistics.lines()]
    if sample is not None:
        lines += [("a reply that was not understood", repr(sample)), ("all of them", f"{config.folder}/journal.jsonl")]
    next_step = _next_step(config, summary)
    print_summary(
        {"path": pairs, "name": config.part, **summary.__dict__, "statistics": statistics.to_json()},
        lines,
        as_json=as_json,
        next_step=next_step,
    )
    if not summary.annotated:  # by this run and earlier ones
        _fail_without_an_annotation(pairs, summary)


def _next_step(config: AnnotateConfig, summary: AnnotateSummary) -> str | None:
    """What to run next; None where nothing was annotated and running again changes nothing."""
    if summary.left or summary.failed:
        return "the same command, with a greater limit" if summary.stopped_by else "the same command"
    if summary.annotated:
        parts = {"comparison": ",cad=commonalities+differences+choice", "judge": None}
        chosen = parts.get(config.kind, f",kind={config.kind}")
        return None if chosen is None else f"clipmine tune --stage cad --data {config.pairs}{chosen} ..."
    if not summary.rejected:
        return None
    tries = ["a model that was tuned for it (clipmine tune)"]
    if config.kind == "comparison" and not config.from_images:
        tries.append("--from-images with a model that sees images")
    tries.append("a greater --max-new-tokens, where replies are cut")
    return f"under another --name, {'; or '.join(tries)}"


def _fail_without_an_annotation(pairs: str, summary: AnnotateSummary) -> None:
    """Raise where sets were to be asked about, and each lacks its images, its answer or one that is understood."""
    from index.errors import ClipmineError

    if summary.rejected:
        raise ClipmineError(f"{pairs}: no answer about any of {summary.rejected:,} sets was understood")
    if summary.failed:
        why = next(iter(summary.failures))
        raise ClipmineError(f"{pairs}: no answer about any of {summary.failed:,} sets that were asked about ({why})")
    if summary.image_missing and summary.image_missing == summary.sets:
        from index.errors import BadInput

        why = next(iter(summary.missing))
        raise BadInput(f"{pairs}: no image of its sets can be read ({why}); name their folder with --images DIR")


def _moved(images: tuple[str, ...]) -> Any:
    """The folders by source; one folder without a source's name stands for the only source."""
    if len(images) == 1 and "=" not in images[0]:
        return images[0]
    named = [each.partition("=") for each in images]
    if any(not equals for _, equals, _ in named):
        raise click.UsageError("--images: with several sources, write SOURCE=DIR for each", click.get_current_context())
    return {source: folder for source, _, folder in named} or None


def _lines(part: str, summary: AnnotateSummary) -> list[Line]:
    """Counts that add up: sets = annotated + rejected + failed + nothing to ask + image missing + left."""
    lines: list[Line] = [("sets", summary.sets), ("- annotated", summary.annotated)]
    why = f" ({summary.stopped_by})" if summary.stopped_by else ""
    lines += [(f"- {reason}", count) for reason, count in _reasons(summary)]
    if summary.left:
        lines.append((f"- left{why}", summary.left))
    lines += [("decided by earlier runs", summary.earlier), ("annotations", summary.annotations)]
    if summary.rejected:
        lines.append(("rejected answers, kept too", sum(summary.rejections.values()) or summary.rejected))
    lines.append(("name", part))
    if summary.requests or summary.cached:
        lines += [("requests", summary.requests), ("answers from the cache", summary.cached)]
        lines += [("asked again", summary.retried), ("prompt tokens", summary.prompt_tokens)]
        lines += [("answer tokens", summary.new_tokens)]
        if summary.estimated_requests:
            lines.append(("requests with estimated tokens", summary.estimated_requests))
        seconds = max(summary.seconds, 1e-9)
        answers, tokens = summary.requests / seconds, summary.new_tokens / seconds
        lines.append(("speed", f"{answers:,.1f} answers/s, {tokens:,.0f} answer tokens/s"))
        if summary.total_cost:
            lines.append(("cost", f"{summary.cost:,.4g}, {summary.total_cost:,.4g} with earlier runs"))
    return lines


def _reasons(summary: AnnotateSummary) -> list[tuple[str, int]]:
    found = [("rejected", summary.rejected)] if summary.rejected else []
    found += [(f"failed: {reason}", count) for reason, count in summary.failures.items()]
    found += [("nothing to ask", summary.nothing_to_ask)] if summary.nothing_to_ask else []
    return found + [(f"image: {reason}", count) for reason, count in summary.missing.items()]
