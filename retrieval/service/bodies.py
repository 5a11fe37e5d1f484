"""JSON bodies that pydantic reads straight from bytes, whatever the content type, and that OpenAPI still describes.

FastAPI parses a body with the standard library, copies it and validates the copy: for a vector of 512 numbers that
takes longer than finding its neighbours. clip-retrieval's client and front send no content type either. Use it only
for routes that change nothing: without a content type, pages of other origins can send such requests too.
"""

from __future__ import annotations

from typing import Any, TypeVar

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import models_json_schema

from retrieval.service.limits import OverLimit
from retrieval.service.search import Shared
from retrieval.service.threads import at_the_end, run_to_end

__all__ = ["describe_bodies", "read_body", "takes", "wrong_shape"]

LONG_BODY = 16 << 10  # bytes; shorter ones, right or wrong, are read in a few milliseconds
VALUE_BYTES = 40  # of memory for a value of a body: a Python number and its place in a list
MOST_KEYS = 50  # of one object: more than any has in a request
MOST_KEYS_IN_ALL = 150_000  # 20,000 concepts with all their fields have fewer; they take longer to read than values
MOST_DEPTH = 8  # of objects and lists in each other

_COMPONENTS = "#/components/schemas/{model}"

Shape = TypeVar("Shape", bound=BaseModel)


async def read_body(request: Request, model: type[Shape]) -> Shape:
    """The request's body as `model`; a long one is read in a thread, and its values count as memory that is held.

    Raises:
        RequestValidationError: it is not JSON or has another shape.
        OverLimit: it holds more values than `Settings.max_values`.
        Overloaded: there is no memory for its values now.
    """
    body = await request.body()
    if len(body) <= LONG_BODY:
        try:
            return model.model_validate_json(body)
        except ValidationError as error:
            raise wrong_shape(error) from error
    shared: Shared = request.app.state.stores.shared
    # A comma in a text counts too: the number of values is at most this.
    values = body.count(b",") + body.count(b"[") + body.count(b"{") + 1
    if values > shared.settings.max_values:
        most = f"at most {shared.settings.max_values:,} a request"
        raise OverLimit("max_values", f"the body has {values:,} values: {most}; send vectors as embedding_b64")
    keys = body.count(b'":')
    if keys > MOST_KEYS_IN_ALL:
        raise OverLimit("max_values", f"the body has {keys:,} keys: at most {MOST_KEYS_IN_ALL:,} a request")
    at_the_end(request.scope, shared.admission.body(values * VALUE_BYTES).give_back)
    return await run_to_end(shared.parser, parse_long, model, body)


def parse_long(model: type[Shape], body: bytes) -> Shape:
    """A body as `model`, by steps that each take time and memory in proportion to its length, whatever it holds."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _one_error("json_invalid", f"this is not JSON: {error}") from error
    _check_objects(data)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise wrong_shape(error) from error


def _check_objects(data: Any) -> None:
    """Refuse objects with many keys, since pydantic makes an error of each key that it doesn't know."""
    level = [data]
    for _ in range(MOST_DEPTH):
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                if len(one) > MOST_KEYS:
                    raise _one_error(
                        "too_many_keys", f"an object has {len(one):,} keys: none takes more than {MOST_KEYS}"
                    )
                below += one.values()
            elif isinstance(one, list):
                below += one
        level = [one for one in below if isinstance(one, dict | list)]
        if not level:
            return
    raise _one_error("too_deep", f"objects and lists are nested more than {MOST_DEPTH} deep")


def _one_error(kind: str, message: str) -> RequestValidationError:
    return RequestValidationError([{"type": kind, "loc": ("body",), "msg": message}])


def wrong_shape(error: ValidationError) -> RequestValidationError:
    """The error that FastAPI raises for such a body, so that both are answered in the same way."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[:1]
    return RequestValidationError(first)


def takes(model: type[BaseModel], **parameters: str) -> dict[str, Any]:
    """The `openapi_extra` of a route whose body is `model`; `describe_bodies` adds the model's schema.

    parameters: names and descriptions of texts in the URL that the route reads itself.
    """
    schema = {"$ref": _COMPONENTS.format(model=model.__name__)}
    described = [
        {"name": name, "in": "query", "required": False, "schema": {"type": "string"}, "description": what}
        for name, what in parameters.items()
    ]
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {"requestBody": body, **({"parameters": described} if described else {})}


def describe_bodies(app: FastAPI, *models: type[BaseModel]) -> None:
    """Add the models, and those that they hold, to the app's OpenAPI schema."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _, found = models_json_schema([(model, "validation") for model in models], ref_template=_COMPONENTS)
            schemas = made().setdefault("components", {}).setdefault("schemas", {})
            schemas |= {name: schema for name, schema in found["$defs"].items() if name not in schemas}
        return made()

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the schema
