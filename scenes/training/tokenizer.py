"""The byte-level BPE tokenizer of the scenes' CLIP, which encodes any text and needs no download.

It is saved as a Hugging Face tokenizer folder, which open_clip reads through `hf_tokenizer_name`. End-of-text has the
highest id, since open_clip's text tower pools at the position of the highest id ("argmax").
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

VOCABULARY = 2048
CONTEXT_LENGTH = 64  # dense captions have about 50 tokens
PAD, START, END = "<pad>", "<start_of_text>", "<end_of_text>"


def train_tokenizer(texts: Iterable[str], folder: Path) -> None:
    """Learn the merges from `texts` and write `tokenizer.json` and `tokenizer_config.json` into `folder`."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 2,
        special_tokens=[PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(START, special=True), AddedToken(END, special=True)])
    start, end = tokenizer.token_to_id(START), tokenizer.token_to_id(END)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, start), (END, end)]
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": CONTEXT_LENGTH,
        "pad_token": PAD,
        "bos_token": START,
        "eos_token": END,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


class Tokens:
    """Token ids by the `tokenizers` package alone, the same as those of open_clip's tokenizer for the folder."""

    def __init__(self, folder: Path, context_length: int = CONTEXT_LENGTH) -> None:
        from tokenizers import Tokenizer

        self.context_length = context_length
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(context_length)
        self._tokenizer.enable_padding(pad_id=0, pad_token=PAD, length=context_length)
        self.size = self._tokenizer.get_vocab_size()

    def encode(self, texts: list[str]) -> npt.NDArray[np.uint16]:
        """uint16 [len(texts), context_length], padded with 0; a longer text is cut but keeps its end-of-text token."""
        return np.array([encoding.ids for encoding in self._tokenizer.encode_batch(texts)], dtype=np.uint16)
