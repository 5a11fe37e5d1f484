from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field

from retrieval.service.backend import Overloaded
from retrieval.service.bodies import LONG_BODY, describe_bodies, read_body, takes
from retrieval.service.limits import OverLimit
from retrieval.service.search import Shared
from retrieval.service.settings import Settings


class Inner(BaseModel):
    number: int


class Outer(BaseModel):
    inner: Annotated[list[Inner], Field(fail_fast=True)]


@pytest.fixture
def read() -> Iterator[Callable[..., Any]]:
    """Reads bytes as `Outer`, as a request of an app with these settings."""
    opened: list[Shared] = []

    def read(body: bytes, **settings: Any) -> Any:
        opened.append(shared := Shared(Settings(**settings)))
        app = SimpleNamespace(state=SimpleNamespace(stores=SimpleNamespace(shared=shared)))

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        request = Request({"type": "http", "app": app, "headers": [], "method": "POST"}, receive)
        return asyncio.run(read_body(request, Outer))

    yield read
    for shared in opened:
        shared.close()


def test_a_body_is_read_from_its_bytes(read: Callable[..., Any]) -> None:
    assert read(b'{"inner": [{"number": 3}]}') == Outer(inner=[Inner(number=3)])


def test_a_long_body_is_read_in_a_thread(read: Callable[..., Any]) -> None:
    body = b'{"inner": [' + b",".join([b'{"number": 3}'] * LONG_BODY) + b"]}"
    assert len(read(body).inner) == LONG_BODY


WRONG = [b"", b"{", b"[]", b'{"inner": [{"number": "x"}]}', b"\xff"]


@pytest.mark.parametrize("body", [*WRONG, *(wrong + b" " * LONG_BODY for wrong in WRONG)], ids=range(10))
def test_other_bodies_raise_the_error_of_fastapi(read: Callable[..., Any], body: bytes) -> None:
    with pytest.raises(RequestValidationError) as raised:
        read(body)
    (error,) = raised.value.errors()
    assert set(error) >= {"loc", "msg"}
    assert "input" not in error


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"inner":[' + b"1," * 9_000 + b"1]}", "dictionary"),
        (b"{" + b",".join(b'"k%d":1' % number for number in range(9_000)) + b"}", "9,000 keys"),
        (b'{"inner":[{' + b",".join(b'"k%d":1' % number for number in range(9_000)) + b"}]}", "9,000 keys"),
        (b"[" * 20_000, "not JSON"),
        (b'{"inner":' + b"[" * 500 + b"]" * 500 + b" " * LONG_BODY + b"}", "nested more than 8 deep"),
        (b'{"inner":[{"number":NaN}]' + b" " * LONG_BODY + b"}", "not JSON"),
    ],
)
def test_a_body_in_which_all_is_wrong_is_one_error(read: Callable[..., Any], body: bytes, says: str) -> None:
    with pytest.raises(RequestValidationError) as raised:
        read(body)
    (error,) = raised.value.errors()
    assert says in error["msg"]


def test_values_are_counted_before_they_are_read(read: Callable[..., Any]) -> None:
    body = b'{"inner":[' + b"1," * 9_000 + b"1]}"
    with pytest.raises(OverLimit, match="the body has 9,003 values: at most 5,000 a request; send vectors as") as many:
        read(body, max_values=5_000)
    assert many.value.bound == "max_values"
    keys = b'{"inner":[' + b",".join([b'{"number":3}'] * 150_001) + b"]}"
    with pytest.raises(OverLimit, match="the body has 150,002 keys: at most 150,000 a request"):
        read(keys)
    with pytest.raises(Overloaded, match="memory for its body"):
        read(body, body_bytes=100_000)


def test_bodies_and_the_models_in_them_are_in_the_openapi_schema() -> None:
    app = FastAPI()

    @app.post("/x", openapi_extra=takes(Outer))
    async def route() -> None: ...

    @app.post("/y", openapi_extra=takes(Outer, store="one of several"))
    async def other() -> None: ...

    describe_bodies(app, Outer)
    schema = app.openapi()
    (parameter,) = schema["paths"]["/y"]["post"]["parameters"]
    assert (parameter["name"], parameter["in"], parameter["description"]) == ("store", "query", "one of several")
    reference = schema["paths"]["/x"]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    assert reference == "#/components/schemas/Outer"
    assert {"Outer", "Inner"} <= set(schema["components"]["schemas"])
