"""JSON bodies that pydantic reads straight from bytes, whatever the content type, and that OpenAPI still describes.

FastAPI parses a body with the standard library, copies it and validates the copy: for a vector of 512 numbers that
takes longer than finding its neighbours. clip-retrieval's client and front send no content type either. Use it only
for routes that change nothing: without a content type, pages of other origins can send such requests too.
"""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import models_json_schema

__all__ = ["describe_bodies", "read_body", "takes", "wrong_shape"]

LONG_BODY = 64 << 10  # bytes; shorter ones are read in less time than a thread takes

_COMPONENTS = "#/components/schemas/{model}"

Shape = TypeVar("Shape", bound=BaseModel)


async def read_body(model: type[Shape], body: bytes) -> Shape:
    """The body as `model`; a long one is read in a thread. RequestValidationError where it is not JSON or has another
    shape."""
    try:
        if len(body) <= LONG_BODY:
            return model.model_validate_json(body)
        return await asyncio.to_thread(model.model_validate_json, body)
    except ValidationError as error:
        raise wrong_shape(error) from error


def wrong_shape(error: ValidationError) -> RequestValidationError:
    """The error that FastAPI raises for such a body, so that both are answered in the same way."""
    return RequestValidationError(error.errors(include_url=False, include_input=False))


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
