"""The model of a command: the one that its options name, else the one that its store was made with."""

from __future__ import annotations

from index.encoder.model_spec import ModelSpec
from index.encoder.store_model import known_model
from index.errors import BadInput


def model_for(store: str, named: ModelSpec | None) -> ModelSpec:
    """The model to embed into `store` with; BadInput when neither the options nor the store name one."""
    model = named or known_model(store)
    if model is None:
        raise BadInput(
            "which model? name one of open_clip's (--model ViT-B-32 --pretrained openai) or a folder (--model-dir DIR)"
        )
    return model
