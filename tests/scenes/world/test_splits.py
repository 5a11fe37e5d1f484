from __future__ import annotations

import itertools

import pytest

from scenes.world.catalog import load_catalog
from scenes.world.sample import sample
from scenes.world.splits import (
    GROUPS,
    SPLITS,
    concept_groups,
    domain_concepts,
    frequencies,
    held_out_pair,
    held_out_triple,
)
from scenes.world.words import COLORS


def test_every_type_is_in_exactly_one_group() -> None:
    groups = concept_groups()
    assert tuple(groups) == GROUPS
    names = [name for names in groups.values() for name in names]
    assert sorted(names) == sorted(load_catalog().types)


def test_the_groups_have_their_sizes() -> None:
    sizes = {group: len(names) for group, names in concept_groups().items()}
    assert sizes["rare"] == 20
    assert sizes["absent"] == 8
    assert sizes["made_up"] >= 4
    assert sizes["frequent"] == 36


@pytest.mark.parametrize("split", SPLITS)
def test_frequencies_sum_to_one(split: str) -> None:
    assert sum(frequencies(split).values()) == pytest.approx(1)


def test_rare_concepts_gain_in_the_corpus_and_absent_ones_do_not() -> None:
    groups = concept_groups()
    for name in groups["rare"]:
        assert frequencies("corpus")[name] > 50 * frequencies("pretrain")[name] > 0
    for name in groups["absent"]:
        assert frequencies("corpus")[name] == frequencies("pool")[name] == 0 < frequencies("test")[name]


def test_only_a_few_compositions_are_held_out() -> None:
    catalog = load_catalog()
    triples = [held_out_triple(*parts) for parts in itertools.product(catalog.types, COLORS, catalog.places)]
    pairs = [held_out_pair(a, b) for a, b in itertools.combinations(catalog.types, 2)]
    assert 0.005 < sum(triples) / len(triples) < 0.08
    assert 0.03 < sum(pairs) / len(pairs) < 0.05
    assert held_out_pair("dog", "cat") == held_out_pair("cat", "dog")


def test_domain_concepts_are_thin_in_the_pretraining_of_the_web_clip_and_common_in_its_pool() -> None:
    domain = domain_concepts()
    assert len(set(domain)) == len(domain) == 100
    assert set(domain) <= set(concept_groups()["medium"])
    for name in domain:
        assert frequencies("web_pool")[name] > 4 * frequencies("web_pretrain")[name] > 0
    others = [name for name in concept_groups()["medium"] if name not in domain]
    assert frequencies("web_pool")[others[0]] < frequencies("web_pretrain")[others[0]]


def test_a_split_may_limit_the_objects_of_a_scene() -> None:
    shown = [len(sample("web_pool", number).objects) for number in range(60)]
    assert set(shown) == {1, SPLITS["web_pool"].crowd}
    assert max(len(sample("pool", number).objects) for number in range(60)) > 2
