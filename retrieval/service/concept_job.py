"""A concept list that was sent to the service, counted and checked before any work is done for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from index.errors import BadInput
from retrieval.concepts import Concept, ConceptList, concept_list
from retrieval.query_blocks import QueryBlock, cut_blocks, search_depth
from retrieval.rules import Rules
from retrieval.search.candidates import MODES
from retrieval.search.retriever import SEARCHED
from retrieval.service.limits import OverLimit, check_count, check_k, check_seconds, list_bytes
from retrieval.service.query_vectors import unit_vector, vectors_of_base64
from retrieval.service.schemas import MOST_TEXT, ConceptItem, ConceptsRequest
from retrieval.service.search import Service
from retrieval.templates import PLACE, TEMPLATE_SETS, Templates, load_templates

__all__ = ["ConceptJob", "ConceptSize", "check_time", "measure", "prepare"]

COLUMNS = ("key", "shard", "caption", "url")


@dataclass(frozen=True)
class ConceptSize:
    """What a request would take, from the lengths of its lists alone.

    counts: prompts of each concept, before equal ones are merged. depth: rows to search a prompt. needed: bytes.
    """

    counts: tuple[int, ...]
    depth: int
    modes: tuple[str, ...]
    needed: int


@dataclass(frozen=True)
class ConceptJob:
    """A checked request. prompts: for each concept its texts, or its vectors [n, d]; depth: rows to search a prompt.

    methods: by mode, "hnsw", "exact" or None for the planner's choice.
    """

    concepts: ConceptList
    prompts: tuple[tuple[str, ...] | npt.NDArray[np.float32], ...]
    modes: tuple[str, ...]
    k: int
    depth: int
    rules: Rules
    columns: tuple[str, ...]
    methods: dict[str, str | None]
    blocks: tuple[QueryBlock, ...]

    @property
    def queries(self) -> int:
        return sum(block.queries for block in self.blocks)


def measure(service: Service, request: ConceptsRequest) -> ConceptSize:
    """Count what a request would take. BadInput for more than the settings allow, or for what the store cannot do."""
    store, settings = service.backend.store, service.settings
    check_count(len(request.concepts), settings, "max_concepts")
    check_k(request.k, settings, store.rows)
    depth = search_depth(request.k, request.reserve, store.rows)
    if depth > max(settings.max_depth, request.k):
        raise OverLimit(
            "max_depth",
            f"k {request.k} with reserve {request.reserve:g} searches {depth:,} rows a prompt: at most "
            f"{settings.max_depth:,} here; ask for less",
        )
    modes = MODES if request.mode == "both" else (request.mode,)
    if "t2t" in modes and not store.has_text:
        raise BadInput("the store has no text embeddings, so no t2t; use the mode t2i")
    shared = _TemplateLengths.of(_templates(request).texts)
    counts, characters = [], 0
    for concept in request.concepts:
        item = ConceptItem(name=concept) if isinstance(concept, str) else concept
        count, length, longest = _prompts_of(item, shared, store.dim)
        if longest > MOST_TEXT:
            raise BadInput(
                f"concept {item.name[:80]!r}: its prompts may have {longest:,} characters: at most {MOST_TEXT:,} are "
                "read here; use shorter templates"
            )
        counts.append(count)
        characters += length
    check_count(sum(counts), settings, "max_prompts")
    apart = request.rules.cross_concept == "keep-all"
    needed = list_bytes(counts, characters, depth=depth, modes=len(modes), rows=store.rows, apart=apart)
    return ConceptSize(tuple(counts), depth, modes, needed)


async def check_time(service: Service, request: ConceptsRequest, size: ConceptSize) -> dict[str, str | None]:
    """The method of each mode, as the operator allows; BadInput for a list that is expected to take too long."""
    methods, seconds = {}, 0.0
    for mode in size.modes:
        modality = SEARCHED[mode]
        methods[mode] = await service.method(request.method, modality)
        queries = [block.queries for block in cut_blocks(size.counts)]
        for count in set(queries):
            plan = await service.backend.plan(modality, max(count, 1), size.depth, methods[mode])
            seconds += plan.seconds * queries.count(count)
            check_seconds(plan, service.settings, "list_seconds", f"{len(size.counts)} concepts")
    if seconds > service.settings.list_seconds:
        raise OverLimit(
            "list_seconds",
            f"{len(size.counts)} concepts with {sum(size.counts)} prompts: expected to take {seconds:,.0f} s, at most "
            f"{service.settings.list_seconds:g} s here; send the list in parts",
        )
    return methods


def prepare(
    service: Service, request: ConceptsRequest, size: ConceptSize, methods: dict[str, str | None]
) -> ConceptJob:
    """The concepts and prompts of a request that was measured. BadInput for one that cannot be answered."""
    store = service.backend.store
    templates = _templates(request)
    items = [ConceptItem(name=item) if isinstance(item, str) else item for item in request.concepts]
    concepts = concept_list(
        Concept(
            item.name,
            tuple(item.aliases),
            None if item.templates is None else tuple(item.templates) or None,
            item.id,
            tuple(item.prompts),
        )
        for item in items
    )
    prompts = tuple(
        _prompts(concept, item, templates, store.dim) for concept, item in zip(concepts, items, strict=True)
    )
    return ConceptJob(
        concepts,
        prompts,
        size.modes,
        request.k,
        size.depth,
        request.rules.to_rules(),
        tuple(dict.fromkeys(request.columns)) if request.columns is not None else COLUMNS,
        methods,
        tuple(cut_blocks([len(own) for own in prompts])),
    )


def _templates(request: ConceptsRequest) -> Templates:
    for text in request.templates:
        if text not in TEMPLATE_SETS and PLACE not in text:
            raise BadInput(f"template {text!r}: give {', '.join(TEMPLATE_SETS)} or a text with {PLACE}")
    return load_templates(request.templates or ["simple"])


@dataclass(frozen=True)
class _TemplateLengths:
    """What decides how long the prompts of templates are: how many, their characters, their places for a name.

    longest, most_places: of a single template.
    """

    count: int
    characters: int
    places: int
    longest: int
    most_places: int

    @classmethod
    def of(cls, texts: Sequence[str]) -> _TemplateLengths:
        lengths, places = [len(text) for text in texts], [text.count(PLACE) for text in texts]
        return cls(len(texts), sum(lengths), sum(places), max(lengths, default=0), max(places, default=0))


def _prompts_of(item: ConceptItem, shared: _TemplateLengths, dim: int) -> tuple[int, int, int]:
    """The number of an item's prompts, their characters, and the most that one of them may have.

    shared: the list's templates.
    """
    if item.embeddings_b64 is not None:
        return max(1, len(item.embeddings_b64) * 3 // 4 // (4 * dim)), 2 * len(item.embeddings_b64), 0
    own = item.templates or (() if item.prompts else None)
    templates = shared if own is None else _TemplateLengths.of(own)
    names = [len(item.name), *map(len, item.aliases)]
    filled = len(names) * templates.characters + templates.places * sum(names)
    longest = templates.longest + templates.most_places * max(names) if templates.count else 0
    return len(item.prompts) + len(names) * templates.count, sum(map(len, item.prompts)) + filled, longest


def _prompts(
    concept: Concept, item: ConceptItem, templates: Templates, dim: int
) -> tuple[str, ...] | npt.NDArray[np.float32]:
    if item.embeddings_b64 is None:
        return concept.prompts(templates.texts)
    vectors = vectors_of_base64(item.embeddings_b64, dim, f"concept {item.name!r}")
    return np.stack([unit_vector(vector, dim, place) for place, vector in enumerate(vectors)])
