"""The model that a store was made with, so that a user need not name it again.

The manifest holds the model's fingerprint, but not where the model is, since a store's bytes must not depend on paths.
`model.json` beside the manifest holds how the user named the model. It is only a hint: when queries are encoded, the
loaded model is compared with the fingerprint.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from os import PathLike, fspath

from index.encoder.model_spec import ModelSpec
from index.errors import BadInput
from index.files import exists, join, read_bytes, write_atomic
from index.store.store_manifest import read_manifest

__all__ = ["known_model", "remember_model", "store_model"]

HINT_NAME = "model.json"


def remember_model(store: str | PathLike[str], spec: ModelSpec) -> None:
    """Write STORE/model.json, replacing an earlier one."""
    write_atomic(join(store, HINT_NAME), json.dumps(asdict(spec), indent=1, sort_keys=True) + "\n")


def known_model(store: str | PathLike[str]) -> ModelSpec | None:
    """The model that STORE/model.json names; None when there is no such file. BadInput when it is damaged."""
    path = join(store, HINT_NAME)
    if not exists(path):
        return None
    try:
        return ModelSpec(**json.loads(read_bytes(path)))
    except (ValueError, TypeError) as error:
        raise BadInput(f"{path}: is damaged ({error}); delete it and name the model") from error


def store_model(store: str | PathLike[str]) -> ModelSpec:
    """The model of a complete store, from `model.json`, else from the name and tag in the manifest.

    Raises:
        BadInput: neither names it, as in a store that was adopted without a model.
        StoreInvalid: there is no complete store.
    """
    known = known_model(store)
    if known is not None:
        return known
    manifest = read_manifest(fspath(store))
    name, tag = manifest.model.get("name"), manifest.model.get("pretrained")
    if not name or not tag:
        raise BadInput(
            f"{fspath(store)}: does not say where its model ({name}) is; name it with --model-dir, or in Python: "
            "Retriever(store, load_encoder(ModelSpec(model_dir=...)))"
        )
    precision = manifest.config.get("model", {}).get("precision", "fp32")
    seed = str(tag).removeprefix("random-")  # the tag of random weights is "random-SEED"
    if seed != tag and seed.isdigit():
        return ModelSpec(str(name), random_seed=int(seed), precision=precision)
    return ModelSpec(str(name), str(tag), precision=precision)
