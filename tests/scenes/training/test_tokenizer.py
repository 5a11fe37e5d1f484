from __future__ import annotations

from pathlib import Path

import numpy as np
import open_clip

from scenes.training.tokenizer import CONTEXT_LENGTH, VOCABULARY, Tokens, train_tokenizer
from scenes.training.train_clip import MODEL_FOLDER

TEXTS = ["a red ball on the left", "There is an Apple.", "", "naïve 🐧 zorp", "ball " * 200]


def test_the_ids_are_those_of_open_clips_tokenizer() -> None:
    theirs = open_clip.get_tokenizer(f"local-dir:{MODEL_FOLDER}")(TEXTS).numpy()
    ours = Tokens(MODEL_FOLDER)
    assert (ours.size, ours.context_length) == (VOCABULARY, CONTEXT_LENGTH)
    np.testing.assert_array_equal(ours.encode(TEXTS), theirs)


def test_end_of_text_has_the_highest_id_and_survives_a_cut() -> None:
    ids = Tokens(MODEL_FOLDER, 8).encode(TEXTS)
    assert ids.shape == (len(TEXTS), 8)
    assert (ids.max(axis=1) == VOCABULARY - 1).all()
    assert ids[-1, -1] == VOCABULARY - 1
    assert ids[2].tolist() == [VOCABULARY - 2, VOCABULARY - 1, 0, 0, 0, 0, 0, 0]


def test_a_learned_tokenizer_merges_frequent_words_and_encodes_any_text(tmp_path: Path) -> None:
    train_tokenizer(["the red ball and the blue ball"] * 20, tmp_path)
    tokens = Tokens(tmp_path, 32)
    assert (tokens.encode(["the ball"])[0] > 0).sum() == 4  # start, two words, end
    assert (tokens.encode(["ξ"])[0] > 0).sum() > 2
