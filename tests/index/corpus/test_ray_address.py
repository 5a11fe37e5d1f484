"""Only the Ray cluster at RAY_ADDRESS is joined, and one where nothing listens is one line within seconds."""

from __future__ import annotations

import socket

import pytest

from index.corpus import ray_address as ray_address_module
from index.corpus.ray_address import check_answers, ray_address
from index.errors import BadInput


@pytest.mark.parametrize(("named", "joined"), [("10.0.0.1:6379", "10.0.0.1:6379"), ("", "local"), (None, "local")])
def test_only_the_named_cluster_is_joined(named: str | None, joined: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if named is not None:
        monkeypatch.setenv("RAY_ADDRESS", named)
    assert ray_address() == joined


@pytest.mark.parametrize("address", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_an_address_answers_or_is_named(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_address_module, "ANSWER_SECONDS", 1.0)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        named = address.format(listening.getsockname()[1])
        if named.startswith("ray://"):
            check_answers(named)
        else:
            with pytest.raises(
                BadInput, match=f"RAY_ADDRESS {named}: something listens there, and it is no Ray cluster"
            ):
                check_answers(named)
    with pytest.raises(BadInput, match=f"RAY_ADDRESS {named}: no Ray cluster answers there"):
        check_answers(named)


@pytest.mark.parametrize("address", ["local", "auto"])
def test_what_ray_resolves_itself_is_left_to_ray(address: str) -> None:
    check_answers(address)
