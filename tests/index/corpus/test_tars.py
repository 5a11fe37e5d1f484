"""Tars are read front to back, as the standard library reads them, and broken ones up to the break."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from index.corpus.tars import Member, TarBroken, iter_members
from tests.index.corpora import write_tar

LONG = "folder/" * 30 + "x" * 120 + ".jpg"
MEMBERS = [("a.jpg", b"one"), ("b.txt", b""), ("ünï.png", b"x" * 1024), (LONG, b"deep"), ("z.json", b"{}" * 300)]


def read_all(data: bytes) -> tuple[list[Member], str | None]:
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
    found, reason = read_all(data)
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
    found, reason = read_all(stream.getvalue())
    assert reason is None
    assert [(member.name, member.data) for member in found] == [("real.jpg", b"real")]


def test_a_size_in_base_256_is_read(tmp_path: Path) -> None:
    data = bytearray(write_tar(tmp_path / "x.tar", [("a.jpg", b"four")]).read_bytes())
    data[124:136] = b"\x80" + (4).to_bytes(11, "big")
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    assert read_all(bytes(data))[0][0].data == b"four"


def test_a_cut_anywhere_leaves_the_members_before_it(tmp_path: Path) -> None:
    data = write_tar(tmp_path / "x.tar", MEMBERS).read_bytes()
    whole = read_all(data)[0]
    end = data.rstrip(b"\0")
    for cut in range(512, len(end), 97):
        found, reason = read_all(data[:cut])
        assert reason == "truncated_tar", cut
        assert found == [member for member in whole if member.offset + member.size <= cut][: len(found)]
        assert len(found) >= len([member for member in whole if member.offset + -(-member.size // 512) * 512 <= cut])


def test_a_tar_without_its_end_mark_counts_as_cut(tmp_path: Path) -> None:
    data = write_tar(tmp_path / "x.tar", [("a.jpg", b"1" * 512)]).read_bytes()
    found, reason = read_all(data[:1024])
    assert [member.name for member in found] == ["a.jpg"]
    assert reason == "truncated_tar"


def test_a_damaged_header_ends_the_tar(tmp_path: Path) -> None:
    data = bytearray(write_tar(tmp_path / "x.tar", [("a.jpg", b"1"), ("b.jpg", b"2"), ("c.jpg", b"3")]).read_bytes())
    data[1024 + 5] ^= 0xFF
    found, reason = read_all(bytes(data))
    assert [member.name for member in found] == ["a.jpg"]
    assert reason == "damaged_tar"


def test_what_is_no_tar_says_so(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "x.tar", MEMBERS).read_bytes()
    assert read_all(b"hello") == ([], "not_a_tar")
    assert read_all(b"<html>" * 1000) == ([], "not_a_tar")
    assert read_all(gzip.compress(tar)) == ([], "compressed_tar")
    assert read_all(b"") == ([], "truncated_tar")


def test_a_tar_of_nothing_is_a_tar(tmp_path: Path) -> None:
    assert read_all(write_tar(tmp_path / "x.tar", []).read_bytes()) == ([], None)


@pytest.mark.parametrize(
    "record", [b"0 path=x\n", b"99999999999 path=x\n", b"9 path=x", b"xx path=x\n", b"12 size=1e9\n", b"12 size=-10\n"]
)
def test_pax_records_that_do_not_add_up_are_damage(record: bytes) -> None:
    header = tarfile.TarInfo("pax")
    header.type = tarfile.XHDTYPE
    header.size = len(record)
    file = tarfile.TarInfo("a.jpg")
    data = header.tobuf() + record.ljust(512, b"\0") + file.tobuf() + b"\0" * 1024
    assert read_all(data) == ([], "damaged_tar")


def test_a_name_header_that_claims_gigabytes_is_damage_not_memory() -> None:
    header = tarfile.TarInfo("long")
    header.type = tarfile.GNUTYPE_LONGNAME
    header.size = 8 << 30
    assert read_all(header.tobuf() + b"x" * 4096) == ([], "damaged_tar")


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
    assert read_all(stream.getvalue()) == ([], None)
