from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.errors import BadInput
from retrieval import Rules
from retrieval.concepts import Concept, ConceptList, concept_list
from retrieval.query_blocks import (
    ModePlan,
    QueryBlock,
    RetrieveConfig,
    block_summary,
    candidates_file,
    count_hits,
    cut_blocks,
    is_block_done,
    owners,
    plan_blocks,
    search_block,
    search_depth,
)
from retrieval.search.candidates import read_candidates
from retrieval.search.retriever import Retriever
from retrieval.templates import load_templates
from tests.retrieval.stores import make_store, random_unit
from tests.retrieval.words import WordEncoder


def config(**choices: Any) -> RetrieveConfig:
    fields = {"store": "", "out": "", "concepts": concept_list(["dog", "cat", "fox"]), **choices}
    return RetrieveConfig(**{"templates": load_templates("name"), **fields})


@pytest.mark.parametrize(
    ("choices", "says"),
    [
        ({"mode": "i2i"}, "mode 'i2i': unknown; valid ones: t2i, t2t, both"),
        ({"k": 0}, "k 0: must be at least 1"),
        ({"reserve": 11}, "reserve 11: a share of k"),
    ],
)
def test_what_cannot_be_retrieved_is_refused(choices: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        config(**choices)


def test_the_configuration_is_written_without_its_output_folder() -> None:
    plain = config(out="somewhere", rules=Rules(per_concept=3)).to_json()
    assert "out" not in plain
    assert plain["rules"]["cap"] == 3
    assert plain["concepts"]["concepts"][0]["name"] == "dog"


def test_blocks_are_whole_concepts_up_to_a_number_of_prompts() -> None:
    assert cut_blocks([3, 3, 3], 6) == [QueryBlock(0, 0, 2, 6), QueryBlock(1, 2, 3, 3)]
    assert cut_blocks([3, 9, 1], 6) == [QueryBlock(0, 0, 1, 3), QueryBlock(1, 1, 2, 9), QueryBlock(2, 2, 3, 1)]
    assert plan_blocks(config(templates=load_templates("simple"), block_queries=14)) == [
        QueryBlock(0, 0, 2, 14),
        QueryBlock(1, 2, 3, 7),
    ]


def test_the_depth_is_k_and_its_reserve_within_the_store() -> None:
    assert [search_depth(5, share, 100) for share in (0, 0.5, 1)] == [5, 8, 10]
    assert search_depth(80, 0.5, 100) == 100


def test_prompts_know_their_concept_and_hits_are_counted_within_k() -> None:
    concept, prompt = owners([2, 1], first=5)
    assert (concept.tolist(), prompt.tolist()) == ([5, 5, 6], [0, 1, 0])
    rows = np.array([[1, 2, 3], [4, -1, -1], [-1, -1, -1]])
    assert count_hits(concept, rows, 2, 5, 2).tolist() == [3, 0]


def test_a_searched_block_leaves_its_candidates_and_a_marker(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(20), random_unit(20, seed=1))
    words = {"dog": random_unit(1, seed=5)[0], "cat": random_unit(1, seed=6)[0]}
    encoder: Any = WordEncoder(words, 8)
    job = config(
        store=str(store.path),
        out=str(tmp_path / "out"),
        concepts=ConceptList((Concept("dog", ("hound",)), Concept("cat"))),
        k=4,
    )
    (block,) = plan_blocks(job)
    assert not is_block_done(block, job)
    seen: list[int] = []
    plans: dict[Any, ModePlan] = {mode: ModePlan("exact", f"asked of {mode}", None, "rows") for mode in job.modes}
    summary = search_block(block, job, plans, retriever=Retriever(store, encoder), on_progress=seen.append)
    assert summary["plans"]["t2t"] == {"method": "exact", "why": "asked of t2t"}
    assert seen == [3, 3]  # three prompts, in two modes
    assert summary["hits"] == [2 * 2 * 4, 2 * 4]
    assert is_block_done(block, job)
    assert block_summary(block, job) == summary
    found = read_candidates(candidates_file(job.out, block))
    assert set(found.concept.tolist()) == {0, 1}
    assert (found.primary & (found.concept == 1)).sum() == 8
