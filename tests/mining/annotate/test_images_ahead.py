"""Image files of sets, read ahead."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from index.errors import BadInput
from mining.annotate.images_ahead import images_ahead, read_images
from mining.export.member_images import MemberImages
from mining.sets.image_set import ImageSet
from tests.mining.made_sets import file_of, write_foreign_sets

NAMES = [[f"{number}.jpg", f"{number + 1}.jpg"] for number in range(40)]


def test_sets_come_in_their_order_with_their_files(tmp_path: Path) -> None:
    sets = write_foreign_sets(tmp_path, NAMES)
    found = list(images_ahead(sets, MemberImages(sets)))
    assert [each.set_id for each, _ in found] == [each.set_id for each in sets]
    assert [files for _, files in found] == [tuple(map(file_of, names)) for names in NAMES]


def test_only_some_sets_are_read_ahead(tmp_path: Path) -> None:
    sets = write_foreign_sets(tmp_path, NAMES)
    taken = []

    def counted() -> Iterator[ImageSet]:
        for each in sets:
            taken.append(each)
            yield each

    ahead = images_ahead(counted(), MemberImages(sets), readers=2, ahead=5)
    next(ahead)
    assert len(taken) == 5
    ahead.close()  # type: ignore[attr-defined]  # ends the threads


def test_without_images_nothing_is_read(tmp_path: Path) -> None:
    sets = write_foreign_sets(tmp_path, NAMES[:3])
    assert [files for _, files in images_ahead(sets, None)] == [(), (), ()]


def test_a_missing_image_is_a_reason_and_a_source_that_is_not_there_an_error(tmp_path: Path) -> None:
    sets = write_foreign_sets(tmp_path, NAMES[:3])
    (tmp_path / "photos" / "1.jpg").unlink()
    assert read_images(sets[0], MemberImages(sets)) == "missing"
    assert read_images(sets[2], MemberImages(sets)) == (file_of("2.jpg"), file_of("3.jpg"))
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    with pytest.raises(BadInput, match="which is not there"):
        list(images_ahead(sets, MemberImages(sets)))
