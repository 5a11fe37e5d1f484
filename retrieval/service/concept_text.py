"""A concept list as a text, as people paste it into the page, made into what POST /concepts takes."""

from __future__ import annotations

from pydantic import ValidationError

from index.errors import BadInput
from retrieval.concepts import parse_concept_list
from retrieval.service.schemas import ConceptItem, ConceptListResponse

__all__ = ["read_list"]


def read_list(text: str) -> ConceptListResponse:
    """The concepts of a text in any form that a concept file has; BadInput, with the line, for one that is none."""
    listed = parse_concept_list(text, "the concept list")
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
    return ConceptListResponse(concepts=items, templates=templates, notes=list(listed.notes))
