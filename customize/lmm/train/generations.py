"""Answers of the model while it trains, on a few fixed samples: a look at what it has learnt that no loss gives.

    OUT/generations.jsonl    step, sample_id, source, question, answer, expected

The question of a sample is its tokens up to the first trained one, so the model is asked exactly as it is trained.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from customize.clip.train.log import continue_log
from customize.lmm.data.sample import IGNORED, EncodedSample
from customize.lmm.model.forward import embed
from customize.lmm.model.load import Lmm
from index.files import join

__all__ = ["Generation", "Generations", "append_generations"]

Features = Callable[[EncodedSample], torch.Tensor]


@dataclass(frozen=True)
class Generation:
    """What the model answered after `step` steps, beside the sample's own answer. question: without special tokens."""

    step: int
    sample_id: str
    source: str
    question: str
    answer: str
    expected: str


class Generations:
    """Lets the model answer samples and appends the answers to a file.

    Attributes:
        samples: with their answers. features: the vision tower's outputs for a sample, [images, tokens, width].
        every: steps. most_tokens: of an answer.
    """

    def __init__(
        self, lmm: Lmm, samples: Sequence[EncodedSample], features: Features, every: int, most_tokens: int
    ) -> None:
        self.lmm, self.samples, self.features = lmm, tuple(samples), features
        self.every, self.most_tokens = every, most_tokens

    def due(self, step: int, total: int) -> bool:
        """Whether the model answers after `step` of `total` steps: at intervals, and at the end."""
        return bool(self.samples) and (step % self.every == 0 or step == total)

    @torch.no_grad()
    def answer(self, step: int, bf16: bool) -> list[Generation]:
        """The model's greedy answer to the first question of each sample. The model is in train mode afterwards."""
        lmm = self.lmm
        lmm.model.eval()
        found = []
        for sample in self.samples:
            trained = sample.labels != IGNORED
            first = int(np.argmax(trained))
            last = first + int(np.argmin(np.append(trained[first:], False)))
            prompt, expected = sample.input_ids[:first], sample.input_ids[first:last]
            shown = int((prompt == lmm.image_token_id).sum()) // lmm.image_tokens
            ids = torch.from_numpy(prompt).to(lmm.device)[None]
            with torch.autocast(lmm.device.type, torch.bfloat16, enabled=bf16):
                generated = lmm.model.generate(
                    inputs_embeds=embed(lmm.model, ids, self.features(sample)[:shown].to(lmm.device)),
                    attention_mask=torch.ones_like(ids),
                    max_new_tokens=self.most_tokens,
                    do_sample=False,
                    pad_token_id=lmm.tokenizer.pad_token_id,
                )
            texts = [self._text(each) for each in (prompt, generated[0].cpu().numpy(), expected)]
            found.append(Generation(step, sample.sample_id, sample.source, *texts))
        lmm.model.train()
        lmm.llava.model.vision_tower.eval()
        return found

    def _text(self, ids: Any) -> str:
        return str(self.lmm.tokenizer.decode(ids, skip_special_tokens=True)).strip()


def append_generations(out: str, found: Sequence[Generation], before: int) -> None:
    """Append to OUT/generations.jsonl. before: lines of steps after this one are dropped first."""
    stream = continue_log(join(out, "generations.jsonl"), before)
    with stream:
        for each in found:
            stream.write(json.dumps(asdict(each), ensure_ascii=False) + "\n")
