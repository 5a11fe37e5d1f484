"""Images below a folder: found by path, base name or stem; bad ones have a reason."""

from __future__ import annotations

from pathlib import Path

from customize.lmm.evaluate.question_images import MISSING, UNREADABLE, QuestionImages
from mining.sets.importers.record import NamedImage
from scenes.tars import write_tar
from tests.customize.lmm.evaluate.conftest import png


def test_images_are_found_by_path_base_name_stem_and_other_names(tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "1.png").write_bytes(png("red"))
    (tmp_path / "SEED-Bench-image").mkdir()
    (tmp_path / "SEED-Bench-image" / "12_34").write_bytes(png("blue"))
    images = QuestionImages(str(tmp_path), ("", "SEED-Bench-image"))
    for name in ("val/1.png", "1.png", "coco/1.png", "1"):
        assert images.read(NamedImage(name)) == png("red")
    assert images.read(NamedImage("12_34")) == png("blue")
    assert images.read(NamedImage("7", also=("00007.jpg", "1.png"))) == png("red")
    assert images.read(NamedImage(None, "https://example.org/1.png", ("1.png",))) == png("red")
    assert images.read(NamedImage(None, data=png("green"))) == png("green")


def test_images_in_tars_are_found(tmp_path: Path) -> None:
    write_tar(tmp_path / "00000.tar", [("a", {"png": png("red")}), ("b", {"png": png("blue")})])
    assert QuestionImages(str(tmp_path)).read(NamedImage("b.png")) == png("blue")


def test_what_cannot_be_shown_has_a_reason(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(png("red")[:40])
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "inner").mkdir()
    (tmp_path / "secret.png").write_bytes(png("red"))
    images = QuestionImages(str(tmp_path / "inner"))
    assert images.read(NamedImage("../secret.png")) == MISSING
    assert images.read(NamedImage(str(tmp_path / "secret.png"))) == MISSING
    (tmp_path / "inner" / "link.png").symlink_to(tmp_path / "secret.png")
    assert images.read(NamedImage("link.png")) == UNREADABLE
    outer = QuestionImages(str(tmp_path))
    assert outer.read(NamedImage("broken.png")) == UNREADABLE
    assert outer.read(NamedImage("text.png")) == UNREADABLE
    assert outer.read(NamedImage("none.png")) == MISSING
    assert QuestionImages(None).read(NamedImage("1.png")) == MISSING
    assert QuestionImages(str(tmp_path / "nowhere")).read(NamedImage("1.png")) == MISSING
