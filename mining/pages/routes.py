"""HTTP routes of image sets, and the page that shows them, added to the app of `retrieval.service`.

    app = create_app(backend, settings)
    add_pairs(app, Review(ImageSets.open("pairs"), store, DecisionsFile("pairs/decisions.jsonl")))

The service's guard applies to these routes too: they need its token, while the page itself does not. A set's id comes
as a parameter or in the body and not in the path: an id may hold `/`, `..`, `#` or anything else.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

import orjson
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from index.errors import DiskFull
from mining.pages.correction import CorrectionRequest
from mining.pages.review import NoSuchSet, PairsQuery, Review
from mining.pages.schemas import DecisionRequest, PairsResponse
from retrieval.service.bodies import describe_bodies, read_body, takes
from retrieval.service.page_routes import PAGE_HEADERS, Asset, read_asset
from retrieval.service.routes import service_of
from retrieval.service.schemas import PageLink, Problem
from retrieval.service.search import Service
from retrieval.service.stores import Stores
from retrieval.service.threads import run_to_end

__all__ = ["PAGE", "add_pairs", "pairs_router"]

Shape = TypeVar("Shape", bound=BaseModel)

log = logging.getLogger("clipmine.service")

# Below /page/, which needs no token: the page must load before it can ask for one.
PAGE = "/page/pairs/"
_NAMES = ("annotation.js", "correction.js", "filters.js", "main.js", "pair.js", "words.js", "pairs.css")
# The page's URLs are relative to the service's root, so that it also works behind a proxy's path.
_HEADERS = {
    **PAGE_HEADERS,
    "Content-Security-Policy": PAGE_HEADERS["Content-Security-Policy"].replace("base-uri 'none'", "base-uri 'self'"),
}
# As of `GET /rows/{row_id}/image`: nothing in an image may run, and a browser keeps it for an hour.
_IMAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Content-Disposition": "inline",
    "Cache-Control": "private, max-age=3600",
}

_MISSING: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "There is no such set."}}
_JPEG: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "There is no such set or image, or the line says why it cannot be shown."},
    200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}},
}
SetId = Annotated[str, Query(max_length=2_000, description="as GET /pairs gives it")]
Name = Annotated[str | None, Query(max_length=200)]
Difficulty = Annotated[float | None, Query(ge=0, le=1)]


def pairs_router(review: Review) -> APIRouter:
    """GET /pairs, /pairs/set and /pairs/image, POST /pairs/decision and /pairs/annotation."""
    router = APIRouter(tags=["pairs"])

    @router.get("/pairs", response_model=PairsResponse, summary="Image sets, a page at a time")
    async def pairs(
        request: Request,
        strategy: Name = None,
        level: Annotated[int | None, Query(ge=0, lt=1 << 31)] = None,
        split: Name = None,
        min_difficulty: Difficulty = None,
        max_difficulty: Difficulty = None,
        kind: Annotated[str | None, Query(max_length=200, description="only annotations of this kind")] = None,
        annotator: Annotated[str | None, Query(max_length=200, description="only annotations by this one")] = None,
        replaced: Annotated[bool, Query(description="annotations that were corrected, too")] = False,
        text: Annotated[str | None, Query(max_length=200, description="in a caption, noun, name or annotation")] = None,
        decision: Literal["reject", "keep", "undecided"] | None = None,
        cursor: Annotated[int, Query(ge=0, lt=1 << 62, description="`next` of the previous page")] = 0,
        limit: Annotated[int, Query(ge=1, le=200)] = 20,
    ) -> Response:
        query = PairsQuery(
            strategy=strategy,
            level=level,
            text=text,
            decision=decision,
            cursor=cursor,
            limit=limit,
            split=split,
            min_difficulty=min_difficulty,
            max_difficulty=max_difficulty,
            kind=kind,
            annotator=annotator,
            replaced=replaced,
        )
        return _json(await _in_worker(request, review.page, query))

    @router.get("/pairs/set", responses=_MISSING, summary="One image set, with all its annotations")
    async def pair(request: Request, set_id: SetId) -> Response:
        return _json(await _in_worker(request, review.find, set_id))

    @router.get("/pairs/image", response_class=Response, responses=_JPEG, summary="An image of a set, as a small JPEG")
    async def image(
        set_id: SetId,
        position: Annotated[int, Query(ge=0, lt=1 << 31, description="in the set, from 0")],
        service: Annotated[Service, Depends(service_of)],
        side: Annotated[int, Query(ge=16, le=1024, description="its longer side, in pixels")] = 512,
    ) -> Response:
        data = await service.in_decoder(review.thumbnail, set_id, position, service.thumbnail_size(side))
        return Response(data, media_type="image/jpeg", headers=_IMAGE_HEADERS)

    @router.post(
        "/pairs/decision",
        responses=_MISSING,
        summary="Reject a set, or undo that",
        openapi_extra=takes(DecisionRequest),
    )
    async def decide(request: Request) -> Response:
        body = await _read_json(request, DecisionRequest)
        return await _written(request, "decision", lambda: review.decide(body.set_id, body.decision))

    @router.post(
        "/pairs/annotation",
        responses=_MISSING,
        summary="Correct an annotation, by a new one",
        openapi_extra=takes(CorrectionRequest),
    )
    async def correct(request: Request) -> Response:
        body = await _read_json(request, CorrectionRequest)
        return await _written(request, "correction", lambda: review.correct(body))

    return router


def add_pairs(app: FastAPI, review: Review) -> None:
    """Add the routes and the page to the service."""
    app.include_router(pairs_router(review))
    describe_bodies(app, DecisionRequest, CorrectionRequest)
    app.state.pages.append(PageLink(name="Pairs", href=PAGE.lstrip("/")))
    assets = {name: read_asset("mining.pages", name, _HEADERS) for name in _NAMES}
    page: Asset = read_asset("mining.pages", "index.html", _HEADERS)

    @app.exception_handler(NoSuchSet)
    async def no_such_set(_: Request, error: NoSuchSet) -> Response:
        return JSONResponse({"error": str(error)}, 404)

    @app.get(PAGE, include_in_schema=False)
    async def show_page(request: Request) -> Response:
        return page.answer(request)

    @app.get(PAGE + "{name}", include_in_schema=False)
    async def show_asset(name: str, request: Request) -> Response:
        asset = assets.get(name)
        if asset is None:
            return JSONResponse({"error": f"the page has no file {name!r}"}, 404, _HEADERS)
        return asset.answer(request)


async def _read_json(request: Request, model: type[Shape]) -> Shape:
    """The body; RequestValidationError where its content type is not JSON, so that no form of another page's origin can
    send one: browsers ask first before they send JSON elsewhere."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        what = {"type": "model_attributes_type", "loc": ("body",), "msg": "the content type is not application/json"}
        raise RequestValidationError([what])
    return await read_body(request, model)


async def _in_worker(request: Request, function: Callable[..., Any], *arguments: Any) -> Any:
    """Run a call in one of the service's threads, which its clients use in turns."""
    stores: Stores = request.app.state.stores
    return await run_to_end(stores.shared.workers, function, *arguments)


async def _written(request: Request, what: str, write: Callable[[], dict[str, Any]]) -> Response:
    """The answer of a call that appends to a file; a failure is one line, and the file's path is only in the log."""
    try:
        return _json(await _in_worker(request, write))
    except (OSError, DiskFull) as error:
        log.error("a %s was not written: %s", what, error)
        why = "no space left on the disk" if isinstance(error, DiskFull) else error.strerror or type(error).__name__
        return JSONResponse({"error": f"the {what} was not stored: {why}"}, 500)


def _json(fields: dict[str, Any]) -> Response:
    try:
        body = orjson.dumps(fields)
    except TypeError:
        # Imported metadata may hold what orjson refuses: numbers of more than 64 bits, halves of surrogate pairs.
        plain = json.loads(json.dumps(fields), parse_constant=lambda _: None)
        body = json.dumps(plain).encode()
    return Response(body, media_type="application/json")
