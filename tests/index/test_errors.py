"""The errors form the tree that their module draws, and tell the command its exit status."""

from __future__ import annotations

import re

import pytest

from index import errors
from index.errors import BadInput, ClipmineError, DiskFull, MissingDependency, with_urls


def test_the_tree_in_the_docstring_is_the_tree_of_classes() -> None:
    assert errors.__doc__ is not None
    drawn = re.findall(r"^(\|? *)(?:\+-- )?([A-Z]\w+)  ", errors.__doc__, re.MULTILINE)
    parents = {"ClipmineError": Exception}
    for indent, name in drawn[1:]:
        parents[name] = BadInput if indent else ClipmineError
    classes = {name: entry for name, entry in vars(errors).items() if isinstance(entry, type)}
    assert {name: entry.__base__ for name, entry in classes.items()} == parents


def test_bad_input_exits_with_2_and_other_errors_with_1() -> None:
    assert (ClipmineError.exit_code, DiskFull.exit_code) == (1, 1)
    assert (BadInput.exit_code, MissingDependency.exit_code) == (2, 2)


@pytest.mark.parametrize(
    ("choices", "command"),
    [
        ({}, "pip install ray"),
        ({"extra": "ray"}, "pip install '.[ray]'"),
        ({"command": "apt install x"}, "apt install x"),
    ],
)
def test_a_missing_package_names_the_command_that_installs_it(choices: dict[str, str], command: str) -> None:
    error = MissingDependency("ray", "the executor ray", **choices)
    assert str(error) == f"the executor ray needs ray, which is not installed: {command}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/s3:/bucket/store: is missing", "s3://bucket/store: is missing"),
        ("run `clipmine index /gs:/a/b --modality image`", "run `clipmine index gs://a/b --modality image`"),
        ("'/s3:/a' and (/s3:/b)", "'s3://a' and (s3://b)"),
        ("/data/s3:/x", "/data/s3:/x"),
        ("s3://bucket/x at /home/me", "s3://bucket/x at /home/me"),
        ("1/2:/3", "1/2:/3"),
        ("store=/git+https:/a/b;", "store=git+https://a/b;"),
    ],
)
def test_a_path_that_stands_for_a_url_is_shown_as_the_url(text: str, shown: str) -> None:
    assert str(BadInput(text)) == with_urls(text) == shown
