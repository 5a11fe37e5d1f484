"""Writes a tuned model as a folder that plain transformers and peft load, with a card and its whole provenance.

    ADAPTER/                              MERGED/
      adapter_config.json                   config.json, generation_config.json
      adapter_model.safetensors             model*.safetensors
      processor_config.json, tokenizer*     processor_config.json, tokenizer*, chat_template.jinja
      README.md, clipmine.json              README.md, clipmine.json (written last)

An adapter has LoRA's matrices and the projector (peft's `modules_to_save`), to be loaded on the model that it was made
on. A merged folder is a LLaVA model in the layout of transformers, which vLLM and others serve.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from customize.lmm.model.adapter import PROVENANCE_NAME, is_adapted
from customize.lmm.model.card import model_card
from customize.lmm.model.load import Lmm
from customize.lmm.model.merge import plain_state
from index.errors import BadInput
from index.files import disk_full, local_path, write_atomic
from mining.chat.checkpoint_loading import quiet

__all__ = ["BASE_NAME", "export_adapter", "export_base", "export_merged"]

BASE_NAME = "base"  # within an adapter's folder: its base, where that is no checkpoint of its own

FORMAT, VERSION = "clipmine-lmm", 1
State = Mapping[str, torch.Tensor]


def export_adapter(
    lmm: Lmm,
    folder: str,
    about: Mapping[str, Any] | None = None,
    *,
    chat_template: str | None = None,
    state: State | None = None,
) -> None:
    """Write the LoRA adapter and the projector of a model after `apply_trained` with LoRA.

    Args:
        folder: local; files of an earlier export are replaced.
        about: plain JSON values for card and provenance, see `card.model_card`.
        chat_template: of the prompts that it was trained with; None keeps the processor's.
        state: the model's `state_dict`, where its own tensors are sharded.

    Raises:
        BadInput: the model has no adapter.
        DiskFull: no space left; an earlier export is still whole.
    """
    if not is_adapted(lmm.model):
        raise BadInput("the model has no LoRA adapter to write: export the merged model")
    with _replaced(folder) as partial:
        with quiet():  # nothing is fetched, since the embeddings are not saved
            lmm.model.save_pretrained(
                str(partial), save_embedding_layers=False, state_dict=None if state is None else dict(state)
            )
        config = json.loads((partial / "adapter_config.json").read_text("utf-8"))
        config["base_model_name_or_path"] = _base_name(lmm)
        write_atomic(partial / "adapter_config.json", json.dumps(config, indent=2, sort_keys=True) + "\n")
        _finish(lmm, partial, folder, "adapter", about, chat_template)


def export_merged(
    lmm: Lmm,
    folder: str,
    about: Mapping[str, Any] | None = None,
    *,
    chat_template: str | None = None,
    state: State | None = None,
    dtype: str | None = None,
) -> None:
    """Write a whole model, an adapter merged into its weights. Arguments and errors: see `export_adapter`.

    dtype: of the written weights: float32, bfloat16 or float16; None keeps each weight's own.
    """
    _write_model(lmm, folder, "merged", about, chat_template, state, dtype, merge=True)


def export_base(lmm: Lmm, folder: str, *, chat_template: str | None = None, state: State | None = None) -> None:
    """Write the model that the adapter of `lmm` is trained on, without the adapter; see `export_merged`.

    Needed where this model is no checkpoint yet: it was put together of two halves, or comes from LLaVA's own layout.
    """
    _write_model(lmm, folder, "base", None, chat_template, state, None, merge=False)


def _write_model(
    lmm: Lmm,
    folder: str,
    kind: str,
    about: Mapping[str, Any] | None,
    chat_template: str | None,
    state: State | None,
    dtype: str | None,
    *,
    merge: bool,
) -> None:
    from transformers import LlavaForConditionalGeneration

    wanted = None if dtype is None else getattr(torch, dtype, None)
    if dtype is not None and wanted not in (torch.float32, torch.bfloat16, torch.float16):
        raise BadInput(f"dtype {dtype:.40}: choose float32, bfloat16 or float16")
    llava = lmm.llava
    weights = plain_state(lmm.model, state, merge=merge)
    if wanted is not None:
        weights = {
            name: weight.to(wanted) if weight.is_floating_point() else weight for name, weight in weights.items()
        }
    with torch.device("meta"):
        plain: Any = LlavaForConditionalGeneration(llava.config)
    plain.load_state_dict(weights, strict=True, assign=True)
    plain.tie_weights()
    plain.generation_config = llava.generation_config
    plain.config.dtype = wanted or weights["lm_head.weight"].dtype
    with _replaced(folder) as partial:
        with quiet():
            plain.save_pretrained(str(partial))
        _finish(lmm, partial, folder, kind, about, chat_template)


def _finish(
    lmm: Lmm, partial: Path, folder: str, kind: str, about: Mapping[str, Any] | None, chat_template: str | None
) -> None:
    """Write what a folder has beside weights: the processor, the provenance and the card."""
    own = lmm.processor.chat_template
    lmm.processor.chat_template = own if chat_template is None else chat_template
    try:
        with quiet():
            lmm.processor.save_pretrained(str(partial))
    finally:
        lmm.processor.chat_template = own
    whole = {"format": FORMAT, "version": VERSION, "kind": kind, "base": dict(lmm.source), **(about or {})}
    place = str(local_path(folder).resolve())
    write_atomic(partial / "README.md", model_card(whole, place, _base_name(lmm) if kind == "adapter" else None))
    write_atomic(partial / PROVENANCE_NAME, json.dumps(whole, indent=1, sort_keys=True, allow_nan=False) + "\n")


@contextmanager
def _replaced(folder: str) -> Iterator[Path]:
    """Yield an empty folder beside `folder`; its files take the place of `folder`'s when the block ends."""
    out = local_path(folder)
    if out.is_file():
        raise BadInput(f"{folder}: is a file; choose a folder for the model")
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
    try:
        with disk_full(out):
            yield partial
            out.mkdir(exist_ok=True)
            (out / PROVENANCE_NAME).unlink(missing_ok=True)  # a folder without it is not whole
            for old in (*out.glob("*.safetensors"), *out.glob("*.safetensors.index.json")):
                old.unlink()
            for file in sorted(partial.iterdir(), key=lambda file: file.name == PROVENANCE_NAME):
                file.replace(out / file.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _base_name(lmm: Lmm) -> str:
    """Where the base is, as peft loads it: a hub name, or the place of a folder; "base" for one put together here."""
    names = lmm.source["names"]
    if "model" not in names:
        return BASE_NAME
    named = names["model"]
    place = str(getattr(lmm.llava.config, "_name_or_path", ""))
    is_folder = bool(place) and "commit" not in named and Path(place).is_dir()
    return str(Path(place).resolve()) if is_folder else str(named["name"])
