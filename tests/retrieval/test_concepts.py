from __future__ import annotations

import io
from pathlib import Path

import pytest

from index.errors import BadInput
from retrieval.concepts import Concept, concept_labels, concept_list, load_concepts
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
        ("a.csv", "", r"a\.csv: no concept in it"),
        ("a.csv", "dog\ncat\n", r"a\.csv, line 1: the first line of a CSV file names its columns, name and id"),
        ("a.csv", "name,id\nkite, bird of prey,21\n", r"a\.csv, line 2: has 3 cells, not 2; put a name with a comma"),
        ("a.csv", "name\ndog\nDOG\n", r"a\.csv, line 3: 'DOG' is given twice \(line 2\); .* an id each"),
        ("a.csv", "name,id\ncrane,134\ncrane,\n", r"a\.csv, line 3: 'crane' is given twice \(line 2\)"),
        ("a.csv", "id,name\n134,crane\n134,Crane\n", r"a\.csv, line 3: .* with the id 134; give .* different ids"),
        ("a.yaml", "- {name: a, id: 1, aliases: [b]}\n- {name: B}\n", r"line 2: 'B' is given twice \(line 1\)"),
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


def test_two_classes_of_one_name_have_an_id_each(tmp_path: Path) -> None:
    content = 'name,id\r\n# ImageNet\r\ncrane,134\r\n"kite, bird of prey",21\r\ncrane,517\r\n'
    from_csv = load_concepts(write(tmp_path, "a.csv", b"\xef\xbb\xbf" + content.encode()))
    assert from_csv.names == ("crane", "kite, bird of prey", "crane")
    assert [concept.class_id for concept in from_csv] == ["134", "21", "517"]
    assert from_csv.labels == ("crane (134)", "kite, bird of prey", "crane (517)")
    from_yaml = load_concepts(write(tmp_path, "a.yaml", "- {name: crane, id: 134}\n- {name: crane, id: 517}\n"))
    assert from_yaml.labels == ("crane (134)", "crane (517)")
    assert concept_list([Concept("crane", class_id="1"), Concept("Crane", class_id="2")]).labels == ("crane", "Crane")


def test_the_thousand_names_of_imagenet_are_a_concept_list() -> None:
    from open_clip import zero_shot_metadata

    names = list(zero_shot_metadata.IMAGENET_CLASSNAMES)
    twice = sorted({name for name in names if names.count(name) > 1})
    assert (len(names), twice) == (1000, ["missile", "sunglasses"])  # crane and maillot in the list before that one
    concepts = concept_list(Concept(name, class_id=str(place)) for place, name in enumerate(names))
    assert concepts.names == tuple(names)
    assert len(set(concepts.labels)) == 1000


def test_labels_differ_whatever_the_names_are() -> None:
    assert concept_labels([("a", "1"), ("a", "2"), ("a (1)", None)]) == ("a (1)'", "a (2)", "a (1)")
    assert concept_labels([("dog", "5"), ("cat", None)]) == ("dog", "cat")


@pytest.mark.parametrize("name", ["می\u200cروم", "क्\u200dष", "👨\u200d👩\u200d👧", "\u200fكلب", "Donau\u00addampf"])
def test_joiners_and_marks_of_a_script_are_part_of_a_name(name: str, tmp_path: Path) -> None:
    assert load_concepts(write(tmp_path, "a.txt", f"{name}\n")).names == (name,)


def test_names_that_differ_only_in_what_nobody_sees_are_given_twice(tmp_path: Path) -> None:
    for other in ("Donau\u00addampf", "\u200fDonaudampf", "donaudampf"):
        with pytest.raises(BadInput, match=r"line 2: .* is given twice \(line 1\)"):
            load_concepts(write(tmp_path, "a.txt", f"Donaudampf\n{other}\n"))
    with pytest.raises(BadInput, match="is given twice"):
        load_concepts(write(tmp_path, "a.txt", "caf\u00e9\ncafe\u0301\n"))
    assert len(load_concepts(write(tmp_path, "a.txt", "می\u200cروم\nمیروم\n"))) == 2


def test_invisible_marks_and_skipped_lines_are_noted(tmp_path: Path) -> None:
    listed = load_concepts(write(tmp_path, "a.txt", "#hashtag\nDonau\u00addampf\n"))
    assert listed.notes == (
        "skipped: 1 comment line ('#hashtag')",
        "1 name holds invisible marks (soft hyphens, writing direction), which are kept: 'Donau\\xaddampf'",
    )
    with pytest.raises(BadInput, match=r"no concept in it \(skipped: 1 comment line \('#hashtag'\)\)"):
        load_concepts(write(tmp_path, "a.txt", "#hashtag\n"))


def test_a_list_is_written_as_before_unless_it_has_literal_prompts() -> None:
    plain = {"name": "dog", "aliases": (), "templates": None, "class_id": None}
    assert concept_list(["dog"]).to_json() == {"concepts": [plain], "templates": None}
    literal = concept_list([Concept("dog", literal_prompts=("A dog barks.",))])
    assert literal.to_json()["concepts"] == [{**plain, "literal_prompts": ("A dog barks.",)}]
