"""The tokens that a language model gets for images and padding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from customize.lmm.model.tokens import add_tokens
from tests.customize.lmm.model.checkpoints import plain_tokenizer, write_llama


def llama(folder: Path) -> Any:
    from transformers import LlamaForCausalLM

    return LlamaForCausalLM.from_pretrained(folder)


@pytest.mark.parametrize("tied", [False, True])
def test_new_tokens_start_as_the_mean_of_all_others(tmp_path: Path, tied: bool) -> None:
    model, tokenizer = llama(write_llama(tmp_path, tied=tied)), plain_tokenizer()
    old = model.get_input_embeddings().weight.detach().clone()
    image = add_tokens(tokenizer, model)
    assert (image, tokenizer.pad_token, tokenizer.pad_token_id) == (258, "<pad>", 259)
    assert tokenizer.encode("a<image>b", add_special_tokens=False)[1] == image
    for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
        assert layer.weight.shape == (260, 32)
        torch.testing.assert_close(layer.weight[258], layer.weight[:258].mean(0), rtol=0, atol=1e-3)
        assert torch.equal(layer.weight[258], layer.weight[259])
    assert torch.equal(model.get_input_embeddings().weight[:258], old)
    assert (model.get_input_embeddings().weight is model.get_output_embeddings().weight) == tied


def test_tokens_that_are_there_are_kept(tmp_path: Path) -> None:
    tokenizer = plain_tokenizer()
    tokenizer.pad_token = "</s>"
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    model = llama(write_llama(tmp_path))
    assert add_tokens(tokenizer, model) == 258
    assert (tokenizer.pad_token, len(tokenizer)) == ("</s>", 259)
    assert len(model.get_input_embeddings().weight) == 259, "the model had no row for the tokenizer's own image token"
