"""Small tokenizers with the quirks of real ones, and conversations, for the tests of training samples."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from customize.lmm.data.sample import EncodedSample, ImageFile, LmmSample
from mining.sets.annotation import Turn
from tests.retrieval.stores import jpeg

TEXTS = (
    "A chat between a curious user and an artificial intelligence assistant. USER: ASSISTANT:",
    "The left image shows a red bus. The right image shows two blue cars. What differs between the images?",
    "Image 1: Image 2: Commonalities: Differences: 1. 2. 3. system user assistant",
)
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# A language model's template, which takes texts only.
HEADERS = (
    "{{ bos_token }}{% for message in messages %}<|head|>{{ message['role'] }}<|/head|>\n\n"
    "{{ message['content'] | trim }}<|eot|>{% endfor %}"
    "{% if add_generation_prompt %}<|head|>assistant<|/head|>\n\n{% endif %}"
)


@lru_cache
def llama_tokenizer() -> Any:
    """As Llama 2 has it: BPE without pre-tokenizer, `▁` for a space and before a text, bytes for unknown characters."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    inner.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = ["<unk>", "<s>", "</s>", "<pad>", "<image>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=special[:5], show_progress=False)
    # Words are cut apart while it is trained, as SentencePiece does, and not when it is used.
    inner.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    inner.train_from_iterator(TEXTS, trainer)
    # The bytes come into the vocabulary as ordinary tokens.
    model = json.loads(inner.to_str()) | {"pre_tokenizer": None}
    vocabulary = model["model"]["vocab"]
    for byte in special[5:]:
        vocabulary.setdefault(byte, len(vocabulary))
    inner = Tokenizer.from_str(json.dumps(model))
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


@lru_cache
def byte_level_tokenizer(*special: str) -> Any:
    """As GPT-2, Llama 3 and Qwen have it: byte-level BPE behind a pre-tokenizer, spaces joined with the next word."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    tokens = ["<|begin|>", "<|end|>", "<image>", *special]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=tokens, initial_alphabet=alphabet, show_progress=False)
    inner.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=inner,
        bos_token="<|begin|>",
        eos_token=special[-1] if special else "<|end|>",
        pad_token="<|end|>",
        additional_special_tokens=["<image>", *special],
    )


def slow_tokenizer() -> Any:
    """A tokenizer in Python, which does not tell where its tokens are in the text."""
    from transformers import ByT5Tokenizer

    tokenizer = ByT5Tokenizer()
    tokenizer.add_tokens(["<image>"], special_tokens=True)
    return tokenizer


def image(name: str = "a") -> ImageFile:
    return ImageFile(name, lambda: picture(name))


def sample(*texts: str | tuple[Any, ...], images: int = 0, sample_id: str = "one") -> LmmSample:
    """A conversation whose turns are the user's and the assistant's by turns."""
    turns = tuple(
        Turn(("user", "assistant")[place % 2], parts if isinstance(parts, tuple) else (parts,))
        for place, parts in enumerate(texts)
    )
    return LmmSample(sample_id, "made", turns, tuple(image(f"image {place}") for place in range(images)))


def pair_sample() -> LmmSample:
    """Two images in place, two questions."""
    return sample(
        ("Image 1: ", 0, "\nImage 2: ", 1, "\nWhat differs between the images?"),
        "Differences:\n1. The left bus is red.",
        "Which is older?",
        "The right one.",
        images=2,
        sample_id="pair",
    )


def trained_text(tokenizer: Any, encoded: EncodedSample) -> str:
    return str(tokenizer.decode(encoded.labels[encoded.labels >= 0]))


def write_images(folder: Path, names: Sequence[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(picture(name))


def picture(name: str) -> bytes:
    """The image file that `write_images` writes under this name."""
    return jpeg(_number(name))


def _number(name: str) -> int:
    """A picture's number, of the name alone."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])
