"""Exported adapters and merged models, loaded by plain transformers and peft in a process of their own, and by us."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from customize.lmm.model.export import BASE_NAME, export_adapter, export_base, export_merged
from customize.lmm.model.load import Lmm, load_lmm
from customize.lmm.model.source import LmmSource
from customize.lmm.model.trainable import TrainedParts, apply_trained
from index.errors import BadInput
from mining.chat.templates import VICUNA_V1_NO_SYSTEM
from tests.mining.tiny_llava import CHAT_TEMPLATE

# What a stranger runs, in a folder without our code.
PLAIN = """
import json, sys
from PIL import Image
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoProcessor, LlavaForConditionalGeneration

for base, adapter, inputs, out in json.loads(sys.argv[1]):
    model = LlavaForConditionalGeneration.from_pretrained(base)
    if adapter:
        model = PeftModel.from_pretrained(model, adapter)
    processor = AutoProcessor.from_pretrained(adapter or base)
    made = processor(images=[Image.new("RGB", (40, 20), (255, 0, 0))], text=["<image>"], return_tensors="pt")
    logits = model.eval()(**load_file(inputs)).logits
    save_file({"logits": logits.detach(), "pixels": made["pixel_values"], "ids": made["input_ids"]}, out)
assert not any(name.partition(".")[0] in ("customize", "index", "mining") for name in sys.modules)
"""
LORA = TrainedParts("lora", precision="float32", lora_r=2, lora_alpha=4, lora_dropout=0.0)


def trained(lmm: Lmm, parts: TrainedParts = LORA) -> Lmm:
    """`lmm` with its trained weights moved, as training does."""
    apply_trained(lmm, parts)
    generator = torch.Generator().manual_seed(5)
    for weight in lmm.model.parameters():
        if weight.requires_grad:
            weight.data += 0.2 * torch.randn(weight.shape, generator=generator)
    lmm.model.eval()
    return lmm


def inputs(lmm: Lmm) -> dict[str, torch.Tensor]:
    image = [lmm.image_token_id] * 4
    generator = torch.Generator().manual_seed(6)
    return {
        "input_ids": torch.tensor([[1, 5, 6, *image, 7, 8, *image, 9]]),
        "pixel_values": torch.randn(2, 3, 28, 28, generator=generator),
    }


def logits(lmm: Lmm, given: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = lmm.model(**given).logits
    return found


@dataclass(frozen=True)
class Case:
    """An exported model: our logits of `given`, and what a plain process made of its folders."""

    lmm: Lmm
    base: Path
    adapter: Path | None
    given: dict[str, torch.Tensor]
    expected: torch.Tensor
    plain: dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def cases(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    """Exports of every kind, loaded by one process with plain transformers and peft."""
    folder = tmp_path_factory.mktemp("exports")
    llava, clip, llama = (str(checkpoints / name) for name in ("llava", "clip", "llama"))
    sources = {
        "adapter": LmmSource(model=llava),
        "adapter-of-halves": LmmSource(vision_tower=clip, language_model=llama),
        "adapter-of-linear": LmmSource(vision_tower=clip, language_model=llama, projector_kind="linear"),
        "adapter-of-original": LmmSource(model=str(checkpoints / "original")),
        **{f"merged-{train}": LmmSource(model=llava) for train in ("lora", "full", "frozen")},
        "merged-cropped": LmmSource(model=llava, pad_to_square=False),
    }
    found: dict[str, Case] = {}
    jobs = []
    for name, source in sources.items():
        train: Any = name.rpartition("-")[2] if name in ("merged-full", "merged-frozen") else "lora"
        lmm = trained(load_lmm(source), replace(LORA, language_model=train))
        base, adapter = folder / name / "model", None
        if name.startswith("merged"):
            export_merged(lmm, str(base), chat_template=CHAT_TEMPLATE)
        else:
            adapter = folder / name / "adapter"
            export_adapter(lmm, str(adapter))
            if name == "adapter":
                base = checkpoints / "llava"
            else:
                export_base(lmm, str(base))
        given = inputs(lmm)
        save_file(given, folder / name / "inputs.safetensors")
        files = [folder / name / "inputs.safetensors", folder / name / "out.safetensors"]
        jobs.append([str(base), str(adapter) if adapter else "", *map(str, files)])
        found[name] = Case(lmm, base, adapter, given, logits(lmm, given), {})
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-P", "-c", PLAIN, json.dumps(jobs)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]
    return {name: replace(case, plain=load_file(folder / name / "out.safetensors")) for name, case in found.items()}


NAMES = (
    *("adapter", "adapter-of-halves", "adapter-of-linear", "adapter-of-original"),
    *("merged-lora", "merged-full", "merged-frozen", "merged-cropped"),
)


@pytest.mark.parametrize("name", NAMES)
def test_plain_transformers_and_peft_compute_the_same_logits(cases: dict[str, Case], name: str) -> None:
    case = cases[name]
    torch.testing.assert_close(case.plain["logits"], case.expected, rtol=0, atol=1e-5)
    assert int((case.plain["ids"] == case.lmm.image_token_id).sum()) == 4


@pytest.mark.parametrize("name", NAMES)
def test_exports_load_again_with_the_same_logits(cases: dict[str, Case], name: str) -> None:
    case = cases[name]
    again = load_lmm(LmmSource(model=str(case.base), adapter=str(case.adapter) if case.adapter else None))
    torch.testing.assert_close(logits(again, case.given), case.expected, rtol=0, atol=1e-5)
    if case.adapter is None:
        assert (case.base / "chat_template.jinja").read_text() == CHAT_TEMPLATE == again.processor.chat_template


def test_padding_to_a_square_travels_with_the_folder(cases: dict[str, Case]) -> None:
    bands = {name: float(cases[name].plain["pixels"][0, :, 0].abs().max()) for name in NAMES}
    assert bands["merged-cropped"] > 0.5
    assert max(bands[name] for name in NAMES if name != "merged-cropped") < 0.02, "bands of the mean colour"


def test_the_base_of_an_adapter_is_named_by_its_place_where_it_is_a_checkpoint(cases: dict[str, Case]) -> None:
    place = str(cases["adapter"].base.resolve())
    for name, called in (("adapter", place), ("adapter-of-halves", "base"), ("adapter-of-original", "original")):
        adapter = cases[name].adapter
        assert adapter is not None
        config = json.loads((adapter / "adapter_config.json").read_text())
        assert (config["base_model_name_or_path"], config["r"]) == (called, 2)


def test_merged_weights_have_the_names_of_llava_checkpoints_that_servers_know(lmm: Lmm, tmp_path: Path) -> None:
    trained(lmm)
    export_merged(lmm, str(tmp_path / "merged"))
    names = load_file(tmp_path / "merged" / "model.safetensors").keys()
    assert {"language_model.lm_head.weight", "multi_modal_projector.linear_1.weight"} <= names
    assert "language_model.model.layers.0.self_attn.q_proj.weight" in names
    assert not any("lora" in name or "base_layer" in name or "modules_to_save" in name for name in names)
    config = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert config["architectures"] == ["LlavaForConditionalGeneration"]
    assert config["image_seq_length"] == 4


def test_an_adapter_of_another_base_is_one_line(lmm: Lmm, checkpoints: Path, tmp_path: Path) -> None:
    trained(lmm)
    export_adapter(lmm, str(tmp_path / "adapter"))
    with pytest.raises(BadInput, match=r"an adapter of another model \(another vision_tower and language_model\)"):
        load_lmm(LmmSource(model=str(checkpoints / "original"), adapter=str(tmp_path / "adapter")))


def test_a_tied_output_layer_stays_tied(tmp_path: Path, checkpoints: Path) -> None:
    from tests.customize.lmm.model.checkpoints import write_llama

    write_llama(tmp_path / "tied", tied=True)
    source = LmmSource(vision_tower=str(checkpoints / "clip"), language_model=str(tmp_path / "tied"))
    lmm = trained(load_lmm(source))
    export_merged(lmm, str(tmp_path / "merged"))
    again = load_lmm(LmmSource(model=str(tmp_path / "merged")))
    assert again.model.lm_head.weight is again.model.get_input_embeddings().weight
    torch.testing.assert_close(logits(again, inputs(lmm)), logits(lmm, inputs(lmm)), rtol=0, atol=1e-5)


def test_weights_can_be_written_in_bfloat16_and_from_a_gathered_state(lmm: Lmm, tmp_path: Path) -> None:
    trained(lmm)
    state = {name: weight.clone() for name, weight in lmm.model.state_dict().items()}
    export_merged(lmm, str(tmp_path / "expected"), dtype="bfloat16")
    for weight in lmm.model.parameters():
        weight.data.zero_()
    export_merged(lmm, str(tmp_path / "gathered"), dtype="bfloat16", state=state)
    export_adapter(lmm, str(tmp_path / "adapter"), state=state)
    expected, found = (load_file(tmp_path / name / "model.safetensors") for name in ("expected", "gathered"))
    assert {weight.dtype for weight in found.values()} == {torch.bfloat16}
    assert all(torch.equal(found[name], weight) for name, weight in expected.items())
    adapter = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert all(float(weight.abs().sum()) > 0 for weight in adapter.values())
    assert json.loads((tmp_path / "gathered" / "config.json").read_text())["dtype"] == "bfloat16"
    with pytest.raises(BadInput, match="choose float32, bfloat16 or float16"):
        export_merged(lmm, str(tmp_path / "other"), dtype="int8")


def test_an_export_replaces_an_earlier_one_and_leaves_nothing_half_written(
    lmm: Lmm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_merged(lmm, str(tmp_path / "out"))
    (tmp_path / "out" / "model-00001-of-00009.safetensors").write_bytes(b"")  # of an earlier export in shards
    (tmp_path / "out" / "notes.txt").write_text("mine")
    trained(lmm)
    monkeypatch.setattr(lmm.processor, "save_pretrained", lambda _: (_ for _ in ()).throw(OSError("no")))
    with pytest.raises(OSError, match="no"):
        export_merged(lmm, str(tmp_path / "out"))
    assert (tmp_path / "out" / "clipmine.json").exists()
    monkeypatch.undo()
    export_merged(lmm, str(tmp_path / "out"))
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert "model-00001-of-00009.safetensors" not in names
    assert {"README.md", "clipmine.json", "notes.txt", "model.safetensors"} <= set(names)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft reads it
@pytest.mark.parametrize("kind", ["adapter", "adapter of halves", "merged"])
def test_the_code_of_the_card_runs_as_it_stands(
    checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    halves = LmmSource(vision_tower=str(checkpoints / "clip"), language_model=str(checkpoints / "llama"))
    lmm = trained(load_lmm(halves if kind == "adapter of halves" else LmmSource(model=str(checkpoints / "llava"))))
    out = tmp_path / "tuned"
    if kind == "merged":
        export_merged(lmm, str(out), chat_template=VICUNA_V1_NO_SYSTEM)
    else:
        export_adapter(lmm, str(out), chat_template=VICUNA_V1_NO_SYSTEM)
    if kind == "adapter of halves":
        export_base(lmm, str(out / BASE_NAME))
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (40, 20), (255, 0, 0)).save(tmp_path / name)
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", (out / "README.md").read_text(), re.DOTALL | re.MULTILINE))
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(code.replace("max_new_tokens=256", "max_new_tokens=4"), found)
    assert found["prompt"].startswith("<s>USER: Image 1: <image>\nImage 2: <image>\nSummarize")
    begun = found["inputs"]["input_ids"][0]
    assert int((begun == lmm.tokenizer.bos_token_id).sum()) == 1
    assert int((begun == lmm.image_token_id).sum()) == 8
    assert capsys.readouterr().out


def test_provenance_lies_beside_the_weights_as_json(lmm: Lmm, tmp_path: Path) -> None:
    trained(lmm)
    export_adapter(lmm, str(tmp_path / "adapter"), {"training": {"stage": "cad", "steps": 3}})
    about = json.loads((tmp_path / "adapter" / "clipmine.json").read_text())
    assert (about["format"], about["kind"], about["training"]) == (
        "clipmine-lmm",
        "adapter",
        {"stage": "cad", "steps": 3},
    )
    assert about["base"] == json.loads(json.dumps(dict(lmm.source)))
    assert "cad" in (tmp_path / "adapter" / "README.md").read_text()


def test_a_model_without_an_adapter_and_a_file_as_folder_are_one_line(lmm: Lmm, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="has no LoRA adapter"):
        export_adapter(lmm, str(tmp_path / "adapter"))
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="is a file"):
        export_merged(lmm, str(tmp_path / "file"))
