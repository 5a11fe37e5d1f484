"""The formats by name."""

from __future__ import annotations

import pytest

from index.errors import BadInput
from jobs.commands.import_sets import command
from mining.sets.importers.formats import FORMATS, TABLE, get_format


def test_the_command_offers_every_format() -> None:
    [option] = [each for each in command.params if each.name == "form"]
    assert tuple(option.type.choices) == (*FORMATS, TABLE)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_says_what_it_is(name: str) -> None:
    form = get_format(name)
    assert form.name == name
    assert form.kinds
    assert all(suffix.startswith(".") for suffix in form.suffixes)
    assert form.homepage is None or form.homepage.startswith("https://")
    assert (form.read is None) == (form.write is None)


@pytest.mark.parametrize(
    ("name", "mapping", "message"),
    [
        ("cadinst", (), "--format 'cadinst': choose from cad-inst, cad-eval"),
        ("table", (), "--format table needs the columns"),
        ("llava", (("image", "file"),), "llava has columns of its own"),
    ],
)
def test_what_is_no_format_is_an_error(name: str, mapping: tuple[tuple[str, str], ...], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        get_format(name, mapping)


def test_a_table_has_the_columns_of_its_mapping() -> None:
    form = get_format(TABLE, (("image", "file"), ("answer", "text")), "note")
    assert (form.columns, form.kinds, form.rows) == (("file", "text"), ("note",), True)
