"""The service as an ASGI app: routes, limits, errors as one line, metrics.

app = create_app(LocalBackend(EmbeddingStore.open("STORE")))
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from index.errors import BadInput, ClipmineError, ImagesNotLocal, StoreInvalid
from retrieval.service.backend import Backend, Overloaded, Unavailable
from retrieval.service.bodies import describe_bodies
from retrieval.service.clip_retrieval_api import add_clip_retrieval_routes
from retrieval.service.limits import OverLimit
from retrieval.service.metrics import Metrics
from retrieval.service.page_routes import add_page_routes
from retrieval.service.query_vectors import NoSuchRow
from retrieval.service.routes import router
from retrieval.service.schemas import ConceptListText, ConceptsRequest, SearchRequest
from retrieval.service.security import Guard
from retrieval.service.settings import Settings
from retrieval.service.stores import NoSuchStore, Stores
from retrieval.service.threads import run_at_the_end

__all__ = ["create_app"]

log = logging.getLogger("clipmine.service")


def create_app(backend: Backend | Sequence[Backend], settings: Settings | None = None) -> FastAPI:
    """The service's app over an open backend, or over several with names; closing the app closes them."""
    settings = settings or Settings()
    metrics = Metrics()
    stores = Stores(backend if isinstance(backend, Sequence) else [backend], settings, metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await stores.start()
        yield
        await stores.close()

    app = FastAPI(
        title="Clipmine retrieval",
        summary="Texts, images or vectors in, the nearest rows of a store out; whole concept lists as a stream.",
        version="1",
        lifespan=lifespan,
        docs_url="/docs",
        redoc_url=None,
        redirect_slashes=False,  # such a redirect would go to whatever host the request names
    )
    app.state.stores = stores
    app.state.metrics = metrics
    app.state.pages = []  # `schemas.PageLink`s of further pages that are added to the app
    app.include_router(router)
    describe_bodies(app, SearchRequest, ConceptsRequest, ConceptListText)
    add_clip_retrieval_routes(app)
    add_page_routes(app)
    _add_errors(app, metrics)
    app.add_middleware(_CountRequests, metrics=metrics)
    app.add_middleware(Guard, settings=settings, admission=stores.shared.admission, refused=metrics.refuse)
    if settings.cors_origins:
        from fastapi.middleware.cors import CORSMiddleware

        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
        )
    return app


def _add_errors(app: FastAPI, metrics: Metrics) -> None:
    """Answer every error with `{"error": "one line"}`; details of the service's own faults go to the log only."""

    @app.exception_handler(RequestValidationError)
    async def wrong_shape(_: Request, error: RequestValidationError) -> Response:
        return _problem(422, _where_and_what(error.errors()[0]))

    @app.exception_handler(HTTPException)
    async def by_status(_: Request, error: HTTPException) -> Response:
        return _problem(error.status_code, str(error.detail), dict(error.headers or {}))

    @app.exception_handler(ClipmineError)
    async def ours(request: Request, error: ClipmineError) -> Response:
        if isinstance(error, Overloaded | Unavailable):
            status = 429 if isinstance(error, Overloaded) else 503
            if isinstance(error, Overloaded):
                metrics.refuse(error.bound)
            return _problem(status, str(error), {"Retry-After": str(error.retry_after)})
        if isinstance(error, OverLimit):
            metrics.refuse(error.bound)
            return _problem(413, str(error))
        if isinstance(error, NoSuchRow | NoSuchStore | ImagesNotLocal):
            return _problem(404, str(error))
        if isinstance(error, StoreInvalid) or not isinstance(error, BadInput):
            log.error("%s %s: %s", request.method, request.url.path, error)
            return _problem(503, "the store cannot answer this now; the service's log says why", {"Retry-After": "30"})
        return _problem(400, str(error))

    @app.exception_handler(OSError)
    async def disk(request: Request, error: OSError) -> Response:
        log.error("%s %s: %s", request.method, request.url.path, error)
        return _problem(
            503, "a file of the store cannot be read now; the service's log says why", {"Retry-After": "30"}
        )


def _where_and_what(found: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in found["loc"] if part != "body")
    what = str(found["msg"]).removeprefix("Value error, ")
    if not where and found["type"] in ("model_attributes_type", "model_type", "dict_type"):
        what = "send a JSON object, with the header Content-Type: application/json"
    return f"{where}: {what}" if where else what


def _problem(status: int, error: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": " ".join(error.split())[:1_000]}, status, headers)


class _CountRequests:
    """ASGI middleware: counts requests and their time by route, up to the end of a stream, and ends them."""

    def __init__(self, app: Callable[..., Awaitable[None]], metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 499  # nginx's: the client left before the answer

        async def counted(message: dict[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, counted)
        finally:
            run_at_the_end(scope)
            route = getattr(scope.get("route"), "path", "other")
            self.metrics.requests.labels(route, str(status)).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - started)
