"""Serve a store from this process: opens all first, so that a broken index is an error here and not at a request."""

from __future__ import annotations

import gc
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from index.errors import BadInput, ClipmineError
from index.files import join
from index.store.embedding_store import EmbeddingStore
from retrieval.service.settings import Settings

if TYPE_CHECKING:
    from mining.pages.review import Review

__all__ = ["open_review", "read_tokens", "run_serve"]

# Beyond what a person waits for, and within what an orchestrator gives before it kills (Kubernetes: 30 s).
GRACEFUL_SECONDS = 25
BACKLOG = 1_024  # connections that wait to be accepted


def run_serve(
    store: str,
    settings: Settings,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    pairs: str | None = None,
    decisions: str | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM, then finish what runs.

    pairs: a folder of image sets mined from this store, for the page of pairs. decisions: the file that rejections are
    appended to; by default decisions.jsonl in that folder.

    Raises:
        BadInput: no store there, a model that cannot be loaded, an index that is broken or of other rows.
        ClipmineError: the port is taken.
    """
    import uvicorn

    from mining.pages.routes import PAGE, add_pairs
    from retrieval.service.app import create_app
    from retrieval.service.local import LocalBackend
    from retrieval.service.memory import bound_arenas

    bound_arenas()
    opened = EmbeddingStore.open(store)
    review = open_review(opened, pairs, decisions)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ClipmineError(
            f"{host}:{port}: cannot be listened on ({error.strerror}); choose another --port"
        ) from error
    print(f"opening {store} and its model", file=sys.stderr, flush=True)
    backend = LocalBackend(opened, settings=settings)
    backend.load()
    app = create_app(backend, settings)
    if review is not None:
        add_pairs(app, review)
    # What is loaded now stays: else each of Python's full collections would walk all of torch.
    gc.collect()
    gc.freeze()
    config = uvicorn.Config(
        app,
        log_level="warning",
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
        timeout_keep_alive=30,
        server_header=False,
    )
    where = f"http://{'localhost' if host in ('127.0.0.1', '0.0.0.0') else host}:{listener.getsockname()[1]}"
    print(f"serving {store} at {where}/ (API: {where}/docs); Ctrl-C stops", file=sys.stderr, flush=True)
    if review is not None:
        print(f"pairs at {where}{PAGE}, decisions go to {review.decisions.path}", file=sys.stderr, flush=True)
    if host not in ("127.0.0.1", "localhost", "::1") and not settings.tokens:
        print("open to everyone who can reach it: no bearer token is asked for (--tokens-file)", file=sys.stderr)
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:  # uvicorn passes Ctrl-C on when all is finished
        print("stopped", file=sys.stderr)
    finally:
        gc.unfreeze()  # so that libraries find their objects gone at exit, and do not complain of leaks


def open_review(store: EmbeddingStore, pairs: str | None, decisions: str | None) -> Review | None:
    """The image sets to go through, None where none are served. BadInput for sets of another store."""
    if pairs is None:
        if decisions is not None:
            raise BadInput("--decisions: is about pairs; name their folder too (--pairs PAIRS)")
        return None
    from mining.pages.review import Review
    from mining.sets.decisions import DecisionsFile
    from mining.sets.image_sets import ImageSets

    sets = ImageSets.open(pairs)
    return Review(sets, store, DecisionsFile(decisions or join(pairs, "decisions.jsonl")))


def read_tokens(path: str | None, listed: str | None) -> tuple[str, ...]:
    """Bearer tokens of a file (one a line, # comments) and of a text with commas. BadInput for an empty file."""
    tokens = [token.strip() for token in (listed or "").split(",") if token.strip()]
    if path is not None:
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"{path}: cannot be read as a list of tokens") from error
        found = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        if not found:
            raise BadInput(f"{path}: holds no token; write one a line")
        tokens += found
    return tuple(dict.fromkeys(tokens))
