"""Settings of a service: who may ask, the largest requests, and how long a request may wait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from index.corpus.image_limits import MAX_IMAGE_BYTES
from index.errors import BadInput

__all__ = ["MOST_QUERIES", "Settings", "read_limits"]

# Queries that the schema of a request takes at all; `max_queries` may be any smaller number.
MOST_QUERIES = 10_000

_MAY_BE_0 = ("wait_ms", "cache_bytes", "reload_seconds")


@dataclass(frozen=True)
class Settings:
    """Permissions and limits of a service. Raises BadInput for a limit that is not positive, an empty token, or an
    origin with *.

    name: what `GET /indexes` and clip-retrieval's `indice_name` call the store; its folder's name by default.
    tokens: bearer tokens; a request must bring one of them. Without any, the service is open to all.
    cors_origins: origins whose pages may call the service; none by default.
    hosts: names under which clients may reach the service; addresses, localhost and this machine's names always may.
        "*" allows any.
    proxies: addresses of reverse proxies, whose X-Forwarded-For says who asks; by default none is believed.
    allow_urls: whether `image_url` queries are fetched, from public addresses only.
    allow_exact: whether an index may be passed over for an exact scan; without an index every search is a scan.
    max_head_bytes: of a request's first line and headers.
    max_body_bytes, max_queries, max_k, max_results (queries x k), max_concepts, max_prompts: of one request.
    max_values: numbers, texts and other values in the JSON of one request.
    max_answer_bytes: of the metadata in one answer.
    max_depth: most rows that a search looks at for one query, to replace results that filters dropped.
    max_candidates: most rows that a search with filters looks at, over all its queries.
    max_image_bytes, max_image_pixels: of an image before it is decoded.
    max_urls, max_fetch_bytes: images that one request may have fetched, and their bytes together.
    client_share: of each amount that all requests share, the largest part that one client may take. A client is a
        bearer token, or where none is asked for an address (of IPv6 its /64 network).
    connections: open ones; beyond it the one that has been idle for longest is closed.
    requests: in progress at the same time.
    queue: queries that may be in progress or wait before a request is refused with 429.
    wait_ms: how long a call may wait for further requests, or a tenth of the duration of the last calls if longer.
    head_seconds, body_seconds: how long a client may take to send a request's head, and its body.
    idle_seconds: how long a connection may stay open without a request.
    answer_seconds: how long a client may take to read each 128 KiB of its answer.
    body_bytes: bodies that are held at the same time, and what they are parsed into.
    search_seconds: a search that is expected to take longer is refused; one with filters stops looking deeper.
    queue_seconds: expected for all searches that are in progress or wait.
    search_bytes: memory for the searches in progress: their candidates and results.
    decode_bytes: memory for images that are being decoded.
    concept_jobs: concept lists that are answered at the same time.
    list_seconds: a concept list that is expected to take longer is refused; one that does take longer ends in an error.
    list_bytes: memory for the concept lists in progress: their prompts and candidates.
    cache_bytes: of row metadata kept in memory, for each store.
    reload_seconds: how often to look whether a store or its index has changed; 0: never.
    """

    name: str | None = None
    tokens: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    allow_urls: bool = False
    allow_exact: bool = True
    max_head_bytes: int = 32 << 10
    max_body_bytes: int = 32 << 20
    max_values: int = 600_000
    max_queries: int = 512
    max_k: int = 1_000
    max_results: int = 100_000
    max_concepts: int = 20_000
    max_prompts: int = 200_000
    max_depth: int = 10_000
    max_candidates: int = 200_000
    max_answer_bytes: int = 64 << 20
    max_image_bytes: int = MAX_IMAGE_BYTES
    max_image_pixels: int = 1 << 24
    max_urls: int = 16
    max_fetch_bytes: int = 32 << 20
    client_share: float = 0.5
    connections: int = 4_000
    requests: int = 512
    queue: int = 2_048
    wait_ms: float = 2.0
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    idle_seconds: float = 30.0
    answer_seconds: float = 30.0
    body_bytes: int = 128 << 20
    search_seconds: float = 60.0
    queue_seconds: float = 120.0
    search_bytes: int = 384 << 20
    decode_bytes: int = 448 << 20
    concept_jobs: int = 4
    list_seconds: float = 3_600.0
    list_bytes: int = 512 << 20
    cache_bytes: int = 64 << 20
    reload_seconds: float = 5.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value, name = getattr(self, field.name), field.name.replace("_", "-")
            if field.name in _MAY_BE_0 or isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if isinstance(value, int) and value < 1:
                raise BadInput(f"{name} {value}: must be at least 1")
            if not value > 0:
                raise BadInput(f"{name} {value}: must be more than 0")
        if self.client_share > 1:
            raise BadInput(f"client-share {self.client_share}: at most 1, all of it")
        if self.max_queries > MOST_QUERIES:
            raise BadInput(f"max-queries {self.max_queries}: at most {MOST_QUERIES:,}")
        if any(not token.strip() for token in self.tokens):
            raise BadInput("a bearer token is empty: anyone could guess it")
        if any("*" in origin for origin in self.cors_origins):
            raise BadInput("a CORS origin with *: name each origin, such as https://lab.example.org")


def read_limits(given: Sequence[str]) -> dict[str, Any]:
    """The fields of `Settings` that texts such as `max_k=500` set: those that are numbers. Raises BadInput."""
    kinds = {field.name: type(field.default) for field in fields(Settings)}
    names = [name for name, kind in kinds.items() if kind in (int, float)]
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or name not in names:
            raise BadInput(f"--limit {text}: give NAME=NUMBER; the names are {', '.join(names)}")
        try:
            found[name] = int(value) if kinds[name] is int else float(value)
        except ValueError as error:
            kind = "a whole number" if kinds[name] is int else "a number"
            raise BadInput(f"--limit {text}: {value!r} is not {kind}") from error
    return found
