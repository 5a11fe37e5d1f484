"""HTTP routes of image sets, and the page that shows them, added to the app of `retrieval.service`.

    app = create_app(backend, settings)
    add_pairs(app, Review(ImageSets.open("pairs"), store, DecisionsFile("pairs/decisions.jsonl")))

The service's guard applies to these routes too: they need its token, while the page itself does not.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, FastAPI, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from mining.pages.review import NoSuchSet, PairsQuery, Review
from retrieval.service.page_routes import PAGE_HEADERS, Asset, read_asset
from retrieval.service.schemas import PageLink, Problem

__all__ = ["PAGE", "add_pairs", "pairs_router"]

# Below /page/, which needs no token: the page must load before it can ask for one.
PAGE = "/page/pairs/"
_NAMES = ("main.js", "pair.js", "words.js", "pairs.css")
# The page's URLs are relative to the service's root, so that it also works behind a proxy's path.
_HEADERS = {
    **PAGE_HEADERS,
    "Content-Security-Policy": PAGE_HEADERS["Content-Security-Policy"].replace("base-uri 'none'", "base-uri 'self'"),
}

_MISSING: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "There is no such set."}}
SetId = Annotated[str, Path(max_length=2_000, description="as GET /pairs gives it")]


class Count(BaseModel):
    """How many sets a strategy has at a level."""

    strategy: str
    level: int
    sets: int


class PairsResponse(BaseModel):
    """A page of sets."""

    sets: list[dict[str, Any]] = Field(description="as docs/image-sets.schema.json has them, with `decision`")
    next: int | None = Field(description="the cursor of the next page; null at the end")
    matching: int = Field(description="sets of the strategy and level, before the filters on text and decision")
    looked_at: int = Field(description="sets whose text was searched for this page")
    counts: list[Count] = Field(description="of all sets, without filters")


class DecisionRequest(BaseModel):
    """A person's decision about a set; `keep` undoes a rejection."""

    model_config = ConfigDict(extra="forbid")

    decision: Literal["reject", "keep"]


def pairs_router(review: Review) -> APIRouter:
    """GET /pairs, GET /pairs/{set_id}, POST /pairs/{set_id}/decision."""
    router = APIRouter(tags=["pairs"])

    @router.get("/pairs", response_model=PairsResponse, summary="Image sets, a page at a time")
    async def pairs(
        strategy: Annotated[str | None, Query(max_length=100)] = None,
        level: Annotated[int | None, Query(ge=0, lt=1 << 31)] = None,
        text: Annotated[str | None, Query(max_length=200, description="in a caption, noun, concept or entity")] = None,
        decision: Literal["reject", "keep", "undecided"] | None = None,
        cursor: Annotated[int, Query(ge=0, lt=1 << 62, description="`next` of the previous page")] = 0,
        limit: Annotated[int, Query(ge=1, le=200)] = 20,
    ) -> Response:
        query = PairsQuery(strategy, level, text, decision, cursor, limit)
        return _json(await asyncio.to_thread(review.page, query))

    @router.get("/pairs/{set_id}", responses=_MISSING, summary="One image set")
    async def pair(set_id: SetId) -> Response:
        try:
            return _json(await asyncio.to_thread(review.find, set_id))
        except NoSuchSet as error:
            return JSONResponse({"error": str(error)}, 404)

    @router.post("/pairs/{set_id}/decision", responses=_MISSING, summary="Reject a set, or undo that")
    async def decide(set_id: SetId, body: DecisionRequest) -> Response:
        try:
            await asyncio.to_thread(review.decide, set_id, body.decision)
        except NoSuchSet as error:
            return JSONResponse({"error": str(error)}, 404)
        return _json({"set_id": set_id, "decision": body.decision})

    return router


def add_pairs(app: FastAPI, review: Review) -> None:
    """Add the routes and the page to the service."""
    app.include_router(pairs_router(review))
    app.state.pages.append(PageLink(name="Pairs", href=PAGE.lstrip("/")))
    assets = {name: read_asset("mining.pages", name, _HEADERS) for name in _NAMES}
    page: Asset = read_asset("mining.pages", "index.html", _HEADERS)

    @app.get(PAGE, include_in_schema=False)
    async def show_page(request: Request) -> Response:
        return page.answer(request)

    @app.get(PAGE + "{name}", include_in_schema=False)
    async def show_asset(name: str, request: Request) -> Response:
        asset = assets.get(name)
        if asset is None:
            return JSONResponse({"error": f"the page has no file {name!r}"}, 404, _HEADERS)
        return asset.answer(request)


def _json(fields: dict[str, Any]) -> Response:
    return Response(orjson.dumps(fields), media_type="application/json")
