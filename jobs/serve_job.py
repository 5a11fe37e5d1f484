"""Serve stores from this process, after opening stores, models and indexes: what is broken is an error at the start."""

from __future__ import annotations

import gc
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from index.errors import BadInput
from index.files import join
from index.store.embedding_store import EmbeddingStore
from jobs.lists import read_lines
from retrieval.service.settings import Settings

if TYPE_CHECKING:
    from mining.pages.review import Review

__all__ = ["name_stores", "open_listener", "open_review", "read_tokens", "run_serve", "warn_if_open"]

# Beyond what a person waits for, and within what an orchestrator gives before it kills (Kubernetes: 30 s).
GRACEFUL_SECONDS = 25


def run_serve(
    stores: Mapping[str, str],
    settings: Settings,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    pairs: str | None = None,
    decisions: str | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM, then finish the requests that are being answered.

    stores: paths by the names that clients use; the first is the default. pairs: a folder of image sets for the page of
    pairs, of the first store, of others and of foreign images. decisions: the
    file that rejections are appended to; by default decisions.jsonl in that folder.

    Raises:
        BadInput: no store there, a model that cannot be loaded, an index that is broken or of other rows, or a port
            that cannot be listened on.
    """
    from mining.pages.routes import PAGE, add_pairs
    from retrieval.service.app import create_app
    from retrieval.service.http_server import server_config
    from retrieval.service.local_backend import open_backends
    from retrieval.service.memory import limit_arenas
    from retrieval.service.new_connections import Server
    from retrieval.service.threads import SWITCH_SECONDS

    limit_arenas()
    opened = {name: EmbeddingStore.open(path) for name, path in stores.items()}
    review = open_review(next(iter(opened.values())), pairs, decisions)
    listener = open_listener(host, port)
    shown = ", ".join(stores.values())
    print(f"opening {shown} and {'its model' if len(stores) == 1 else 'their models'}", file=sys.stderr, flush=True)
    backends = open_backends(opened, settings)
    for backend in backends:
        backend.load()
    app = create_app(backends, settings)
    if review is not None:
        add_pairs(app, review)
    # Exempt what is loaded by now from garbage collection: each full collection would walk all of torch.
    gc.collect()
    gc.freeze()
    config = server_config(app, GRACEFUL_SECONDS)
    where = f"http://{'localhost' if host in ('127.0.0.1', '0.0.0.0') else host}:{listener.getsockname()[1]}"
    print(f"serving {shown} at {where}/ (API: {where}/docs); Ctrl-C stops", file=sys.stderr, flush=True)
    if review is not None:
        print(f"pairs at {where}{PAGE}, decisions go to {review.decisions.path}", file=sys.stderr, flush=True)
        for name, place in review.missing_sources().items():
            print(f"the images of {name} are not shown: {place} is not there", file=sys.stderr, flush=True)
        for name, count in review.sets_without_images().items():
            line = f"the images of {name} are not shown: they are known by name or URL only (sets: {count:,})"
            print(f"{line}; import again with --images", file=sys.stderr, flush=True)
    warn_if_open(host, settings)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        Server(config).run(sockets=[listener])
    except KeyboardInterrupt:  # uvicorn raises it again after it has shut down
        print("stopped", file=sys.stderr)
    finally:
        sys.setswitchinterval(interval)
        gc.unfreeze()  # else libraries report their objects as leaks at exit


def name_stores(paths: Sequence[str], named: Sequence[str], name: str | None = None) -> dict[str, str]:
    """Paths of stores by the names that clients use, in the order given.

    paths: called by their folders' names, or a single one by `name`. named: texts `NAME=PATH`.

    Raises BadInput for no store, a text of another form, a name given twice, or `name` beside several stores.
    """
    if name is not None and (len(paths) != 1 or named):
        raise BadInput("--name is for a single STORE: give each store its name (--store NAME=PATH)")
    found: dict[str, str] = {}
    pairs = [(name or Path(path).absolute().name or path, path) for path in paths]
    for text in named:
        called, equals, path = text.partition("=")
        if not (equals and called.strip() and path):
            raise BadInput(f"--store {text}: give a name and a path, such as --store birds=/data/birds")
        pairs.append((called.strip(), path))
    for called, path in pairs:
        if called in found:
            raise BadInput(
                f"{found[called]} and {path} are both called {called!r}: give them other names (--store NAME=PATH)"
            )
        found[called] = path
    if not found:
        raise BadInput("no store to serve: name its folder, as in `clipmine serve STORE`")
    return found


def open_listener(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. BadInput where the address cannot be listened on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        problem = error.strerror or error
        raise BadInput(f"{host}:{port}: cannot be listened on ({problem}); choose another --port") from error


def warn_if_open(host: str, settings: Settings) -> None:
    """Say on stderr when the service asks for no token and other machines can reach it."""
    if host not in ("127.0.0.1", "localhost", "::1") and not settings.tokens:
        line = "open to everyone who can reach it: no bearer token is asked for (--tokens-file)"
        print(line, file=sys.stderr, flush=True)


def open_review(store: EmbeddingStore, pairs: str | None, decisions: str | None) -> Review | None:
    """The image sets that the page of pairs shows; None without `pairs`. BadInput where there are none."""
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
    """Bearer tokens from a list file (see `jobs.lists`) and from a text with commas, each once.

    Raises BadInput for a file that is missing or holds no token.
    """
    tokens = [token.strip() for token in (listed or "").split(",") if token.strip()]
    if path is not None:
        tokens += [line.strip() for line in read_lines(path, "token")]
    return tuple(dict.fromkeys(tokens))
