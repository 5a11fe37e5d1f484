"""A pasted concept list becomes what POST /concepts takes, or one line that says why not."""

from __future__ import annotations

import httpx
import pytest

from index.errors import BadInput
from retrieval.service.concept_text import read_list
from retrieval.service.limits import OverLimit
from retrieval.service.schemas import ConceptListResponse
from retrieval.service.settings import Settings

YAML = """
templates: ["a {}."]
concepts:
  - red circle
  - {name: crane, id: 134, prompts: [a tall bird]}
"""


def read(text: str, **settings: int) -> ConceptListResponse:
    return ConceptListResponse.model_validate_json(read_list(text, Settings(**settings)))  # type: ignore[arg-type]


def test_a_text_in_any_form_becomes_concepts() -> None:
    listed = read(YAML)
    assert [each.model_dump(exclude_defaults=True) for each in listed.concepts] == [
        {"name": "red circle"},
        {"name": "crane", "id": "134", "prompts": ["a tall bird"]},
    ]
    assert listed.templates == ["a {}."]
    assert read("# mine\ndog\n").notes == ["skipped: 1 comment line ('# mine')"]
    with pytest.raises(BadInput, match=r"concept 'xxx.*name: .* at most 1000"):
        read("x" * 1_001)


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


def test_a_list_of_too_many_concepts_is_refused_before_it_is_written() -> None:
    with pytest.raises(OverLimit, match="3 concepts: at most 2 a request"):
        read("a\nb\nc", max_concepts=2)


@pytest.mark.parametrize(
    ("text", "says"),
    [("- a\n" * 50_000, "YAML or JSON of 200,000 characters: at most 100,000"), ("[" * 9_000, "nested too deeply")],
)
def test_a_text_that_would_take_long_to_read_is_refused(text: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        read(text)


def test_many_ids_of_one_name_are_compared_by_id() -> None:
    names = "name,id\n" + "".join(f"crane,{number}\n" for number in range(15_000))
    assert len(read(names).concepts) == 15_000
    with pytest.raises(BadInput, match="crane"):
        read(names + "crane,7\n")
