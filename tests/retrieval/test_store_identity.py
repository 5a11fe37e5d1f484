"""A store's identity does not change when it moves, grows or forgets rows."""

from __future__ import annotations

from pathlib import Path

from retrieval.store_identity import describe_store, store_identity
from tests.retrieval.stores import forget, make_store, random_unit


def test_growth_and_forgetting_do_not_change_the_identity_of_the_parts_before(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(40))
    before = store_identity(store)
    forget(store, [3])
    assert store_identity(store) == before
    grown = make_store(tmp_path, random_unit(80), parts=4)
    assert store_identity(grown) != before
    assert store_identity(grown, parts=2) == before


def test_the_description_leads_from_a_selection_to_its_store(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(40))
    said = describe_store(store, str(tmp_path / "selections" / "dogs"))
    assert said["relative"] == "../../store"
    assert (said["rows"], said["parts"], said["identity"]) == (40, 2, store_identity(store))
    assert describe_store(store, "s3://bucket/dogs")["relative"] is None
