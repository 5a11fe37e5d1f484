"""Files of pairs: CaD-VI's records, images that open, the truth beside them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from scenes.held_out.pair_tasks import FILES, PAIRS, main, pair_truth, write_pair_tasks
from scenes.world.facts import facts_hold
from scenes.world.scene import from_json


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pairs")
    write_pair_tasks(out, 6)
    return out


def records(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def test_every_task_has_its_records_and_images(folder: Path) -> None:
    for task, name in FILES.items():
        found = records(folder, name)
        assert len(found) == (12 if task in ("eqben", "cola") else 6)
        for record in found:
            assert record["text"].count("<image>") == len(record["image"]) == 2
            assert record["answer"]
            for image in record["image"]:
                with Image.open(folder / image) as opened:
                    assert opened.size == (96, 96)


def test_records_have_the_form_of_cad_vis_files(folder: Path) -> None:
    first = records(folder, "BISON.jsonl")[0]
    assert list(first) == ["image", "text", "answer", "question_id"]
    assert first["text"].startswith('Image 1: <image>\nImage 2: <image>\nWhich image suits the caption "')
    assert first["text"].endswith(
        "A. Image 1\nB. Image 2\nAnswer with the option's letter from the given choices directly."
    )
    assert [each["question_id"] for each in records(folder, "COLA.jsonl")][:4] == ["0_0", "0_1", "1_0", "1_1"]
    assert Counter(each["answer"] for each in records(folder, "EQBEN.jsonl")) == {"A": 6, "B": 6}
    assert Counter(each["answer"] for each in records(folder, "NLVR2.jsonl")) == {"True": 3, "False": 3}
    assert Counter(each["category"] for each in records(folder, "SVO_Probes.jsonl")) == {
        "subject": 2,
        "verb": 2,
        "object": 2,
    }


def test_the_truth_beside_the_summaries_holds(folder: Path) -> None:
    for record, summary in zip(records(folder, PAIRS), records(folder, FILES["cad-summaries"]), strict=True):
        assert (record["text"], record["image"]) == (summary["answer"], summary["image"])
        scenes = [from_json(data) for data in record["scenes"]]
        for item in (*record["commonalities"], *record["differences"]):
            for scene, facts in zip(scenes, item["facts"], strict=True):
                assert facts_hold(scene, map(tuple, facts))
        assert pair_truth(*scenes) == {name: record[name] for name in pair_truth(*scenes)}


def test_a_complete_folder_is_left_as_it_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (folder / PAIRS).stat().st_mtime_ns
    main(["--out", str(folder), "--pairs", "6"])
    assert capsys.readouterr().out.splitlines()[-1] == str(folder / PAIRS)
    assert (folder / PAIRS).stat().st_mtime_ns == before
