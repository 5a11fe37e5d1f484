from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from index.errors import BadInput
from retrieval.templates import Templates, fill, load_templates


def test_open_clips_sets_are_known_by_name() -> None:
    assert len(load_templates("openai_imagenet").texts) == 80
    assert "a photo of the large {}." in load_templates("simple").texts
    assert load_templates("name").texts == ("{}",)


def test_the_sets_are_those_of_open_clip_word_for_word() -> None:
    from open_clip import zero_shot_metadata

    theirs = [template("red fox") for template in zero_shot_metadata.OPENAI_IMAGENET_TEMPLATES]
    assert [fill(text, "red fox") for text in load_templates("openai_imagenet").texts] == theirs


def test_reading_a_set_does_not_import_torch() -> None:
    code = "import sys; from retrieval.templates import load_templates as l; l('simple'); print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_a_file_gives_one_template_a_line_without_comments(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_bytes(b"\xef\xbb\xbf# mine\r\na photo of a {}.\r\n\r\n{} in the wild\r\n")
    assert load_templates(path) == Templates("mine.txt", ("a photo of a {}.", "{} in the wild"))


def test_a_file_with_a_template_without_place_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("a {}\na photo of a dog\n")
    with pytest.raises(BadInput, match=r"mine\.txt, line 2: .*has no \{\}"):
        load_templates(path)


def test_an_unknown_set_lists_the_valid_ones() -> None:
    with pytest.raises(BadInput, match="openai_imagenet, simple, name"):
        load_templates("imagenet")


def test_inline_templates_and_sets_mix_without_repeats() -> None:
    mixed = load_templates(["name", "a drawing of {}", "{}"])
    assert mixed.texts == ("{}", "a drawing of {}")


def test_an_empty_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "none.txt").write_text("# nothing\n")
    with pytest.raises(BadInput, match="none given"):
        load_templates(tmp_path / "none.txt")


def test_filling_replaces_the_place_and_never_formats() -> None:
    assert fill("a {} and {x} {0.__class__}", "dog") == "a dog and {x} {0.__class__}"
    assert fill("{}", "{0.__class__}") == "{0.__class__}"
