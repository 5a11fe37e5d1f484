"""Sets with all their image files, read by several threads; a set with an unreadable image comes as a SkippedSet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

from index.corpus.image_decoding import ImageRejected, decode_image
from index.errors import StoreInvalid
from mining.export.member_images import MemberImages
from mining.export.sample import Sample
from mining.export.skipped import SkippedSet
from mining.sets.image_set import ImageSet

__all__ = ["UnreadableMember", "decoded", "read_members", "read_samples", "read_sets"]

Item = TypeVar("Item", ImageSet, Sample)

_READERS = 8
# Sets whose images are read at a time: 128 photographs of 100 kB are 13 MB.
_WINDOW = 64


def read_sets(images: MemberImages, sets: Iterable[ImageSet]) -> Iterator[tuple[ImageSet, list[bytes]] | SkippedSet]:
    """Yield every set with its members' image files, in order; a SkippedSet names the first that can't be read."""
    return _read(images, sets, lambda each: each)


def read_samples(
    images: MemberImages, samples: Iterable[Sample | SkippedSet]
) -> Iterator[tuple[Sample, list[bytes]] | SkippedSet]:
    """Yield every sample with the image files of its whole set, in the order of the members; a SkippedSet as it is."""
    return _read(images, samples, lambda each: each.set)


def read_members(images: MemberImages, each: ImageSet) -> list[bytes]:
    """The image files of one set. Raises UnreadableMember, and what `MemberImages.read` raises."""
    found = _whole(each, [images.read(member) for member in each.members])
    if isinstance(found, SkippedSet):
        raise UnreadableMember(found)
    return found


def decoded(each: ImageSet, files: Sequence[bytes]) -> list[Any] | SkippedSet:
    """The files of a set as PIL images in RGB, or the member that can't be decoded."""
    images = []
    for member, file in zip(each.members, files, strict=True):
        try:
            images.append(decode_image(file))
        except ImageRejected as error:
            return SkippedSet(each.set_id, member.position, member.ref, error.reason.replace("_", " "))
    return images


class UnreadableMember(StoreInvalid):
    """An image of a set can't be read, in a place where sets can't be skipped."""

    def __init__(self, skipped: SkippedSet) -> None:
        super().__init__(f"{skipped}; put the image back, or use to_webdataset or torch_stream, which skip such sets")
        self.skipped = skipped

    def __reduce__(self) -> Any:
        return UnreadableMember, (self.skipped,)


def _read(
    images: MemberImages, items: Iterable[Item | SkippedSet], set_of: Callable[[Item], ImageSet]
) -> Iterator[tuple[Item, list[bytes]] | SkippedSet]:
    coming = iter(items)
    with ThreadPoolExecutor(_READERS) as readers:
        while window := list(islice(coming, _WINDOW)):
            sets = [None if isinstance(item, SkippedSet) else set_of(item) for item in window]
            read = iter(list(readers.map(images.read, [member for each in sets if each for member in each.members])))
            for item, each in zip(window, sets, strict=True):
                if isinstance(item, SkippedSet) or each is None:
                    yield item  # type: ignore[misc]  # mypy does not see that both hold together
                    continue
                files = _whole(each, [next(read) for _ in each.members])
                yield files if isinstance(files, SkippedSet) else (item, files)


def _whole(each: ImageSet, files: Sequence[bytes | str]) -> list[bytes] | SkippedSet:
    found = []
    for member, file in zip(each.members, files, strict=True):
        if isinstance(file, str):
            return SkippedSet(each.set_id, member.position, member.ref, file)
        found.append(file)
    return found
