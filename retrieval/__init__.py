"""From a concept list to a selection of rows: search, rules, export. Knows no training and no Ray."""

from __future__ import annotations

from retrieval.concepts import Concept, ConceptList, concept_list, load_concepts
from retrieval.export import ExportSummary, export_selection
from retrieval.fetch import FetchSummary, fetch_selection
from retrieval.retrieve import retrieve
from retrieval.rules import Rules
from retrieval.selection import Selection
from retrieval.templates import Templates, load_templates

__all__ = [
    "Concept",
    "ConceptList",
    "ExportSummary",
    "FetchSummary",
    "Rules",
    "Selection",
    "Templates",
    "concept_list",
    "export_selection",
    "fetch_selection",
    "load_concepts",
    "load_templates",
    "retrieve",
]
