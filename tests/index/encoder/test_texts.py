from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import open_clip
import torch

from index.encoder.clip_encoder import Encoder
from index.encoder.texts import STEP, Tokenizer, text_batches
from tests.index.encoder.conftest import TEXTS


def test_tokens_are_open_clips_and_cut_texts_are_counted(encoder: Encoder) -> None:
    expected = open_clip.SimpleTokenizer(context_length=24)(TEXTS)
    tokens = encoder.tokenize(TEXTS)
    assert torch.equal(tokens.ids, expected)
    assert tokens.cut == [False, False, False, True, False, False]
    assert encoder.tokenize(["a " * 22]).cut == [False]  # 22 words and two end marks fill a context of 24
    assert encoder.tokenize(["a " * 23]).cut == [True]
    assert encoder.count_long([*TEXTS, "a " * 23]) == 2


def test_a_word_of_a_megabyte_does_not_stop_the_tokenizer(encoder: Encoder) -> None:
    start = time.process_time()
    tokens = encoder.tokenize(["q" * 1_000_000, "many words " * 100_000])
    assert tokens.cut == [True, True]
    assert time.process_time() - start < 5
    longest = max(len(piece.encode()) for piece in open_clip.SimpleTokenizer().encoder)
    assert longest * 77 <= 5_000  # so no token of a full context lies beyond the part of a word that is read


def test_hugging_face_tokenizers_count_what_they_cut_in_any_thread(tmp_path: Path) -> None:
    from tokenizers import Tokenizer as Tokenizers
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizers(WordLevel({"[PAD]": 0, "[EOS]": 1, "[UNK]": 2, "a": 3, "b": 4}, unk_token="[UNK]"))
    inner.pre_tokenizer = Whitespace()
    inner.post_processor = TemplateProcessing(single="$A [EOS]", special_tokens=[("[EOS]", 1)])
    marks: Any = {"pad_token": "[PAD]", "eos_token": "[EOS]", "unk_token": "[UNK]"}
    PreTrainedTokenizerFast(tokenizer_object=inner, **marks).save_pretrained(tmp_path)  # type: ignore[no-untyped-call]
    tokenizer = Tokenizer(open_clip.tokenizer.HFTokenizer(str(tmp_path), context_length=4), 4)
    texts = ["a", "a b a", "a b a b", "a " * 50, ""]
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(tokenizer(texts))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.cut for result in results] == [[False, False, True, True, False]] * 4
    assert results[0].ids.tolist()[:3] == [[3, 1, 0, 0], [3, 4, 3, 1], [3, 4, 3, 1]]


def test_batches_have_one_shape_a_length_and_hold_every_text_once(encoder: Encoder) -> None:
    texts = [f"{'very ' * (number % 9)}nice" for number in range(50)]
    ids = encoder.tokenize(texts).ids
    seen: list[int] = []
    for places, batch in text_batches(encoder.model, ids, 4, fill=True):
        assert batch.shape[0] == 4
        assert batch.shape[1] % STEP == 0
        for place, row in zip(places, batch, strict=False):
            assert torch.equal(row, ids[place, : batch.shape[1]])
            assert not ids[place, batch.shape[1] :].any()  # what was cut away is padding
        seen.extend(places.tolist())
    assert sorted(seen) == list(range(50))


def test_a_text_as_long_as_the_context_is_not_cut(encoder: Encoder) -> None:
    ids = encoder.tokenize(["word " * 60]).ids
    [(places, batch)] = text_batches(encoder.model, ids, 1, fill=True)
    assert places.tolist() == [0]
    assert torch.equal(batch, ids)


def test_batches_that_are_not_filled_hold_their_texts_alone(encoder: Encoder) -> None:
    ids = encoder.tokenize(["one", "two", "three"]).ids
    [(places, batch)] = text_batches(encoder.model, ids, 8, fill=False)
    assert len(places) == len(batch) == 3
