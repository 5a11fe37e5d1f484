from __future__ import annotations

import asyncio

import pytest
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel

from retrieval.service.bodies import LONG_BODY, describe_bodies, read_body, takes


class Inner(BaseModel):
    number: int


class Outer(BaseModel):
    inner: list[Inner]


def test_a_body_is_read_from_its_bytes() -> None:
    assert asyncio.run(read_body(Outer, b'{"inner": [{"number": 3}]}')) == Outer(inner=[Inner(number=3)])


def test_a_long_body_is_read_in_a_thread() -> None:
    body = b'{"inner": [' + b",".join([b'{"number": 3}'] * LONG_BODY) + b"]}"
    assert len(asyncio.run(read_body(Outer, body)).inner) == LONG_BODY


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"inner": [{"number": "x"}]}', b"\xff"])
def test_other_bodies_raise_the_error_of_fastapi(body: bytes) -> None:
    with pytest.raises(RequestValidationError) as raised:
        asyncio.run(read_body(Outer, body))
    assert all(set(error) >= {"loc", "msg"} and "input" not in error for error in raised.value.errors())


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
