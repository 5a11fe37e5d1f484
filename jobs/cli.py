"""The `clipmine` command: sub-commands are imported when they are called, errors are one line and an exit status.

Exit 0: done; 2: bad usage or bad input; 130: interrupted; 1: anything else, such as nothing found. Each
sub-command is a module of `jobs.commands`. Also started by its path, `python jobs/cli.py` or `spark-submit
jobs/cli.py`.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__" and not __package__:
    # Started by path, Python looks for modules beside this file; the packages are one folder up. Workers inherit it.
    _here = Path(__file__).resolve().parent
    sys.path[:] = [str(_here.parent), *(entry for entry in sys.path if entry != str(_here))]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_here.parent), os.environ.get("PYTHONPATH")]))

import click

from jobs.interrupt import note_interrupts

# What `clipmine --help` says of each command; the command itself is in the module of its name in jobs.commands.
COMMANDS = {
    "embed": "Embed a corpus of images with captions into a store.",
    "adopt": "Open embeddings that clip-retrieval or LAION wrote.",
    "index": "Build HNSW indexes over a store and measure their recall.",
    "duplicates": "Group a store's near-duplicate images.",
    "plan": "Estimate an index: memory, shards, build time, disk.",
    "retrieve": "Retrieve the rows that match a concept list.",
    "serve": "Serve a store over HTTP: a search page and an API.",
    "customize": "Train CLIP on a selection, with one of seven strategies.",
    "tune": "Tune a multimodal model on pairs and instructions.",
    "mine": "Mine image pairs, each with the reasons for it.",
    "import": "Import image sets of a foreign collection, with what was said of them.",
    "annotate": "Annotate image sets: comparisons and questions by a model, or by rules.",
    "concat": "Join several folders of image sets into one.",
    "export": "Write a selection as webdataset tars or a URL list.",
    "fetch": "Download a selection's URLs into tars.",
    "download": "Download a table of URLs and captions into tars.",
    "detect": "Train an open-vocabulary detector from a CLIP, and measure it.",
    "evaluate": "Measure models: zero-shot, few-shot, retrieval, segmentation, regions.",
    "info": "Show what a store or a folder of image sets holds.",
    "forget": "Hide rows from all searches, selections and exports.",
    "compact": "Erase forgotten rows from a store's files.",
    "verify": "Compare a store's files and indexes with their checksums.",
    "demo": "Run the full pipeline on drawn scenes and write a report.",
}


# Commands whose module has another name, as Python's own words cannot be one.
_MODULES = {"import": "import_sets"}


def load_command(name: str) -> click.Command:
    """The command of this name in COMMANDS; its module is imported now."""
    command: click.Command = importlib.import_module(f"jobs.commands.{_MODULES.get(name, name)}").command
    return command


class LazyGroup(click.Group):
    """A group whose help comes from COMMANDS, so that listing the commands imports none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = load_command(cmd_name)
        command.help = command.help or COMMANDS[cmd_name]
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            raise click.UsageError(f"there is no command {name!r}; the commands are {', '.join(COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    no_args_is_help=False,
    invoke_without_command=True,
)
@click.version_option(package_name="clipmine", prog_name="clipmine", message="%(prog)s %(version)s")
@click.pass_context
def group(context: click.Context) -> None:
    """Embed an image-text corpus, retrieve data for a concept list, customize CLIP on it, mine image pairs."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    note_interrupts()
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit status. `--debug` shows the trace of what went wrong."""
    try:
        # Not standalone: click would print usage errors on several lines.
        status = group.main(args=list(arguments), prog_name="clipmine", standalone_mode=False)
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (KeyboardInterrupt, click.Abort):
        return _stop("interrupted; run the same command again to resume", 130)
    except Exception as error:
        if "--debug" in arguments:
            import traceback

            traceback.print_exc()
        return _stop(*_line_and_status(error))
    return status if isinstance(status, int) else 0


def _line_and_status(error: Exception) -> tuple[str, int]:
    from index.errors import ClipmineError

    if isinstance(error, click.ClickException):
        if isinstance(error, click.NoSuchOption) and error.ctx and not error.possibilities:
            error = _with_short_options(error)
        where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "clipmine"
        message = error.format_message().rstrip(".")
        return f"error: {message}; see {where} --help", 2
    if isinstance(error, ClipmineError):
        return f"error: {error}", error.exit_code
    if isinstance(error, IsADirectoryError):
        # A file that is renamed into place names its own place second.
        place = error.filename2 or error.filename or error.strerror
        return f"error: {place}: is a folder where a file belongs; move it away and run the same command again", 2
    if isinstance(error, OSError):
        from index.files import disk_full

        try:
            with disk_full(error.filename or "where the command writes"):
                raise error
        except ClipmineError as full:
            return f"error: {full}", full.exit_code
        except OSError:
            return f"error: {error}", 1
    return f"error: {type(error).__name__}: {error} (unforeseen: run again with --debug to see where)", 1


def _with_short_options(error: click.NoSuchOption) -> click.NoSuchOption:
    """The error with suggestions among short options too, such as -k for --k; click's own are long ones."""
    assert error.ctx is not None
    known = [option for each in error.ctx.command.params for option in (*each.opts, *each.secondary_opts)]
    return click.NoSuchOption(error.option_name, possibilities=known, ctx=error.ctx)


def _stop(message: str, status: int) -> int:
    print("clipmine: " + " ".join(message.split()), file=sys.stderr)
    return status


if __name__ == "__main__":
    main()
