"""YAML and JSON concept lists: literal prompts, prompts by name, and lines in every error."""

from __future__ import annotations

import json

import pytest

from index.errors import BadInput
from retrieval.concept_yaml import parse_yaml
from retrieval.concepts import concept_labels, parse_concept_list
from retrieval.templates import load_templates

TENCH = ["A tench is a long, olive fish.", "A photo of a tench with red eyes."]


def test_literal_prompts_stand_in_place_of_templates() -> None:
    text = f"""
templates: ["a photo of a {{}}."]
concepts:
  - {{name: tench, id: 0, prompts: {json.dumps(TENCH)}}}
  - name: crane
    aliases: [wading bird]
    templates: ["a {{}}."]
    prompts: "A crane is tall."
  - finch
"""
    listed = parse_concept_list(text, "the list")
    assert listed.prompts(load_templates("simple")) == (
        tuple(TENCH),
        ("A crane is tall.", "a crane.", "a wading bird."),
        ("a photo of a finch.",),
    )


def test_prompts_by_name_are_read_as_cupl_writes_them() -> None:
    listed = parse_concept_list(json.dumps({"tench": TENCH, "no": ["A sign that says no."]}), "cupl.json")
    assert listed.names == ("tench", "no")
    assert listed.prompts(load_templates("simple")) == (tuple(TENCH), ("A sign that says no.",))
    assert concept_labels([(each.name, each.class_id) for each in listed]) == ("tench", "no")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- {name: tench, prompts: []}", "line 1: 'prompts' is empty"),
        (
            "- name: tench\n  prompts: ['a photo of {}']",
            r"line 2: the prompt 'a photo of \{\}' holds \{\}; put it under",
        ),
        ("- name: tench\n  prompts: ['  ']", "line 2: a prompt of only spaces"),
        ("- name: tench\n  prompt: ['long']", "line 2: unknown key 'prompt'; valid here: .*, prompts"),
        ("concept: [dog]", "line 1: unknown key 'concept'"),
        ("[" * 100_000, "nested too deeply"),
        ('- "\\U00110000"', "the list: not YAML: one of its escapes is no character"),
        ('- "\\UFFFFFFFF"', "the list: not YAML: one of its escapes is no character"),
    ],
)
def test_what_cannot_be_read_is_named_by_its_line(text: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        parse_yaml(text, "the list")


def test_aliases_are_for_files_of_ones_own() -> None:
    text = "- {name: a, prompts: &same [a long text]}\n- {name: b, prompts: *same}\n"
    assert [each.prompts for each in parse_yaml(text, "mine").concepts] == [("a long text",)] * 2
    with pytest.raises(BadInput, match=r"line 2: YAML aliases \(\*name\) are not read here"):
        parse_concept_list(text, "the list")
    with pytest.raises(BadInput, match="no character"):
        parse_concept_list('- "\\U00110000"', "the list")
