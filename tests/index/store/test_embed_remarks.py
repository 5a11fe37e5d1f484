"""What is said of rejected and passed over files leads to the option that helps."""

from __future__ import annotations

import pytest

from index.corpus.reading import Reading
from index.corpus.samples import CAPTIONS_APART
from index.store.embed_remarks import remarks, why_nothing


@pytest.mark.parametrize(
    ("rejected", "option"),
    [
        ({"missing_caption": 3}, "--caption-pattern"),
        ({"missing_caption": 3}, "--allow-empty-caption"),
        ({"missing_caption": 3}, "KEY.jpg.json"),
        ({"empty_caption": 1}, "--allow-empty-caption"),
        ({"members_apart": 6}, "tar --sort=name"),
        ({"image_name_not_read": 2}, "--image-ext"),
        ({"caption_not_utf8": 2}, "--caption-encoding"),
        ({"second_image": 2}, "--key-rule stem"),
        ({"image_field": 2}, "--key-rule stem"),
        ({"needs_pillow_heif": 2}, "pip install pillow-heif"),
        ({"link_not_followed": 2}, "tar -h"),
    ],
)
def test_each_cause_names_its_remedy(rejected: dict[str, int], option: str) -> None:
    (line,) = remarks(rejected, {}, Reading(), "tar")
    assert option in line
    read = sum(rejected.values())
    whole = why_nothing("tars/", read, rejected, {}, [], Reading(), "tar")
    assert whole.startswith(f"tars/: none of its {read} samples could be embedded ({read} ")
    assert option in whole
    assert "\n" not in whole


def test_the_most_frequent_cause_comes_first_and_others_without_remedy_are_left_out() -> None:
    lines = remarks(
        {"caption_not_utf8": 1, "members_apart": 5, "broken_image": 9}, {CAPTIONS_APART: 3}, Reading(), "tar"
    )
    assert [line.partition(":")[0] for line in lines] == ["members_apart", CAPTIONS_APART, "caption_not_utf8"]


def test_the_other_rule_for_keys_is_named_by_either() -> None:
    split = {"missing_caption": 4, "missing_image": 4}
    assert any("--key-rule webdataset" in line for line in remarks(split, {}, Reading(key_rule="stem"), "tar"))
    assert not any("--key-rule" in line for line in remarks(split, {}, Reading(), "tar"))
    assert remarks({"second_image": 2}, {}, Reading(key_rule="stem"), "tar") == []
    assert remarks({"second_image": 2}, {}, Reading(), "folder") == []


def test_a_corpus_of_other_names_shows_them() -> None:
    said = why_nothing("tars/", 0, {}, {".img": 5, ".cap": 5}, ["0.img", "0.cap"], Reading(), "tar")
    assert said == (
        "tars/: holds no samples; 10 other files were passed over, such as 0.img, 0.cap; if they are images and "
        "captions, name their extensions with --image-ext and --caption-ext"
    )
    assert why_nothing("tars/", 0, {}, {}, [], Reading(), "tar") == "tars/: holds no samples: it is empty"
