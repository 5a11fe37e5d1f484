"""Loads weights with transformers and peft: without their output, complete, and with what is wrong in one line."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from index.errors import BadInput, ClipmineError, MissingDependency

if TYPE_CHECKING:
    import torch

__all__ = ["add_adapter", "load_weights", "loading", "quiet"]

_SHOWN = 3  # names of weights in a message
_ADAPTER_WEIGHTS = "adapter_model.safetensors"
# Buffers that older versions of transformers stored; they follow from the configuration.
_COMPUTED = re.compile(r"(rotary_emb\.inv_freq|position_ids|rotary_emb\.\w+_cached)$")


# What libraries say, which is of no use to who loads a checkpoint here, and what it means.
_IN_OTHER_WORDS = {
    "ignore_mismatched_sizes": "its weights have other shapes than its config.json says",
    "Weights only load failed": "its file of weights holds more than tensors; save it as safetensors",
}


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' progress bars, reports and warnings."""
    from transformers.utils import logging as transformers_logging

    logging: Any = transformers_logging
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


@contextmanager
def loading(checkpoint: str | Path) -> Iterator[None]:
    """`quiet`, and errors of other libraries become BadInput that names `checkpoint`, a folder or a hub name."""
    try:
        with quiet():
            yield
    except ClipmineError:
        raise
    except Exception as error:  # of a damaged or foreign folder: any of several libraries' exceptions
        if why := next((words for mark, words in _IN_OTHER_WORDS.items() if mark in str(error)), None):
            raise BadInput(f"{checkpoint}: cannot be loaded: {why}") from error
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise BadInput(f"{checkpoint}: cannot be loaded: {' '.join(lines[:2])[:300]}") from error


def load_weights(
    kind: Any,
    checkpoint: str | Path,
    dtype: torch.dtype,
    *,
    ignore: str | None = None,
    config: Any = None,
    only_safetensors: bool = False,
) -> Any:
    """A model of the transformers class `kind` with a checkpoint's weights, each of which must be there and belong.

    Args:
        kind: such as `LlamaForCausalLM` or `AutoModelForCausalLM`.
        checkpoint: a folder, or a name on the hub.
        ignore: a pattern of names that the checkpoint may have beside the model's.
        config: the model's configuration, where it is not the checkpoint's.
        only_safetensors: refuse pytorch_model.bin, of which transformers otherwise reads the tensors alone.

    Raises:
        BadInput: the checkpoint cannot be loaded, lacks weights of the model, or has others.
    """
    own: dict[str, Any] = {} if config is None else {"config": config}
    if only_safetensors:
        own["use_safetensors"] = True
    with loading(checkpoint):
        model, report = kind.from_pretrained(
            str(checkpoint), dtype=dtype, output_loading_info=True, trust_remote_code=False, **own
        )
    _check_report(report, checkpoint, ignore)
    return model


def add_adapter(model: Any, folder: Path, of_another: str, *, only_safetensors: bool = False) -> Any:
    """A `PeftModel` around `model` with the weights of the adapter in `folder`.

    Args:
        of_another: how the message begins where the adapter does not fit: "FOLDER: is an adapter of another model".
        only_safetensors: refuse adapter_model.bin, of which peft otherwise reads the tensors alone.

    Raises:
        BadInput: the adapter is damaged, or does not fit the model.
        MissingDependency: peft is not installed.
    """
    try:
        from peft import PeftConfig, get_peft_model
        from peft.utils.save_and_load import load_peft_weights, set_peft_model_state_dict
    except ImportError as error:
        raise MissingDependency("peft", "an adapter") from error

    if only_safetensors and not (folder / _ADAPTER_WEIGHTS).exists():
        raise BadInput(f"{folder}: has no {_ADAPTER_WEIGHTS}; other formats are not opened")
    with loading(folder):
        config = PeftConfig.from_pretrained(str(folder))
        config.inference_mode = True
        weights = load_peft_weights(str(folder), device="cpu")
        try:
            adapted: Any = get_peft_model(model, config)
        except ValueError as error:  # the model has no modules of the names that take LoRA
            raise BadInput(f"{of_another}: {str(error)[:200]}") from error
        try:
            found: Any = set_peft_model_state_dict(adapted, weights)
        except RuntimeError as error:
            raise BadInput(f"{of_another}: its weights have other shapes") from error
    missing = [name for name in found.missing_keys if "lora_" in name or "modules_to_save" in name]
    if missing or found.unexpected_keys:
        raise BadInput(f"{of_another}: its weights do not fit, such as {[*found.unexpected_keys, *missing][0]}")
    return adapted


def _check_report(report: Mapping[str, Any], checkpoint: str | Path, ignore: str | None) -> None:
    mismatched = sorted(str(entry[0] if isinstance(entry, tuple) else entry) for entry in report["mismatched_keys"])
    missing = sorted(name for name in report["missing_keys"] if not _COMPUTED.search(name))
    unexpected = sorted(name for name in report["unexpected_keys"] if not _COMPUTED.search(name))
    if ignore is not None:
        unexpected = [name for name in unexpected if not re.search(ignore, name)]
    for names, what in (
        (mismatched, "have another shape than its config.json says"),
        (missing, "are missing"),
        (unexpected, "belong to no part of the model"),
    ):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            raise BadInput(f"{checkpoint}: weights {what}: {', '.join(names[:_SHOWN])}{more}")
