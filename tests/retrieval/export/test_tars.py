from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from index.corpus.image_decoding import decode_image
from index.corpus.samples import Sample
from index.corpus.sources import list_items, read_item
from index.errors import ImagesNotLocal, OutputExists, StoreInvalid
from index.store.embedding_store import EmbeddingStore
from index.store.output_register import holding_outputs
from retrieval import Rules, Selection, export_selection
from retrieval.concepts import Concept
from tests.folders import file_bytes
from tests.index.corpora import encode
from tests.retrieval.export.conftest import members, select
from tests.retrieval.stores import forget, jpeg, make_store, random_unit


def test_the_tars_hold_the_original_bytes_captions_and_all_that_is_known(
    selection: Selection, store: EmbeddingStore, tmp_path: Path
) -> None:
    summary = export_selection(selection, tmp_path / "out")
    assert summary.asked == summary.exported == selection.rows
    assert summary.left_out == {}
    files = members(tmp_path / "out")
    by_row = {row["row_id"]: row for row in selection}
    keys = sorted({name.split(".")[0] for name in files})
    assert keys == [f"00000{place:04d}" for place in range(len(by_row))]
    for key in keys:
        fields = json.loads(files[f"{key}.json"])
        row = by_row[fields["row_id"]]
        assert files[f"{key}.jpg"] == jpeg(fields["row_id"])
        assert fields["sha256"] == hashlib.sha256(files[f"{key}.jpg"]).hexdigest()
        assert files[f"{key}.txt"].decode() == fields["caption"] == row["caption"]
        assert fields["key"] == key
        assert fields["source_key"] == row["key"]
        assert fields["source_shard"] == "00000.tar"
        assert fields["truth"] == fields["row_id"]
        assert (fields["width"], fields["height"], fields["status"]) == (24, 16, "success")
        for name in ("url", "concept", "prompt", "mode", "rank"):
            assert fields[name] == row[name]
        assert fields["score"] == pytest.approx(row["score"])
        assert fields["concepts"] == [row["concept"]]


@pytest.fixture
def of_many_formats(tmp_path: Path) -> Selection:
    drawn = Image.open(io.BytesIO(jpeg(1)))
    kinds = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF", "BMP", "GIF")
    images = [encode(drawn, kind) for kind in kinds]
    store = make_store(tmp_path, random_unit(8), images=images)
    return select(store, tmp_path / "selection", k=8, rules=Rules(exact_duplicates=False))


def test_formats_that_trainers_drop_are_counted(of_many_formats: Selection, tmp_path: Path) -> None:
    summary = export_selection(of_many_formats, tmp_path / "out", shard_size=5)
    assert summary.not_loaded == {"avif": 1, "bmp": 1, "gif": 2, "tif": 1}
    assert summary.exported == 8
    assert export_selection(of_many_formats, tmp_path / "out", shard_size=5) == summary


@pytest.mark.parametrize("encoding", ["jpg", "png"])
def test_formats_that_trainers_drop_are_reencoded_if_asked_for(
    of_many_formats: Selection, tmp_path: Path, encoding: str
) -> None:
    summary = export_selection(of_many_formats, tmp_path / "out", reencode=encoding)
    assert (summary.exported, summary.not_loaded) == (8, {})
    files = members(tmp_path / "out")
    assert {Path(name).suffix for name in files} == {".jpg", ".png", ".webp", ".txt", ".json"}
    fields = [json.loads(data) for name, data in files.items() if name.endswith(".json")]
    assert Counter(each.get("reencoded_from") for each in fields) == {None: 3, "avif": 1, "gif": 2, "tif": 1, "bmp": 1}
    for each in fields:
        ending = encoding if "reencoded_from" in each else ["jpg", "png", "webp"][each["row_id"]]
        assert decode_image(files[f"{each['key']}.{ending}"]).size == (24, 16)
    with pytest.raises(OutputExists):
        export_selection(of_many_formats, tmp_path / "out")


def test_an_image_that_cannot_be_reencoded_is_left_out_with_the_reason(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(2), images=[jpeg(1), b"BM broken"])
    selection = select(store, tmp_path / "selection", k=2)
    assert export_selection(selection, tmp_path / "as_it_is").not_loaded == {"bmp": 1}
    summary = export_selection(selection, tmp_path / "out", reencode="png")
    assert (summary.exported, summary.left_out) == (1, {"not re-encoded: broken_image": 1})
    assert sorted(Path(name).suffix for name in members(tmp_path / "out")) == [".jpg", ".json", ".txt"]


@pytest.mark.parametrize(
    ("ids", "classes"), [(("151", "281"), True), (("n02084071", "n02121808"), False), (("151", None), False)]
)
def test_class_ids_that_are_numbers_are_webdatasets_cls(
    store: EmbeddingStore, tmp_path: Path, ids: tuple[str, str | None], classes: bool
) -> None:
    listed = [Concept(name, class_id=own) for name, own in zip(("dog", "cat"), ids, strict=True)]
    selection = select(store, tmp_path / "selection", concepts=listed)
    export_selection(selection, tmp_path / "out")
    files = members(tmp_path / "out")
    fields = [json.loads(data) for name, data in files.items() if name.endswith(".json")]
    assert {each["class_id"] for each in fields} == set(ids)
    written = {name: data.decode() for name, data in files.items() if name.endswith(".cls")}
    assert written == ({f"{each['key']}.cls": each["class_id"] for each in fields} if classes else {})


def test_side_cars_are_those_of_img2dataset(selection: Selection, tmp_path: Path) -> None:
    export_selection(selection, tmp_path / "out", shard_size=10)
    stats = json.loads((tmp_path / "out/00000_stats.json").read_text())
    assert stats["count"] == stats["successes"] == 10
    assert (stats["failed_to_download"], stats["failed_to_resize"]) == (0, 0)
    assert stats["status_dict"] == {"success": 10}
    table = pq.read_table(tmp_path / "out/00001.parquet")
    assert table.num_rows == selection.rows - 10
    assert {"url", "caption", "key", "status", "error_message", "width", "height", "sha256"} <= set(table.column_names)


def test_our_own_corpus_reader_reads_an_export(selection: Selection, tmp_path: Path) -> None:
    export_selection(selection, tmp_path / "out", shard_size=10)
    samples = [sample for item in list_items(str(tmp_path / "out")) for sample in read_item(item)]
    assert len(samples) == selection.rows
    for sample in samples:
        assert isinstance(sample, Sample)
        assert sample.caption == f"caption {json.loads(sample.extra)['row_id']}"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves the tar open
def test_webdataset_reads_an_export(selection: Selection, tmp_path: Path) -> None:
    import webdataset

    export_selection(selection, tmp_path / "out")
    dataset = webdataset.WebDataset(str(tmp_path / "out/00000.tar"), shardshuffle=False).decode("pil")
    samples = list(dataset.to_tuple("jpg;png;webp", "txt", "json"))
    assert len(samples) == selection.rows
    assert all(image.size == (24, 16) for image, _, _ in samples)


def test_the_same_selection_gives_the_same_bytes_after_a_stop_too(selection: Selection, tmp_path: Path) -> None:
    export_selection(selection, tmp_path / "whole", shard_size=4)

    def stop(done: int, total: int) -> None:
        if done >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_selection(selection, tmp_path / "out", shard_size=4, on_progress=stop)
    first = (tmp_path / "out/00000.tar").stat().st_mtime_ns
    assert not (tmp_path / "out/manifest.json").exists()
    export_selection(selection, tmp_path / "out", shard_size=4)
    assert (tmp_path / "out/00000.tar").stat().st_mtime_ns == first
    for path in (tmp_path / "whole").iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_row_of_several_concepts_is_exported_once_with_all_of_them(store: EmbeddingStore, tmp_path: Path) -> None:
    selection = select(store, tmp_path / "all", k=30, rules=Rules(cross_concept="keep-all"))
    ids = selection.table(["row_id"])["row_id"].to_pylist()
    assert len(set(ids)) < len(ids)
    summary = export_selection(selection, tmp_path / "out")
    assert summary.exported == len(set(ids))
    table = pq.read_table(tmp_path / "out/00000.parquet")
    assert table["row_id"].to_pylist() == sorted(set(ids))
    rows = list(selection)
    for entry in table.to_pylist():
        own = sorted((row["rank"], row["concept"]) for row in rows if row["row_id"] == entry["row_id"])
        assert entry["rank"] == own[0][0]
        assert sorted(entry["concepts"]) == sorted(concept for _, concept in own)
        assert entry["concept"] == entry["concepts"][0]


def test_images_that_cannot_be_had_are_counted_and_named(
    selection: Selection, store: EmbeddingStore, tmp_path: Path
) -> None:
    ids = sorted(selection.table(["row_id"])["row_id"].to_pylist())
    forget(store, [ids[0]])
    place = store.metadata([ids[1]], ["offset"])["offset"][0].as_py()
    tar = tmp_path / "corpus/00000.tar"
    with tar.open("r+b") as stream:
        stream.seek(place + 50)
        stream.write(b"xxxx")
    summary = export_selection(selection, tmp_path / "out")
    assert summary.left_out == {"changed": 1, "forgotten": 1}
    assert summary.asked == summary.exported + 2
    assert any(f"row {ids[1]} (k{ids[1]:04d} in 00000.tar): changed" in name for name in summary.named)
    forgotten = pq.read_table(tmp_path / "out/00000.parquet").to_pylist()[0]
    assert forgotten["row_id"] == ids[0]
    assert forgotten["caption"] is forgotten["url"] is forgotten["source_key"] is None


def test_a_corpus_that_is_gone_is_an_error(selection: Selection, tmp_path: Path) -> None:
    corpus, away = tmp_path / "corpus/00000.tar", tmp_path / "away.tar"
    corpus.rename(away)
    with pytest.raises(ImagesNotLocal, match=r"none of its \d+ images could be read .*missing"):
        export_selection(selection, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    away.rename(corpus)
    assert export_selection(selection, tmp_path / "out").left_out == {}


def test_another_store_of_the_same_shape_is_noticed_by_its_keys(selection: Selection, tmp_path: Path) -> None:
    other = make_store(tmp_path / "other", random_unit(40), key=[f"x{number}" for number in range(40)])
    with pytest.raises(StoreInvalid, match="this is another store"):
        export_selection(selection, tmp_path / "out", store=other.path)


def first_shard(out: Path) -> dict[str, bytes]:
    return {name: data for name, data in file_bytes(out).items() if name.startswith("00000")}


def test_run_again_after_rows_were_forgotten_it_writes_their_shards_without_them(
    selection: Selection, store: EmbeddingStore, tmp_path: Path
) -> None:
    first = export_selection(selection, tmp_path / "out", shard_size=4)
    ids = sorted(set(selection.table(["row_id"])["row_id"].to_pylist()))
    untouched = first_shard(tmp_path / "out")
    for gone, rewritten in ((ids[5], False), (ids[9], True)):
        forget(store, [gone])
        if rewritten:  # the selection too, whose list of rows is shorter then
            select(store, Path(selection.path))
        assert [output.kind for output in holding_outputs(store) if output.kind == "export"]
        again = export_selection(selection.path, tmp_path / "out", shard_size=4)
        shards = [pq.read_table(file).to_pylist() for file in sorted((tmp_path / "out").glob("*.parquet"))]
        entries = [entry for shard in shards for entry in shard]
        assert [entry["row_id"] for entry in entries] == ids
        (entry,) = [entry for entry in entries if entry["row_id"] == gone]
        assert entry["caption"] is entry["url"] is entry["source_key"] is None
        assert not any(f'"row_id": {gone},'.encode() in data for data in members(tmp_path / "out").values())
        assert not [output for output in holding_outputs(store) if output.kind == "export"]
    assert again.left_out == {"forgotten": 2}
    assert (again.asked, again.exported) == (first.asked, first.exported - 2)
    assert first_shard(tmp_path / "out") == untouched
    assert len(members(tmp_path / "out")) == 3 * again.exported


def test_a_rerun_that_was_killed_is_finished_by_the_next(
    selection: Selection, store: EmbeddingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_selection(selection, tmp_path / "out", shard_size=4)
    forget(store, sorted(set(selection.table(["row_id"])["row_id"].to_pylist()))[::5])

    def killed(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_selection(selection, tmp_path / "out", shard_size=4, on_progress=killed)
    assert not (tmp_path / "out/manifest.json").exists()
    assert export_selection(selection, tmp_path / "out", shard_size=4).left_out["forgotten"] > 1
    assert not [output for output in holding_outputs(store) if output.kind == "export"]
