"""Models that are more than open_clip builds: a folder names an extension, an installed package provides it.

A model folder's `open_clip_config.json` may hold, beside `model_cfg`, what has to be added to the built model before
its weights fit:

    "extension": {"name": "react-gated", "image_gates": [6, 7, 8, 9, 10, 11], "text_gates": []}

The name is looked up among the installed packages' entry points of the group `clipmine.model_extensions`, so that
every road to a model (commands, workers, the service) takes such a folder, and no code runs that is not installed.
Knows no extension.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any

from index.encoder.model_spec import CONFIG_NAME, read_model_config
from index.errors import BadInput

__all__ = ["GROUP", "Extend", "extend_model"]

GROUP = "clipmine.model_extensions"
Extend = Callable[[Any, Mapping[str, Any]], None]  # (open_clip model, the folder's "extension"): changes the model


def extend_model(model: Any, model_dir: str, provided: Mapping[str, Extend]) -> None:
    """Add what a model folder's configuration asks for, from `provided` or else from an installed package.

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
    for entry in entry_points(group=GROUP, name=name):
        entry.load()(model, extension)
        return
    raise BadInput(
        f"{model_dir}: its model has the extension {name!r}, which no installed package provides; install clipmine "
        "anew (pip install -e .), or load it with customize.clip.model_folder.load_customized"
    )
