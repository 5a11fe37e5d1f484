"""Settings of a service: who may ask, the largest requests, and how long a request may wait."""

from __future__ import annotations

from dataclasses import dataclass

from index.corpus.image_decoding import MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS
from index.errors import BadInput

__all__ = ["MOST_QUERIES", "Settings"]

# Queries that the schema of a request takes at all; `max_queries` may be any smaller number.
MOST_QUERIES = 10_000


@dataclass(frozen=True)
class Settings:
    """Permissions and limits of a service. Raises BadInput for a limit that is not positive, an empty token, or an
    origin with *.

    name: what `GET /indexes` and clip-retrieval's `indice_name` call the store; its folder's name by default.
    tokens: bearer tokens; a request must bring one of them. Without any, the service is open to all.
    cors_origins: origins whose pages may call the service; none by default.
    allow_urls: whether `image_url` queries are fetched, from public addresses only.
    allow_exact: whether an index may be passed over for an exact scan; without an index every search is a scan.
    max_body_bytes, max_queries, max_k, max_results (queries x k), max_concepts, max_prompts: of one request.
    max_depth: most rows that a search looks at for one query, to replace results that filters dropped.
    max_candidates: most rows that a search with filters looks at, over all its queries.
    max_image_bytes, max_image_pixels: of an image before it is decoded.
    queue: queries that may be in progress or wait before a request is refused with 429.
    wait_ms: how long a call may wait for further requests, or a tenth of the duration of the last calls if longer.
    body_seconds: how long a client may take to send its body.
    body_bytes: bodies that are held at the same time.
    search_seconds: a search that is expected to take longer is refused; one with filters stops looking deeper.
    search_bytes: memory for the searches in progress: their candidates and results.
    concept_jobs: concept lists that are answered at the same time.
    list_seconds: a concept list that is expected to take longer is refused; one that does take longer ends in an error.
    list_bytes: memory for the concept lists in progress: their prompts and candidates.
    cache_bytes: of row metadata kept in memory, for each store.
    reload_seconds: how often to look whether a store or its index has changed; 0: never.
    """

    name: str | None = None
    tokens: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    allow_urls: bool = False
    allow_exact: bool = True
    max_body_bytes: int = 32 << 20
    max_queries: int = 512
    max_k: int = 1_000
    max_results: int = 100_000
    max_concepts: int = 20_000
    max_prompts: int = 200_000
    max_depth: int = 10_000
    max_candidates: int = 200_000
    max_image_bytes: int = MAX_IMAGE_BYTES
    max_image_pixels: int = MAX_IMAGE_PIXELS
    queue: int = 1_024
    wait_ms: float = 2.0
    body_seconds: float = 30.0
    body_bytes: int = 512 << 20
    search_seconds: float = 60.0
    search_bytes: int = 1 << 30
    concept_jobs: int = 2
    list_seconds: float = 3_600.0
    list_bytes: int = 4 << 30
    cache_bytes: int = 64 << 20
    reload_seconds: float = 5.0

    def __post_init__(self) -> None:
        for name in (
            "max_body_bytes", "max_queries", "max_k", "max_results", "max_concepts", "max_prompts", "max_depth",
            "max_candidates", "max_image_bytes", "max_image_pixels", "queue", "body_bytes", "search_bytes",
            "concept_jobs", "list_bytes",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise BadInput(f"{name.replace('_', '-')} {getattr(self, name)}: must be at least 1")
        for name in ("body_seconds", "search_seconds", "list_seconds"):
            if not getattr(self, name) > 0:
                raise BadInput(f"{name.replace('_', '-')} {getattr(self, name)}: must be more than 0")
        if self.max_queries > MOST_QUERIES:
            raise BadInput(f"max-queries {self.max_queries}: at most {MOST_QUERIES:,}")
        if any(not token.strip() for token in self.tokens):
            raise BadInput("a bearer token is empty: anyone could guess it")
        if any("*" in origin for origin in self.cors_origins):
            raise BadInput("a CORS origin with *: name each origin, such as https://lab.example.org")
