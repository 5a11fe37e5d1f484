"""Tables, frames and corpora to stores, in Python; and that Python has the options of the commands."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clipmine
from customize.clip.train.config import CustomizeConfig
from index.corpus.download import DownloadOptions
from index.errors import BadInput, OutputExists
from index.graph.build import IndexConfig
from index.store.embed_item import EmbedConfig
from jobs.cli import load_command
from mining.strategies.context import MiningConfig
from retrieval.rules import Rules
from tests.index.web import serve
from tests.jobs.test_frame_kinds import OfConnect

# The functions of commands: their configurations, and options of the command that the function has in another form.
FUNCTIONS: dict[str, tuple[tuple[type, ...], dict[str, str]]] = {
    "download": ((DownloadOptions,), {"retry": "retry_failed"}),
    "embed": ((EmbedConfig,), {}),
    "index": ((IndexConfig,), {"links": "M"}),
    "retrieve": (
        (Rules,),
        dict.fromkeys(("reserve", "method"), "options") | {"url": "store", "plan": "", "plan_rows": ""},
    ),
    "mine": ((MiningConfig,), {"mix": "strategy"}),
    "customize": ((CustomizeConfig,), {"plain_clip": "gamma"}),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_the_options_of_its_command(name: str) -> None:
    configs, renamed = FUNCTIONS[name]
    known = set(inspect.signature(getattr(clipmine, name)).parameters) | {"debug", "as_json"}
    known |= {field.name for config in configs for field in fields(config)} | set(renamed)
    assert {str(param.name) for param in load_command(name).params} <= known


def test_a_frame_of_spark_becomes_a_store_and_the_same_call_continues(
    tmp_path: Path, tiny_clip_dir: Path, spark_session: Any
) -> None:
    with serve() as web:
        paths = ["/ok/1.jpg", "/ok/2.jpg", "/missing/3.jpg", "/ok/4.jpg", "/ok/5.jpg"]
        table = {"URL": [web.url(path) for path in paths], "TEXT": [f"picture {path}" for path in paths]}
        frame = spark_session.createDataFrame(pa.table({**table, "similarity": [0.2, 0.3, 0.4, 0.5, 0.6]}))
        choices: dict[str, Any] = {"model_dir": tiny_clip_dir, "url_column": "URL", "caption_column": "TEXT"}
        choices |= {"keep_columns": "similarity", "shard_size": 2}
        laion = frame.filter("similarity > 0.25")
        store = clipmine.embed(laion, tmp_path / "s", **choices)
        assert sorted(store.metadata(range(3), ["url"])["url"].to_pylist()) == sorted(
            table["URL"][place] for place in (1, 3, 4)
        )
        kept = [json.loads(extra)["similarity"] for extra in store.metadata(range(3), ["extra"])["extra"].to_pylist()]
        assert sorted(kept) == [0.3, 0.5, 0.6]
        asked = dict(web.asked)
        again = clipmine.embed(laion, tmp_path / "s", **choices)
        assert (again.rows, dict(web.asked)) == (3, asked)
        with pytest.raises(OutputExists, match=r"s-table: was written from another frame .4 rows, not 5."):
            clipmine.embed(frame, tmp_path / "s", **choices)
    # The table that was written serves in place of the frame.
    assert clipmine.embed(tmp_path / "s-table/table.parquet", tmp_path / "s", **choices).rows == 3


def test_the_blocks_of_the_python_page_that_need_spark_run(
    tmp_path: Path, tiny_clip_dir: Path, spark_session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "python.md").read_text()
    found = re.findall(r"^```py\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert len(found) == 2
    with serve() as web:
        urls = [web.url(f"/ok/{number}.jpg") for number in range(6)]
        table = pa.table({"URL": urls, "TEXT": urls, "similarity": [0.1, *[0.4] * 5], "NSFW": ["UNLIKELY"] * 6})
        pq.write_table(table, "laion.parquet")
        names: dict[str, Any] = {"clipmine": clipmine, "model_dir": tiny_clip_dir}
        for block in found:
            for name in ("laion.parquet", "vectors.parquet"):  # Spark's own folder is where it was started
                block = block.replace(name, f"file://{tmp_path}/{name}")
            exec(compile(block, "docs/python.md", "exec"), names)
    assert len(clipmine.ImageSets.open("large-pairs")) == 2
    assert spark_session.read.parquet(f"file://{tmp_path}/vectors.parquet").columns == ["row_id", "url", "image_vector"]


def test_a_frame_is_downloaded(tmp_path: Path) -> None:
    with serve() as web:
        frame = pd.DataFrame({"url": [web.url("/ok/1.jpg"), None, web.url("/ok/1.jpg")], "caption": ["a", "b", "c"]})
        summary = clipmine.download(frame, tmp_path / "tars", threads=2)
        assert (summary.rows, summary.downloaded, dict(summary.failed)) == (3, 2, {"no_url": 1})
        assert clipmine.download(frame, tmp_path / "tars").downloaded == 2
        with pytest.raises(BadInput, match="unknown option thread: choose from threads"):
            clipmine.download(frame, tmp_path / "other", thread=2)
        with pytest.raises(BadInput, match="downloads run on local or ray, not on 'spark'"):
            clipmine.download(frame, tmp_path / "other", executor="spark")
    assert not (tmp_path / "other").exists()


def test_a_store_is_continued_with_its_own_options(small_corpus: Path, tiny_clip_dir: Path, tmp_path: Path) -> None:
    clipmine.embed(small_corpus / "00000.tar", tmp_path / "s", model_dir=tiny_clip_dir, batch_size=7, caption_index=0)
    assert clipmine.embed(small_corpus / "00000.tar", tmp_path / "s").rows == 20
    with pytest.raises(OutputExists, match="batch_size 7, not 8"):
        clipmine.embed(small_corpus / "00000.tar", tmp_path / "s", batch_size=8)


FRAME = pd.DataFrame({"url": ["http://127.0.0.1:1/a.jpg"], "caption": ["a"]})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda out: clipmine.embed(FRAME, out), "which model"),
        (lambda out: clipmine.embed(FRAME, out, model="ViT-B-32", batch=3), "unknown option batch"),
        (lambda out: clipmine.embed(FRAME, out, model="ViT-B-32", executor="slurm"), "slurm"),
        (lambda out: clipmine.embed(FRAME, out, model="ViT-B-32", url_column="URL"), "the frame: has no column 'URL'"),
        (lambda out: clipmine.embed(FRAME, out, model="ViT-B-32", columns=["url"]), "has names for its columns"),
        (lambda out: clipmine.embed(["photos"], out, model="ViT-B-32"), "list: give a path, or a data frame of"),
        (lambda out: clipmine.download(None, out), "NoneType: give a path, or a data frame of"),
        (lambda out: clipmine.embed("photos", out, model="ViT-B-32", keep_columns="a"), "keep_columns: would have no"),
        (
            lambda out: clipmine.embed(OfConnect(), out, model="ViT-B-32", executor="spark"),
            "the frame is of Spark Connect; run the program by spark-submit",
        ),
        (lambda out: clipmine.embed("photos", out, model="ViT-B-32", random_weights=0, precision="fp8"), "fp8"),  # type: ignore[arg-type]
    ],
)
def test_what_is_wrong_is_said_before_any_work(call: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        call(tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
