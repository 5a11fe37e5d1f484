"""Concept lists are read by their form, whatever the file is called, and what is passed over is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from index.errors import BadInput
from retrieval.concept_files import parse_concepts, read_concepts


def names(text: str, suffix: str = "") -> list[str]:
    return [each.name for each in parse_concepts(text, "the list", suffix).concepts]


def test_comments_and_empty_lines_are_counted_and_shown() -> None:
    found = parse_concepts("# birds\n\n#hashtag\n\\#blessed\njunco\n\n", "the list")
    assert [each.name for each in found.concepts] == ["#blessed", "junco"]
    assert found.notes == ("skipped: 2 comment lines ('# birds', '#hashtag'), 2 empty lines",)
    assert parse_concepts("junco\nfinch\n", "the list").notes == ()


@pytest.mark.parametrize(
    "text",
    [
        'name,id\n"kite, a bird",21\ncrane,517\n',
        'id;name\n21;"kite, a bird"\n517;crane\n',
        "# of mine\nname\tid\nkite, a bird\t21\ncrane\t517\n",
        "- {name: 'kite, a bird', id: 21}\n- name: crane\n  id: 517\n",
        'concepts:\n  - {name: "kite, a bird", id: 21}\n  - {name: crane, id: 517}\n',
        '[{"name": "kite, a bird", "id": 21}, {"name": "crane", "id": "517"}]',
    ],
    ids=["comma", "semicolon", "tab", "yaml list", "yaml", "json"],
)
def test_a_table_or_yaml_is_known_by_what_it_holds(text: str) -> None:
    found = parse_concepts(text, "standard input").concepts
    assert [(each.name, each.class_id) for each in found] == [("kite, a bird", "21"), ("crane", "517")]


def test_a_csv_is_read_by_its_columns_and_the_others_are_named() -> None:
    found = parse_concepts("label,definition,class_id\ncrane,a bird,134\n", "a.csv", ".csv")
    assert [(each.name, each.class_id) for each in found.concepts] == [("crane", "134")]
    assert found.notes == ("columns not read: 'definition'",)
    with pytest.raises(BadInput, match=r"a\.csv, line 1: the first line of a CSV file names its columns"):
        parse_concepts("wnid,words\nn1,crane\n", "a.csv", ".csv")
    with pytest.raises(BadInput, match="names its columns"):  # which of the two?
        parse_concepts("class,label\ncrane,bird\n", "a.csv", ".csv")


def test_columns_without_names_are_refused_with_a_hint() -> None:
    with pytest.raises(BadInput, match=r"line 2: holds columns separated by tabs; name them in a first line"):
        parse_concepts("# wnids\nn01440764\ttench\nn01443537\tgoldfish\n", "the list")


def test_names_that_look_a_little_like_another_form_stay_names() -> None:
    listed = ["kite, bird of prey", "name tag", "concepts of art", "- not a list", "C# logo", "a: b", "12"]
    assert names("\n".join(listed)) == listed


def test_the_ending_decides_where_it_says_the_form(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('["dog", "cat"]')
    assert [each.name for each in read_concepts(str(path)).concepts] == ["dog", "cat"]
    assert names("dog: 1\n") == ["dog: 1"]
    with pytest.raises(BadInput, match="unknown key 'dog'"):
        names("dog: 1\n", ".yaml")
