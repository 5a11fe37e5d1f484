from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from PIL import Image

from index.store.embedding_store import EmbeddingStore
from mining import ImageSets
from mining.pages import review
from mining.sets.decisions import read_decisions
from retrieval.service.settings import Settings
from tests.fuzzing import fuzz
from tests.mining.made_sets import write_sets
from tests.mining.pages.conftest import ELSEWHERE, LONE, MINED, MISSING, ODD, PAIRS, STORY, TEXT, ServePairs
from tests.mining.sets.test_image_sets import SCHEMA
from tests.retrieval.stores import make_store, random_unit


@pytest.fixture
def decisions(tmp_path: Path) -> Path:
    return tmp_path / "decisions.jsonl"


@pytest.fixture
def client(serve_pairs: ServePairs, decisions: Path) -> Iterator[httpx.Client]:
    with serve_pairs(decisions) as url, httpx.Client(base_url=url, timeout=20) as client:
        yield client


def page(client: httpx.Client, **wanted: Any) -> dict[str, Any]:
    answer: dict[str, Any] = client.get("/pairs", params=wanted).raise_for_status().json()
    return answer


def ids(answer: dict[str, Any]) -> list[str]:
    return [each["set_id"] for each in answer["sets"]]


def test_a_page_of_sets_meets_the_schema_and_says_how_to_go_on(client: httpx.Client) -> None:
    seen: list[str] = []
    answer = page(client, limit=15)
    while True:
        for each in answer["sets"]:
            jsonschema.validate(each, SCHEMA)
        seen += ids(answer)
        if answer["next"] is None:
            break
        answer = page(client, limit=15, cursor=answer["next"])
    assert len(seen) == len(set(seen)) == PAIRS + 4
    assert seen[:4] == ["0_1", "0_2", "3_4", "5_4_3"]
    assert answer["matching"] == PAIRS + 4
    assert answer["counts"] == [
        {"strategy": "attribute", "level": 1, "sets": 1},
        {"strategy": "identity", "level": 3, "sets": 1},
        {"strategy": "overlap", "level": 1, "sets": 1},
        {"strategy": "overlap", "level": 2, "sets": 1},
        {"strategy": "similar", "level": 1, "sets": PAIRS // 2},
        {"strategy": "similar", "level": 2, "sets": PAIRS // 2},
    ]


def test_filters_by_strategy_level_and_text(client: httpx.Client) -> None:
    assert ids(page(client, strategy="overlap")) == ["0_1", "0_2"]
    assert ids(page(client, strategy="overlap", level=1)) == ["0_2"]
    none = page(client, strategy="none")
    assert (ids(none), none["hint"]) == (
        [],
        "there is no strategy 'none'; there is attribute, identity, overlap, similar",
    )
    assert ids(page(client, text="A BALL")) == ["0_1", "0_2"], "in any case, in any caption"
    assert ids(page(client, text="lionel")) == ["5_4_3"]
    found = page(client, text="caption 65")
    assert (ids(found), found["next"], found["looked_at"]) == (["64_65"], None, PAIRS + 4)


def test_a_search_that_looks_at_many_says_where_to_go_on(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(review, "_LOOKED_AT", 10)
    found, cursor, asked = [], 0, 0
    while cursor is not None:
        answer = page(client, text="caption 65", cursor=cursor)
        found += ids(answer)
        cursor, asked = answer["next"], asked + 1
    assert (found, asked) == (["64_65"], 4)


def one(client: httpx.Client, set_id: str) -> httpx.Response:
    return client.get("/pairs/set", params={"set_id": set_id})


def decide(client: httpx.Client, set_id: str, decision: str = "reject") -> httpx.Response:
    return client.post("/pairs/decision", json={"set_id": set_id, "decision": decision})


def test_one_set_by_its_id(client: httpx.Client) -> None:
    each = one(client, "5_4_3").json()
    jsonschema.validate(each, SCHEMA)
    assert (each["entity"], each["size"], each["decision"]) == ("Lionel", 3, None)
    for missing in ("3_4_5", "../1", ""):
        answer = one(client, missing)
        assert (answer.status_code, answer.json()["error"]) == (404, f"there is no set {missing!r}")
    assert client.get("/pairs/set").status_code == 422


def test_a_decision_is_in_the_file_and_in_the_answers(client: httpx.Client, decisions: Path, pairs: ImageSets) -> None:
    assert decide(client, "5_4_3").json() == {"set_id": "5_4_3", "decision": "reject"}
    assert read_decisions(decisions).rejected == {pairs[3].refs}
    assert one(client, "5_4_3").json()["decision"] == "reject"
    assert ids(page(client, decision="reject")) == ["5_4_3"]
    assert "5_4_3" not in ids(page(client, decision="undecided"))
    decide(client, "5_4_3", "keep")
    assert read_decisions(decisions).rejected == frozenset()
    assert ids(page(client, decision="keep")) == ["5_4_3"]
    assert len(decisions.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"decision": "reject"},
        {"set_id": "0_1"},
        {"set_id": "0_1", "decision": "drop"},
        {"set_id": "0_1", "decision": "reject", "rows": [1]},
        {"set_id": 5, "decision": "reject"},
    ],
)
def test_other_bodies_are_refused(client: httpx.Client, decisions: Path, body: object) -> None:
    answer = client.post("/pairs/decision", json=body)
    assert answer.status_code == 422
    assert answer.json()["error"]
    assert not decisions.exists()


def test_what_another_site_can_send_without_asking_is_refused(client: httpx.Client, decisions: Path) -> None:
    """A page elsewhere may send text, or bytes without a type, to this address; JSON it may not."""
    for headers in ({"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"}, {}):
        for path in ("/pairs/decision", "/pairs/annotation"):
            answer = client.post(path, content=b'{"set_id": "0_1", "decision": "reject"}', headers=headers)
            assert answer.status_code == 422
            assert answer.json()["error"] == "send a JSON object, with the header Content-Type: application/json"
    assert not decisions.exists()


@pytest.mark.parametrize(
    "wanted",
    [
        {"limit": 0},
        {"limit": 201},
        {"cursor": -1},
        {"level": -1},
        {"decision": "drop"},
        {"min_difficulty": 1.1},
        {"max_difficulty": "nan"},
        {"replaced": "perhaps"},
        {"kind": "x" * 201},
    ],
)
def test_what_cannot_be_asked_is_one_line(client: httpx.Client, wanted: dict[str, Any]) -> None:
    answer = client.get("/pairs", params=wanted)
    assert answer.status_code == 422
    assert next(iter(wanted)) in answer.json()["error"]


def test_the_token_is_asked_for_by_the_routes_and_not_by_the_page(serve_pairs: ServePairs, decisions: Path) -> None:
    with serve_pairs(decisions, Settings(tokens=("secret",))) as url:
        assert httpx.get(f"{url}/page/pairs/").status_code == 200
        assert httpx.get(f"{url}/page/pairs/main.js").status_code == 200
        for path in ("/pairs", "/pairs/set?set_id=0_1", "/pairs/image?set_id=0_1&position=0"):
            assert httpx.get(url + path).status_code == 401
            assert httpx.get(url + path, headers={"Authorization": "Bearer secret"}).status_code == 200
        for path in ("/pairs/decision", "/pairs/annotation"):
            assert httpx.post(url + path, json={"set_id": "0_1", "decision": "reject"}).status_code == 401
    assert not decisions.exists()


def test_forgotten_rows_are_in_no_answer_from_that_moment(
    client: httpx.Client, pairs_store: EmbeddingStore, decisions: Path
) -> None:
    folder = pairs_store.path / "forgotten"
    assert "6_7" in ids(page(client))
    import numpy as np

    folder.mkdir()
    try:
        np.save(folder / "0000.npy", np.array([7], np.int64))
        assert "6_7" not in ids(page(client))
        assert one(client, "6_7").status_code == 404
        assert client.get("/pairs/image", params={"set_id": "6_7", "position": 0}).status_code == 404
        assert decide(client, "6_7").status_code == 404
    finally:
        (folder / "0000.npy").unlink()
        folder.rmdir()


@pytest.fixture
def of_many(serve_pairs: ServePairs, decisions: Path, joined: ImageSets) -> Iterator[httpx.Client]:
    """The folder of several sources, with annotations."""
    with serve_pairs(decisions, sets=joined) as url, httpx.Client(base_url=url, timeout=20) as client:
        yield client


def picture(client: httpx.Client, set_id: str, position: int, **wanted: Any) -> httpx.Response:
    return client.get("/pairs/image", params={"set_id": set_id, "position": position, **wanted})


def test_images_of_every_source_are_small_jpegs_that_a_browser_keeps(of_many: httpx.Client) -> None:
    for set_id, size in ((MINED, (60, 40)), (ELSEWHERE, (50, 40)), (ODD, (24, 16))):
        for position in (0, 1):
            answer = picture(of_many, set_id, position)
            assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
            assert Image.open(io.BytesIO(answer.content)).size == size
    assert Image.open(io.BytesIO(picture(of_many, MINED, 0, side=30).content)).size == (30, 20)
    assert answer.headers["cache-control"] == "private, max-age=3600"
    assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("set_id", "position", "error"),
    [
        (MISSING, 1, "image 2: missing"),
        (MISSING, 2, f"set '{MISSING}' has no image 3; it has 2"),
        (TEXT, 0, f"set '{TEXT}' has no image 1; it has 0"),
        ("../../etc/passwd", 0, "there is no set '../../etc/passwd'"),
    ],
)
def test_an_image_that_is_not_there_is_a_404_that_says_why(
    of_many: httpx.Client, set_id: str, position: int, error: str
) -> None:
    answer = picture(of_many, set_id, position)
    assert (answer.status_code, answer.json()) == (404, {"error": error})
    assert "cache-control" not in answer.headers


@pytest.mark.parametrize("wanted", [{"position": -1}, {"side": 8}, {"side": 1025}, {"position": 1 << 31}])
def test_an_image_that_cannot_be_asked_for_is_a_422(of_many: httpx.Client, wanted: dict[str, int]) -> None:
    answer = of_many.get("/pairs/image", params={"set_id": MINED, "position": 0, **wanted})
    assert answer.status_code == 422
    assert next(iter(wanted)) in answer.json()["error"]


def test_sets_of_all_sources_and_their_annotations_meet_the_schema(of_many: httpx.Client) -> None:
    answer = page(of_many)
    for each in answer["sets"]:
        jsonschema.validate(each, SCHEMA)
    assert ids(answer) == [MINED, ELSEWHERE, ODD, STORY, MISSING, LONE, TEXT]
    assert {(each["kind"], each["annotator"], each["count"]) for each in answer["annotations"]} == {
        ("comparison", "model", 2),
        ("comparison", "second", 1),
        ("conversation", "model", 1),
        ("question", "teacher", 1),
    }
    assert [len(each["annotations"]) for each in answer["sets"]] == [0, 0, 3, 1, 0, 0, 1]
    assert answer["difficulty"] == [0.0, 0.5]
    assert answer["splits"] == [{"split": "train", "sets": 1}]


def test_a_correction_is_on_the_disk_and_in_the_answers(of_many: httpx.Client, joined: ImageSets) -> None:
    old = one(of_many, ODD).json()["annotations"][0]
    turns = [*old["turns"][:1], {"role": "assistant", "parts": [{"text": "The tail of "}, {"image": 1}]}]
    body = {"set_id": ODD, "parent": old["annotation_id"], "person": " Ann  B ", "turns": turns}
    answer = of_many.post("/pairs/annotation", json=body)
    assert answer.status_code == 200
    new = answer.json()["annotation"]
    assert (new["annotator"]["name"], new["parent"], new["kind"]) == (
        "person:Ann B",
        old["annotation_id"],
        "comparison",
    )
    again = of_many.post("/pairs/annotation", json=body)
    assert again.json() == answer.json(), "the same again is stored once"
    lines = (Path(joined.path) / "annotations" / "corrections.jsonl").read_text().splitlines()
    assert [json.loads(line)["annotation_id"] for line in lines] == [new["annotation_id"]]
    shown = {each["annotation_id"]: each["replaced"] for each in one(of_many, ODD).json()["annotations"]}
    assert (shown[old["annotation_id"]], shown[new["annotation_id"]]) == (True, False)
    assert [each.annotation_id for each in ImageSets.open(joined.path).with_annotations()[2].annotations].count(
        new["annotation_id"]
    ) == 1


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"set_id": "none"}, 404, "there is no set 'none'"),
        ({"parent": "none"}, 404, f"set {ODD!r} has no annotation 'none'"),
        ({"person": "  "}, 400, "a name needs letters"),
        ({"person": "a\u202eb"}, 400, "a name needs letters"),
        ({"person": "x" * 61}, 422, "person"),
        ({"turns": [{"role": "cook", "parts": []}]}, 422, "turns.0.role"),
        ({"turns": [{"role": "user", "parts": [{"image": 2}]}]}, 400, "turn 1: shows image 3; the set has 2"),
        ({"turns": [{"role": "user", "parts": [{"image": True}]}]}, 422, "turns.0.parts.0"),
        ({"turns": [{"role": "user", "parts": [{"text": "a\u0007"}]}]}, 400, "control character U+0007"),
        ({"turns": [{"role": "user", "parts": [{"text": "\ud800"}]}]}, 422, "Invalid JSON"),
        ({"turns": [{"role": "user", "parts": [{"text": " "}]}]}, 400, "turn 1: is empty"),
        ({"turns": [{"role": "user", "parts": [{"text": "x" * 100_001}]}]}, 422, "100000 characters"),
        (
            {"turns": [{"role": "user", "parts": [{"text": "x" * 60_000}]}] * 2},
            400,
            "the turns have 120,000 characters",
        ),
        ({"turns": [{"role": "user", "parts": [{"text": "x"}]}] * 101}, 422, "turns"),
        ({"content": {"more": "\ud800"}}, 422, "Invalid JSON"),
        ({"content": {"more": 1 << 70}}, 400, "content: cannot be written as JSON"),
        ({"content": {"more": ["x" * 100_000]}}, 400, "content: has 100,013 bytes of JSON"),
        ({}, 400, "the correction says nothing"),
        ({"annotator": "model", "turns": []}, 422, "annotator"),
    ],
)
def test_a_correction_that_cannot_be_taken_is_one_line(
    of_many: httpx.Client, joined: ImageSets, change: dict[str, Any], status: int, error: str
) -> None:
    parent = one(of_many, ODD).json()["annotations"][0]["annotation_id"]
    body = {"set_id": ODD, "parent": parent, "person": "Ann", **change}
    content = json.dumps(body)  # with escapes, as httpx refuses to encode half a surrogate pair
    answer = of_many.post("/pairs/annotation", content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert error in answer.json()["error"]
    assert not (Path(joined.path) / "annotations" / "corrections.jsonl").exists()


def test_a_body_that_is_nested_too_deeply_is_refused(of_many: httpx.Client) -> None:
    parent = one(of_many, ODD).json()["annotations"][0]["annotation_id"]
    for depth in (300, 100_000):
        nested = "[" * depth + "]" * depth
        body = f'{{"set_id": {json.dumps(ODD)}, "parent": "{parent}", "person": "Ann", "content": {{"x": {nested}}}}}'
        answer = of_many.post("/pairs/annotation", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 422)
        assert answer.json()["error"]


def test_what_cannot_be_written_is_one_line_without_a_path(
    of_many: httpx.Client, decisions: Path, caplog: pytest.LogCaptureFixture
) -> None:
    decisions.mkdir()
    answer = decide(of_many, MINED)
    assert (answer.status_code, answer.json()) == (500, {"error": "the decision was not stored: Is a directory"})
    assert str(decisions) in caplog.text


def test_metadata_that_is_no_plain_json_is_answered(serve_pairs: ServePairs, decisions: Path, tmp_path: Path) -> None:
    said = {"huge": 1 << 70, "half": "\ud800"}
    store = make_store(tmp_path, random_unit(2), extra=[json.dumps(said)] * 2)
    sets = write_sets(tmp_path, [[0, 1]], store=store, extra=['{"none": NaN}'])
    with serve_pairs(decisions, sets=sets) as url:
        answer = httpx.get(f"{url}/pairs").json()["sets"][0]
    assert answer["members"][0]["extra"] == said
    assert answer["extra"] == {"none": None}


def test_the_routes_document_themselves(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/pairs", *(f"/pairs/{name}" for name in ("set", "image", "decision", "annotation"))} <= set(paths)
    assert "/page/pairs/" not in paths


@pytest.mark.filterwarnings("ignore")  # of the requests that schemathesis makes up, not of ours
def test_no_request_breaks_the_routes_or_the_decisions(
    serve_pairs: ServePairs, tmp_path: Path, joined: ImageSets
) -> None:
    decisions = tmp_path / "decisions.jsonl"
    decisions.touch()
    with serve_pairs(decisions, sets=joined) as url:
        asked = fuzz(url, "^/pairs")
    assert asked[200] > 5
    assert asked[404] > 5
    read_decisions(decisions)
