"""The documentation names only what exists: files, modules, commands, options, links; and docs/python.md runs."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import importlib
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pandas as pd
import pytest

from jobs.cli import COMMANDS, load_command
from retrieval.service.settings import Settings
from tests.serving import serving
from tests.test_architecture import WINGS

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("scenes/*.md"), ROOT / "benchmarks" / "README.md"],
    key=str,
)
FOLDERS = ("index", "retrieval", "customize", "mining", "jobs", "scenes", "tests", "benchmarks", "docs", "examples")
MODULE = re.compile(rf"(?<![\w./-])(?:clipmine|{'|'.join(FOLDERS[:8])})(?:\.\w+)+")
FILE_ENDING = re.compile(r"\.(json|jsonl|md|py|yaml|html|png|svg|faiss|npy|parquet|sh|zip)$")
page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def blocks(text: str, language: str | None = None) -> list[str]:
    """The fenced code blocks of a page, or those of one language ("" for none)."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [block for name, block in found if language in (None, name)]


def spans(text: str) -> list[str]:
    """The inline code of a page."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


def missing_files(text: str, folder: Path) -> list[str]:
    """Paths in inline code, and scripts in code blocks, that do not exist in the repository or in the page's folder."""
    words = [word for span in spans(text) for word in re.split(r"[\s()\"',]+", span)]
    words += re.findall(r"[\w./-]+\.(?:py|sh|yaml)\b", "\n".join(blocks(text)))
    paths = [word for word in words if re.fullmatch(r"[\w-]+(/[\w.*-]+)+/?", word)]
    inside = [
        (base, path) for path in paths for base in {ROOT, folder} if path.split("/")[0] in FOLDERS or base != ROOT
    ]
    there = {path for base, path in inside if list(base.glob(path))}
    known = {file.name for base in FOLDERS for file in (ROOT / base).rglob("*.py")}
    unknown = {word for word in words if re.fullmatch(r"\w+\.py", word)} - known - {"clipmine.py"}
    return sorted({path for path in paths if path.split("/")[0] in FOLDERS} - there | unknown)


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or an attribute of one (of a class in one)."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        return all((found := getattr(found, part, None)) is not None for part in parts[length:])
    return False


def missing_names(text: str) -> list[str]:
    """Dotted names of our modules, anywhere in code, that cannot be imported."""
    code = "\n".join([*spans(text), *blocks(text)])
    named = {match for match in MODULE.findall(code) if not FILE_ENDING.search(match) and not match.endswith(".NAME")}
    for block in blocks(text, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in (*FOLDERS, "clipmine"):
                named.update(f"{node.module}.{name.name}" for name in node.names)
    return sorted(name for name in named if not exists(name))


def broken_links(text: str, folder: Path) -> list[str]:
    """Links to files that do not exist, or to headings that the page does not have."""
    targets = [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if not target.startswith("http")]
    return [target for target in targets if not _leads_somewhere(target, text, folder)]


def _leads_somewhere(target: str, text: str, folder: Path) -> bool:
    name, _, anchor = target.partition("#")
    if not (folder / name).exists():
        return False
    headings = re.findall(r"^#+ (.*)", (folder / name).read_text() if name else text, re.MULTILINE) if anchor else []
    return not anchor or anchor in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


def command_lines(text: str) -> Iterator[tuple[list[str], bool]]:
    """The words of every `clipmine ...` line, without `clipmine`, and whether the line is whole.

    Lines of code blocks are whole unless they hold `...`; inline code may leave arguments out.
    """
    lines = [(line, True) for block in blocks(text) for line in block.replace("\\\n", " ").splitlines()]
    for line, whole in [*lines, *((span, False) for span in spans(text))]:
        if re.match(r"(\.venv/bin/)?clipmine [a-z]", line):
            words = shlex.split(line, comments=True)[1:]
            words = words[: words.index("|")] if "|" in words else words
            yield words, whole and "..." not in words


def wrong_commands(text: str) -> list[str]:
    """Why command lines cannot be parsed: an unknown command or option; in whole lines a wrong or missing value too."""
    wrong = []
    for words, whole in command_lines(text):
        try:
            command = load_command(words[0])
            unknown = [word for word in words if word.startswith("--") and word not in options(command)]
            if unknown:
                wrong.append(f"{words[0]} has no option {unknown[0]}")
            elif whole:
                command.make_context(words[0], words[1:])
        except (ModuleNotFoundError, click.ClickException) as error:
            wrong.append(f"clipmine {' '.join(words)}: {error}")
    return wrong


def options(command: click.Command) -> set[str]:
    """The names of a command's options."""
    return {"--help", *(name for option in command.params for name in [*option.opts, *option.secondary_opts])}


@page
def test_every_file_exists(page: Path) -> None:
    assert missing_files(page.read_text(), page.parent) == []


@page
def test_every_module_and_name_exists(page: Path) -> None:
    assert missing_names(page.read_text()) == []


@page
def test_every_link_leads_somewhere(page: Path) -> None:
    assert broken_links(page.read_text(), page.parent) == []


@page
def test_every_command_line_is_parsed(page: Path) -> None:
    assert wrong_commands(page.read_text()) == []


@page
def test_every_option_exists(page: Path) -> None:
    known = {name for command in COMMANDS for name in options(load_command(command))}
    scripts = "".join(
        path.read_text() for folder in ("benchmarks", "scenes", "tests") for path in ROOT.glob(f"{folder}/**/*.py")
    )
    named = {word for span in spans(page.read_text()) for word in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", span)}
    assert [name for name in sorted(named - known) if f'"{name}"' not in scripts] == []


def test_what_is_wrong_is_found() -> None:
    text = (
        "`index/corpus/tarz.py` `tarz.py` `retrieval.retriev` [x](nowhere.md) [y](#no-such-heading)\n"
        "`clipmine serve --prt`\n\n"
        "```\nclipmine index STORE --recal 0.9\nclipmine embd STORE\nclipmine adopt\n```\n\n"
        "```python\nfrom mining.export import to_lava\n```\n"
    )
    assert missing_files(text, ROOT) == ["index/corpus/tarz.py", "tarz.py"]
    assert missing_names(text) == ["mining.export.to_lava", "retrieval.retriev"]
    assert broken_links(text, ROOT) == ["nowhere.md", "#no-such-heading"]
    assert len(wrong_commands(text)) == 4


def test_the_readme_has_every_command_with_its_executors() -> None:
    section = (ROOT / "README.md").read_text().partition("\n## All commands\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:3] == "| `"]
    shown = {name: row[2] for row in rows for name in spans(row[0])}
    assert sorted(shown) == sorted(COMMANDS)
    for name, executors in shown.items():
        params = load_command(name).params
        types = [param.type for param in params if param.name == "executor"]
        kinds = [list(each.choices) for each in types if isinstance(each, click.Choice)]
        assert executors == ", ".join(kinds[0] if kinds else ())


def test_the_architecture_page_has_every_wing_in_the_order_of_imports() -> None:
    section = (
        (ROOT / "docs" / "architecture.md").read_text().partition("Wings, the lowest first:")[2].partition("\n## ")[0]
    )
    cells = [spans(line.split("|")[1]) for line in section.splitlines() if line[:3] == "| `"]
    shown = [path.strip("/") for cell in cells for path in (cell[0], *(f"scenes/{name}" for name in cell[1:]))]
    expected = [f"{floor}/{wing}" for floor, wings in WINGS.items() for wing in reversed(wings)]
    assert [path for path in shown if path.count("/") == 1] == expected


def test_the_python_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its blocks in order, each compared with the first line of the output that the page shows, but for numbers."""
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "python.md").read_text()
    names: dict[str, Any] = {}
    cells = re.findall(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```)?", text, re.DOTALL | re.MULTILINE)
    assert len(cells) > 20
    with contextlib.ExitStack() as stack:
        stack.enter_context(pd.option_context("display.width", 120, "display.max_columns", 20))
        for code, shown in cells:
            if "http://localhost:8000" in code:
                code = code.replace("http://localhost:8000", stack.enter_context(serving(Path("store"))))
            output = run_cell(code, names)
            if shown:
                assert without_numbers(output.splitlines()[0]) == without_numbers(shown.splitlines()[0]), code


def run_cell(code: str, names: dict[str, Any]) -> str:
    """Run a cell of a notebook: what it prints, and the value of its last line if that is an expression."""
    body = ast.parse(code).body
    last = body[-1] if isinstance(body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(io.StringIO()) as output:
        exec(compile(ast.Module(body if last is None else body[:-1], []), "docs/python.md", "exec"), names)
        value = eval(compile(ast.Expression(last.value), "docs/python.md", "eval"), names) if last is not None else None
        if value is not None:
            print(repr(value))
    return output.getvalue()


def without_numbers(line: str) -> str:
    """A line with # for every number, and one space where there are more."""
    return re.sub(r"\s+", " ", re.sub(r"-?\d[\d.,]*(e-?\d+)?", "#", line)).strip()


def test_the_service_page_lists_every_bound_with_its_default() -> None:
    listed = {}
    for line in (ROOT / "docs" / "service.md").read_text().split("### The bounds")[1].split("\n## ")[0].splitlines():
        if line.startswith("| `"):
            name, default = line.split("|")[1:3]
            listed[name.strip(" `")] = float(default.replace(",", ""))
    fields = {field.name: field.default for field in dataclasses.fields(Settings)}
    assert listed == {name: default for name, default in fields.items() if type(default) in (int, float)}
