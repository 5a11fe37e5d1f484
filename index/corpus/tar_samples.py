"""Webdataset tars: one pass from front to back, which groups a tar's members into samples.

Members with the same key that stand side by side are one sample (webdataset's format, which img2dataset writes). A
member `folder/000.jpg` has key `folder/000`; `index.corpus.names` says where a key ends. The image is KEY.jpg, else the
first that has a field, as KEY.input.jpg; the caption is that of KEY.txt, else of the image's field, else of the only
text. Members that are neither images nor side-cars, such as pickles, are skipped unread and counted.

A link to an earlier member of the same tar is read as that member; other links are not followed.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field

from index import files
from index.corpus.captions import CaptionReader
from index.corpus.names import FileKind, MemberName, NameRules
from index.corpus.samples import (
    CAPTIONS_APART,
    MAX_SIDECAR_BYTES,
    PassedOver,
    Reject,
    Sample,
    ShardItem,
    make_sample,
)
from index.corpus.tars import Member, TarBroken, iter_members
from index.errors import BadInput

__all__ = ["read_tar_item"]

_BUFFER = 1 << 20
_MAX_SIDECARS = 16  # side-cars of one key that are kept in memory
# What has come out of a key so far.
_WHOLE, _IMAGE, _SIDECARS, _JOINED = "whole", "image", "side-cars", "joined"


@dataclass
class _Group:
    """The members of one key that have been read."""

    key: str
    names: set[tuple[str, str]] = field(default_factory=set)  # (field, extension) of images and side-cars
    image: Member | None = None  # KEY.jpg
    in_field: tuple[str, Member] | None = None  # the first of other images
    more_images: list[tuple[str, str]] = field(default_factory=list)  # field and name
    raws: list[str] = field(default_factory=list)
    texts: dict[tuple[str, str], Member] = field(default_factory=dict)  # by (field, extension)
    jsons: dict[str, Member] = field(default_factory=dict)  # by field
    unread: bool = False  # a member whose extension does not tell what it is


def read_tar_item(item: ShardItem, max_bytes: int, passed: PassedOver) -> Iterator[Sample | Reject]:
    """Stream a tar's samples in order; files that belong to none are counted in `passed`.

    Images and side-cars without the other part come last, as rejects, since it may stand further on in the tar. If the
    tar is truncated or damaged, the rest of it is one reject, with the key of the sample that was being read.

    Raises:
        BadInput: the tar no longer exists, or its size has changed since it was listed.
    """
    path = files.join(item.root, item.paths[0])
    try:
        if files.file_size(path) != item.sizes[0]:
            raise BadInput(f"{path}: changed since it was listed; run the same command again")
    except FileNotFoundError as error:
        raise BadInput(f"{path}: was removed after it was listed; put it back or run the same command again") from error
    return _TarReader(item, path, max_bytes, passed).read()


class _TarReader:
    """The state of one pass over a tar."""

    def __init__(self, item: ShardItem, path: str, max_bytes: int, passed: PassedOver) -> None:
        self._shard, self._path, self._max_bytes, self._passed = item.paths[0], path, max_bytes, passed
        self._rules = NameRules.of(item.reading)
        self._captions = CaptionReader.of(item.reading)
        self._seen: dict[str, str] = {}
        self._waiting: dict[str, str] = {}  # key -> why one of its parts is no sample, unless the other one turns up
        self._places: dict[str, tuple[int, int]] = {}  # offset and size of members that a link may lead to
        self._group: _Group | None = None
        self._parsed: tuple[str, MemberName | None, FileKind] = ("", None, "other")
        self._unread_key = ""  # of the last member whose extension does not tell what it is

    def read(self) -> Iterator[Sample | Reject]:
        broken = ""
        with files.open_file(self._path, buffering=_BUFFER) as stream:
            try:
                for member in iter_members(stream, self._wanted, special=True):
                    name, kind = self._parse(member.name)
                    if name is None or kind in ("other", "odd"):
                        self._pass_over(member.name, name if kind == "odd" else None)
                        continue
                    if self._is_next(name):
                        yield from self._close()
                    if self._group is None:
                        self._group = _Group(name.key.replace("\0", ""), unread=name.key == self._unread_key)
                    self._add(self._group, name, kind, self._linked(member))
            except TarBroken as error:
                broken = error.reason
        interrupted = self._group.key if broken and self._group is not None else ""
        if not broken:
            yield from self._close()
        for key, reason in self._waiting.items():
            yield self._reject(key, reason)
        if broken:
            yield self._reject(interrupted, broken)

    def _parse(self, name: str) -> tuple[MemberName | None, FileKind]:
        """A member's name in parts and its kind; asked twice for each member, so the last answer is kept."""
        if name != self._parsed[0]:
            parts = self._rules.split(name)
            self._parsed = name, parts, "other" if parts is None else self._rules.kind(parts.extension)
        return self._parsed[1:]

    def _wanted(self, name: str, size: int) -> bool:
        parts, kind = self._parse(name)
        if parts is None or kind not in ("image", "text", "json"):
            return False
        if kind != "image":
            return size <= MAX_SIDECAR_BYTES
        group = self._group
        is_second = (
            group is not None and group.key == parts.key and bool(group.image or (parts.field and group.in_field))
        )
        return size <= self._max_bytes and not is_second

    def _pass_over(self, name: str, odd: MemberName | None) -> None:
        self._passed.add_file(name)
        if odd is not None:
            self._unread_key = odd.key
            if self._group is not None and self._group.key == odd.key:
                self._group.unread = True

    def _is_next(self, name: MemberName) -> bool:
        """Whether a member begins another sample than that of the open group."""
        group = self._group
        return group is not None and (name.key != group.key or (name.field, name.extension) in group.names)

    def _linked(self, member: Member) -> Member:
        """The member, or for a link the earlier member that it leads to, under the link's name."""
        if member.link is None:
            if not member.sparse:
                self._places[member.name.removeprefix("./")] = member.offset, member.size
            return member
        beside = posixpath.normpath(posixpath.join(posixpath.dirname(member.name), member.link))
        place = self._places.get(member.link.removeprefix("./")) or self._places.get(beside)
        if place is None:
            return member
        wanted = self._wanted(member.name, place[1])
        return Member(member.name, *place, files.read_bytes_range(self._path, *place) if wanted else None)

    def _add(self, group: _Group, name: MemberName, kind: FileKind, member: Member) -> None:
        group.names.add((name.field, name.extension))
        if kind == "raw":
            group.raws.append(member.name)
        elif kind == "text" and len(group.texts) < _MAX_SIDECARS:
            group.texts[name.field, name.extension] = member
        elif kind == "json" and len(group.jsons) < _MAX_SIDECARS:
            group.jsons[name.field] = member
        elif kind == "image" and not name.field and group.image is None:
            group.image = member
        elif kind == "image" and name.field and group.image is None and group.in_field is None:
            group.in_field = name.field, member
        elif kind == "image":
            group.more_images.append((name.field, member.name))

    def _close(self) -> Iterator[Sample | Reject]:
        group, self._group = self._group, None
        if group is None:
            return
        if group.image is not None and group.in_field is not None:
            group.more_images.insert(0, (group.in_field[0], group.in_field[1].name))
            group.in_field = None
        image_field, image = group.in_field or ("", group.image)
        if image is not None:
            yield from self._close_image(group, image_field, image)
        elif group.texts or group.jsons:
            yield from self._close_sidecars(group)
        for place, name in group.more_images:
            reason = "image_field" if place and group.image is not None else "second_image"
            yield self._reject(name.rpartition(".")[0], reason)
        for name in group.raws:
            yield self._reject(name.rpartition(".")[0], "camera_raw")

    def _close_image(self, group: _Group, image_field: str, image: Member) -> Iterator[Sample | Reject]:
        key, before = group.key, self._seen.get(group.key)
        alone = not (group.texts or group.jsons) and self._captions.pattern is None
        if before == _SIDECARS and alone:
            self._seen[key], self._waiting[key] = _JOINED, "members_apart"
            return
        if before is not None:
            yield self._reject(key, "duplicate_key")
            return
        made = self._sample(group, image_field, image)
        if alone and isinstance(made, Reject) and made.reason == "missing_caption":
            self._seen[key], self._waiting[key] = _IMAGE, made.reason
            return
        self._seen[key] = _IMAGE if alone else _WHOLE
        yield made

    def _close_sidecars(self, group: _Group) -> Iterator[Reject]:
        key, before = group.key, self._seen.get(group.key)
        if before is None:
            reason = "camera_raw" if group.raws else "image_name_not_read" if group.unread else "missing_image"
            if group.raws:  # counted once, with its image
                self._seen[key] = _WHOLE
            else:
                self._seen[key], self._waiting[key] = _SIDECARS, reason
        elif before == _IMAGE and key in self._waiting:
            self._seen[key], self._waiting[key] = _JOINED, "members_apart"
        elif before in (_IMAGE, _WHOLE):
            for member in (*group.texts.values(), *group.jsons.values()):
                self._passed.add(CAPTIONS_APART, member.name)
        yield from ()

    def _sample(self, group: _Group, image_field: str, image: Member) -> Sample | Reject:
        key, only = group.key, not group.more_images
        text = _of_field(self._texts_by_field(group), image_field, only)
        sidecar = _of_field(group.jsons, image_field, only)
        parts = [member for member in (image, text, sidecar) if member is not None]
        if image.data is None or not all(member.data is not None for member in parts):
            linked = any(member.link is not None for member in parts)
            sparse = any(member.sparse for member in parts)
            return self._reject(key, "link_not_followed" if linked else "sparse_member" if sparse else "too_many_bytes")
        made = make_sample(
            key,
            self._shard,
            image.offset,
            image.data,
            text.data if text else None,
            sidecar.data if sidecar else None,
            self._captions,
        )
        if isinstance(made, Reject) and made.reason == "missing_caption" and group.texts:
            return self._reject(key, "caption_not_read")
        return made

    def _texts_by_field(self, group: _Group) -> dict[str, Member]:
        """The caption file of each field: of several, the one whose extension comes first in the order of the rules."""
        if len(group.texts) == 1:
            return {place: text for (place, _), text in group.texts.items()}
        order = self._rules.text_order
        return {
            place: group.texts[place, extension]
            for place, extension in sorted(group.texts, key=lambda name: order.index(name[1]), reverse=True)
        }

    def _reject(self, key: str, reason: str) -> Reject:
        return Reject(key, self._shard, "read", reason)


def _of_field(members: dict[str, Member], image_field: str, only_image: bool) -> Member | None:
    """The side-car of an image: KEY.txt, else that of the image's field, else the only one of the only image."""
    found = members.get("") or members.get(image_field)
    if found is None and only_image and len(members) == 1:
        found = next(iter(members.values()))
    return found
