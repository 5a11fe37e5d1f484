"""What the names of files tell: which are images, captions or neither, and the key that an image's files share.

In tars, a member's key ends at the first dot of its file name (webdataset's rule) or at the last one (`--key-rule
stem`). Between key and extension there may be a field: `000.seg.png` has key 000, field seg and extension png. In
folders the key ends at the last dot, and names as crawlers write them (`a.jpg?w=300`, `a.jpg.1`) at the image's
extension.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

from index.corpus.reading import Reading

__all__ = ["IMAGE_SUFFIXES", "FileKind", "MemberName", "NameRules", "is_hidden", "split_name"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Suffixes of image files; the content decides how a file is decoded. Formats that cannot be decoded (JPEG 2000, SVG,
# HEIC and JXL without a plug-in) are listed too, so that their files are rejected with a reason.
IMAGE_SUFFIXES = _words(
    "jpg jpeg jpe jfif pjpeg png apng webp gif bmp dib tif tiff avif heic heif hif jxl ico ppm pgm pbm pnm jp2 j2k "
    "jpx svg psd tga"
)
# A camera's raw data: it must be developed first. The previews inside are not the photograph.
_RAW_SUFFIXES = _words("cr2 cr3 crw nef nrw arw srf sr2 dng orf rw2 raf pef srw x3f")
_TEXT_SUFFIXES = ("txt", "caption")  # where a key has both, the first is its caption
# Files of a corpus that are surely no images: everything else without a known suffix is looked into.
_OTHER_SUFFIXES = _words(
    "cls npy npz pkl pickle pyd pth pt safetensors bin ckpt onnx tar gz tgz bz2 xz zst lz4 zip 7z rar parquet arrow "
    "feather csv tsv jsonl ndjson xml html htm md rst log yaml yml toml ini cfg conf py ipynb sh js css pdf doc docx "
    "xls xlsx ppt pptx mp4 mov avi mkv webm mp3 wav flac ogg m4a db sqlite lock md5 sha1 sha256 crc index lnk url "
    "torrent part crdownload tmp bak aae xmp thm srt vtt lst"
)
_OTHER_NAMES = _words(
    "readme license licence copying notice authors contributors changelog changes makefile dockerfile install todo "
    "version manifest thumbs.db desktop.ini _success checksums md5sums sha256sums"
)
_IMAGE_INSIDE = re.compile(
    rf"\.(?:{'|'.join(sorted(IMAGE_SUFFIXES, key=len, reverse=True))})(?![A-Za-z0-9])", re.IGNORECASE
)

FileKind = Literal["image", "raw", "text", "json", "odd", "other"]


class MemberName(NamedTuple):
    """A tar member's name in parts: `key.field.extension`, the last two in lower case; the field may be empty."""

    key: str
    field: str
    extension: str


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, or macOS's companion of one (`._x`, `__MACOSX`)."""
    return name.startswith(".") or name == "__MACOSX"


def split_name(name: str) -> tuple[str, str] | None:
    """`(key, lower-case suffix)` as webdataset splits a name; None if either is empty, and for `__meta__` names."""
    folder, slash, base = name.rpartition("/")
    stem, dot, suffix = base.partition(".")
    if not stem or not dot or (name.startswith("__") and name.endswith("__")):
        return None
    return folder + slash + stem, suffix.lower()


@dataclass(frozen=True, slots=True)
class NameRules:
    """The rules of one corpus.

    text_order: extensions of caption files; where a key has several, the first of them is its caption.
    """

    at_last_dot: bool
    images: frozenset[str]
    text_order: tuple[str, ...]

    @classmethod
    def of(cls, reading: Reading) -> NameRules:
        """The rules that the options make."""
        texts = (*reading.caption_ext, *(each for each in _TEXT_SUFFIXES if each not in reading.image_ext))
        images = (IMAGE_SUFFIXES | set(reading.image_ext)) - set(reading.caption_ext)
        return cls(reading.key_rule == "stem", images, texts)

    def split(self, name: str) -> MemberName | None:
        """The parts of a tar member's name; None for hidden files, names without a dot, and `__meta__` names."""
        parts = split_name(name)
        if parts is None:
            return None
        key, suffix = parts
        field, dot, extension = suffix.rpartition(".")
        if dot and self.at_last_dot:
            return MemberName(name[: -len(extension) - 1], "", extension)
        return MemberName(key, field, extension)

    def kind(self, extension: str) -> FileKind:
        """What a lower-case extension (or, without a dot, name) stands for; "odd" where it does not tell."""
        if extension in self.images:
            return "image"
        if extension in self.text_order:
            return "text"
        if extension == "json":
            return "json"
        if extension in _RAW_SUFFIXES:
            return "raw"
        return "other" if extension in _OTHER_SUFFIXES else "odd"

    def file_kind(self, path: str) -> FileKind:
        """What a file of a folder is, by its name; "odd" where only its content tells."""
        name = path.rpartition("/")[2].lower()
        if name in _OTHER_NAMES or name.partition(".")[0] in _OTHER_NAMES:
            return "text" if name.endswith(".txt") else "other"
        return self.kind(name.rpartition(".")[2]) if "." in name else "odd"

    def file_stem(self, path: str) -> str:
        """The key that a folder's image has by its own name: without its extension and what follows it."""
        folder, slash, name = path.rpartition("/")
        stem, dot, extension = name.rpartition(".")
        if dot and self.kind(extension.lower()) in ("odd", "other"):
            inside = _IMAGE_INSIDE.search(name, 1)
            stem = name[: inside.start()] if inside else name.partition("?")[0].rpartition(".")[0] or stem
        return f"{folder}{slash}{stem if dot else name}"
