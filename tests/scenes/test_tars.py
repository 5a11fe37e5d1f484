from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from index.errors import BadInput
from scenes.language.captions import captions
from scenes.tars import main, write_split
from scenes.world.easy import easy_scene
from scenes.world.sample import sample
from scenes.world.scene import from_json


def _read(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def test_shards_have_img2datasets_shape(tmp_path: Path) -> None:
    paths = write_split("corpus", tmp_path, count=5, shard_size=3, workers=1, progress=lambda n: None)
    assert [path.name for path in paths] == ["00000.tar", "00001.tar"]
    first, second = _read(paths[0]), _read(paths[1])
    assert list(first)[:3] == ["000000000.jpg", "000000000.json", "000000000.txt"]
    assert list(second)[3:] == ["000010001.jpg", "000010001.json", "000010001.txt"]
    row = json.loads(second["000010000.json"])
    scene = sample("corpus", 3)
    assert from_json(row["truth"]) == scene
    assert row["key"] == "000010000"
    assert row["captions"] == list(captions(scene).clean)
    assert row["caption"].encode() == second["000010000.txt"]
    assert row["sha256"] == hashlib.sha256(second["000010000.jpg"]).hexdigest()
    assert (row["split"], row["number"], row["status"]) == ("corpus", 3, "success")
    assert row["url"].startswith("https://scenes.example/")
    assert Image.open(io.BytesIO(second["000010000.jpg"])).size == (row["width"], row["height"]) == (96, 96)


def test_lean_tars_have_the_alt_text_and_the_types(tmp_path: Path) -> None:
    paths = write_split("web_pool", tmp_path, count=2, size=72, workers=1, progress=lambda n: None, lean=True)
    files = _read(paths[0])
    scene = sample("web_pool", 1)
    said = captions(scene)
    assert files["000000001.txt"].decode() == said.alt
    row = json.loads(files["000000001.json"])
    assert row["types"] == list(dict.fromkeys(thing.type for thing in scene.objects))
    assert (row["alt_kind"], row["number"]) == (said.alt_kind, 1)
    assert Image.open(io.BytesIO(files["000000001.jpg"])).size == (72, 72)


def test_tars_of_the_easy_world_have_full_captions(tmp_path: Path) -> None:
    paths = write_split("pool", tmp_path, count=1, workers=1, progress=lambda n: None, easy=True)
    files = _read(paths[0])
    scene = easy_scene("pool", 0)
    row = json.loads(files["000000000.json"])
    assert from_json(row["truth"]) == scene
    assert files["000000000.txt"].decode() == row["caption"] == captions(scene).clean[-1]
    assert captions(scene).dense in row["captions"]


def test_bytes_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    one = write_split("test", tmp_path / "one", count=6, shard_size=3, workers=1, progress=lambda n: None)
    two = write_split("test", tmp_path / "two", count=6, shard_size=3, workers=2, progress=lambda n: None)
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


def test_a_killed_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    paths = write_split("pool", tmp_path, count=4, shard_size=2, workers=1, progress=lambda n: None)
    whole = [path.read_bytes() for path in paths]
    paths[1].unlink()
    written: list[int] = []
    paths[0].write_bytes(b"kept")
    write_split("pool", tmp_path, count=4, shard_size=2, workers=1, progress=written.append)
    assert written == [2]
    assert paths[0].read_bytes() == b"kept"
    assert paths[1].read_bytes() == whole[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000.tar", "00001.tar"]


def test_bad_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="pretrain"):
        write_split("nowhere", tmp_path)
    with pytest.raises(BadInput, match="positive"):
        write_split("corpus", tmp_path, count=0)


def test_the_command_writes_the_asked_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--split", "validation", "--count", "3", "--out", str(tmp_path), "--workers", "1"])
    assert "1 shards" in capsys.readouterr().out
    assert len(_read(tmp_path / "00000.tar")) == 9
