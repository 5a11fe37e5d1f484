"""Load a CLIP model through open_clip: by name and tag, from a folder (safetensors only), or random by a seed.

    encoder = load_encoder(ModelSpec("ViT-B-32", "openai"))
    encoder.encode_texts(["a photo of a dog"])           # float16 [1, 512]

A folder's `open_clip_config.json` may ask, beside `model_cfg`, for something that has to be added to the built model
before its weights fit:

    "extension": {"name": "react-gated", "image_gates": [6, 7, 8, 9, 10, 11], "text_gates": []}

Our own extensions are known by name, also to a worker that got our packages as files and has no entry points (Ray's
`py_modules`, Spark's zip). Other names are looked up among the entry points `clipmine.model_extensions` of installed
packages. So commands, workers and the service all load such a folder, and a folder cannot run code that is not there.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import torch

from index.encoder.clip_encoder import Encoder
from index.encoder.model_spec import CONFIG_NAME, ModelSpec, model_identity, read_model_config, weights_file
from index.errors import BadInput, ClipmineError, ModelMissing
from index.files import hash_json

__all__ = ["Extend", "check_model", "default_device", "extend_model", "load_encoder", "model_config", "open_encoder"]

Extend = Callable[[Any, Mapping[str, Any]], None]  # (open_clip model, the folder's "extension"): changes the model

_EXTENSIONS = "clipmine.model_extensions"  # the group of entry points
# Named as entry points are, and not imported before a model folder asks for one: this package is below theirs.
_OWN_EXTENSIONS = {"react-gated": "customize.clip.gated:extend_model"}
_FOR_WORKERS = (
    "on a cluster, set HF_HOME on each machine to a folder that all of them see and that holds the download, or copy a "
    "model folder to shared storage"
)
_loading = threading.Lock()


def default_device() -> str:
    """The fastest device that is there: cuda, else mps (Apple), else cpu."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def usable_device(device: str | None = None) -> str:
    """`device`, or the default where it is None. Raises BadInput for a device that torch or this machine lacks."""
    if device is None:
        return default_device()
    try:
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # AssertionError: a torch without CUDA
        lines = str(error).splitlines() or [type(error).__name__]
        raise BadInput(
            f"device {device!r:.50} cannot be used here ({lines[0][:200]}); this machine has {default_device()}"
        ) from error
    return device


def check_model(spec: ModelSpec) -> None:
    """Refuse a model that cannot be loaded before any work starts; downloads nothing.

    Raises:
        BadInput: unknown name (lists close ones) or tag (lists the model's), or a model folder that is none.
    """
    if spec.model_dir is not None:
        read_model_config(spec.model_dir)
        weights_file(spec.model_dir)
        return
    import difflib

    import open_clip

    assert spec.name is not None
    names = open_clip.list_models()
    if spec.name not in names:
        folded = {name.lower(): name for name in names}
        close = [folded[name] for name in difflib.get_close_matches(spec.name.lower(), folded, n=5, cutoff=0.5)]
        known = ", ".join(close or ["RN50", "ViT-B-32", "ViT-B-16", "ViT-L-14", "ViT-H-14"])
        raise BadInput(f"unknown model {spec.name!r}: did you mean {known}? (open_clip knows {len(names)})")
    if spec.random_seed is not None:
        return
    tags = open_clip.list_pretrained_tags_by_model(spec.name)
    if spec.pretrained is None or not open_clip.get_pretrained_cfg(spec.name, spec.pretrained):
        problem = "needs a tag" if spec.pretrained is None else f"has no tag {spec.pretrained!r}"
        choice = f"its tags are {', '.join(tags)}" if tags else "open_clip has no weights for it; use --model-dir"
        raise BadInput(f"model {spec.name} {problem}: {choice}")


def load_encoder(spec: ModelSpec, device: str | None = None) -> Encoder:
    """Load a model, once in a process.

    Raises:
        BadInput: no such model or tag, or weights that do not fit their configuration.
        ModelMissing: there is no such folder, or the weights or the tokenizer could not be downloaded.
    """
    check_model(spec)
    with _loading:  # two threads would load twice
        return _load(spec, hash_json(model_identity(spec)), usable_device(device))


@lru_cache(maxsize=2)
def _load(spec: ModelSpec, identity: str, device: str) -> Encoder:
    """`identity` is there so that a folder whose files have changed is loaded anew."""
    return open_encoder(spec, device)


def model_config(spec: ModelSpec) -> dict[str, Any]:
    """open_clip's `model_cfg` of a model, with the QuickGELU that its weights were trained with."""
    import open_clip

    name = _open_clip_name(spec)
    model_cfg: dict[str, Any] = open_clip.get_model_config(name)
    if spec.pretrained is not None and open_clip.get_pretrained_cfg(name, spec.pretrained).get("quick_gelu", False):
        # The architecture is shared by all tags: openai's ViT-B-32 is QuickGELU, laion2b's is not.
        model_cfg["quick_gelu"] = True
    return model_cfg


def open_encoder(spec: ModelSpec, device: str, extensions: Mapping[str, Extend] | None = None) -> Encoder:
    """A model of the caller's own, to be changed at will; `load_encoder` gives the one that a process shares.

    `extensions` are taken before installed ones, see `index.encoder.loading`. Raises as `load_encoder` does.
    """
    import open_clip

    check_model(spec)
    name, model_cfg = _open_clip_name(spec), model_config(spec)
    with _quietly(), torch.random.fork_rng(devices=[]):
        try:  # before the weights, which may take long to arrive
            tokenizer = open_clip.get_tokenizer(name)
        except Exception as error:
            raise _tokenizer_failed(spec, model_cfg, error) from error
        if spec.random_seed is not None:
            torch.manual_seed(spec.random_seed)
        try:
            model = open_clip.create_model(
                name,
                pretrained=spec.pretrained,
                # A folder's weights are loaded below: open_clip would take a pickle where no safetensors has its name.
                load_weights=spec.model_dir is None,
                device="cpu",
                force_quick_gelu=bool(model_cfg.get("quick_gelu", False)),
                pretrained_image=False,
                pretrained_text=False,
                weights_only=True,
            )
            if spec.model_dir is not None:
                extend_model(model, spec.model_dir, extensions or {})
                open_clip.load_checkpoint(model, str(weights_file(spec.model_dir)))
        except ClipmineError:
            raise
        except Exception as error:
            raise _loading_failed(spec, error) from error
    # A folder's name says nothing of what is in it, and would make a store depend on where the model lies.
    names = {"name": "local-dir" if spec.model_dir is not None else spec.name, "pretrained": spec.pretrained}
    if spec.random_seed is not None:
        names["pretrained"] = f"random-{spec.random_seed}"
    return Encoder(model, tokenizer, model_cfg, names, device, spec.precision)


def _open_clip_name(spec: ModelSpec) -> str:
    return f"local-dir:{spec.model_dir}" if spec.model_dir is not None else str(spec.name)


def _tokenizer_failed(spec: ModelSpec, model_cfg: Mapping[str, Any], error: Exception) -> ClipmineError:
    said = _lines(error)[0][:300]
    if spec.model_dir is not None:
        return BadInput(
            f"{spec.model_dir}: its tokenizer cannot be read ({said}); put the tokenizer's files (tokenizer.json, "
            "tokenizer_config.json, ...) into the folder"
        )
    named = model_cfg.get("text_cfg", {}).get("hf_tokenizer_name")
    called = f"tokenizer {named}" if named else "tokenizer"
    return ModelMissing(
        f"model {spec}: its {called} could not be loaded ({said}); it is downloaded the first time, which needs the "
        "network; or use --model-dir with a folder that holds model and tokenizer",
        _FOR_WORKERS,
    )


def _lines(error: Exception) -> list[str]:
    """What an error says, without empty lines; its type where it says nothing."""
    return [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]


def _loading_failed(spec: ModelSpec, error: Exception) -> ClipmineError:
    lines = _lines(error)
    if spec.model_dir is not None:
        return BadInput(f"{spec.model_dir}: its weights do not fit its {CONFIG_NAME}: {' '.join(lines[:2])[:300]}")
    what = "its weights are" if spec.random_seed is None else "a part of it is"
    return ModelMissing(
        f"model {spec}: could not be loaded ({lines[0][:300]}); {what} downloaded the first time, "
        "which needs the network; or use --model-dir",
        _FOR_WORKERS,
    )


def extend_model(model: Any, model_dir: str, provided: Mapping[str, Extend]) -> None:
    """Add what a model folder's configuration asks for: from `provided`, our own, or else from an installed package.

    Raises:
        BadInput: nobody provides the extension.
    """
    extension = read_model_config(model_dir).get("extension")
    if extension is None:
        return
    name = extension.get("name") if isinstance(extension, dict) else None
    if not isinstance(name, str):
        raise BadInput(f"{model_dir}/{CONFIG_NAME}: extension has no name")
    if name in provided:
        provided[name](model, extension)
        return
    own = [EntryPoint(name, _OWN_EXTENSIONS[name], _EXTENSIONS)] if name in _OWN_EXTENSIONS else []
    for entry in own or entry_points(group=_EXTENSIONS, name=name):
        entry.load()(model, extension)
        return
    raise BadInput(
        f"{model_dir}: its model has the extension {name!r}, which no installed package provides; install the package "
        f"that made it, which names it among its entry points {_EXTENSIONS}"
    )


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence open_clip's and the hub's log lines: what matters in them we say ourselves, in one line."""

    def is_ours(record: logging.LogRecord) -> bool:
        return Path(record.pathname).parent.name != "open_clip"

    hub = logging.getLogger("huggingface_hub")
    level = hub.level
    logging.getLogger().addFilter(is_ours)
    hub.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger().removeFilter(is_ours)
        hub.setLevel(level)
