"""Image files of members from every kind of source, and every reason for which there is none."""

from __future__ import annotations

import hashlib
import os
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from index.errors import BadInput, ImagesNotLocal, StoreInvalid
from mining import ImageSets
from mining.export import member_images
from mining.export.member_images import MemberImages
from mining.sets.image_set import ImageSet, Member
from mining.sets.sources import files_source
from mining.sets.write_sets import ImageSetsWriter
from tests.mining.made_sets import write_sets
from tests.retrieval.stores import forget, jpeg, make_store, random_unit


@pytest.fixture
def mined(tmp_path: Path) -> ImageSets:
    images = [*(jpeg(row) for row in range(6)), b"no image at all"]
    store = make_store(tmp_path, random_unit(7), images=images)
    return write_sets(tmp_path, [[0, 1], [2, 3], [5, 6]], store=store)


def foreign(folder: Path, members: list[Member], root: Path | None) -> ImageSets:
    """A folder with one set of these members, whose source is named as the source says."""
    source = files_source("photos", root, folder)
    writer = ImageSetsWriter(folder)
    writer.add_sets([ImageSet("a", "photos", tuple(replace(each, source=source.name) for each in members))])
    return writer.finish([source], {})


def readings(sets: ImageSets, moved: object = None) -> list[bytes | str]:
    images = MemberImages(sets, moved)  # type: ignore[arg-type]
    return [images.read(member) for each in sets for member in each.members]


def test_rows_of_a_store_come_from_its_corpus(mined: ImageSets) -> None:
    assert readings(mined) == [*(jpeg(row) for row in (0, 1, 2, 3, 5)), "of unknown format"]


def test_forgotten_changed_and_missing_rows_each_have_their_reason(mined: ImageSets, tmp_path: Path) -> None:
    assert len(mined)  # opened before rows were forgotten: sets with such rows would be hidden
    forget(mined.store(), [3])
    tar = tmp_path / "corpus/00000.tar"
    with open(tar, "r+b") as stream:
        stream.seek(mined[0].members[0].offset or 0)
        stream.write(b"\xff\xd8\xff other")
    assert [each for each in readings(mined) if isinstance(each, str)] == ["changed", "forgotten", "of unknown format"]
    tar.unlink()
    assert readings(mined) == ["missing", "missing", "missing", "forgotten", "missing", "missing"]


def test_a_row_of_another_key_is_another_image(mined: ImageSets) -> None:
    """The member does not say where its image lies, so the store is asked, and knows the row by another key."""
    images, member = MemberImages(mined), mined[0].members[1]
    unplaced = replace(member, shard=None, offset=None, bytes=None, sha256=None)
    assert images.read(unplaced) == jpeg(1)
    assert images.read(replace(unplaced, key="k9")) == "another image in the store, whose key is 'k0001'"
    assert images.read(replace(member, row_id=99)) == "not a row of its store"


def test_a_store_that_was_moved_is_found_by_its_path_or_name(mined: ImageSets, tmp_path: Path) -> None:
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    (name,) = mined.sources
    for moved in (tmp_path / "elsewhere", {name: tmp_path / "elsewhere"}):
        assert readings(mined, moved)[0] == jpeg(0)
    with pytest.raises(BadInput, match="has no source 'photos'; it has store-"):
        MemberImages(mined, {"photos": tmp_path})
    make_store(tmp_path / "other", random_unit(5))
    with pytest.raises(StoreInvalid, match="is not the store"):
        readings(mined, tmp_path / "other/store")


def test_a_store_without_images_says_how_to_get_them(tmp_path: Path) -> None:
    sets = write_sets(tmp_path, [[0, 1]], store=make_store(tmp_path, random_unit(4), local=False))
    with pytest.raises(ImagesNotLocal, match="has embeddings and no images"):
        MemberImages(sets).open(sets[0])


def test_foreign_images_come_from_files_and_from_tars(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    (root / "val").mkdir(parents=True)
    (root / "val/1.jpg").write_bytes(jpeg(1))
    with tarfile.open(root / "a.tar", "w") as tar:
        tar.add(root / "val/1.jpg", "x.jpg")
    with tarfile.open(root / "a.tar") as tar:
        offset = tar.getmember("x.jpg").offset_data
    own = hashlib.sha256(jpeg(1)).hexdigest()
    members = [
        Member(0, "", path="val/1.jpg", sha256=own),
        Member(1, "", shard="a.tar", offset=offset, bytes=len(jpeg(1))),
        Member(2, "", path="val/1.jpg", sha256="00"),
        Member(3, "", path="val/2.jpg"),
        Member(4, "", url="http://example.org/4.jpg"),
        Member(5, "", key="x"),
        Member(6, "", path="val"),
        Member(7, "", shard="a.tar", offset=offset, bytes=1 << 40),
        Member(8, "", shard="a.tar", offset=1 << 40, bytes=9),
    ]
    assert readings(foreign(tmp_path / "pairs", members, root)) == [
        jpeg(1),
        jpeg(1),
        "another file than at import",
        "missing",
        "not downloaded",
        "without a file",
        "not a file",
        "too large",
        "changed",
    ]


def test_nothing_outside_the_root_is_read(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    root.mkdir()
    (tmp_path / "secret.jpg").write_bytes(jpeg(0))
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/1.jpg").write_bytes(jpeg(0))
    (root / "linked.jpg").symlink_to(tmp_path / "secret.jpg")
    (root / "linked").symlink_to(tmp_path / "secrets")
    (root / "loop.jpg").symlink_to(root / "loop.jpg")
    (root / "own.jpg").write_bytes(jpeg(1))
    (root / "inside.jpg").symlink_to(root / "own.jpg")
    names = [
        "../secret.jpg",
        str(tmp_path / "secret.jpg"),
        "linked.jpg",
        "linked/1.jpg",
        "loop.jpg",
        "a\0b",
        "inside.jpg",
    ]
    members = [Member(place, "", path=name) for place, name in enumerate(names)]
    found = readings(foreign(tmp_path / "pairs", members, root))
    assert found[:4] == ["outside its folder"] * 2 + ["a link out of its folder"] * 2
    assert str(found[4]).startswith("unreadable")
    assert str(found[5]).startswith("unreadable")
    assert found[6] == jpeg(1)
    ranged = Member(0, "", shard="linked.jpg", offset=0, bytes=10)
    assert readings(foreign(tmp_path / "ranged", [ranged], root)) == ["a link out of its folder"]
    (root / "linked.tar").symlink_to(tmp_path / "secret.jpg")
    tar = Member(0, "", key="1.jpg", shard="linked.tar", offset=0, bytes=10)
    assert readings(foreign(tmp_path / "tar", [tar], root)) == ["a link out of its folder"]


def test_a_file_beyond_the_bound_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "photos"
    root.mkdir()
    (root / "1.jpg").write_bytes(jpeg(1))
    monkeypatch.setattr(member_images, "MAX_IMAGE_BYTES", 100)
    assert readings(foreign(tmp_path / "pairs", [Member(0, "", path="1.jpg")], root)) == ["too large"]


def test_sets_of_urls_alone_have_no_images_and_a_root_that_is_gone_is_an_error(tmp_path: Path) -> None:
    member = Member(0, "", path="1.jpg", url="http://example.org/1.jpg")
    assert readings(foreign(tmp_path / "urls", [member], None)) == ["not downloaded"]
    sets = foreign(tmp_path / "pairs", [member], tmp_path / "gone")
    with pytest.raises(BadInput, match=r"should be in .*gone, which is not there; name the folder: --images DIR"):
        readings(sets)
    (tmp_path / "back").mkdir()
    (tmp_path / "back/1.jpg").write_bytes(jpeg(2))
    assert readings(sets, tmp_path / "back") == [jpeg(2)]


def test_it_is_pickled_without_open_files(mined: ImageSets) -> None:
    images = MemberImages(mined)
    member = mined[0].members[0]
    assert images.read(member) == pickle.loads(pickle.dumps(images)).read(member) == jpeg(0)


def test_a_file_without_permission_is_unreadable(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    root.mkdir()
    (root / "1.jpg").touch(mode=0)
    sets = foreign(tmp_path / "pairs", [Member(0, "", path="1.jpg")], root)
    images, members = MemberImages(sets), sets[0].members
    images.read(members[0])  # opens the source, whose own folders may be root's alone
    privileged = os.geteuid() == 0  # root reads every file, so it becomes somebody else meanwhile
    if privileged:
        os.seteuid(65534)
    try:
        found = images.read(members[0])
    finally:
        if privileged:
            os.seteuid(0)
    assert found == "unreadable: Permission denied"
