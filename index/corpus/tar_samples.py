"""Webdataset samples in a tar: members of one key, side by side, make a sample (the format of webdataset, which
img2dataset writes). Knows the naming rules; `index.corpus.tars` knows the bytes.

A member `folder/000.jpg` has key `folder/000` and suffix `jpg`; the suffix starts at the *first* dot of the file name,
so `000.seg.png` is no image of 000 but its member `seg.png`. Pickles and all else that is neither image nor side-car is
passed over unread.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from index import files
from index.corpus.caption_pattern import CaptionPattern
from index.corpus.samples import IMAGE_SUFFIXES, MAX_SIDECAR_BYTES, Reject, Sample, ShardItem, make_sample
from index.corpus.tars import Member, TarBroken, iter_members
from index.errors import BadInput

__all__ = ["read_tar_item", "split_name"]

_BUFFER = 1 << 20


@dataclass
class _Group:
    """The members of one key so far."""

    key: str
    members: dict[str, Member] = field(default_factory=dict)


def split_name(name: str) -> tuple[str, str] | None:
    """`(key, lower-case suffix)` as webdataset splits it; None for names without either and for `__meta__` members."""
    folder, slash, base = name.rpartition("/")
    stem, dot, suffix = base.partition(".")
    if not stem or not dot or (name.startswith("__") and name.endswith("__")):
        return None
    return folder + slash + stem, suffix.lower()


def read_tar_item(item: ShardItem, pattern: CaptionPattern | None, max_bytes: int) -> Iterator[Sample | Reject]:
    """Stream a tar's samples; what follows a break (cut or damage) is one reject with the pending key."""
    shard = item.paths[0]
    path = files.join(item.root, shard)
    try:
        if files.file_size(path) != item.sizes[0]:
            raise BadInput(f"{path}: changed since it was listed; run the same again")
    except FileNotFoundError as error:
        raise BadInput(f"{path}: is gone since it was listed; put it back or run the same again") from error

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
