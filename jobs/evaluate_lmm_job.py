"""The evaluation of multimodal models: checkpoints that run here, and models of servers, on tasks of image pairs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from index.encoder.model_spec import CONFIG_NAME
from index.errors import BadInput
from index.files import exists, is_local, join, read_bytes

if TYPE_CHECKING:
    from customize.lmm.evaluate.evaluate import LmmEvaluateConfig, LmmEvaluateSummary
    from mining.chat.chat import ChatModel, ChatReply, ChatRequest

__all__ = ["ModelSettings", "open_model", "run_evaluate_lmm"]


@dataclass(frozen=True)
class ModelSettings:
    """How models answer. None: the default of `LocalModel` (device, precision, batch_size) or of `OpenAIServer`.

    precision: fp32, fp16 or bf16. key_variable: the environment variable with a server's key. concurrency: most
    requests at a server at once.
    """

    device: str | None = None
    precision: str | None = None
    batch_size: int | None = None
    key_variable: str | None = None
    concurrency: int | None = None
    timeout: float | None = None


@dataclass(frozen=True)
class _Named:
    """A model under the name that its row in the tables gets."""

    name: str
    model: ChatModel

    @property
    def identity(self) -> Mapping[str, Any]:
        return self.model.identity

    def replies(self, requests: Iterable[tuple[str, ChatRequest]]) -> Iterator[tuple[str, ChatReply]]:
        return self.model.replies(requests)


def open_model(name: str, settings: ModelSettings | None = None, label: str | None = None) -> ChatModel:
    """The model that `name` says, in one of the forms of `mining.chat.factory.FORMS`.

    label: its name in tables (default: `name`; of a server its MODEL). Raises BadInput for a CLIP model, and what
    `mining.chat.factory.open_chat_model` raises.
    """
    from mining.chat.factory import PRECISIONS, open_chat_model

    given = settings or ModelSettings()
    kind = name.partition(":")[0]
    if kind == "openai":
        served = open_chat_model(
            name, key_variable=given.key_variable, max_concurrency=given.concurrency, timeout=given.timeout
        )
        return _Named(label or served.name, served)
    if kind != "transformers":
        _refuse_clip(name)
    precision = None if given.precision is None else PRECISIONS[given.precision]
    local = open_chat_model(name, device=given.device, precision=precision, batch_size=given.batch_size)
    return _Named(label or name.rstrip("/"), local)


def run_evaluate_lmm(
    models: Sequence[str] | Mapping[str, str],
    config: LmmEvaluateConfig,
    judge: str | None = None,
    settings: ModelSettings | None = None,
) -> LmmEvaluateSummary:
    """Measure models, as `customize.lmm.evaluate.evaluate.evaluate_lmm` does; progress on stderr.

    models: names for `open_model`, or {name in the tables: such a name}. judge: likewise. Models are opened one
    by one; what `open_model` raises comes before any question is asked.
    """
    from customize.lmm.evaluate.evaluate import evaluate_lmm
    from customize.lmm.evaluate.tasks import find_task, load_questions
    from jobs.progress import Progress

    for task in config.tasks:  # before a model is loaded
        load_questions(find_task(task, config.data), config.limit)
    labelled: Iterable[tuple[str | None, str]]
    labelled = models.items() if isinstance(models, Mapping) else ((None, name) for name in models)
    opened = [open_model(name, settings, label) for label, name in labelled]
    rating = None if judge is None else open_model(judge, settings)
    with Progress("evaluate", unit="replies") as progress:
        return evaluate_lmm(opened, config, rating, progress.reach)


def _refuse_clip(name: str) -> None:
    """Raise BadInput for a CLIP model: a folder of open_clip's, or NAME:TAG of its registry."""
    why = "is a CLIP model, which answers no questions; these tasks need a multimodal language model"
    if is_local(name) and exists(name):
        if exists(join(name, CONFIG_NAME)) and not exists(join(name, "adapter_config.json")):
            raise BadInput(f"{name}: {why}")
        config = join(name, "config.json")
        if exists(config):
            try:
                kind = json.loads(read_bytes(config)).get("model_type")
            except (ValueError, AttributeError, OSError):
                return  # loading says what is wrong with it
            if kind in ("clip", "siglip"):
                raise BadInput(f"{name}: {why}")
        return
    if ":" in name and "://" not in name and "/" not in name:
        raise BadInput(f"{name}: {why} (a folder, a Hugging Face name, or openai:MODEL@URL)")
