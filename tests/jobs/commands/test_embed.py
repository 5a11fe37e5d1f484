"""`clipmine embed`: a corpus or a table of URLs becomes a store; what cannot be embedded is one line."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from index.store.embedding_store import EmbeddingStore
from jobs.cli import run
from tests.index.web import serve
from tests.jobs.running import Fails, Run, counts


def test_a_summary_adds_up_and_says_what_comes_next(
    small_corpus: Path, tiny_clip_dir: Path, tmp_path: Path, clipmine: Run
) -> None:
    asked = ["embed", small_corpus, "--out", tmp_path / "store", "--model-dir", tiny_clip_dir]
    lines = clipmine(*asked, "--device", "cpu", "--decode-threads", 1)
    assert lines[0].split() == ["samples", "read", "33"]
    assert lines[1].split() == ["rows", "in", "the", "store", "33"]
    assert lines[-1] == f"next: clipmine index {tmp_path / 'store'}"
    # The store knows its model, and everything is done.
    again = json.loads(clipmine("embed", small_corpus, "--out", tmp_path / "store", "--json")[0])
    assert (again["items_skipped"], again["rows_embedded"], again["store"]["rows"]) == (2, 0, 33)


def test_a_table_of_urls_is_downloaded_and_embedded(tmp_path: Path, tiny_clip_dir: Path, clipmine: Run) -> None:
    with serve() as web, open(tmp_path / "urls.csv", "w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["url", "caption"])
        table.writerows([[web.url(f"/ok/{number}.jpg"), f"picture {number}"] for number in range(3)])
        table.writerows([[web.url("/missing/3.jpg"), "gone"], [web.url("/flaky/4.jpg"), "busy"], ["", "no URL"]])
        table.writerow([web.url("/ok/5.jpg"), ""])
        stream.flush()
        asked = ["embed", tmp_path / "urls.csv", "--out", tmp_path / "s", "--model-dir", tiny_clip_dir]
        lines = clipmine(*asked)
        as_json = json.loads(clipmine(*asked, "--json")[0])
    found = counts(lines)
    assert found["rows in the table"] == 7
    losses = {"- http_404": 1, "- http_503": 1, "- no_url": 1, "- empty_caption": 1}
    assert {label: found[label] for label in losses} == losses
    assert (found["images downloaded"], found["samples read"], found["rows in the store"]) == (4, 4, 3)
    assert any(line.startswith("to try them again") and line.endswith("--retry-failed") for line in lines)
    assert as_json["table"]["failed"] == {"http_404": 1, "http_503": 1, "no_url": 1}
    assert as_json["store"]["rows"] == 3
    assert (tmp_path / "s-images/00000.tar").exists()


def test_options_of_a_table_are_refused_for_a_folder(
    small_corpus: Path, tiny_clip_dir: Path, tmp_path: Path, fails: Fails
) -> None:
    asked = ["embed", small_corpus, "--out", tmp_path / "store", "--model-dir", tiny_clip_dir]
    for option in ("--images", "--url-column", "--caption-column", "--keep", "--columns"):
        line, status = fails(*asked, option, "x")
        assert f"{option} would have no effect on {small_corpus}" in line
        assert status == 2
    assert not (tmp_path / "store").exists()


def test_a_shard_size_for_tars_is_said_to_have_no_effect(
    small_corpus: Path, tiny_clip_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = ["embed", str(small_corpus), "--model-dir", str(tiny_clip_dir), "--shard-size", "5"]
    assert run([*asked, "--out", str(tmp_path / "store")]) == 0
    assert "clipmine: --shard-size has no effect on tars: each tar is one work item" in capfd.readouterr().err
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (32, 32), "red").save(folder / "a.jpg")
    (folder / "a.txt").write_text("red")
    asked[1] = str(folder)
    assert run([*asked, "--out", str(tmp_path / "other")]) == 0
    assert "--shard-size" not in capfd.readouterr().err


def photos(folder: Path, *names: str, text: bool = True) -> Path:
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        Image.new("RGB", (32, 32), (number, 90, 200)).save(folder / name, "PNG")
        if text:
            (folder / name).with_suffix(".txt").write_text(f"a picture {name}")
    return folder


def test_a_folder_that_grew_is_embedded_on_with_what_its_store_was_begun_with(
    tmp_path: Path, tiny_clip_dir: Path, clipmine: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = photos(tmp_path / "in", *(f"1_red_{letter}.png" for letter in "abc"), text=False)
    asked = ["embed", folder, "--out", tmp_path / "store"]
    options = ["--model-dir", tiny_clip_dir, "--shard-size", 2, "--caption-pattern", "{id}_{caption}"]
    assert counts(clipmine(*asked, *options))["rows in the store"] == 3
    photos(folder, "0_blue.png", text=False)
    (folder / "README.md").write_text("about")
    assert run([str(each) for each in asked]) == 0
    captured = capfd.readouterr()
    assert "was begun with: shard size 2, caption pattern {id}_{caption}" in captured.err
    found = counts(captured.out.splitlines())
    assert (found["rows in the store"], found["items done before"], found["other files"], found["- .md"]) == (
        4,
        2,
        1,
        1,
    )
    captions = EmbeddingStore.open(tmp_path / "store").metadata(range(4), ["caption"])["caption"].to_pylist()
    assert captions == ["red a", "red b", "red c", "blue"]


def test_images_without_captions_name_the_options_and_the_next_command_works(
    tmp_path: Path, tiny_clip_dir: Path, clipmine: Run, fails: Fails
) -> None:
    folder = photos(tmp_path / "in", "a.png", "b.png", text=False)
    asked = ["embed", folder, "--out", tmp_path / "store", "--model-dir", tiny_clip_dir]
    line, status = fails(*asked)
    assert "none of its 2 samples could be embedded (2 missing_caption)" in line
    assert "--caption-pattern" in line
    assert "--allow-empty-caption" in line
    assert status == 2
    found = counts(clipmine(*asked, "--allow-empty-caption"))
    assert (found["rows in the store"], found["without caption"]) == (2, 2)
    (tmp_path / "concepts.txt").write_text("red\n")
    clipmine("index", tmp_path / "store")
    lines = clipmine(
        *("retrieve", tmp_path / "store", "--concepts", tmp_path / "concepts.txt", "-k", 1, "--out", tmp_path / "s")
    )
    assert [line.split()[1] for line in lines if line.startswith("search")] == ["t2i"]


def test_tars_of_other_names_show_them_and_options_read_them(
    tmp_path: Path, tiny_clip_dir: Path, clipmine: Run, fails: Fails
) -> None:
    folder = photos(tmp_path / "in", "1.5.png", "1.6.png")
    tars = tmp_path / "tars"
    tars.mkdir()
    with tarfile.open(tars / "0.tar", "w") as tar:
        for path in sorted(folder.iterdir()):
            name = path.name.replace(".png", ".img").replace(".txt", ".cap")
            info = tarfile.TarInfo(name)
            info.size = path.stat().st_size
            tar.addfile(info, io.BytesIO(path.read_bytes()))
    asked = ["embed", tars, "--out", tmp_path / "store", "--model-dir", tiny_clip_dir]
    line, _ = fails(*asked)
    assert "such as 1.5.img, 1.5.cap" in line
    options = ["--image-ext", "img", "--caption-ext", "cap"]
    lines = clipmine(*asked, *options)
    assert counts(lines)["- second_image"] == 1
    assert any("--key-rule stem" in each for each in lines)
    asked[3] = tmp_path / "stem"
    assert counts(clipmine(*asked, *options, "--key-rule", "stem"))["rows in the store"] == 2


def test_a_corpus_without_images(fails: Fails, tmp_path: Path, tiny_clip_dir: Path) -> None:
    (tmp_path / "empty").mkdir()
    line, status = fails("embed", tmp_path / "empty", "--out", tmp_path / "store", "--model-dir", tiny_clip_dir)
    assert str(tmp_path / "empty") in line
    assert status == 2
    assert not (tmp_path / "store/manifest.json").exists()
    missing = tmp_path / "nowhere"
    assert fails("embed", missing, "--out", tmp_path / "store", "--model-dir", tiny_clip_dir) == (
        f"clipmine: error: {missing}: not found",
        2,
    )


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ([], "which model?"),
        (["--pretrained", "openai"], "name a --model too"),
        (["--model", "ViT-B-33", "--pretrained", "x"], "unknown model 'ViT-B-33'"),
        (["--model", "ViT-B-33", "--pretrained", "x"], "ViT-B-32"),
        (["--model", "ViT-B-32", "--pretrained", "opnai"], "laion2b_s34b_b79k"),
    ],
)
def test_a_model_that_is_not_known_lists_close_ones(
    named: list[str], said: str, fails: Fails, small_corpus: Path, tmp_path: Path
) -> None:
    line, status = fails("embed", small_corpus, "--out", tmp_path / "store", *named)
    assert said in line
    assert status == 2


def test_an_output_that_holds_something_else(
    fails: Fails, small_corpus: Path, tiny_clip_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/letter.txt").write_text("dear")
    line, status = fails("embed", small_corpus, "--out", tmp_path / "taken", "--model-dir", tiny_clip_dir)
    assert f"{tmp_path / 'taken'}: is not empty" in line
    assert status == 2
    assert [entry.name for entry in (tmp_path / "taken").iterdir()] == ["letter.txt"]


def test_a_store_of_another_configuration(
    fails: Fails, small_store: EmbeddingStore, small_corpus: Path, tiny_clip_dir: Path
) -> None:
    asked = ["embed", small_corpus, "--out", small_store.path, "--model-dir", tiny_clip_dir, "--batch-size", "4"]
    line, status = fails(*asked)
    assert "batch_size 8, not 4" in line
    assert status == 2
