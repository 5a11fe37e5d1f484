"""Requests to an object store that the driver sends when it runs a finished embedding job again.

Run as: python -m benchmarks.resume_requests [--items 4000] [--quick]

A corpus of tars with one drawn image each is embedded by a tiny CLIP into a store in moto's S3, in this process. Then
the same job is run again through a proxy that counts requests, and once more with ten new tars. A job's driver sends
them one after the other or few at a time, so their number decides how long it takes on a slow network.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

TARGET = 100
NEW = 10


def main() -> int:
    """Print the counts; returns 1 where the finished job sent more than the target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=4_000, help="tars of the corpus (4,000)")
    parser.add_argument("--quick", action="store_true", help="200 tars")
    args = parser.parse_args()
    items = 200 if args.quick else args.items
    os.environ["OMP_NUM_THREADS"] = "1"

    import pytest

    from index.encoder.model_spec import ModelSpec
    from index.files import resolve
    from index.store.embed import EmbedConfig
    from jobs.embed_job import run_embed
    from tests.conftest import write_shapes_tar, write_tiny_clip
    from tests.index.s3_server import FlakyProxy, s3_server, use_s3

    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch, s3_server("bucket") as url, pytest.MonkeyPatch.context() as patch:
        use_s3(patch, url)
        folder = Path(scratch)
        tars = folder / "corpus"
        for made in (tars, folder / "model"):
            made.mkdir()
        for number in range(items + NEW):
            write_shapes_tar(tars / f"{number:05d}.tar", 1, seed=number)
        file_system, inside = resolve("s3://bucket")
        file_system.put([str(tar) for tar in sorted(tars.iterdir())][:items], f"{inside}/corpus/")
        model = ModelSpec(model_dir=str(write_tiny_clip(folder / "model")))
        config = EmbedConfig("s3://bucket/corpus", "s3://bucket/store", model, device="cpu")
        started = time.monotonic()
        run_embed(config, workers=1)
        print(f"embedded {items:,} items in {time.monotonic() - started:.0f} s", flush=True)
        proxy = FlakyProxy(url)
        patch.setenv("AWS_ENDPOINT_URL", proxy.url)
        for name in ("finished", "grown"):
            if name == "grown":
                file_system.put([str(tar) for tar in sorted(tars.iterdir())][items:], f"{inside}/corpus/")
            before, started = proxy.requests, time.monotonic()
            summary = run_embed(config, workers=1)
            assert summary.items_skipped == items
            figures[f"{name}_requests"] = proxy.requests - before
            figures[f"{name}_seconds"] = round(time.monotonic() - started, 1)
        proxy.close()
    finished, grown = figures["finished_requests"], figures["grown_requests"]
    print(f"{items:,} items: run again {finished} requests, with {NEW} more {grown}")
    holds = finished <= TARGET
    targets = {"finished_requests": TARGET}
    print(json.dumps({"name": "resume_requests", "figures": figures, "targets": targets, "holds": holds}))
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
