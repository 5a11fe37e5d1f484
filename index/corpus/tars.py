"""The members of a tar: one pass from front to back, with the position of each member's bytes.

`iter_members` reads POSIX ustar and pax, GNU long names and base-256 sizes, and the old V7 form; the standard library's
reader keeps every header in memory and is slower. Folders and devices are skipped. Links and sparse files are skipped
or reported without data: no link is followed and no file is created. `index.corpus.tar_samples` groups members into
samples.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import IO, NamedTuple

__all__ = ["Member", "TarBroken", "iter_members"]

_BLOCK = 512
_CHECKSUM = slice(148, 156)
_REGULAR = frozenset(b"0\x007")
_MAX_HEADER_TEXT = 1 << 20  # a longer pax header or file name means that the tar is damaged
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18")  # gz bz2 xz zst lz4


class TarBroken(Exception):
    """The rest of a tar cannot be read; `reason` is one of `index.corpus.samples.READ_REASONS`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Member(NamedTuple):
    """A file in a tar: its bytes are `tar[offset:offset + size]`.

    Attributes:
        data: None when they were not read.
        link: of a hard or symbolic link, the name that it leads to. It has no bytes.
        sparse: whether the file has holes, so that its bytes are not those of the tar.
    """

    name: str
    offset: int
    size: int
    data: bytes | None
    link: str | None = None
    sparse: bool = False


def iter_members(stream: IO[bytes], wanted: Callable[[str, int], bool], *, special: bool = False) -> Iterator[Member]:
    """Yield the regular files in order; `wanted(name, size)` decides whether a member's bytes are read.

    special: yield links and sparse files too, without data.

    Raises:
        TarBroken: the stream is not a tar, is compressed, is truncated (also when only the end mark of two zero blocks
            is missing), or has a damaged header. The members before that point have been yielded.
    """
    position = 0
    long_name: str | None = None
    long_link: str | None = None
    pax: dict[str, bytes] = {}
    while True:
        header = _read_exactly(stream, _BLOCK, at_start=position == 0)
        position += _BLOCK
        if not any(header):
            return
        if not _checksum_holds(header):
            if position > _BLOCK:
                raise TarBroken("damaged_tar")
            raise TarBroken("compressed_tar" if header.startswith(_COMPRESSED) else "not_a_tar")
        kind = header[156]
        size = _number(header[124:136])
        if kind in b"xgLK":
            text = _read_exactly(stream, size) if size <= _MAX_HEADER_TEXT else None
            if text is None:
                raise TarBroken("damaged_tar")
            position += size + _skip(stream, -size % _BLOCK)
            if kind == ord("L"):
                long_name = _text(text)
            elif kind == ord("K"):
                long_link = _text(text)
            elif kind == ord("x"):
                pax = _parse_pax(text)
            continue
        name, long_name = long_name or _name(header), None
        link, long_link = (long_link or _text(header[157:257])) if kind in b"12" else None, None
        sparse = kind == ord("S")
        more = sparse and header[482]  # GNU's old form lists holes in further blocks
        while more:
            more = _read_exactly(stream, _BLOCK)[504]
            position += _BLOCK
        if pax:
            sparse = sparse or any(field.startswith("GNU.sparse.") for field in pax)
            name = _text(pax.get("GNU.sparse.name", pax.get("path", b""))) or name
            link = _text(pax.get("linkpath", b"")) or link
            size = _pax_size(pax, size)
            pax = {}
        regular = kind in _REGULAR and not sparse and not name.endswith("/")
        offset, data = position, None
        if regular and wanted(name, size):
            data = _read_exactly(stream, size)
        elif regular or kind not in b"123456":  # links, devices, folders and pipes have no data
            _skip_exactly(stream, size)
        else:
            size = 0
        position += size + _skip(stream, -size % _BLOCK)
        if regular:
            yield Member(name, offset, size, data)
        elif special and sparse:
            yield Member(name, offset, size, None, sparse=True)
        elif special and kind in b"12":
            yield Member(name, offset, 0, None, link=link)


def _read_exactly(stream: IO[bytes], size: int, at_start: bool = False) -> bytes:
    data = stream.read(size)
    if len(data) == size:
        return data
    if at_start and data:
        raise TarBroken("compressed_tar" if data.startswith(_COMPRESSED) else "not_a_tar")
    raise TarBroken("truncated_tar")


def _skip_exactly(stream: IO[bytes], size: int) -> None:
    """Skip a member's bytes; TarBroken when the stream ends first."""
    if size:
        stream.seek(size - 1, 1)
        _read_exactly(stream, 1)


def _skip(stream: IO[bytes], size: int) -> int:
    if size:
        stream.read(size)
    return size


def _checksum_holds(header: bytes) -> bool:
    """The sum of all bytes, the checksum field itself counted as 8 spaces (POSIX ustar)."""
    written = header[_CHECKSUM]
    total = _byte_sum(header[:256]) + _byte_sum(header[256:]) - _byte_sum(written) + 8 * 32
    if written == b"%06o\0 " % total:  # as nearly all tars have it
        return True
    try:
        return total == _number(written)
    except TarBroken:
        return False


def _byte_sum(data: bytes) -> int:
    """The sum of up to 256 bytes: Adler-32's lower half is 1 + that, modulo 65,521. `sum` takes ten times as long."""
    return (zlib.adler32(data) & 0xFFFF) - 1


def _number(field: bytes) -> int:
    """An octal number, or a base-256 one where the first bit is set (GNU, for files above 8 GiB)."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.split(b"\0", 1)[0].strip()
    try:
        value = int(digits, 8) if digits else 0
    except ValueError:
        value = -1
    if value < 0:
        raise TarBroken("damaged_tar")
    return value


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "replace")


def _name(header: bytes) -> str:
    name = header[:100].split(b"\0", 1)[0]
    if header[257:263] == b"ustar\0":  # POSIX; GNU tars have another magic and other fields in place of the prefix
        prefix = header[345:500].split(b"\0", 1)[0]
        name = prefix + b"/" + name if prefix else name
    return name.decode("utf-8", "replace")


def _parse_pax(text: bytes) -> dict[str, bytes]:
    """Records "length key=value\\n" (POSIX pax); TarBroken when a length does not fit its record."""
    fields: dict[str, bytes] = {}
    start = 0
    while start < len(text) and text[start]:
        length_text, separator, _ = text[start : start + 20].partition(b" ")
        if not separator or not length_text.isdigit():
            raise TarBroken("damaged_tar")
        if not len(length_text) + 1 < int(length_text) <= len(text) - start:
            raise TarBroken("damaged_tar")
        record = text[start + len(length_text) + 1 : start + int(length_text)]
        key, equals, value = record.partition(b"=")
        if not equals or not value.endswith(b"\n"):
            raise TarBroken("damaged_tar")
        fields[key.decode("utf-8", "replace")] = value[:-1]
        start += int(length_text)
    return fields


def _pax_size(pax: dict[str, bytes], size: int) -> int:
    text = pax.get("size")
    if text is None:
        return size
    if not text.isdigit() or len(text) > 19:
        raise TarBroken("damaged_tar")
    return int(text)
