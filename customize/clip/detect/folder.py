"""Detectors as folders.

    OUT/
      detector.json            classes, recipe, the shape of the image tower, and the CLIP that it came from
      detector.safetensors     all weights, and the text vectors of its classes

The CLIP itself is needed only for classes that the detector was not saved with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from customize.clip.detect.config import Recipe, recipe_of
from customize.clip.detect.detector import build_detector
from customize.clip.detect.vocabulary import Vocabulary
from customize.clip.evaluate.features import EvalModel
from customize.clip.evaluate.zero_shot import class_vectors
from customize.clip.model_folder import LoadedModel, load_base
from index.encoder.loading import usable_device
from index.encoder.model_spec import ModelSpec, check_same_model
from index.errors import BadInput
from index.files import atomic_file, exists, join, local_path, read_bytes, write_atomic

__all__ = ["SavedDetector", "is_detector", "load_detector", "save_detector", "text_vectors", "tower_shape"]

_ABOUT, _WEIGHTS = "detector.json", "detector.safetensors"
_FORMAT = "clipmine-detector"
_TEXTS = "texts"


@dataclass(frozen=True)
class SavedDetector:
    """A detector that was loaded, with what it knows of itself.

    Attributes:
        texts: float32 [classes, d], the text vectors of `vocabulary.classes`.
        model: the CLIP that it was trained from.
        fingerprint: of that CLIP.
    """

    detector: Any
    vocabulary: Vocabulary
    texts: torch.Tensor
    recipe: Recipe
    model: ModelSpec
    fingerprint: Mapping[str, Any]

    def vectors(self, vocabulary: Vocabulary) -> torch.Tensor:
        """The text vectors of another vocabulary: the saved ones, or by the CLIP where they do not suffice.

        Raises ModelMismatch when the CLIP has changed, and what loading it raises.
        """
        known = {name: row for row, name in enumerate(self.vocabulary.classes)}
        if vocabulary.templates == self.vocabulary.templates and set(vocabulary.classes) <= set(known):
            return self.texts[[known[name] for name in vocabulary.classes]]
        loaded = load_base(self.model, str(self.texts.device))
        check_same_model(self.fingerprint, loaded.fingerprint, "the detector")
        return text_vectors(loaded, vocabulary)


def text_vectors(loaded: LoadedModel, vocabulary: Vocabulary) -> torch.Tensor:
    """The text vectors of all classes of a vocabulary, float32 [classes, d] of unit length."""
    model = EvalModel(loaded.model, loaded.preprocess, loaded.tokenizer)
    return torch.from_numpy(class_vectors(model, vocabulary.classes, vocabulary.templates)).to(model.device)


def tower_shape(visual: Any) -> dict[str, Any]:
    """The arguments of open_clip's `ModifiedResNet` for an image tower like this one."""
    side = round((len(visual.attnpool.positional_embedding) - 1) ** 0.5)
    return {
        "layers": [len(getattr(visual, name)) for name in ("layer1", "layer2", "layer3", "layer4")],
        "output_dim": int(visual.attnpool.c_proj.out_features),
        "heads": int(visual.attnpool.num_heads),
        "image_size": 32 * side,
        "width": int(visual.conv3.out_channels),
    }


def save_detector(
    folder: str,
    detector: Any,
    shape: Mapping[str, Any],
    vocabulary: Vocabulary,
    texts: torch.Tensor,
    recipe: Recipe,
    model: ModelSpec,
    fingerprint: Mapping[str, Any],
) -> None:
    """Write a detector over the files of an earlier save. shape: of its image tower, see `tower_shape`."""
    from safetensors.torch import save_file

    tensors = {name: tensor.cpu().contiguous() for name, tensor in detector.state_dict().items()}
    with atomic_file(join(folder, _WEIGHTS)) as partial:
        save_file({**tensors, _TEXTS: texts.cpu().contiguous()}, str(partial))
    about = {
        "format": _FORMAT,
        "version": 1,
        "tower": dict(shape),
        "mean": list(detector.transform.image_mean),
        "std": list(detector.transform.image_std),
        "recipe": asdict(recipe),
        "vocabulary": asdict(vocabulary),
        "model": asdict(model),
        "fingerprint": dict(fingerprint),
    }
    write_atomic(join(folder, _ABOUT), json.dumps(about, indent=1, ensure_ascii=False) + "\n")


def is_detector(folder: str) -> bool:
    """Whether a folder holds a detector."""
    return exists(join(folder, _ABOUT))


def load_detector(folder: str, device: str | None = None) -> SavedDetector:
    """Load a detector, in evaluation mode.

    Raises:
        BadInput: the folder holds no detector, or its files do not fit together.
    """
    from open_clip.modified_resnet import ModifiedResNet
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not is_detector(folder):
        raise BadInput(f"{folder}: is no detector (it has no {_ABOUT}); `clipmine detect` writes one when it is done")
    device = usable_device(device)
    try:
        about = json.loads(read_bytes(join(folder, _ABOUT)))
        recipe, model = recipe_of(about["recipe"]), ModelSpec(**about["model"])
        listed = {name: tuple(about["vocabulary"][name]) for name in ("base", "novel")}
        given = about["vocabulary"]["templates"]
        templates = given if isinstance(given, str) else tuple(given)
        vocabulary = Vocabulary(**{**about["vocabulary"], **listed, "templates": templates})
        tensors = load_file(str(local_path(join(folder, _WEIGHTS))))
        texts = tensors.pop(_TEXTS)
        with torch.random.fork_rng(devices=[]):
            detector = build_detector(ModifiedResNet(**about["tower"]), texts, recipe, about["mean"], about["std"])
        detector.load_state_dict(tensors)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        said = " ".join(str(error).split())[:200]
        raise BadInput(f"{folder}: its files do not fit together ({said}); train it again") from error
    return SavedDetector(detector.to(device).eval(), vocabulary, texts.to(device), recipe, model, about["fingerprint"])
