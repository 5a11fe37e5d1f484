"""The images of an annotation file, from a folder or from the tars in it, by file name."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from PIL import Image

from index.corpus.image_decoding import ImageRejected, decode_image
from index.corpus.tars import TarBroken, iter_members
from index.errors import BadInput
from index.files import exists, join, join_inside, list_names, open_file, read_bytes, read_bytes_range

__all__ = ["OpenImage", "open_images"]

OpenImage = Callable[[str], Image.Image]


def open_images(folder: str, names: Iterable[str]) -> OpenImage:
    """A function that decodes an image by its file name in the annotations.

    A folder with tars is read as tars, whose members are found by the last part of their names. Otherwise the names are
    paths in the folder.

    Raises:
        BadInput: there is no folder, a tar cannot be read, or one of `names` is not there. The function raises it for
            an image that cannot be decoded.
    """
    if not exists(folder):
        raise BadInput(f"{folder}: there is no such folder of images")
    listed = list_names(folder)
    tars = sorted(name for name in listed if name.endswith(".tar"))
    read = _in_tars(folder, tars, names) if tars else _in_folder(folder, listed, names)

    def opened(name: str) -> Image.Image:
        try:
            return decode_image(read(name))
        except ImageRejected as rejected:
            raise BadInput(
                f"{folder}, {name}: the image cannot be used ({rejected.reason}); replace or remove it"
            ) from rejected

    return opened


def _in_folder(folder: str, listed: Iterable[str], names: Iterable[str]) -> Callable[[str], bytes]:
    there = set(listed)
    for name in names:
        # One list for all; only names in sub-folders are looked for one by one.
        if name not in there and ("/" not in name or not exists(join_inside(folder, name))):
            raise _missing(folder, name)
    return lambda name: read_bytes(join_inside(folder, name))


def _in_tars(folder: str, tars: Iterable[str], names: Iterable[str]) -> Callable[[str], bytes]:
    places: dict[str, tuple[str, int, int]] = {}
    for tar in tars:
        path = join(folder, tar)
        with open_file(path, buffering=1 << 20) as stream:
            try:
                for member in iter_members(stream, lambda name, size: False):
                    places[_last(member.name)] = (path, member.offset, member.size)
            except TarBroken as broken:
                raise BadInput(f"{path}: cannot be read to its end ({broken.reason}); write it again") from broken
    for name in names:
        if _last(name) not in places:
            raise _missing(folder, name)
    return lambda name: read_bytes_range(*places[_last(name)])


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _missing(folder: str, name: str) -> BadInput:
    return BadInput(f"{folder}: has no image {name}, which the annotations name; give the folder or tars that have it")
