from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from scenes.comparing.compare import compare
from scenes.edited_pairs import edited_pair, main, note, write_edited_pairs
from scenes.world.easy import EASY_TYPES


def test_an_edited_pair_differs_in_a_few_things_and_stays_easy() -> None:
    pairs = [edited_pair("pool", number) for number in range(12)]
    assert pairs == [edited_pair("pool", number) for number in range(12)]
    assert all(thing.type in EASY_TYPES for pair in pairs for scene in pair for thing in scene.objects)
    changes = [len(compare(*pair).differences) for pair in pairs]
    assert sum(1 <= count <= 6 for count in changes) >= 10


def test_a_note_states_some_of_the_true_differences() -> None:
    first, second = edited_pair("pool", 2)
    true = {difference.text for difference in compare(first, second).differences}
    said = note(first, second, 0)
    assert 1 <= len(said) <= 3
    assert set(said) <= true


def test_pairs_are_written_in_spot_the_diffs_format_and_not_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--count", "2", "--out", str(tmp_path)])
    path = Path(capsys.readouterr().out.strip())
    records = json.loads(path.read_text())
    assert [sorted(record) for record in records] == [["img_id", "sentences"]] * 2
    assert sorted(file.name for file in tmp_path.glob("*.jpg")) == [
        f"00000{number}{suffix}.jpg" for number in range(2) for suffix in ("", "_2")
    ]
    assert Image.open(io.BytesIO((tmp_path / "000001_2.jpg").read_bytes())).size == (96, 96)
    (tmp_path / "000000.jpg").unlink()
    write_edited_pairs("pool", tmp_path, 2)
    assert not (tmp_path / "000000.jpg").exists()  # a complete folder is left as it is


def test_two_processes_write_the_same(tmp_path: Path) -> None:
    one = write_edited_pairs("pool", tmp_path / "one", 101)
    two = write_edited_pairs("pool", tmp_path / "two", 101, workers=2)
    assert one.read_text() == two.read_text()
