"""Samples are decoded ahead of the encoder, in order and within bounds of count and bytes, and cut into batches."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.corpus.batches import Batch, Decoded, cut_batches, decode_ahead, decode_sample
from index.corpus.decoders import DecoderDied, ScaledImage, scale_image
from index.corpus.samples import Reject, Sample
from index.encoder.clip_encoder import Encoder
from index.encoder.loading import load_encoder
from index.encoder.model_spec import ModelSpec
from index.errors import ClipmineError
from tests.index.corpora import picture


def sample_of(key: str, image: bytes = b"") -> Sample:
    return Sample(key, "s", 0, len(image), image, "c", ("c",), None, None, None, "", "{}")


def decode(sample: Sample, encoder: Encoder, caption_index: int) -> Decoded | Reject:
    here = partial(scale_image, scale=encoder.to_pixels, max_bytes=1 << 20, max_pixels=1 << 20)
    return decode_sample(sample, here, caption_index)


def test_decoding_runs_ahead_in_order_within_its_bound() -> None:
    decoded = 0

    def samples() -> Any:
        for number in range(50):
            yield Reject(f"r{number}", "s", "read", "x") if number % 7 == 0 else sample_of(str(number))

    def decode(sample: Sample) -> Any:
        nonlocal decoded
        decoded += 1
        time.sleep(0.001)
        return Reject(sample.key, "s", "decode", "x")

    running = decode_ahead(samples(), decode, threads=3, ahead=10)
    first = [next(running).key for _ in range(5)]  # type: ignore[union-attr]
    time.sleep(0.1)
    assert first == ["r0", "1", "2", "3", "4"]
    assert decoded <= 5 + 10 + 1  # given out, in the queue, and one that waits for its place
    assert [entry.key for entry in running][-2:] == ["48", "r49"]  # type: ignore[union-attr]


def test_errors_of_reading_and_decoding_come_through_and_closing_ends_the_threads() -> None:

    def broken() -> Any:
        yield sample_of("a")
        raise OSError("the network is gone")

    def fail(_: Sample) -> Any:
        raise ValueError("a bug")

    with pytest.raises(OSError, match="network is gone"):
        list(decode_ahead(broken(), lambda s: Reject(s.key, "s", "decode", "x"), threads=2, ahead=4))
    with pytest.raises(ValueError, match="a bug"):
        list(decode_ahead((sample_of(str(n)) for n in range(100)), fail, threads=2, ahead=4))
    running = decode_ahead((sample_of(str(n)) for n in range(10**9)), lambda s: Reject(s.key, "s", "decode", "x"), 2, 4)
    next(running)
    running.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("read-ahead", "decode"))]


def test_images_wait_for_decoding_within_a_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("index.corpus.batches._WAITING_BYTES", 1000)
    read = 0

    def samples() -> Any:
        nonlocal read
        for number in range(20):
            read += 1
            yield sample_of(str(number), b"x" * (5000 if number == 0 else 400))

    def slow(sample: Sample) -> Any:
        time.sleep(0.02)
        assert read <= int(sample.key) + 5
        return Reject(sample.key, "s", "decode", "x")

    assert len(list(decode_ahead(samples(), slow, threads=2, ahead=100))) == 20


def test_a_sample_is_decoded_to_the_encoders_size_with_its_metadata(tiny_clip_dir: Path) -> None:
    encoder = load_encoder(ModelSpec(model_dir=str(tiny_clip_dir)), "cpu")
    sample = replace(sample_of("k", picture(size=(8, 6))), captions=("first", "second"), caption="first")
    decoded = decode(sample, encoder, 1)
    assert isinstance(decoded, Decoded)
    assert decoded.pixels.shape == (32, 32, 3)
    assert decoded.pixels.dtype == np.uint8
    assert (decoded.row["caption"], decoded.row["captions"]) == ("second", ["first", "second"])
    assert (decoded.row["width"], decoded.row["height"]) == (8, 6)


@pytest.mark.parametrize(
    ("image", "caption_index", "reason"),
    [(b"junk", 0, "unknown_format"), (b"", 0, "empty_image"), (picture(), 1, "no_such_caption")],
)
def test_a_sample_that_cannot_be_used_is_rejected_with_its_reason(
    image: bytes, caption_index: int, reason: str, tiny_clip_dir: Path
) -> None:
    encoder = load_encoder(ModelSpec(model_dir=str(tiny_clip_dir)), "cpu")
    rejected = decode(sample_of("k", image), encoder, caption_index)
    assert rejected == Reject("k", "s", "decode", reason)


def test_an_image_whose_processes_are_killed_is_named() -> None:
    def killed(_: bytes) -> ScaledImage:
        raise DecoderDied("killed by SIGKILL")

    with pytest.raises(ClipmineError, match=r"image k of s: .* failed \(killed by SIGKILL\); if memory ran out"):
        decode_sample(sample_of("k", picture()), killed, 0)


def test_batches_hold_the_asked_number_of_samples_and_rejects_pass_between_them(tiny_clip_dir: Path) -> None:
    encoder = load_encoder(ModelSpec(model_dir=str(tiny_clip_dir)), "cpu")
    pixels = np.zeros((32, 32, 3), np.uint8)
    entries: list[Decoded | Reject] = [Decoded({"caption": f"a dog {number}"}, pixels) for number in range(5)]
    entries.insert(1, Reject("x", "s", "read", "missing_image"))
    entries[3] = Decoded({"caption": "word " * 100}, pixels)
    found = list(cut_batches(iter(entries), encoder, 2))
    assert isinstance(found[0], Reject)
    batches = [entry for entry in found if isinstance(entry, Batch)]
    assert [batch.pixels.shape for batch in batches] == [(2, 32, 32, 3), (2, 32, 32, 3), (1, 32, 32, 3)]
    assert [tuple(batch.tokens.shape) for batch in batches] == [(2, 24), (2, 24), (1, 24)]
    assert [row["text_tokens_cut"] for batch in batches for row in batch.rows] == [False, False, True, False, False]
