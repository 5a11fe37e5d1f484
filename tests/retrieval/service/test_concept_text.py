"""A pasted concept list becomes what POST /concepts takes, or one line that says why not."""

from __future__ import annotations

import httpx
import pytest

from index.errors import BadInput
from retrieval.service.concept_text import read_list

YAML = """
templates: ["a {}."]
concepts:
  - red circle
  - {name: crane, id: 134, prompts: [a tall bird]}
"""


def test_a_text_in_any_form_becomes_concepts() -> None:
    listed = read_list(YAML)
    assert [each.model_dump(exclude_defaults=True) for each in listed.concepts] == [
        {"name": "red circle"},
        {"name": "crane", "id": "134", "prompts": ["a tall bird"]},
    ]
    assert listed.templates == ["a {}."]
    assert read_list("# mine\ndog\n").notes == ["skipped: 1 comment line ('# mine')"]
    with pytest.raises(BadInput, match=r"concept 'xxx.*name: .* at most 1000"):
        read_list("x" * 1_001)


def test_the_route_gives_what_the_concepts_route_takes(client: httpx.Client) -> None:
    listed = client.post("/concepts/list", json={"text": YAML}).raise_for_status().json()
    assert (listed["templates"], listed["notes"]) == (["a {}."], [])
    body = {"concepts": listed["concepts"], "templates": listed["templates"], "k": 2}
    lines = client.post("/concepts", json=body).raise_for_status().text.splitlines()
    assert '"prompts":2' in lines[0].replace(" ", "")
    refused = client.post("/concepts/list", json={"text": "concepts:\n  - {nome: x}\n"})
    assert refused.status_code == 400
    assert refused.json() == {
        "error": "the concept list, line 2: unknown key 'nome'; valid here: name, id, aliases, templates, prompts"
    }
