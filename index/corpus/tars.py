"""Webdataset tars: one pass from front to back, which groups a tar's members into samples.

`read_tar_item` yields samples: consecutive members with the same key are one sample (webdataset's format, which
img2dataset writes). A member `folder/000.jpg` has key `folder/000` and suffix `jpg`. The suffix starts at the *first*
dot of the file name: `000.seg.png` has key `000` and suffix `seg.png`, so it is not read as an image. Members that are
neither image nor side-car, such as pickles, are skipped unread.

`iter_members` yields the members with the position of their bytes. It reads POSIX ustar and pax, GNU long names and
base-256 sizes, and the old V7 form; the standard library's reader keeps every header in memory and is slower. Links,
devices and sparse files are skipped: no link is followed and no file is created.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO

from index import files
from index.corpus.caption_pattern import CaptionPattern
from index.corpus.samples import IMAGE_SUFFIXES, MAX_SIDECAR_BYTES, Reject, Sample, ShardItem, make_sample
from index.errors import BadInput

__all__ = ["Member", "TarBroken", "iter_members", "read_tar_item", "split_name"]

_BUFFER = 1 << 20
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


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file in a tar: its bytes are `tar[offset:offset + size]`. `data` is None when they were not read."""

    name: str
    offset: int
    size: int
    data: bytes | None


@dataclass
class _Group:
    """The members of one key that have been read."""

    key: str
    members: dict[str, Member] = field(default_factory=dict)


def split_name(name: str) -> tuple[str, str] | None:
    """`(key, lower-case suffix)` as webdataset splits a name; None if either is empty, and for `__meta__` names."""
    folder, slash, base = name.rpartition("/")
    stem, dot, suffix = base.partition(".")
    if not stem or not dot or (name.startswith("__") and name.endswith("__")):
        return None
    return folder + slash + stem, suffix.lower()


def read_tar_item(item: ShardItem, pattern: CaptionPattern | None, max_bytes: int) -> Iterator[Sample | Reject]:
    """Stream a tar's samples in order.

    If the tar is truncated or damaged, the rest of it is one reject, with the key of the sample that was being read.

    Raises:
        BadInput: the tar no longer exists, or its size has changed since it was listed.
    """
    shard = item.paths[0]
    path = files.join(item.root, shard)
    try:
        if files.file_size(path) != item.sizes[0]:
            raise BadInput(f"{path}: changed since it was listed; run the same command again")
    except FileNotFoundError as error:
        raise BadInput(f"{path}: was removed after it was listed; put it back or run the same command again") from error

    def wanted(name: str, size: int) -> bool:
        parts = split_name(name)
        if parts is None:
            return False
        if parts[1] in IMAGE_SUFFIXES:
            return size <= max_bytes
        return parts[1] in ("txt", "json") and size <= MAX_SIDECAR_BYTES

    seen: set[str] = set()
    group: _Group | None = None
    with files.open_file(path, buffering=_BUFFER) as stream:
        try:
            for member in iter_members(stream, wanted):
                parts = split_name(member.name)
                if parts is None:
                    continue
                key, suffix = parts
                if group is not None and (key != group.key or suffix in group.members):
                    yield from _close_group(group, shard, seen, pattern, item.allow_empty_caption)
                    group = None
                group = group or _Group(clean_key(key))
                group.members[suffix] = member
        except TarBroken as broken:
            yield Reject(group.key if group else "", shard, "read", broken.reason)
            return
    if group is not None:
        yield from _close_group(group, shard, seen, pattern, item.allow_empty_caption)


def clean_key(key: str) -> str:
    """A key without NULs."""
    return key.replace("\0", "")


def _close_group(
    group: _Group, shard: str, seen: set[str], pattern: CaptionPattern | None, allow_empty_caption: bool
) -> Iterator[Sample | Reject]:
    key = group.key
    images = [member for suffix, member in group.members.items() if suffix in IMAGE_SUFFIXES]
    text, sidecar = group.members.get("txt"), group.members.get("json")
    if key in seen:
        yield Reject(key, shard, "read", "duplicate_key")
        return
    seen.add(key)
    if not images:
        yield Reject(key, shard, "read", "missing_image")
        return
    image = images[0]
    unread = [member for member in (image, text, sidecar) if member is not None and member.data is None]
    if unread or image.data is None:
        yield Reject(key, shard, "read", "too_many_bytes")
    else:
        yield make_sample(
            key,
            shard,
            image.offset,
            image.data,
            text.data if text else None,
            sidecar.data if sidecar else None,
            pattern,
            allow_empty_caption,
        )
    for _ in images[1:]:
        yield Reject(key, shard, "read", "second_image")


def iter_members(stream: IO[bytes], wanted: Callable[[str, int], bool]) -> Iterator[Member]:
    """Yield the regular files in order; `wanted(name, size)` decides whether a member's bytes are read.

    Raises:
        TarBroken: the stream is not a tar, is compressed, is truncated (also when only the end mark of two zero blocks
            is missing), or has a damaged header. The members before that point have been yielded.
    """
    position = 0
    long_name: str | None = None
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
                long_name = text.split(b"\0", 1)[0].decode("utf-8", "replace")
            elif kind == ord("x"):
                pax = _parse_pax(text)
            continue
        name, long_name = long_name or _name(header), None
        if pax:
            name = pax["path"].decode("utf-8", "replace") if "path" in pax else name
            size = _pax_size(pax, size)
        sparse = any(field.startswith("GNU.sparse.") for field in pax)
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
    try:
        return sum(header) - sum(header[_CHECKSUM]) + 8 * 32 == _number(header[_CHECKSUM])
    except TarBroken:
        return False


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
