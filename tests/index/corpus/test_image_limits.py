from __future__ import annotations

import pickle

from index.corpus.image_limits import DECODE_REASONS, MAX_IMAGE_PIXELS, MAX_WORK_PER_PIXEL, ImageRejected, ImageSize


def test_the_size_that_goes_to_another_process_is_plain_numbers() -> None:
    size = ImageSize(400, 300, 480_000, 120_000)
    assert size.pixels == 120_000
    assert pickle.loads(pickle.dumps(size)) == size


def test_a_rejection_carries_its_reason() -> None:
    assert ImageRejected("too_many_scans").reason in DECODE_REASONS


def test_the_largest_image_of_a_usual_format_is_not_too_much_work() -> None:
    assert MAX_WORK_PER_PIXEL * MAX_IMAGE_PIXELS >= 7 * MAX_IMAGE_PIXELS, "JPEG XL has 7 a pixel"
