"""Encoded sources: the cached samples are the encoded ones, and another source or tokenizer makes another cache."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from customize.lmm.data import token_cache
from customize.lmm.data.encode import Encoder
from customize.lmm.data.sample import EncodedSample, LmmSample
from customize.lmm.data.skipped import SkippedSample
from customize.lmm.data.source import Numbers
from customize.lmm.data.token_cache import EncodedSource, encode_source
from index.errors import BadInput, ClipmineError
from tests.customize.lmm.data.made_sources import MadeSource, made_encoder

SOURCE = MadeSource("made", 45)


class Dying(MadeSource):
    """A source at which the process that reads it ends."""

    def read(self, numbers: Numbers) -> Iterator[LmmSample | SkippedSample]:
        os._exit(1)


def plain(each: EncodedSample) -> tuple[object, ...]:
    return each.sample_id, each.source, each.input_ids.tolist(), each.labels.tolist(), [one.key for one in each.images]


def check(found: EncodedSource, encoder: Encoder, source: MadeSource = SOURCE) -> None:
    """The cached samples are those that the encoder gives."""
    for number, sample in enumerate(source.read(np.arange(len(source)))):
        encoded = encoder.encode(sample) if isinstance(sample, LmmSample) else sample
        if isinstance(encoded, SkippedSample):
            assert not found.lengths[number]
            continue
        assert plain(found[number]) == plain(encoded)
        assert found.lengths[number] == len(encoded)
        assert found.trained[number] == (encoded.labels >= 0).sum()
        assert found.images[number] == len(encoded.images)


def test_cached_samples_are_the_encoded_ones(tmp_path: Path) -> None:
    encoder = made_encoder()
    found = encode_source(SOURCE, encoder, tmp_path)
    check(found, encoder)
    assert found.reasons == {"broken JSON": 4}
    assert found.named[0] == "made: sample 9: broken JSON (line 9)"
    assert len(found.usable()) == 41
    assert found[1].images[0].read() == b"made/1"
    with pytest.raises(IndexError, match="made: sample 9 was skipped"):
        found[9]


def test_the_cache_is_opened_again_and_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode_source(SOURCE, made_encoder(), tmp_path)
    monkeypatch.setattr(token_cache, "_write", None)
    check(encode_source(SOURCE, made_encoder(), tmp_path), made_encoder())


def test_other_samples_tokens_or_contexts_make_another_cache(tmp_path: Path) -> None:
    for source, encoder in [
        (SOURCE, made_encoder()),
        (MadeSource("made", 45, version=1), made_encoder()),
        (SOURCE, made_encoder(5)),
        (SOURCE, made_encoder(max_length=60)),
    ]:
        check(encode_source(source, encoder, tmp_path), encoder, source)
    assert len(list(tmp_path.iterdir())) == 4


def test_several_processes_encode_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_cache, "_CHUNK", 7)
    source = MadeSource("made", 7 * 6 + 3)
    alone = encode_source(source, made_encoder(), tmp_path / "alone")
    several = encode_source(source, made_encoder(), tmp_path / "several", processes=2)
    (one,), (other,) = ((tmp_path / name).iterdir() for name in ("alone", "several"))
    assert {path.name: path.read_bytes() for path in one.iterdir()} == {
        path.name: path.read_bytes() for path in other.iterdir()
    }
    assert plain(several[41]) == plain(alone[41])


def test_a_process_that_dies_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_cache, "_CHUNK", 20)
    with pytest.raises(ClipmineError, match="made: a process that encodes samples ended early"):
        encode_source(Dying("made", 45), made_encoder(), tmp_path, processes=2)
    assert not list(tmp_path.glob("*/manifest.json"))


def test_progress_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_cache, "_CHUNK", 20)
    told: list[tuple[str, int, int]] = []
    encode_source(SOURCE, made_encoder(), tmp_path, on_progress=lambda *each: told.append(each))
    assert told == [("made: samples encoded", done, 45) for done in (20, 40, 45)]


def test_images_can_be_checked_while_encoding(tmp_path: Path) -> None:
    source = MadeSource("made", 45, lost=("made/1", "made/4"))
    found = encode_source(source, made_encoder(), tmp_path, check_images=True)
    assert found.reasons == {"broken JSON": 4, "an image that cannot be read": 2}
    assert "made: sample 1: an image that cannot be read (made/1: missing)" in found.named
    assert not found.lengths[[1, 4]].any()


def test_a_source_of_which_nothing_can_be_trained_on_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"made: none of its 45 samples can be trained on \(41: longer than the context"):
        encode_source(SOURCE, made_encoder(max_length=3), tmp_path)


def test_an_encoding_that_was_cut_short_is_begun_anew(tmp_path: Path) -> None:
    encode_source(SOURCE, made_encoder(), tmp_path)
    (folder,) = tmp_path.iterdir()
    (folder / "manifest.json").unlink()
    (folder / "tokens.bin").write_bytes(b"cut")
    check(encode_source(SOURCE, made_encoder(), tmp_path), made_encoder())
