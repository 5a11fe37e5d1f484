"""Generation in batches of one shape: an answer depends on its request and the batch's size, not on other requests.

A matrix product's last bits depend on its shape, and at a near-tie they decide a token. So all prompts of a batch are
padded, on the left, to a length that follows from each prompt alone, and a batch is filled up to its full number of
rows with copies of a row. Images go through the vision tower one at a time. Sampling draws from a generator of the
request's own seed. A batch of another size (after running out of memory, or on another device) may give other answers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from mining.chat.local_checkpoint import LocalCheckpoint
from mining.chat.prompts import Prompt

__all__ = ["Decoding", "Generated", "Generator"]

_REMEMBERED_IMAGES = 32  # features of images that several requests show one after the other


@dataclass(frozen=True)
class Decoding:
    """num_beams: 1 is greedy. repetition_penalty: as transformers takes it, over the prompt and the answer."""

    num_beams: int = 1
    repetition_penalty: float = 1.0


@dataclass(frozen=True)
class Generated:
    """ids: the new tokens. answers: the logarithms of the probabilities of the prompt's answers; None without them."""

    ids: list[int]
    answers: dict[str, float] | None = None


@dataclass
class Generator:
    """Generates with a checkpoint.

    model: of `load_weights`. stops: ids of the tokens at which an answer ends; the first one is the padding too.
    """

    checkpoint: LocalCheckpoint
    model: Any
    stops: Sequence[int]
    decoding: Decoding
    _features: OrderedDict[str, torch.Tensor] = field(default_factory=OrderedDict)

    @property
    def batches_images(self) -> bool:
        """Whether prompts with images can share a batch: where the features of each image can be given to the model."""
        return bool(self.checkpoint.config.model_type == "llava")

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Prompt], rows: int) -> list[Generated]:
        """The new tokens of each prompt, up to its stop or limit, and the probabilities of its answers.

        The prompts have one `length`, `temperature` above 0 or not, and are at most `rows`; one whose images cannot be
        batched is alone.
        """
        from transformers import LogitsProcessorList

        filled = [*prompts, *[prompts[0]] * (rows - len(prompts))]
        inputs = self._inputs(filled) if self.batches_images or not prompts[0].keys else self._inputs_of_one(prompts[0])
        limit = max(prompt.max_new_tokens for prompt in prompts)
        first = _FirstToken(prompts, self.decoding.num_beams)
        processors: list[Any] = [first] if any(prompt.answers for prompt in prompts) else []
        if prompts[0].temperature > 0:
            seeds = [prompt.seed for prompt in filled]
            processors.append(_GumbelNoise([each.temperature for each in filled], seeds))
        found = self.model.generate(
            **inputs,
            logits_processor=LogitsProcessorList(processors),
            do_sample=False,
            num_beams=self.decoding.num_beams,
            repetition_penalty=self.decoding.repetition_penalty,
            max_new_tokens=limit,
            eos_token_id=list(self.stops),
            pad_token_id=self.stops[0],
            use_cache=True,
        )
        start = inputs["input_ids"].shape[1]
        return [
            Generated(self._cut(row[: prompt.max_new_tokens]), answers)
            for row, prompt, answers in zip(found[: len(prompts), start:].tolist(), prompts, first.found, strict=True)
        ]

    def _cut(self, ids: list[int]) -> list[int]:
        """The tokens up to the first stop, with it."""
        for place, token in enumerate(ids):
            if token in self.stops:
                return ids[: place + 1]
        return ids

    def _inputs(self, prompts: Sequence[Prompt]) -> dict[str, Any]:
        """input_ids and attention_mask [rows, length], padded on the left, and the features of all images in order."""
        length = prompts[0].length
        ids = torch.full((len(prompts), length), self.stops[0], dtype=torch.long)
        mask = torch.zeros((len(prompts), length), dtype=torch.long)
        for row, prompt in enumerate(prompts):
            ids[row, length - len(prompt.ids) :] = prompt.ids
            mask[row, length - len(prompt.ids) :] = 1
        inputs: dict[str, Any] = {"input_ids": ids.to(self.model.device), "attention_mask": mask.to(self.model.device)}
        if any(prompt.keys for prompt in prompts):
            from transformers.modeling_outputs import BaseModelOutputWithPooling

            by_key: dict[str, torch.Tensor] = {}
            features = []
            for prompt in prompts:
                for place, key in enumerate(prompt.keys):
                    if key not in by_key:
                        by_key[key] = self._image_features(key, prompt.inputs["pixel_values"][place])
                    features.append(by_key[key])
            inputs["mm_encoder_outputs"] = {"image": BaseModelOutputWithPooling(pooler_output=features)}  # type: ignore[arg-type]
        return inputs

    def _inputs_of_one(self, prompt: Prompt) -> dict[str, Any]:
        """The processor's own inputs, of one request."""
        ids = prompt.ids[None]
        made = {"input_ids": ids, "attention_mask": torch.ones_like(ids), **prompt.inputs}
        return {name: value.to(self.model.device) if hasattr(value, "to") else value for name, value in made.items()}

    def _image_features(self, key: str, pixels: torch.Tensor) -> torch.Tensor:
        """[tokens, d] of an image: of the tower and the projector, computed by itself."""
        found = self._features.pop(key, None)
        if found is None:
            batch = pixels[None].to(self.model.device, self.model.dtype)
            found = self.model.get_image_features(pixel_values=batch).pooler_output[0]
        self._features[key] = found
        while len(self._features) > _REMEMBERED_IMAGES:
            self._features.popitem(last=False)
        return found


class _FirstToken:
    """Notes how probable each prompt's answers are as the first token, and changes nothing.

    found: of each prompt, the logarithms of the probabilities by answer; None where it has no answers. Probabilities of
    the tokens that say the same answer are added up.
    """

    def __init__(self, prompts: Sequence[Prompt], num_beams: int) -> None:
        self._prompts, self._beams, self._noted = prompts, num_beams, False
        self.found: list[dict[str, float] | None] = [None] * len(prompts)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if not self._noted:
            self._noted = True
            for place, prompt in enumerate(self._prompts):
                if prompt.answers:
                    logs = torch.log_softmax(scores[place * self._beams].float(), dim=-1)
                    answers = prompt.answers.items()
                    self.found[place] = {
                        text: round(float(logs[list(ids)].logsumexp(dim=0)), 6) for text, ids in answers
                    }
        return scores


class _GumbelNoise:
    """Adds Gumbel noise to logits, so that the largest is a draw from softmax(logits / temperature).

    Gumbel (1954); each row's noise comes from a generator of its own, so a draw does not depend on other rows.
    """

    def __init__(self, temperatures: Sequence[float], seeds: Sequence[int | None]) -> None:
        self._temperatures = temperatures
        self._generators = [torch.Generator() for _ in seeds]
        for generator, seed in zip(self._generators, seeds, strict=True):
            if seed is None:
                generator.seed()
            else:
                generator.manual_seed(seed)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        rows = []
        for row, temperature, generator in zip(scores, self._temperatures, self._generators, strict=True):
            uniform = torch.rand(len(row), generator=generator, dtype=torch.float64).clamp_min(1e-300)
            noise = -torch.log(-torch.log(uniform))
            rows.append(row.double() / temperature + noise.to(row.device))
        return torch.stack(rows).to(scores.dtype)
