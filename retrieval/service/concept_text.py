"""A concept list as a text, as people paste it into the page, made into what POST /concepts takes."""

from __future__ import annotations

from pydantic import ValidationError

from index.errors import BadInput
from retrieval.concepts import parse_concept_list
from retrieval.service.limits import check_count
from retrieval.service.schemas import ConceptItem, ConceptListResponse
from retrieval.service.settings import Settings

__all__ = ["read_list"]


def read_list(text: str, settings: Settings) -> bytes:
    """The concepts of a text in any form that a concept file has, as the JSON of a `ConceptListResponse`.

    Raises BadInput, with the line, for a text that is none, and OverLimit for one of too many concepts.
    """
    listed = parse_concept_list(text, "the concept list")
    check_count(len(listed), settings, "max_concepts")
    items = []
    for concept in listed:
        try:
            items.append(
                ConceptItem(
                    name=concept.name,
                    aliases=list(concept.aliases),
                    templates=None if concept.templates is None else list(concept.templates),
                    id=concept.class_id,
                    prompts=list(concept.literal_prompts),
                )
            )
        except ValidationError as error:
            what = error.errors()[0]
            raise BadInput(f"concept {concept.name!r:.80}: {what['loc'][0]}: {what['msg']}") from error
    templates = None if listed.templates is None else list(listed.templates)
    response = ConceptListResponse(concepts=items, templates=templates, notes=list(listed.notes))
    return response.model_dump_json(exclude_none=True).encode()
