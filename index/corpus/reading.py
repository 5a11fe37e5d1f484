"""How the names and texts of a corpus are read: what a user can choose, with checks.

The defaults read webdataset tars as img2dataset writes them, and folders of images with side-car files.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import Any, Literal, get_args

from index.corpus.caption_pattern import parse_caption_pattern
from index.errors import BadInput

__all__ = ["KeyRule", "Reading"]

KeyRule = Literal["webdataset", "stem"]


@dataclass(frozen=True, slots=True)
class Reading:
    """Options of reading a corpus. All of them decide what its samples are.

    Attributes:
        caption_pattern: takes captions from keys instead of side-cars (`index.corpus.caption_pattern`).
        allow_empty_caption: keep images without a caption instead of rejecting them.
        key_rule: where a tar member's key ends: "webdataset", at the first dot of its file name; "stem", at the last.
        image_ext, caption_ext: further extensions of images and of caption files, such as "img" and "cap".
        caption_field: the field of the json that has the caption, instead of `caption`.
        caption_encoding: of caption files that are not UTF-8 and have no byte-order mark, such as "cp1252".

    Raises:
        BadInput: a pattern, rule, extension or encoding that cannot be used.
    """

    caption_pattern: str | None = None
    allow_empty_caption: bool = False
    key_rule: KeyRule = "webdataset"
    image_ext: tuple[str, ...] = ()
    caption_ext: tuple[str, ...] = ()
    caption_field: str | None = None
    caption_encoding: str | None = None

    def __post_init__(self) -> None:
        if self.caption_pattern is not None:
            parse_caption_pattern(self.caption_pattern)
        if self.key_rule not in get_args(KeyRule):
            raise BadInput(f"key rule {self.key_rule!r}: choose one of {', '.join(get_args(KeyRule))}")
        for name in ("image_ext", "caption_ext"):
            object.__setattr__(self, name, tuple(map(_extension, getattr(self, name))))
        if both := set(self.image_ext) & set(self.caption_ext):
            raise BadInput(f"the extension {min(both)!r} is named for images and for captions; choose one")
        if self.caption_encoding is not None:
            object.__setattr__(self, "caption_encoding", _encoding(self.caption_encoding))

    def unusual(self) -> dict[str, Any]:
        """The options that were added after the first stores were made, where they are not the default; plain data.

        Without the defaults, so that the hashes and manifests of stores stay what they were before an option existed.
        """
        plain = {
            "key_rule": None if self.key_rule == "webdataset" else self.key_rule,
            "image_ext": list(self.image_ext),
            "caption_ext": list(self.caption_ext),
            "caption_field": self.caption_field,
            "caption_encoding": self.caption_encoding,
        }
        return {name: value for name, value in plain.items() if value}


def _extension(text: str) -> str:
    extension = text.strip().lstrip(".").lower()
    if not extension or "." in extension or "/" in extension:
        raise BadInput(f"extension {text!r}: name what stands after the last dot, such as img")
    return extension


def _encoding(name: str) -> str:
    try:
        found = codecs.lookup(name)
        "a".encode(found.name)  # codecs such as base64 do not encode text
    except (LookupError, ValueError, TypeError) as error:
        raise BadInput(
            f"caption encoding {name!r}: is not known; name one such as cp1252, latin-1, shift_jis"
        ) from error
    return found.name
