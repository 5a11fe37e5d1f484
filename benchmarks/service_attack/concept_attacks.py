"""Attacks by concept lists, with a token: prompts that explode, lists of one name, many lists at once."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.service_attack.attacker import Attacker, attack

TEXT = 1_000_000  # characters of a list's text that the service takes


@attack(needs_token=True)
async def aliases_times_templates(a: Attacker) -> None:
    """0.3 MB of a list: 140 concepts with 100 aliases each, in 1,000 templates: 14 million prompts; and 199,000."""
    items = [{"name": f"c{n}", "aliases": [f"a{n}x{m}" for m in range(100)]} for n in range(140)]
    templates = [f"t{n} {{}}" for n in range(1_000)]
    few = [{"name": "c", "aliases": [f"a{m}" for m in range(198)]}]
    requests = [_concepts(a, concepts=items, templates=templates), _concepts(a, concepts=few, templates=templates)]
    a.begin()
    await a.keep_asking(6, requests)


@attack(needs_token=True)
async def names_times_templates(a: Attacker) -> None:
    """20,000 names in 1,000 templates: 20 million prompts by a body of 0.2 MB, which are counted one by one."""
    request = _concepts(a, concepts=[f"c{n}" for n in range(20_000)], templates=[f"t{n}{{}}" for n in range(1_000)])
    a.begin()
    await a.keep_asking(6, [request])


@attack(needs_token=True)
async def long_templates(a: Attacker) -> None:
    """Names of 1,000 characters in templates with 333 places: prompts of 333,000 characters."""
    template = ["{}" * 330 + f" {n}" for n in range(10)]
    items = [{"name": "n" * 990 + str(n), "aliases": ["m" * 980 + f"{n} {m}" for m in range(9)]} for n in range(10)]
    a.begin()
    await a.keep_asking(4, [_concepts(a, concepts=items, templates=template, k=1, mode="t2i")])


@attack(needs_token=True)
async def list_of_yaml(a: Attacker) -> None:
    """1 MB of YAML for /concepts/list, and the 2 MB that it refuses."""
    item = "- {name: concept %06d, id: %d, aliases: [a, b], templates: ['a {}']}\n"
    text = "".join(item % (n, n) for n in range(TEXT // 75))
    flow = "[" + ",".join(f"a{n}" for n in range(TEXT // 8)) + "]"
    a.begin()
    await a.keep_asking(4, [_list(a, text), _list(a, flow), _list(a, text * 2)])


@attack(needs_token=True)
async def list_of_csv(a: Attacker) -> None:
    """1 MB of CSV for /concepts/list."""
    text = "name,id\n" + "".join(f"c{n},{n}\n" for n in range(TEXT // 15))
    a.begin()
    await a.keep_asking(4, [_list(a, text), _list(a, text * 2)])


@attack(needs_token=True)
async def list_of_one_name(a: Attacker) -> None:
    """CSV for /concepts/list whose 100,000 concepts have one name and different ids; and 20,000 such for /concepts."""
    text = "name,id\n" + "".join(f"a,{n}\n" for n in range(100_000))
    items = [{"name": "a", "id": str(n), "prompts": ["p"]} for n in range(20_000)]
    a.begin()
    await a.keep_asking(4, [_list(a, text), _concepts(a, concepts=items, k=1)])


@attack(needs_token=True)
async def list_of_brackets(a: Attacker) -> None:
    """1 MB of opening brackets for /concepts/list, which YAML's scanner walks for each of them."""
    a.begin()
    await a.keep_asking(4, [_list(a, "[" * (TEXT - 10)), _list(a, "[[{" * (TEXT // 3 - 10)), _list(a, "? " * 400_000)])


@attack(needs_token=True)
async def list_of_quotes(a: Attacker) -> None:
    """1 MB for /concepts/list of one CSV cell, of a YAML text that does not end, of layout marks, of empty lines."""
    texts = ["name,id\n" + '"' + "a" * TEXT, "- '" + "a\n\n" * 300_000, "\u200f\u00ad" * 490_000, "\n" * 990_000 + "a"]
    a.begin()
    await a.keep_asking(4, [_list(a, text[:TEXT]) for text in texts])


@attack(needs_token=True)
async def million_concepts(a: Attacker) -> None:
    """/concepts with 1,000,000 objects, of which 20,000 are allowed, in 14 MB."""
    body = b'{"concepts":[' + b'{"name":"a"},' * 999_999 + b'{"name":"a"}]}'
    a.begin()
    await a.keep_asking(3, [a.request("POST", "/concepts", body)])


@attack(needs_token=True)
async def twelve_lists(a: Attacker) -> None:
    """12 concept lists at once, of 300 concepts in 7 templates each; two may run."""
    requests = [_concepts(a, concepts=[f"concept {n} {c}" for c in range(300)], k=200) for n in range(12)]
    a.begin()
    await a.keep_asking(12, requests)


@attack(needs_token=True)
async def large_lists(a: Attacker) -> None:
    """Lists with k 1,000, reserve 9 and both modes: 10,000 candidates a prompt."""
    names = [f"concept {n}" for n in range(400)]
    a.begin()
    await a.keep_asking(4, [_concepts(a, concepts=names, templates=["name"], k=1_000, reserve=9)])


@attack(needs_token=True)
async def near_duplicate_rules(a: Attacker) -> None:
    """Lists with the rule near_duplicates, which compares all pairs of some 20,000 rows."""
    fields = {"templates": ["name"], "k": 1_000, "mode": "t2i", "columns": []}
    names = [f"concept {n}" for n in range(300)]
    rules = [{"near_duplicates": 1.0}, {"near_duplicates": 1.0, "cross_concept": "keep-all"}]
    a.begin()
    await a.keep_asking(4, [_concepts(a, concepts=names, rules=each, **fields) for each in rules])


@attack(needs_token=True)
async def hung_up_lists(a: Attacker) -> None:
    """32 clients send a list of 1,000 concepts, read the first bytes and hang up."""
    requests = [_concepts(a, concepts=[f"concept {n} {c}" for c in range(1_000)], k=100) for n in range(4)]
    a.begin()

    async def once(number: int) -> None:
        with a.counted():
            sock = await a.connect()
            try:
                await a.send(sock, requests[number % 4])
                await a.status(sock, drain=False)
            finally:
                sock.close()

    await a.crowd(32, once)


@attack(needs_token=True)
async def many_labels(a: Attacker) -> None:
    """Concepts whose names are the labels that other concepts would get, so that each label is tried many times."""
    names = [{"name": "x (1)" + "'" * n, "prompts": ["p"]} for n in range(900)]
    same = [{"name": "x", "id": i, "prompts": ["p"]} for i in ("1", "2")]
    rules = {"cross_concept": "keep-all"}
    a.begin()
    await a.keep_asking(4, [_concepts(a, concepts=names + same, rules=rules, k=1)])


def _concepts(a: Attacker, **fields: Any) -> bytes:
    return a.request("POST", "/concepts", json.dumps(fields).encode())


def _list(a: Attacker, text: str) -> bytes:
    return a.request("POST", "/concepts/list", json.dumps({"text": text}).encode())
