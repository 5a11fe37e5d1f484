"""Model cards: the whole provenance, for people and for the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from customize.lmm.model.card import describe_sets, model_card
from mining.sets.image_sets import ImageSets
from tests.mining.made_sets import annotation, write_foreign_sets

BASE: dict[str, Any] = {
    "vision_tower": "1" * 64,
    "language_model": "2" * 64,
    "projector": "3" * 64,
    "preprocessing": {"do_pad": True},
    "features": {"layer": -2, "select": "default"},
    "names": {"model": {"name": "llava-hf/llava-1.5-7b-hf", "commit": "abc"}},
}


def about(**more: Any) -> dict[str, Any]:
    return {"kind": "adapter", "base": BASE, **more}


def test_the_card_of_an_adapter_names_its_base_and_how_it_loads() -> None:
    text = model_card(about())
    head = yaml.safe_load(text.split("---")[1])
    assert head == {
        "library_name": "peft",
        "pipeline_tag": "image-text-to-text",
        "base_model": ["llava-hf/llava-1.5-7b-hf"],
        "tags": ["llava", "lora"],
    }
    assert 'PeftModel.from_pretrained(LlavaForConditionalGeneration.from_pretrained("llava-hf/llava-1.5-7b-hf")' in text
    assert "- model: llava-hf/llava-1.5-7b-hf, commit abc" in text
    assert 'folder = "/models/tuned"  # this folder' in model_card(about(), "/models/tuned")
    assert all(digit * 64 in text for digit in "123")
    assert "do_pad" in text


def test_the_card_of_a_merged_model_of_two_halves_names_both() -> None:
    names = {
        "vision_tower": {"name": "openai/clip"},
        "language_model": {"name": "vicuna"},
        "projector": {"name": "p.bin"},
    }
    text = model_card({"kind": "merged", "base": {**BASE, "names": names}})
    assert yaml.safe_load(text.split("---")[1])["base_model"] == ["openai/clip"], "vicuna is a folder's name"
    assert "# openai/clip + vicuna, tuned" in text
    assert "peft" not in text


def test_recipe_data_losses_and_results_are_in_the_card() -> None:
    text = model_card(
        about(
            trained={"language_model": 319_815_680, "projector": 20_979_712},
            training={"stage": "cad", "learning_rate": 1e-4, "steps": 7},
            data=[
                {"name": "pairs", "samples": 278_000, "digest": "d" * 64, "licence": "CC BY 4.0"},
                {"name": "a|b\nc", "samples": 3},
            ],
            losses={"pairs": 0.512345678, "a|b": {"first": 2.0, "last": 1.0}},
            results={"bison": 0.9},
        )
    )
    assert "| language_model | 319,815,680 |" in text
    assert "- learning rate: 0.0001" in text
    assert "| pairs | 278,000 | dddddddddddd |" in text
    assert "| a\\|b c | 3 |" in text, "a name of data cannot break the table"
    assert "- licence: CC BY 4.0" in text
    assert "| pairs | 0.512346 |" in text
    assert "- bison: 0.9" in text


def test_what_is_not_known_is_not_shown() -> None:
    text = model_card(about(training={"template": None, "lr": 1e-4}, losses={"all": None}, results={"bison": None}))
    behind = text.partition("## Training")[2]
    assert "- lr: 0.0001" in behind
    assert not [word for word in ("template", "None", "null", "bison") if word in behind]


def test_rejected_answers_are_no_data(tmp_path: Path) -> None:
    sets = write_foreign_sets(tmp_path, [["a.jpg", "b.jpg"]], texts=["first"])
    sets.add_annotations([annotation("foreign-0", "garbage", "rejected", "model")], "more")
    sets = ImageSets.open(sets.path)
    assert [each["kind"] for each in describe_sets(sets)["annotations"]] == ["comparison"]
    assert describe_sets(sets, kinds=["question"])["annotations"] == []
    assert describe_sets(sets, annotators=["people"])["annotations"] == []


def test_image_sets_are_described_with_licences_and_annotators_and_without_paths(tmp_path: Path) -> None:
    sets = write_foreign_sets(tmp_path, [["a.jpg", "b.jpg"], ["c.jpg", "d.jpg"]], texts=["first", "second"])
    described = describe_sets(sets)
    assert described["sets"] == 2
    assert described["strategies"] == {"photos": 2}
    assert described["sources"][0]["licence"] == "CC BY 4.0"
    assert described["annotations"] == [{"kind": "comparison", "annotator": "model", "count": 2}]
    assert str(tmp_path) not in json.dumps(described)
    assert describe_sets(sets)["identity"] == described["identity"]
    text = model_card(about(data=[{"name": "pairs", "samples": 2, **described}]))
    assert "| comparison | model | 2 |" in text
    assert "CC BY 4.0" in text
