"""Which model a store was made with, so that nobody has to name it again.

The manifest says what the model is (its fingerprint) and nothing of where it lies, since a store's bytes depend on no
place. `model.json` beside it says how it was named: a hint, checked against the fingerprint by whoever encodes queries.
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
    """Write STORE/model.json, replacing what it said."""
    write_atomic(join(store, HINT_NAME), json.dumps(asdict(spec), indent=1, sort_keys=True) + "\n")


def known_model(store: str | PathLike[str]) -> ModelSpec | None:
    """The model that `model.json` names, of a store that may be unfinished or not there at all."""
    path = join(store, HINT_NAME)
    if not exists(path):
        return None
    try:
        return ModelSpec(**json.loads(read_bytes(path)))
    except (ValueError, TypeError) as error:
        raise BadInput(f"{path}: is damaged ({error}); delete it and name the model") from error


def store_model(store: str | PathLike[str]) -> ModelSpec:
    """The model of a complete store: by its hint, else by the name and tag in its manifest.

    Raises:
        BadInput: the store does not say, as one that was adopted without a model.
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
    seed = str(tag).removeprefix("random-")  # what the fingerprint of random weights says
    if seed != tag and seed.isdigit():
        return ModelSpec(str(name), random_seed=int(seed), precision=precision)
    return ModelSpec(str(name), str(tag), precision=precision)
