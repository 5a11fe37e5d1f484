"""Image files that a collection holds inside its tables, written into tars in the folder of image sets.

PAIRS/images/images_0000.tar: a member an image, named by its SHA-256; equal files are written once. Also the readers of
MIMIC-IT's files of images: an object of base64 texts by image id (.json), or two columns of these (.parquet).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from typing import IO, Any

import pyarrow as pa

from index.corpus.image_decoding import MAX_IMAGE_BYTES, image_extension
from index.errors import BadInput
from index.files import atomic_file, is_local, join, local_path, open_file
from index.parquet import open_parquet
from mining.sets.importers.image_names import Place
from mining.sets.importers.import_counts import shown, shown_list
from mining.sets.importers.json_stream import JsonStream

__all__ = ["FOLDER", "ImagePack", "checked", "encoded_images", "is_encoded"]

FOLDER = "images"
_TAR_BYTES = 1 << 30
_BATCH = 64  # rows of Parquet at a time


class ImagePack:
    """Tars that take images; `close` finishes the last one. Without an image there is no tar."""

    def __init__(self, out: str) -> None:
        self.root = join(out, FOLDER)
        self._places: dict[str, Place] = {}
        self._stack = ExitStack()
        self._tar: IO[bytes] | None = None
        self._tars = 0

    def add(self, data: bytes) -> Place | str:
        """Where the image is, or why it is not taken: one of the reasons of `checked`."""
        reason = checked(data[:32], len(data))
        if reason is not None:
            return reason
        digest = hashlib.sha256(data).hexdigest()
        found = self._places.get(digest)
        if found is None:
            found = self._places[digest] = self._write(digest, data)
        return found

    def close(self) -> None:
        """Finish the last tar, so that all are whole."""
        if self._tar is not None:
            self._tar.write(b"\0" * 2 * tarfile.BLOCKSIZE)
        self._stack.close()
        self._tar = None

    def _write(self, digest: str, data: bytes) -> Place:
        if self._tar is not None and self._tar.tell() > _TAR_BYTES:
            self.close()
        if self._tar is None:
            partial = self._stack.enter_context(atomic_file(join(self.root, f"images_{self._tars:04d}.tar")))
            self._tar = self._stack.enter_context(partial.open("wb"))
            self._tars += 1
        member = tarfile.TarInfo(f"{digest}.{image_extension(data[:32])}")
        member.size, member.mode = len(data), 0o644
        header = member.tobuf(tarfile.USTAR_FORMAT)
        offset = self._tar.tell() + len(header)
        self._tar.write(header + data + b"\0" * (-len(data) % tarfile.BLOCKSIZE))
        return Place(self.root, member.name, f"images_{self._tars - 1:04d}.tar", offset, len(data), digest)


def checked(start: bytes, size: int) -> str | None:
    """Why a file with these first bytes and this size is no usable image, in two words; None if it is one.

    The reasons are "empty", "too large" and "unknown format".
    """
    if not size:
        return "empty"
    if size > MAX_IMAGE_BYTES:
        return "too large"
    return None if image_extension(start) else "unknown format"


def is_encoded(path: str) -> bool:
    """Whether a root of images is a file of base64 texts."""
    return path.lower().endswith((".json", ".parquet")) and not (is_local(path) and local_path(path).is_dir())


def encoded_images(path: str) -> Iterator[tuple[str, bytes | None]]:
    """(image id, its file, None where the text is no base64) of a file of images, streamed. Raises BadInput."""
    if is_local(path) and local_path(path).exists() and not local_path(path).is_file():
        raise BadInput(f"{path}: is no regular file")
    try:
        if path.lower().endswith(".json"):
            with open_file(path, "r") as stream:
                for name, text in JsonStream(stream, path).entries():
                    yield name, _decoded(text)
            return
        with open_parquet(path) as file:
            # pandas writes the ids as its index, whatever the index is called.
            names = [name for name in file.schema_arrow.names if name != "base64"]
            if file.schema_arrow.names.count("base64") != 1 or len(names) != 1:
                raise BadInput(
                    f"{path}: a file of images has a column base64 and one of ids; it has "
                    f"{shown_list(file.schema_arrow.names)}"
                )
            for batch in file.iter_batches(batch_size=_BATCH):
                for row in batch.to_pylist():
                    yield str(row[names[0]]), _decoded(row["base64"])
    except FileNotFoundError as error:
        raise BadInput(f"{path}: does not exist") from error
    except (UnicodeDecodeError, OSError, pa.ArrowException) as error:
        why = shown(str(error).partition("\n")[0])
        raise BadInput(f"{path}: is damaged, or of another kind ({why}); download it again") from error


def _decoded(text: Any) -> bytes | None:
    if isinstance(text, bytes):
        return text
    if not isinstance(text, str):
        return None
    try:
        return base64.b64decode(text.removeprefix("data:").rpartition(",")[2], validate=True)
    except (binascii.Error, ValueError):
        return None
