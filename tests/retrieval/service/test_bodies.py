from __future__ import annotations

import pytest
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel

from retrieval.service.bodies import describe_bodies, read_body, takes


class Inner(BaseModel):
    number: int


class Outer(BaseModel):
    inner: list[Inner]


def test_a_body_is_read_from_its_bytes() -> None:
    assert read_body(Outer, b'{"inner": [{"number": 3}]}') == Outer(inner=[Inner(number=3)])


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"inner": [{"number": "x"}]}', b"\xff"])
def test_other_bodies_raise_the_error_of_fastapi(body: bytes) -> None:
    with pytest.raises(RequestValidationError) as raised:
        read_body(Outer, body)
    assert all(set(error) >= {"loc", "msg"} and "input" not in error for error in raised.value.errors())


def test_bodies_and_the_models_in_them_are_in_the_openapi_schema() -> None:
    app = FastAPI()

    @app.post("/x", openapi_extra=takes(Outer))
    async def route() -> None: ...

    describe_bodies(app, Outer)
    schema = app.openapi()
    reference = schema["paths"]["/x"]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    assert reference == "#/components/schemas/Outer"
    assert {"Outer", "Inner"} <= set(schema["components"]["schemas"])
