"""A chat model that runs in this process with transformers: an LLM, or a model of images and text such as LLaVA.

    model = LocalModel("llava-hf/llava-1.5-7b-hf", adapter="tuned", device="cuda", precision="bfloat16")
    for key, reply in model.replies(requests):
        ...

Requests are answered in batches, and an answer does not depend on which other requests were in its batch: see
`mining.chat.generation`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, Literal

from index.errors import BadInput, ClipmineError
from mining.chat.chat import ChatReply, ChatRequest
from mining.chat.generation import Decoding, Generated, Generator
from mining.chat.local_checkpoint import LocalCheckpoint, checkpoint_identity, load_weights, open_checkpoint, stop_ids
from mining.chat.prompts import Prompt, prompt_of
from mining.chat.templates import PLAIN

__all__ = ["LocalModel"]

log = logging.getLogger(__name__)

Precision = Literal["float32", "bfloat16", "float16"]
Waiting = list[tuple[str, Prompt]]

# Batches' worth of requests that may wait for others of their length.
_AHEAD = 8
_ROWS = {"cuda": 32}  # of a batch, by device; 8 on others
# A batch is filled up to its rows whatever is asked; the system would kill this process where they need all memory.
_MOST_ROWS = 1024


class LocalModel:
    """A checkpoint of transformers, as `mining.chat.chat.ChatModel`. Its weights are loaded for the first reply.

    Args:
        name: a folder or a name on the Hugging Face hub; also a folder of a peft adapter, which names its base.
        adapter: folder of a LoRA adapter for the model `name`.
        device: cuda, mps or cpu; by default the fastest there is.
        precision: of the weights; by default bfloat16 on cuda, else float32.
        batch_size: requests answered together, by default 32 on cuda, else 8; halved when memory runs out.
        template: see `mining.chat.templates.chat_template_of`.
        num_beams, repetition_penalty: as in transformers.

    Raises:
        BadInput: the checkpoint cannot be used. Faults of its weights are raised by `replies`.
    """

    def __init__(
        self,
        name: str,
        *,
        adapter: str | None = None,
        device: str | None = None,
        precision: Precision | None = None,
        batch_size: int | None = None,
        template: str | None = None,
        num_beams: int = 1,
        repetition_penalty: float = 1.0,
    ) -> None:
        from index.encoder.loading import usable_device

        self._device = usable_device(device)
        self._precision = precision or ("bfloat16" if self._device.startswith("cuda") else "float32")
        if self._precision not in ("float32", "bfloat16", "float16"):
            raise BadInput(f"precision {self._precision!r:.50}: choose float32, bfloat16 or float16")
        self._rows = _ROWS.get(self._device.partition(":")[0], 8) if batch_size is None else batch_size
        if self._rows < 1 or num_beams < 1 or not repetition_penalty > 0:
            raise BadInput("batch_size and num_beams are at least 1, and repetition_penalty is more than 0")
        if self._rows > _MOST_ROWS:
            raise BadInput(f"batch_size {self._rows} is more than {_MOST_ROWS:,}: each batch is filled to its size")
        self._decoding = Decoding(num_beams, repetition_penalty)
        self._checkpoint = open_checkpoint(name, adapter, template)

    def __repr__(self) -> str:
        return f"LocalModel({self.name!r})"

    @property
    def name(self) -> str:
        """The checkpoint's name, with the adapter's."""
        adapter = self._checkpoint.adapter
        return self._checkpoint.name if adapter is None else f"{self._checkpoint.name} + {adapter.name}"

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """Hashes of the weights, tokenizer, adapter and template, the precision, and how answers are searched for."""
        decoding = {"num_beams": self._decoding.num_beams, "repetition_penalty": self._decoding.repetition_penalty}
        return {
            "kind": "transformers",
            **checkpoint_identity(self._checkpoint),
            "precision": self._precision,
            "decoding": decoding,
        }

    def replies(self, requests: Iterable[tuple[str, ChatRequest]]) -> Iterator[tuple[str, ChatReply]]:
        """See `mining.chat.chat.ChatModel.replies`. At most 8 batches of requests wait for others like them."""
        waiting: dict[tuple[Any, ...], Waiting] = {}
        for key, request in requests:
            prompt = self._prompt(request)
            if isinstance(prompt, ChatReply):
                yield key, prompt
                continue
            alone = self._is_alone(prompt)
            batch = (key,) if alone else (prompt.length, prompt.max_new_tokens, prompt.temperature > 0)
            waiting.setdefault(batch, []).append((key, prompt))
            if alone or len(waiting[batch]) >= self._rows:
                yield from self._answered(waiting.pop(batch))
            elif sum(map(len, waiting.values())) >= _AHEAD * self._rows:
                yield from self._answered(waiting.pop(max(waiting, key=lambda each: len(waiting[each]))))
        for batch in sorted(waiting, reverse=True):  # the longest first: memory runs out at once or not at all
            yield from self._answered(waiting[batch])

    def opened(self) -> tuple[LocalCheckpoint, Generator]:
        """The checkpoint and what generates, with the weights loaded: for comparisons with transformers itself."""
        return self._checkpoint, self._generator

    @cached_property
    def _generator(self) -> Generator:
        model = load_weights(self._checkpoint, self._device, self._precision)
        return Generator(self._checkpoint, model, stop_ids(self._checkpoint, model), self._decoding)

    def _prompt(self, request: ChatRequest) -> Prompt | ChatReply:
        if request.temperature > 0 and self._decoding.num_beams > 1:
            return ChatReply("", "failed", error="a beam search draws nothing; ask with a temperature of 0")
        prompt = prompt_of(self._checkpoint, request)
        if (
            isinstance(prompt, Prompt)
            and int(prompt.ids.max()) >= self._generator.model.get_input_embeddings().num_embeddings
        ):
            raise BadInput(
                f"{self._checkpoint.name}: its tokenizer has more tokens than its model; is it another model's?"
            )
        return prompt

    def _is_alone(self, prompt: Prompt) -> bool:
        """Whether the prompt shows images that cannot be batched with those of others."""
        return bool(prompt.keys) and not self._generator.batches_images

    def _answered(self, batch: Waiting) -> Iterator[tuple[str, ChatReply]]:
        while batch:
            part, rows = batch[: self._rows], self._rows
            found = self._generated([prompt for _, prompt in part], rows)
            if found is not None:
                for (key, prompt), made in zip(part, found, strict=True):
                    yield key, self._reply(prompt, made)
                batch = batch[rows:]
            elif rows == 1:
                tokens = len(part[0][1].ids)
                yield part[0][0], ChatReply("", "failed", error=f"memory runs out at {tokens:,} tokens")
                batch = batch[1:]
            else:
                self._rows = rows // 2
                log.warning("%s: memory runs out; batches of %d from now on", self.name, self._rows)

    def _generated(self, prompts: list[Prompt], rows: int) -> list[Generated] | None:
        """What was generated, None where memory runs out."""
        try:
            return self._generator.generate(prompts, 1 if self._is_alone(prompts[0]) else rows)
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error):
                said = " ".join(str(error).split())[:300]
                raise ClipmineError(f"{self.name}: cannot generate: {said}") from error
        # Behind the handler, whose traceback holds the tensors.
        import gc

        import torch

        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return None

    def _reply(self, prompt: Prompt, made: Generated) -> ChatReply:
        ids = made.ids
        text = self._checkpoint.tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        ).strip()
        ended = bool(ids) and ids[-1] in self._generator.stops
        if self._checkpoint.template == PLAIN:  # its stop is the end of the line
            text, newline, _ = text.partition("\n")
            ended |= bool(newline)
        return ChatReply(text, "stop" if ended else "length", len(prompt.ids), len(ids), answers=made.answers)


def _out_of_memory(error: BaseException) -> bool:
    said = str(error)
    return isinstance(error, MemoryError) or "out of memory" in said or "can't allocate memory" in said
