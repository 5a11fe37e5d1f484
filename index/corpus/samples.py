"""What reading a corpus gives: samples and rejects, the work items that produce them, and captions from side-car files.

The readers of tars and folders both make their samples here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from index.corpus.caption_pattern import CaptionPattern

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_SIDECAR_BYTES",
    "READ_REASONS",
    "Reject",
    "Sample",
    "ShardItem",
    "SidecarBroken",
    "clean_text",
    "make_sample",
]

# Suffixes of image files; the content decides how a file is decoded. Formats that cannot be decoded (HEIC, JPEG 2000,
# SVG) are listed too, so that their files are rejected with a reason instead of being ignored.
IMAGE_SUFFIXES = frozenset(
    {"jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "heic", "heif", "jp2", "svg"}
)
MAX_SIDECAR_BYTES = 4 << 20  # img2dataset's json with a long EXIF is some KB

READ_REASONS = frozenset(
    {
        "empty_caption",  # the caption holds only white space
        "missing_caption",  # neither .txt nor a caption in .json
        "pattern_mismatch",  # the file's name does not follow the caption pattern
        "missing_image",  # side-cars without an image
        "second_image",  # a sample has several images; the first is kept
        "duplicate_key",  # the shard has a sample of this key already
        "broken_sidecar",  # the .json is not a JSON object
        "too_many_bytes",  # image or side-car over its limit
        "truncated_tar",  # the tar ends in the middle of a member; samples before that are read
        "damaged_tar",  # a header's checksum is wrong; samples before it are read
        "not_a_tar",
        "compressed_tar",  # without random access, no image could be read back
        "link_leaves_folder",
        "linked_folder",  # folders behind links are not entered
        "unreadable",  # gone since it was listed, or not permitted
    }
)

# Fields of img2dataset's json that have metadata columns of their own. Its `sha256` is the hash of the download before
# any resizing, so it stays in `extra`.
_OWN_COLUMNS = frozenset({"key", "caption", "captions", "url", "width", "height"})


class SidecarBroken(ValueError):
    """A .json side-car is not a JSON object."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with its text. `shard` is relative to the corpus root; `image` is `shard[offset:offset + size]`."""

    key: str
    shard: str
    offset: int
    size: int
    image: bytes
    caption: str
    captions: tuple[str, ...]  # never empty; (caption,) where the side-car has no list
    url: str | None
    width: int | None  # from the side-car; None where it has none
    height: int | None
    sha256: str  # of `image`, hex
    extra: str  # JSON object of the side-car's other fields


@dataclass(frozen=True, slots=True)
class Reject:
    """One sample that was not used (or the rest of a shard, with an empty key), and the reason."""

    key: str
    shard: str
    stage: str  # "read", "decode" or "embed"
    reason: str


@dataclass(frozen=True, slots=True)
class ShardItem:
    """One work item: a tar, or some of a folder's files. Plain data: `dataclasses.asdict` gives JSON."""

    number: int
    root: str  # the corpus root: absolute path or URL
    kind: str  # "tar" or "folder"
    paths: tuple[str, ...]  # relative to root; a folder's images with their side-cars
    sizes: tuple[int, ...]  # bytes, same order
    caption_pattern: str | None = None
    allow_empty_caption: bool = False

    @property
    def signature(self) -> str:
        """Hex SHA-256 of the files' names and sizes and the options of reading: it changes when the source changes."""
        plain = [self.kind, self.paths, self.sizes, self.caption_pattern, self.allow_empty_caption]
        return hashlib.sha256(json.dumps(plain).encode()).hexdigest()


def clean_text(text: bytes | str) -> str:
    """`text` as valid Unicode, without NULs and without line ends at the end; everything else is kept."""
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return raw.decode("utf-8", "replace").replace("\0", "").rstrip("\r\n")


def make_sample(
    key: str,
    shard: str,
    offset: int,
    image: bytes,
    text: bytes | None,
    sidecar: bytes | None,
    pattern: CaptionPattern | None,
    allow_empty_caption: bool,
) -> Sample | Reject:
    """Join an image with the bytes of its `.txt` and `.json` side-cars.

    The caption is the first that exists of: what `pattern` finds in the key, the text, the json's `caption`, the first
    of its `captions`. The json's other fields and the pattern's other fields go to `extra`.
    """
    try:
        fields = _parse_sidecar(sidecar)
    except SidecarBroken:
        return Reject(key, shard, "read", "broken_sidecar")
    captions = tuple(c for c in map(clean_text, _strings(fields.get("captions"))) if c.strip())
    caption, found = "", False
    if pattern is not None:
        named = pattern.match(key)
        if named is None:
            return Reject(key, shard, "read", "pattern_mismatch")
        caption, found = clean_text(named.pop("caption")), True
        captions = ()
        fields = {**fields, **named}
    else:
        for candidate in (text, fields.get("caption"), captions[0] if captions else None):
            if isinstance(candidate, bytes | str):
                caption, found = clean_text(candidate), True
                if caption.strip():
                    break
    if not caption.strip() and not allow_empty_caption:
        return Reject(key, shard, "read", "empty_caption" if found else "missing_caption")
    return Sample(
        key=key,
        shard=shard,
        offset=offset,
        size=len(image),
        image=image,
        caption=caption,
        captions=captions or (caption,),
        url=_string(fields.get("url")),
        width=_positive(fields.get("width")),
        height=_positive(fields.get("height")),
        sha256=hashlib.sha256(image).hexdigest(),
        extra=_other_fields(fields),
    )


def _parse_sidecar(data: bytes | None) -> dict[str, Any]:
    if data is None or not data.strip():
        return {}
    try:
        # NaN is not valid JSON, but Python writes it (img2dataset does for empty table cells).
        fields = json.loads(data, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        raise SidecarBroken from error
    if not isinstance(fields, dict):
        raise SidecarBroken
    return fields


def _other_fields(fields: Mapping[str, Any]) -> str:
    others = {name: value for name, value in fields.items() if name not in _OWN_COLUMNS}
    return json.dumps(others, sort_keys=True) if others else "{}"


def _strings(value: object) -> list[str]:
    return [entry for entry in value if isinstance(entry, str)] if isinstance(value, list) else []


def _string(value: object) -> str | None:
    return clean_text(value) if isinstance(value, str) and value else None


def _positive(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31 else None
