"""A small JPEG of a set's image, wherever its source keeps it, or the reason why it can't be shown."""

from __future__ import annotations

import logging

from index.corpus.image_decoding import ImageRejected
from index.errors import BadInput, ImagesNotLocal
from mining.export.member_images import MemberImages
from mining.sets.image_set import Member
from retrieval.service.images import ThumbnailSize, small_jpeg

__all__ = ["NoImage", "member_thumbnail"]

log = logging.getLogger("clipmine.service")


class NoImage(ImagesNotLocal):
    """A set's image can't be shown; the message says why, without a path of this machine."""


def member_thumbnail(images: MemberImages, member: Member, size: ThumbnailSize) -> bytes:
    """A member's image as a small JPEG. Paths go to the log only.

    Raises NoImage, also for an image beyond the limits.
    """
    try:
        found = images.read(member)
    except ImagesNotLocal as error:
        raise _no_image(member, "its store has no images", error) from error
    except (BadInput, OSError) as error:
        raise _no_image(member, f"its source {member.source} cannot be opened", error) from error
    if isinstance(found, str):
        raise _no_image(member, found)
    try:
        return small_jpeg(found, size)
    except ImageRejected as error:
        raise _no_image(member, error.reason.replace("_", " ")) from error


def _no_image(member: Member, why: str, error: Exception | None = None) -> NoImage:
    log.log(logging.INFO if error is None else logging.WARNING, "image %s: %s", member.ref, error or why)
    return NoImage(f"image {member.position + 1}: {why}")
