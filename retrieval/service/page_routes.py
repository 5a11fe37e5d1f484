"""The page at `/` and its assets, read from the package once. The page gets its data from the other routes.

The page loads nothing from other origins, and its Content-Security-Policy forbids that too: even if a caption were ever
taken for markup, no script in it would run and no data would leave. The page holds no data, so it needs no token.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

__all__ = ["PAGE_HEADERS", "Asset", "add_page_routes", "read_asset"]

_MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_NAMES = (
    "address.js",
    "card.js",
    "concept_row.js",
    "concepts.js",
    "dom.js",
    "icon.svg",
    "main.js",
    "page.css",
    "picture_input.js",
    "search.js",
    "selection.js",
    "service.js",
    "status.js",
    "thumbnail.js",
    "token.js",
)
_SHARED = "notice_and_token.html"  # the status line and the form that asks for a token
PAGE_HEADERS = {
    # data: and blob: are the user's own image and thumbnails that were fetched with a token.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # cached, but revalidated: a new version of the service has a new page
}


def add_page_routes(app: FastAPI) -> None:
    """Add GET `/` and GET `/page/NAME`, for a fixed list of names."""
    package = "retrieval.service"
    page, assets = read_asset(package, "index.html"), {name: read_asset(package, name) for name in _NAMES}

    @app.get("/", include_in_schema=False)
    async def show_page(request: Request) -> Response:
        return page.answer(request)

    @app.get("/page/{name}", include_in_schema=False)
    async def show_asset(name: str, request: Request) -> Response:
        asset = assets.get(name)
        if asset is None:
            return JSONResponse({"error": f"the page has no file {name!r}"}, 404, PAGE_HEADERS)
        return asset.answer(request)


class Asset:
    """A file of the page in memory, with an ETag of its content."""

    def __init__(self, content: bytes, media_type: str, headers: Mapping[str, str] = PAGE_HEADERS) -> None:
        self._content = content
        self._headers = {**headers, "Content-Type": media_type, "ETag": f'"{sha256(content).hexdigest()[:32]}"'}

    def answer(self, request: Request) -> Response:
        tags = request.headers.get("If-None-Match", "")
        if self._headers["ETag"] in (tag.strip().removeprefix("W/") for tag in tags.split(",")):
            return Response(status_code=304, headers=self._headers)
        return Response(self._content, headers=self._headers)


def read_asset(package: str, name: str, headers: Mapping[str, str] = PAGE_HEADERS) -> Asset:
    """A file of `package`'s folder `page`; pages include the part that all of them share."""
    content = files(package).joinpath("page", name).read_bytes()
    if name.endswith(".html"):
        shared = files("retrieval.service").joinpath("page", _SHARED).read_bytes()
        content = content.replace(f"<!-- include {_SHARED} -->\n".encode(), shared)
    return Asset(content, _MEDIA_TYPES[name.rsplit(".", 1)[1]], headers)
