from __future__ import annotations

import io
from pathlib import Path

import pytest

from index.errors import BadInput
from retrieval.concepts import Concept, concept_list, load_concepts
from retrieval.templates import load_templates


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_text_file_gives_one_concept_a_line(tmp_path: Path) -> None:
    path = write(
        tmp_path, "birds.txt", b"\xef\xbb\xbf# birds\r\nhouse  finch \r\n\r\nJunco\r\n  # more\r\ngreat grey owl"
    )
    assert load_concepts(path).names == ("house finch", "Junco", "great grey owl")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", r"a\.txt: no concept in it"),
        ("a.txt", "# only this\n\n", r"a\.txt: no concept in it"),
        ("a.txt", "dog\n   \ncat\n", r"a\.txt, line 2: a concept of only spaces"),
        ("a.txt", "dog\ncat\n Dog\n", r"a\.txt, line 3: 'Dog' is given twice \(line 1\)"),
        ("a.txt", "red  fox\nRed Fox\n", r"a\.txt, line 2: 'Red Fox' is given twice \(line 1\)"),
        ("a.txt", b"dog\ncaf\xe9\n", r"a\.txt, line 2: not UTF-8"),
        ("a.txt", b"dog\nca\x00t\n", r"a\.txt, line 2: .*control character"),
        ("a.yaml", "", r"a\.yaml: no concept in it"),
        ("a.yaml", "concepts: []\n", r"a\.yaml: no concept in it"),
        ("a.yaml", "concepts:\n  - '  '\n", r"a\.yaml, line 2: a concept of only spaces"),
        ("a.yaml", "concepts: [dog]\ntemplates: ['a photo']\n", r"a\.yaml, line 2: .*has no \{\}"),
        ("a.yaml", "concepts: [dog]\ntemplates: []\n", r"a\.yaml, line 2: 'templates' is empty"),
        ("a.yaml", "concept: [dog]\n", r"a\.yaml, line 1: unknown key 'concept'"),
        ("a.yaml", "templates: [simple]\n", r"a\.yaml, line 1: has no key 'concepts'"),
        ("a.yaml", "- name: dog\n  nmae: cat\n", r"a\.yaml, line 2: unknown key 'nmae'"),
        ("a.yaml", "- dog\n- {name: cat, aliases: [DOG]}\n", r"a\.yaml, line 2: 'DOG' is given twice \(line 1\)"),
        ("a.yaml", "- id: 3\n", r"a\.yaml, line 1: this concept has no 'name'"),
        ("a.yaml", "- dog\n- [a, b]\n", r"a\.yaml, line 2: a concept is a name"),
        ("a.yaml", "- {name: dog, templates: [a {}]}\n", r"a\.yaml, line 1: "),
        ("a.yaml", "dog\n", r"a\.yaml, line 1: expected a list"),
        ("a.yaml", "- dog\n- 'cat\n", r"a\.yaml, line 3: not YAML"),
        ("a.yaml", "- !!python/object/apply:os.system [ls]\n", r"a\.yaml, line 1: a concept is a name"),
    ],
)
def test_bad_lists_are_refused_in_one_line_that_says_where(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        load_concepts(write(tmp_path, name, content))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"none\.txt: no such file"):
        load_concepts(tmp_path / "none.txt")


def test_a_folder_is_not_a_list(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read as a file"):
        load_concepts(tmp_path)


def test_yaml_carries_templates_aliases_and_class_ids(tmp_path: Path) -> None:
    content = """
templates: [name, "a drawing of a {}."]
concepts:
  - house finch
  - name: crane
    id: 0134
    aliases: [crane bird]
    templates: "a {}, a kind of bird."
  - no
"""
    concepts = load_concepts(write(tmp_path, "birds.yml", content))
    assert concepts.concepts == (
        Concept("house finch"),
        Concept("crane", ("crane bird",), ("a {}, a kind of bird.",), "0134"),
        Concept("no"),
    )
    assert concepts.prompts(load_templates("simple")) == (
        ("house finch", "a drawing of a house finch."),
        ("a crane, a kind of bird.", "a crane bird, a kind of bird."),
        ("no", "a drawing of a no."),
    )


def test_a_plain_yaml_list_is_enough(tmp_path: Path) -> None:
    assert load_concepts(write(tmp_path, "a.yaml", "- dog\n- cat\n")).names == ("dog", "cat")


def test_names_from_python_follow_the_same_rules() -> None:
    assert concept_list(["dog", " red  fox"]).names == ("dog", "red fox")
    with pytest.raises(BadInput, match="'Dog' is given twice"):
        concept_list(["dog", "Dog"])
    with pytest.raises(BadInput, match="no concept"):
        concept_list([])
    with pytest.raises(BadInput, match="only spaces"):
        concept_list([" "])


def test_a_concepts_prompts_hold_each_text_once() -> None:
    concept = Concept("dog", ("dog",))
    assert concept.prompts(("a {}", "a {}", "{}")) == ("a dog", "dog")


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    def type_in(content: bytes) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))

    type_in(b"# pets\ndog\n\ncat\n")
    assert load_concepts("-").names == ("dog", "cat")
    type_in(b"dog\nDog\n")
    with pytest.raises(BadInput, match=r"standard input, line 2: 'Dog' is given twice \(line 1\)"):
        load_concepts("-")
    type_in(b"# of one kind\na photo of a {}.\n")
    templates = load_templates("-")
    assert (templates.name, templates.texts) == ("standard input", ("a photo of a {}.",))
