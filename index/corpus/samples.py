"""What reading a corpus gives: samples and rejects, the work items that produce them, and files that were passed over.

The readers of tars and folders both make their samples here.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from index.corpus.captions import CaptionReader, TextRejected, clean_text, parse_sidecar
from index.corpus.names import IMAGE_SUFFIXES
from index.corpus.reading import Reading

__all__ = [
    "CAPTIONS_APART",
    "IMAGE_SUFFIXES",
    "MAX_SIDECAR_BYTES",
    "READ_REASONS",
    "PassedOver",
    "Reject",
    "Sample",
    "ShardItem",
    "make_sample",
]

MAX_SIDECAR_BYTES = 4 << 20  # img2dataset's json with a long EXIF is some KB

READ_REASONS = frozenset(
    {
        "empty_caption",  # the caption holds only white space
        "missing_caption",  # no side-car has one
        "caption_not_text",  # the json's caption is neither a text nor a list or an object of texts
        "caption_not_read",  # a text of the key has another field, as in KEY.jpg with KEY.de.txt and KEY.en.txt
        "caption_not_utf8",  # in another encoding, or with half of a character
        "pattern_mismatch",  # the file's name does not follow the caption pattern
        "missing_image",  # side-cars without an image
        "image_name_not_read",  # side-cars beside a file whose extension does not say that it is an image
        "members_apart",  # image and side-cars of a key do not stand side by side in the tar
        "second_image",  # another image has the same key; the first is kept
        "image_field",  # an image in a field beside KEY.jpg, as KEY.seg.png
        "duplicate_key",  # the shard has a sample of this key already
        "broken_sidecar",  # the .json is not a JSON object
        "sidecar_not_utf8",
        "too_many_bytes",  # image or side-car over its limit
        "camera_raw",  # a camera's raw data, which must be developed first
        "not_an_image",  # a file of a folder whose name does not tell what it is, and whose content is no image
        "truncated_tar",  # the tar ends in the middle of a member; samples before that are read
        "damaged_tar",  # a header's checksum is wrong; samples before it are read
        "not_a_tar",
        "compressed_tar",  # without random access, no image could be read back
        "link_not_followed",  # a tar's link to anything but an earlier member
        "sparse_member",  # a tar's file with holes, which are not filled
        "link_leaves_folder",
        "linked_folder",  # folders behind links are not entered
        "unreadable",  # gone since it was listed, or not permitted
    }
)

# Fields of img2dataset's json that have metadata columns of their own. Its `sha256` is the hash of the download before
# any resizing, so it stays in `extra`.
_OWN_COLUMNS = frozenset({"key", "caption", "captions", "url", "width", "height"})
_SORTED = json.JSONEncoder(sort_keys=True)  # made once: `json.dumps` would make one for each sample
# A kind of `PassedOver`: side-cars of an image that is a row already, without what they say.
CAPTIONS_APART = "captions apart"
_EXAMPLES = 6  # names of passed over files that are kept for messages


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
    """One work item: a tar, or some of a folder's files. It can be pickled.

    Attributes:
        number: its number among the corpus's items, and that of the store's part.
        root: the corpus root, an absolute path or URL.
        kind: "tar" or "folder".
        paths: relative to the root; a folder's images with their side-cars.
        sizes: bytes, in the same order.
        lines: by path, the JSON object that a folder's `metadata.jsonl` has for an image.
    """

    number: int
    root: str
    kind: str
    paths: tuple[str, ...]
    sizes: tuple[int, ...]
    reading: Reading = field(default_factory=Reading)
    lines: Mapping[str, str] = field(default_factory=dict)

    @property
    def signature(self) -> str:
        """Hex SHA-256 of the files' names and sizes and the options of reading: it changes when the source changes."""
        reading = self.reading
        plain: list[Any] = [self.kind, self.paths, self.sizes, reading.caption_pattern, reading.allow_empty_caption]
        if unusual := reading.unusual():
            plain.append(unusual)
        if self.lines:
            plain.append(sorted(self.lines.items()))
        return hashlib.sha256(json.dumps(plain).encode()).hexdigest()


@dataclass
class PassedOver:
    """Files that are no part of any sample.

    Attributes:
        counts: by kind: an extension (".cls"), "hidden", "no extension", or CAPTIONS_APART.
        names: some of them, for messages.
    """

    counts: Counter[str] = field(default_factory=Counter)
    names: list[str] = field(default_factory=list)

    def add(self, kind: str, name: str) -> None:
        """Count a file."""
        self.counts[kind] += 1
        if len(self.names) < _EXAMPLES:
            self.names.append(name)

    def add_file(self, path: str) -> None:
        """Count a file under its extension."""
        name = path.rpartition("/")[2]
        if name.startswith("."):
            self.add("hidden", path)
        else:
            _, dot, extension = name.rpartition(".")
            self.add(f".{extension.lower()[:20]}" if dot else "no extension", path)


def make_sample(
    key: str,
    shard: str,
    offset: int,
    image: bytes,
    text: bytes | None,
    sidecar: bytes | None,
    reader: CaptionReader,
    stem: str | None = None,
) -> Sample | Reject:
    """Join an image with the bytes of its caption file and its `.json` side-car.

    `index.corpus.captions` says which caption is taken. The json's other fields and the caption pattern's other fields
    go to `extra`.

    Args:
        stem: what the caption pattern is matched against, where it is not the key.
    """
    try:
        fields = parse_sidecar(sidecar, reader.encoding)
        captions, named = reader.read(key if stem is None else stem, text, fields)
    except TextRejected as rejected:
        return Reject(key, shard, "read", rejected.reason)
    return Sample(
        key=key,
        shard=shard,
        offset=offset,
        size=len(image),
        image=image,
        caption=captions.first,
        captions=captions.all or (captions.first,),
        url=_string(fields.get("url")),
        width=_positive(fields.get("width")),
        height=_positive(fields.get("height")),
        sha256=hashlib.sha256(image).hexdigest(),
        extra=_other_fields({**fields, **named}),
    )


def _other_fields(fields: Mapping[str, Any]) -> str:
    others = {name: value for name, value in fields.items() if name not in _OWN_COLUMNS}
    return _SORTED.encode(others) if others else "{}"


def _string(value: object) -> str | None:
    return clean_text(value) if isinstance(value, str) and value else None


def _positive(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31 else None
