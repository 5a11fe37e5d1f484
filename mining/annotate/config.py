"""What the user asks of a run of annotation: the options of `clipmine annotate`."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from index.errors import BadInput
from index.files import join
from mining.annotate.budget import Limits
from mining.annotate.chosen_sets import SetChoice, parse_shard, shard_name
from mining.chat.factory import PRECISIONS
from mining.sets.sources import Folder

__all__ = ["ANNOTATORS", "AnnotateConfig"]

ANNOTATORS = ("openai", "transformers", "captions")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")

# The settings of one annotator, and the least values of numbers.
_OF_ANNOTATOR = {
    "openai": ("base_url", "key_variable", "concurrency", "timeout", "patience"),
    "transformers": ("adapter", "device", "precision", "batch_size"),
}
# The settings of replies, whichever model gives them.
_OF_MODELS = ("cache", "max_new_tokens", "temperature")
_LEAST = {
    **dict.fromkeys(("max_new_tokens", "attempts", "concurrency", "batch_size", "rounds"), 1),
    **dict.fromkeys(("seed", "temperature", "timeout", "patience"), 0),
}
T = TypeVar("T")


@dataclass(frozen=True)
class AnnotateConfig:
    """A run of annotation. None leaves a setting of a model or task to its own default.

    Attributes:
        pairs: folder of image sets, local.
        kind: of the annotations: comparison, cad-qa, choice or judge.
        annotator: "openai": a server with OpenAI's protocol; "transformers": a checkpoint in this process or in Ray's
            actors; "captions": rules, without a model.
        model: its name at the server, or the name or folder of a checkpoint.
        name: of the parts of annotations; None: the kind, how it is asked where that is not by captions, and the model.
        from_images: show the model the images. with_captions: show it the captions too.
        refine: KIND or KIND/ANNOTATOR of the annotations that are refined, asked about (cad-qa) or judged.
        as_trained: ask with the question of the training conversations, for a model that was tuned on them.
        rounds: number of questions that cad-qa asks for.
        choice: which sets. seed: of all draws.
        moved: where the images' sources are now.
        cache: folder of answers; None: `annotations/answers` in `pairs`.
        max_new_tokens, temperature: of replies. attempts: at a reply that is not understood.
        limits: of requests, tokens and cost.
        base_url: openai: of the server. key_variable: the environment variable that holds its key.
        concurrency: openai: most requests at once. timeout: seconds for an answer. patience: seconds without any answer
            until the run ends.
        adapter: transformers: folder of a LoRA adapter. device, precision ("fp32", "fp16", "bf16"), batch_size: see
            `mining.chat.local_model.LocalModel`.

    Raises:
        BadInput: a value outside its range, or settings that contradict each other.
    """

    pairs: str
    kind: str = "comparison"
    annotator: str = "captions"
    model: str | None = None
    name: str | None = None
    from_images: bool = False
    with_captions: bool = False
    refine: str | None = None
    as_trained: bool = False
    rounds: int | None = None
    choice: SetChoice = field(default_factory=SetChoice)
    seed: int = 0
    moved: dict[str, Folder] | Folder | None = None
    cache: str | None = None
    max_new_tokens: int | None = None
    temperature: float | None = None
    attempts: int = 3
    limits: Limits = field(default_factory=Limits)
    base_url: str | None = None
    key_variable: str | None = None
    concurrency: int | None = None
    timeout: float | None = None
    patience: float | None = None
    adapter: str | None = None
    device: str | None = None
    precision: str | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        if self.annotator not in ANNOTATORS:
            raise BadInput(f"--annotator {self.annotator!r:.50}: choose one of {', '.join(ANNOTATORS)}")
        if self.annotator == "captions":
            if self.model or self.from_images:
                raise BadInput("--annotator captions compares captions by rules: it takes no model and no images")
        elif not self.model:
            raise BadInput(f"--annotator {self.annotator} needs --model NAME")
        if self.annotator == "openai" and not self.base_url:
            raise BadInput("--annotator openai needs --base-url URL, such as http://host:8000/v1")
        for owner, names in _OF_ANNOTATOR.items():
            given = [f"--{name.replace('_', '-')}" for name in names if getattr(self, name) is not None]
            if given and owner != self.annotator:
                raise BadInput(f"{', '.join(given)}: of --annotator {owner}, not of {self.annotator}")
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and not least <= value < float("inf"):
                raise BadInput(f"--{name.replace('_', '-')} must be at least {least}, not {value}")
        if self.annotator == "captions":
            idle = [f"--{name.replace('_', '-')}" for name in _OF_MODELS if getattr(self, name) is not None]
            idle += ["--images"] if self.moved is not None else []
            idle += [f"--{name.replace('_', '-')}" for name, value in asdict(self.limits).items() if value is not None]
            if idle:
                raise BadInput(f"{', '.join(idle)}: --annotator captions asks no model; leave it out")
        if self.precision is not None and self.precision not in PRECISIONS:
            raise BadInput(f"--precision {self.precision!r:.50}: choose one of {', '.join(PRECISIONS)}")
        if self.name is not None and not _NAME.fullmatch(self.name):
            raise BadInput(f"--name {self.name!r:.100}: letters, digits, '.', '_' and '-', up to 80")

    @classmethod
    def of(cls, pairs: str, **options: Any) -> AnnotateConfig:
        """The configuration of plain options: the fields of this class, of SetChoice and of Limits.

        `strategy` and `split` may be one text, `shard` a text such as "2/8". Raises BadInput for an unknown option.
        """
        for name in ("strategy", "split"):
            given = options.get(name)
            if given is not None:
                options[name] = (given,) if isinstance(given, str) else tuple(given)
        if isinstance(options.get("shard"), str):
            options["shard"] = parse_shard(options["shard"])
        choice, limits = _taken(SetChoice, options), _taken(Limits, options)
        known = [each.name for each in fields(cls) if each.name not in ("pairs", "choice", "limits")]
        unknown = [name for name in options if name not in known]
        if unknown:
            others = [each.name for kind in (SetChoice, Limits) for each in fields(kind)]
            raise BadInput(f"unknown option {', '.join(unknown)}: choose from {', '.join([*known, *others])}")
        return cls(pairs, choice=choice, limits=limits, **options)

    @property
    def part(self) -> str:
        """The name of the parts, with the shard's."""
        model = (self.adapter or self.model or self.annotator).rstrip("/").rpartition("/")[2]
        asked = [self.kind, *(["images"] if self.from_images else []), *(["captions"] if self.with_captions else [])]
        asked += [f"refined-{self.refine}"] if self.refine and self.kind == "comparison" else []
        asked += ["as-trained"] if self.as_trained else []
        name = self.name or _NOT_IN_NAMES.sub("-", "-".join([*asked, model])).strip("-._")[:80]
        return shard_name(name, self.choice.shard)

    @property
    def folder(self) -> str:
        """The folder of the run, within `pairs`."""
        return join(self.pairs, "annotations", f"{self.part}.run")

    @property
    def answers(self) -> str:
        """The folder of the cache."""
        return self.cache or join(self.pairs, "annotations", "answers")


def _taken(kind: type[T], options: dict[str, Any]) -> T:
    """The dataclass `kind` from those of the options that are its fields, which are removed."""
    own = {each.name: options.pop(each.name) for each in fields(kind) if each.name in options}  # type: ignore[arg-type]
    return kind(**own)
