"""Tars are read front to back as the standard library reads them, broken ones up to the break, and their members become
samples as webdataset groups them, each once, right or rejected."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest
import webdataset
from webdataset.tariterators import base_plus_ext

from index.corpus.image_decoding import decode_image
from index.corpus.names import split_name
from index.corpus.samples import Reject, Sample
from index.corpus.sources import list_items, read_item
from index.corpus.tars import Member, TarBroken, iter_members
from tests.index.corpora import picture, sample_members, write_tar

LONG = "folder/" * 30 + "x" * 120 + ".jpg"
MEMBERS = [("a.jpg", b"one"), ("b.txt", b""), ("ünï.png", b"x" * 1024), (LONG, b"deep"), ("z.json", b"{}" * 300)]


def members_of(data: bytes) -> tuple[list[Member], str | None]:
    """Members until the end or the break, and the break's reason."""
    found: list[Member] = []
    try:
        for member in iter_members(io.BytesIO(data), lambda name, size: True):
            found.append(member)
    except TarBroken as broken:
        return found, broken.reason
    return found, None


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_each_form_of_tar_reads_as_the_standard_library_reads_it(tmp_path: Path, form: int) -> None:
    members = MEMBERS if form != tarfile.USTAR_FORMAT else [("a/" * 60 + "b.jpg", b"ustar prefix"), *MEMBERS[:2]]
    data = write_tar(tmp_path / "x.tar", members, form).read_bytes()
    found, reason = members_of(data)
    assert reason is None
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        expected = [(info.name, info.offset_data, info.size) for info in tar]
    assert [(member.name, member.offset, member.size) for member in found] == expected
    assert [(member.name, member.data) for member in found] == members
    for member in found:
        assert data[member.offset : member.offset + member.size] == member.data


def test_unwanted_members_are_passed_over_unread_and_keep_the_count_right(tmp_path: Path) -> None:
    data = write_tar(tmp_path / "x.tar", MEMBERS).read_bytes()
    found = list(iter_members(io.BytesIO(data), lambda name, size: name.endswith(".json")))
    assert [member.data for member in found] == [None, None, None, None, b"{}" * 300]


def test_links_devices_and_folders_are_skipped() -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE):
            info = tarfile.TarInfo("secret.jpg")
            info.type = kind
            info.linkname = "/etc/passwd"
            tar.addfile(info)
        info = tarfile.TarInfo("real.jpg")
        info.size = 4
        tar.addfile(info, io.BytesIO(b"real"))
    found, reason = members_of(stream.getvalue())
    assert reason is None
    assert [(member.name, member.data) for member in found] == [("real.jpg", b"real")]


def test_a_size_in_base_256_is_read(tmp_path: Path) -> None:
    data = bytearray(write_tar(tmp_path / "x.tar", [("a.jpg", b"four")]).read_bytes())
    data[124:136] = b"\x80" + (4).to_bytes(11, "big")
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    assert members_of(bytes(data))[0][0].data == b"four"


def test_a_cut_anywhere_leaves_the_members_before_it(tmp_path: Path) -> None:
    data = write_tar(tmp_path / "x.tar", MEMBERS).read_bytes()
    whole = members_of(data)[0]
    end = data.rstrip(b"\0")
    for cut in range(512, len(end), 97):
        found, reason = members_of(data[:cut])
        assert reason == "truncated_tar", cut
        assert found == [member for member in whole if member.offset + member.size <= cut][: len(found)]
        assert len(found) >= len([member for member in whole if member.offset + -(-member.size // 512) * 512 <= cut])


def test_a_tar_without_its_end_mark_counts_as_cut(tmp_path: Path) -> None:
    data = write_tar(tmp_path / "x.tar", [("a.jpg", b"1" * 512)]).read_bytes()
    found, reason = members_of(data[:1024])
    assert [member.name for member in found] == ["a.jpg"]
    assert reason == "truncated_tar"


def test_a_damaged_header_ends_the_tar(tmp_path: Path) -> None:
    data = bytearray(write_tar(tmp_path / "x.tar", [("a.jpg", b"1"), ("b.jpg", b"2"), ("c.jpg", b"3")]).read_bytes())
    data[1024 + 5] ^= 0xFF
    found, reason = members_of(bytes(data))
    assert [member.name for member in found] == ["a.jpg"]
    assert reason == "damaged_tar"


def test_the_checksum_of_a_header_of_high_bytes_is_exact() -> None:
    header = bytearray(tarfile.TarInfo("x").tobuf(tarfile.GNU_FORMAT))
    header[:100] = header[157:257] = header[345:500] = b"\xff" * 100
    header = bytearray(header[:345] + b"\xff" * 167)  # nearly the largest sum that a header can have
    for digits in (b"%06o\0 ", b"%07o\0", b" %06o ", b"%o\0\0 "):
        total = sum(header[:148]) + sum(header[156:]) + 8 * 32
        assert total > 65_521
        for shift, reason in ((0, None), (1, "not_a_tar"), (-1, "not_a_tar"), (-65_521, "not_a_tar")):
            header[148:156] = (digits % (total + shift)).ljust(8, b"\0")[:8]
            assert members_of(bytes(header) + bytes(1024))[1] == reason, (digits, shift)


def test_what_is_no_tar_says_so(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "x.tar", MEMBERS).read_bytes()
    assert members_of(b"hello") == ([], "not_a_tar")
    assert members_of(b"<html>" * 1000) == ([], "not_a_tar")
    assert members_of(gzip.compress(tar)) == ([], "compressed_tar")
    assert members_of(b"") == ([], "truncated_tar")


def test_a_tar_of_nothing_is_a_tar(tmp_path: Path) -> None:
    assert members_of(write_tar(tmp_path / "x.tar", []).read_bytes()) == ([], None)


@pytest.mark.parametrize(
    "record", [b"0 path=x\n", b"99999999999 path=x\n", b"9 path=x", b"xx path=x\n", b"12 size=1e9\n", b"12 size=-10\n"]
)
def test_pax_records_that_do_not_add_up_are_damage(record: bytes) -> None:
    header = tarfile.TarInfo("pax")
    header.type = tarfile.XHDTYPE
    header.size = len(record)
    file = tarfile.TarInfo("a.jpg")
    data = header.tobuf() + record.ljust(512, b"\0") + file.tobuf() + b"\0" * 1024
    assert members_of(data) == ([], "damaged_tar")


def test_a_name_header_that_claims_gigabytes_is_damage_not_memory() -> None:
    header = tarfile.TarInfo("long")
    header.type = tarfile.GNUTYPE_LONGNAME
    header.size = 8 << 30
    assert members_of(header.tobuf() + b"x" * 4096) == ([], "damaged_tar")


def test_a_member_that_claims_gigabytes_is_not_allocated() -> None:
    info = tarfile.TarInfo("a.jpg")
    info.size = 8 << 30
    stream = io.BytesIO(info.tobuf() + b"x" * 4096)
    with pytest.raises(TarBroken, match="truncated_tar"):
        list(iter_members(stream, lambda name, size: size < 1 << 20))


def test_gnu_sparse_members_are_skipped(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a.jpg")
    info.size = 4
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info, io.BytesIO(b"data"))
    assert members_of(stream.getvalue()) == ([], None)


def samples_of(path: Path, max_bytes: int = 1 << 20) -> tuple[list[Sample], list[tuple[str, str]]]:
    """Samples, and (key, reason) of rejects."""
    (item,) = list_items(str(path))
    found = list(read_item(item, max_bytes))
    samples = [entry for entry in found if isinstance(entry, Sample)]
    return samples, [(entry.key, entry.reason) for entry in found if isinstance(entry, Reject)]


def test_webdatasets_own_writer_and_img2datasets_shape_are_read(tmp_path: Path) -> None:
    with webdataset.TarWriter(str(tmp_path / "0.tar")) as writer:
        for number in range(3):
            fields = {"caption": f"thing {number}", "url": f"http://x/{number}", "exif": "{}", "sha256": "00"}
            writer.write({"__key__": f"00{number}", "jpg": picture(), "txt": f"thing {number}", "json": fields})
    samples, rejects = samples_of(tmp_path / "0.tar")
    assert not rejects
    assert [(sample.key, sample.caption, sample.url) for sample in samples] == [
        (f"00{number}", f"thing {number}", f"http://x/{number}") for number in range(3)
    ]
    assert samples[0].extra == '{"exif": "{}", "sha256": "00"}'
    data = (tmp_path / "0.tar").read_bytes()
    for sample in samples:
        assert data[sample.offset : sample.offset + sample.size] == sample.image
        assert sample.shard == "0.tar"


@pytest.mark.parametrize(
    "name",
    ["a.jpg", "d/a.b/c.JPG", "d.e/c.seg.png", "./a.jpg", "ключ.png", "noext", "._a.jpg", "a..jpg", "a."],
)
def test_names_split_as_webdataset_splits_them(name: str) -> None:
    key, suffix = base_plus_ext(name)
    assert split_name(name) == (None if key is None else (key, suffix.lower()))


def test_hidden_files_in_folders_are_passed_over_where_webdataset_makes_up_a_key() -> None:
    assert base_plus_ext("d/._a.jpg") == ("d/", "_a.jpg")
    assert split_name("d/._a.jpg") is None
    assert split_name("d/.hidden") is None


def test_every_sample_comes_out_once_right_or_rejected(tmp_path: Path) -> None:
    members = [
        *sample_members("good", "a dog"),
        ("no_text.jpg", picture()),
        ("no_image.txt", b"lonely"),
        ("empty.jpg", picture()),
        ("empty.txt", b" "),
        *sample_members("good", "again"),
        ("two.png", picture()),
        ("two.jpg", picture()),
        ("two.txt", b"two images"),
        ("bad.png", picture()),
        ("bad.txt", b"bad json"),
        ("bad.json", b"{"),
        ("._good2.png", b"finder"),
        ("__meta__", b"{}"),
        ("seg.png", picture()),
        ("seg.mask.png", b"not the image"),
        ("seg.pyd", b"\x80\x04cos\nsystem\n"),
        ("seg.txt", b"with a mask"),
        ("big.png", b"x" * 5000),
        ("big.txt", b"big"),
    ]
    samples, rejects = samples_of(write_tar(tmp_path / "x.tar", members), max_bytes=4096)
    assert [(sample.key, sample.caption) for sample in samples] == [
        ("good", "a dog"),
        ("two", "two images"),
        ("seg", "with a mask"),
    ]
    assert samples[2].image == picture()
    assert rejects == [
        ("empty", "empty_caption"),
        ("good", "duplicate_key"),
        ("two", "second_image"),
        ("bad", "broken_sidecar"),
        ("seg.mask", "image_field"),
        ("big", "too_many_bytes"),
        ("no_text", "missing_caption"),
        ("no_image", "missing_image"),
    ]


def test_a_repeated_sample_side_by_side_is_a_duplicate(tmp_path: Path) -> None:
    members = [*sample_members("k", "first"), *sample_members("k", "second")]
    samples, rejects = samples_of(write_tar(tmp_path / "x.tar", members))
    assert [sample.caption for sample in samples] == ["first"]
    assert rejects == [("k", "duplicate_key")]


def test_a_cut_tar_gives_the_samples_before_the_cut_and_one_reject(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    write_tar(path, [member for number in range(10) for member in sample_members(f"{number:03}", f"c {number}")])
    whole, _ = samples_of(path)
    data = path.read_bytes()
    for cut in range(700, len(data.rstrip(b"\0")), 611):
        path.write_bytes(data[:cut])
        samples, rejects = samples_of(path)
        assert samples == whole[: len(samples)]
        assert [reason for _, reason in rejects] == ["truncated_tar"]
        assert rejects[0][0] in ("", f"{len(samples):03}")
        complete = [sample for sample in whole if sample.offset + 3 * 2048 < cut]
        assert len(samples) >= len(complete) - 1


@pytest.mark.parametrize(("data", "reason"), [(b"no tar" * 200, "not_a_tar"), (b"", "truncated_tar")])
def test_what_is_no_tar_is_one_reject(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "x.tar").write_bytes(data)
    assert samples_of(tmp_path / "x.tar") == ([], [("", reason)])


def test_links_inside_tars_are_never_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(picture())
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name, target in (("a.png", str(tmp_path / "secret.png")), ("b.png", "../secret.png")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
            text = tarfile.TarInfo(name.replace("png", "txt"))
            text.size = 4
            tar.addfile(text, io.BytesIO(b"text"))
    assert samples_of(tmp_path / "x.tar") == ([], [("a", "link_not_followed"), ("b", "link_not_followed")])


def test_reading_keeps_one_sample_at_a_time(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", [*sample_members("a", "first"), *sample_members("b", "second")])
    (item,) = list_items(str(path))
    stream = read_item(item)
    first = next(stream)
    assert isinstance(first, Sample)
    assert decode_image(first.image).size == (8, 6)
    stream.close()  # type: ignore[attr-defined]
