from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest

from index.errors import BadInput
from mining.chat.local_checkpoint import checkpoint_identity, load_weights, open_checkpoint, stop_ids
from mining.chat.templates import PLAIN, VICUNA_V1
from tests.mining.chat.conftest import CHATML


def copied(folder: Path, to: Path, **config: Any) -> Path:
    shutil.copytree(folder, to)
    if config:
        path = to / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
    return to


def test_a_llava_takes_images_and_its_template_is_chosen(llava_folder: Path) -> None:
    opened = open_checkpoint(str(llava_folder))
    assert opened.takes_images
    assert opened.template == VICUNA_V1  # its own asks without "ASSISTANT:"
    assert open_checkpoint(str(llava_folder), template="plain").template == PLAIN


def test_a_language_model_has_its_tokenizers_template_and_a_context(llama_folder: Path) -> None:
    opened = open_checkpoint(str(llama_folder))
    assert (opened.takes_images, opened.template, opened.context) == (False, CHATML, 256)


def test_an_adapters_folder_names_its_base(llama_folder: Path, adapter_folder: Path) -> None:
    opened = open_checkpoint(str(adapter_folder))
    assert (opened.base, opened.adapter) == (str(llama_folder), adapter_folder)
    assert open_checkpoint(str(llama_folder), str(adapter_folder)).adapter == adapter_folder


def test_an_adapter_makes_the_models_answers_its_own(llama_folder: Path, adapter_folder: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    ids = torch.arange(3, 60)[None]
    plain = AutoModelForCausalLM.from_pretrained(str(llama_folder))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft reads a property that transformers renames
        theirs = PeftModel.from_pretrained(plain, str(adapter_folder)).eval()
    ours = load_weights(open_checkpoint(str(adapter_folder)), "cpu", "float32")
    bare = load_weights(open_checkpoint(str(llama_folder)), "cpu", "float32")
    with torch.inference_mode():
        torch.testing.assert_close(ours(ids).logits, theirs(ids).logits)
        assert not torch.allclose(ours(ids).logits, bare(ids).logits, atol=1e-3)


def test_an_adapter_of_another_base_is_refused_with_both_names(
    llama_folder: Path, adapter_folder: Path, tmp_path: Path
) -> None:
    other = copied(llama_folder, tmp_path / "other")
    with pytest.raises(BadInput, match=f"is an adapter of {llama_folder}, not of {other}"):
        open_checkpoint(str(other), str(adapter_folder))


def test_an_adapter_that_does_not_fit_is_refused_with_both_names(
    llava_folder: Path, adapter_folder: Path, tmp_path: Path
) -> None:
    adapter = copied(adapter_folder, tmp_path / "adapter")
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": str(llava_folder)}))
    with pytest.raises(BadInput, match=f"{adapter}.*is an adapter of another model than {llava_folder}"):
        load_weights(open_checkpoint(str(adapter)), "cpu", "float32")


def test_an_adapter_whose_base_is_gone_says_so(adapter_folder: Path, tmp_path: Path) -> None:
    adapter = copied(adapter_folder, tmp_path / "adapter")
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": "/gone/llama"}))
    with pytest.raises(BadInput, match=r"is an adapter of /gone/llama: there is no such folder"):
        open_checkpoint(str(adapter))
    path.write_text("{}")
    with pytest.raises(BadInput, match="does not say of which model"):
        open_checkpoint(str(adapter))


@pytest.mark.parametrize("name", ["/no/such/folder", "./no", "a/b/c"])
def test_a_folder_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="there is no such folder"):
        open_checkpoint(name)


def test_a_folder_without_a_model_is_refused(tmp_path: Path, llama_folder: Path, llava_folder: Path) -> None:
    with pytest.raises(BadInput, match=r"has no config\.json"):
        open_checkpoint(str(tmp_path))
    with pytest.raises(BadInput, match="holds no peft adapter"):
        open_checkpoint(str(llama_folder), str(tmp_path))
    tower = copied(llava_folder, tmp_path / "tower", model_type="clip")
    with pytest.raises(BadInput, match="'clip' does not answer"):
        open_checkpoint(str(tower))


def test_weights_that_do_not_fit_the_configuration_are_refused(llama_folder: Path, tmp_path: Path) -> None:
    deeper = copied(llama_folder, tmp_path / "deeper", num_hidden_layers=3)
    with pytest.raises(BadInput, match=r"weights are missing: .*layers\.2"):
        load_weights(open_checkpoint(str(deeper)), "cpu", "float32")


def test_pickled_weights_and_code_are_not_opened(llama_folder: Path, tmp_path: Path) -> None:
    pickled = copied(llama_folder, tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(BadInput, match="cannot be loaded"):
        load_weights(open_checkpoint(str(pickled)), "cpu", "float32")
    coded = copied(llama_folder, tmp_path / "coded", model_type="mine", auto_map={"AutoConfig": "code.Config"})
    (coded / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(BadInput, match="cannot be loaded"):
        open_checkpoint(str(coded))
    assert not (tmp_path / "ran").exists()


def test_the_identity_follows_the_content_and_not_the_place(llama_folder: Path, tmp_path: Path) -> None:
    there = checkpoint_identity(open_checkpoint(str(llama_folder)))
    moved = copied(llama_folder, tmp_path / "moved")
    assert checkpoint_identity(open_checkpoint(str(moved))) == there
    copied(llama_folder, tmp_path / "changed", rope_theta=5.0)
    assert checkpoint_identity(open_checkpoint(str(tmp_path / "changed"))) != there


def test_an_answer_ends_at_the_stop_of_the_tokenizer_and_of_the_template(llama_folder: Path) -> None:
    opened = open_checkpoint(str(llama_folder))
    model = load_weights(opened, "cpu", "float32")
    assert stop_ids(opened, model) == [2]
    model.generation_config.eos_token_id = [7, 9]
    assert stop_ids(opened, model) == [2, 7, 9]
