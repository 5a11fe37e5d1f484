"""A store in an object store, by workers that share nothing else with the driver: the answers of a local folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.encoder.model_spec import ModelSpec
from index.errors import OutputExists, RemoteDown
from index.files import list_names, read_bytes, write_atomic
from index.graph.build import IndexConfig
from index.graph.search_index import open_index
from index.lease import only_writer
from index.store.compact import compact_store
from index.store.embed import EmbedConfig
from index.store.embedding_store import EmbeddingStore
from index.store.forget import forget_rows
from index.verify import verify_store
from jobs.embed_job import run_embed
from jobs.index_job import run_index
from retrieval.export.export import export_selection
from retrieval.retrieve import retrieve
from tests.conftest import write_shapes_tar
from tests.index.s3_server import FlakyProxy, s3_server, use_s3


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    with s3_server("bucket") as url:
        yield url


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A folder in the object store; this process keeps its copies in a folder that its workers do not have."""
    use_s3(monkeypatch, s3)
    monkeypatch.setenv("CLIPMINE_CACHE", str(tmp_path / "driver-cache"))
    monkeypatch.setenv("CLIPMINE_PATIENCE", "30")
    monkeypatch.setattr("index.lease._SETTLED", 0.05)
    return f"s3://bucket/{tmp_path.name}"


@pytest.fixture
def flaky(s3: str, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlakyProxy]:
    """A proxy before the object store, which this process and its workers use."""
    proxy = FlakyProxy(s3)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    yield proxy
    proxy.close()


class Job:
    """The life of a store at `place`, step by step."""

    def __init__(self, place: str, corpus: Path, model: Path, executor: str) -> None:
        self.place, self.corpus, self.executor = place, corpus, executor
        self.embedding = EmbedConfig(
            source=str(corpus), out=place, model=ModelSpec(model_dir=str(model)), batch_size=8, device="cpu"
        )

    def embed(self) -> int:
        return run_embed(self.embedding, executor=self.executor, workers=1).store.rows

    def index(self) -> None:
        config = IndexConfig(self.place, shard_rows=11, queries=10)
        run_index(config, "image", executor=self.executor, workers=1)

    def forget(self, *rows: int) -> int:
        return forget_rows(EmbeddingStore.open(self.place), row_ids=list(rows)).forgotten

    def answers(self) -> tuple[list[Any], list[Any], list[Any]]:
        """Rows and scores of searches, and metadata of the first row found for each query."""
        store = EmbeddingStore.open(self.place)
        queries = store.gather("text", [3, 17, 30]).astype(np.float32)
        scores, rows = open_index(store, "image").search(queries, 5)
        table = store.metadata(rows[:, 0], ["key", "caption", "sha256"])
        return rows.tolist(), np.round(scores, 4).tolist(), table.to_pylist()


def first_tar(corpus: Path, into: Path) -> Path:
    """A corpus that has the first of `corpus`'s tars so far."""
    into.mkdir()
    shutil.copy(min(corpus.glob("*.tar")), into)
    return into


@pytest.mark.parametrize("executor", ["ray", "spark"])
def test_a_store_lives_in_an_object_store_as_on_a_disk(
    executor: str,
    request: pytest.FixtureRequest,
    bucket: str,
    worker_cache: Path,
    small_corpus: Path,
    tiny_clip_dir: Path,
    tmp_path: Path,
) -> None:
    request.getfixturevalue(f"{executor}_up")
    corpus = first_tar(small_corpus, tmp_path / "corpus")
    remote = Job(f"{bucket}/store", corpus, tiny_clip_dir, executor)
    local = Job(str(tmp_path / "store"), corpus, tiny_clip_dir, "local")
    assert remote.embed() == local.embed() < 33
    for tar in sorted(small_corpus.glob("*.tar"))[1:]:
        shutil.copy(tar, corpus)
    for job in (remote, local):
        job.index()
        assert job.embed() == 33
        job.executor = "local"  # starting workers takes most of this test's time
        answered = job.answers()  # rows that are not indexed yet are found
        job.index()
        assert job.answers()[0] == answered[0]
        assert job.forget(3, 20) == 2
        assert compact_store(job.place).rows == 2
        job.index()
        assert not verify_store(job.place).problems
    assert remote.answers() == local.answers()
    for name in ("img_emb/img_emb_0001.npy", "metadata/metadata_0000.parquet", "manifest.json"):
        assert read_bytes(f"{remote.place}/{name}") == (tmp_path / "store" / name).read_bytes()
    graphs = list_names(f"{remote.place}/index/image")
    assert graphs == sorted(path.name for path in (tmp_path / "store/index/image").iterdir())
    assert any(worker_cache.iterdir())  # workers copied what they needed themselves

    concepts = tmp_path / "concepts.txt"
    concepts.write_text("red circle\nblue square\n")
    found = []
    for job, out in ((remote, f"{bucket}/selection"), (local, str(tmp_path / "selection"))):
        selection = retrieve(job.place, str(concepts), out=out, k=5)
        found.append(selection.table().select(["row_id", "concept", "rank", "key"]).to_pylist())
        assert export_selection(selection.path, out=f"{out}-export").exported == len(found[-1])
    assert found[0] == found[1]
    assert not [row for row in found[0] if row["row_id"] in (3, 20)]


def test_answers_of_503_and_cut_off_and_slow_ones_change_no_result(
    flaky: FlakyProxy, bucket: str, small_corpus: Path, tiny_clip_dir: Path, tmp_path: Path
) -> None:
    remote = Job(f"{bucket}/store", small_corpus, tiny_clip_dir, "local")
    local = Job(str(tmp_path / "store"), small_corpus, tiny_clip_dir, "local")
    flaky.plan = lambda number, method: {2: "503", 9: "cut", 16: "slow"}.get(number % 17, "serve")
    for job in (remote, local):
        assert job.embed() == 33
        job.index()
        assert job.forget(3) == 1
        assert compact_store(job.place).rows == 1
        job.index()
        assert not verify_store(job.place).problems
    assert remote.answers() == local.answers()
    assert flaky.failed > 10
    for name in ("img_emb/img_emb_0000.npy", "manifest.json"):
        assert read_bytes(f"{remote.place}/{name}") == (tmp_path / "store" / name).read_bytes()


def test_an_object_store_that_stays_down_ends_a_job_in_one_line_and_nothing_half_written_counts(
    flaky: FlakyProxy, bucket: str, small_corpus: Path, tiny_clip_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIPMINE_PATIENCE", "0.5")
    remote = Job(f"{bucket}/store", small_corpus, tiny_clip_dir, "local")
    remote.embed()
    begun = flaky.requests
    flaky.plan = lambda number, method: "503" if number > begun + 25 else "serve"
    with pytest.raises(RemoteDown, match=r"^s3://bucket/.*: its storage did not answer \(.*tries in.*run the same"):
        remote.index()
    flaky.plan = lambda number, method: "serve"
    remote.index()  # goes on, as its own dead lease is noticed
    assert remote.answers()[0]


def test_the_requests_of_a_finished_job_do_not_grow_with_its_items(
    flaky: FlakyProxy, bucket: str, tiny_clip_dir: Path, tmp_path: Path
) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number in range(24):
        write_shapes_tar(corpus / f"{number:05d}.tar", 1, seed=number)
    job = Job(f"{bucket}/store", corpus, tiny_clip_dir, "local")
    assert job.embed() == 24
    begun = flaky.requests
    assert job.embed() == 24
    assert flaky.requests - begun < 60
    write_shapes_tar(corpus / "00024.tar", 1, seed=24)
    assert job.embed() == 25


def test_a_second_writer_is_told_who_writes_and_an_expired_lease_is_taken_by_one(bucket: str) -> None:
    place = f"{bucket}/leased"
    with only_writer(place) as lease:
        with pytest.raises(OutputExists, match=r"^s3://.*another process is writing there \(.+ on .+, process"):
            only_writer(place).__enter__()
        lease.check()
        expired = json.loads(read_bytes(f"{place}/.writer.json"))
        expired |= {"host": "elsewhere", "token": "theirs", "renewed": "2026-01-02T03:04:05+00:00"}
        write_atomic(f"{place}/.writer.json", json.dumps(expired))
        with only_writer(place) as successor:
            successor.check()
            with pytest.raises(OutputExists, match="lost its right to write there"):
                lease.check()
