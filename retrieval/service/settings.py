"""Settings of a service: who may ask, the largest requests, and how long a request may wait."""

from __future__ import annotations

from dataclasses import dataclass

from index.corpus.image_decoding import MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS
from index.errors import BadInput

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """Permissions and limits of a service. Raises BadInput for a limit below 1, an empty token, or an origin with *.

    name: what `GET /indexes` and clip-retrieval's `indice_name` call the store; its folder's name by default.
    tokens: bearer tokens; a request must bring one of them. Without any, the service is open to all.
    cors_origins: origins whose pages may call the service; none by default.
    allow_urls: whether `image_url` queries are fetched, from public addresses only.
    max_body_bytes, max_queries, max_k, max_results (queries x k), max_concepts, max_prompts: of one request.
    max_depth: most rows that a search looks at to replace results that filters dropped.
    max_image_bytes, max_image_pixels: of an image before it is decoded.
    queue: vectors (or texts) that may wait before a request is refused with 429.
    wait_ms: how long a call may wait for further requests, or a tenth of the duration of the last calls if longer.
    body_seconds: how long a client may take to send its body.
    concept_jobs: concept lists that are answered at the same time.
    cache_bytes: of row metadata kept in memory.
    """

    name: str | None = None
    tokens: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    allow_urls: bool = False
    max_body_bytes: int = 32 << 20
    max_queries: int = 512
    max_k: int = 1_000
    max_results: int = 100_000
    max_concepts: int = 20_000
    max_prompts: int = 200_000
    max_depth: int = 10_000
    max_image_bytes: int = MAX_IMAGE_BYTES
    max_image_pixels: int = MAX_IMAGE_PIXELS
    queue: int = 1_024
    wait_ms: float = 2.0
    body_seconds: float = 30.0
    concept_jobs: int = 2
    cache_bytes: int = 64 << 20

    def __post_init__(self) -> None:
        for name in (
            "max_body_bytes", "max_queries", "max_k", "max_results", "max_concepts", "max_prompts", "max_depth",
            "max_image_bytes", "max_image_pixels", "queue", "concept_jobs",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise BadInput(f"{name.replace('_', '-')} {getattr(self, name)}: must be at least 1")
        if any(not token.strip() for token in self.tokens):
            raise BadInput("a bearer token is empty: anyone could guess it")
        if any("*" in origin for origin in self.cors_origins):
            raise BadInput("a CORS origin with *: name each origin, such as https://lab.example.org")
