"""The image files of sets, read by threads while a model answers for the sets before."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from mining.export.member_images import MemberImages
from mining.sets.image_set import ImageSet

__all__ = ["images_ahead", "read_images"]

READERS = 8
# Sets whose files are read or waiting to be asked about: 32 pairs of photographs of 200 KB are 13 MB.
AHEAD = 32


def images_ahead(
    sets: Iterable[ImageSet], images: MemberImages | None, readers: int = READERS, ahead: int = AHEAD
) -> Iterator[tuple[ImageSet, tuple[bytes, ...] | str]]:
    """Yield each set with the files of its members in their order, or with why one of them has none.

    images: None reads nothing and gives (). At most `ahead` sets are read before they are asked for. Raises what
    `MemberImages.read` raises, when its set is asked for.
    """
    if images is None:
        for each in sets:
            yield each, ()
        return
    waiting: deque[tuple[ImageSet, Future[tuple[bytes, ...] | str]]] = deque()
    pool = ThreadPoolExecutor(readers, thread_name_prefix="member-images")
    try:
        for each in sets:
            waiting.append((each, pool.submit(read_images, each, images)))
            if len(waiting) >= ahead:
                first, found = waiting.popleft()
                yield first, found.result()
        while waiting:
            first, found = waiting.popleft()
            yield first, found.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def read_images(each: ImageSet, images: MemberImages | None) -> tuple[bytes, ...] | str:
    """The files of a set's members, or why one has none, such as "missing"; () where `images` is None."""
    found: list[bytes] = []
    for member in each.members if images is not None else ():
        assert images is not None
        data = images.read(member)
        if isinstance(data, str):
            return data.split(",")[0]  # without what differs from one image to the next, so that reasons can be counted
        found.append(data)
    return tuple(found)
