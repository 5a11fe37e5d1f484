"""What the user asks of a run of annotation: the options of `clipmine annotate`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from index.errors import BadInput
from index.files import join
from mining.annotate.budget import Limits
from mining.annotate.chosen_sets import SetChoice, parse_shard, shard_name
from mining.sets.sources import Folder

__all__ = ["ANNOTATORS", "AnnotateConfig"]

ANNOTATORS = ("openai", "transformers", "captions")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


T = TypeVar("T")


@dataclass(frozen=True)
class AnnotateConfig:
    """pairs: a folder of image sets. kind: of the annotations, such as `comparison`. annotator: openai (a server with
    OpenAI's protocol), transformers (a checkpoint in this process or in Ray's actors), captions (rules, no model).

    model: its name at the server, or a name or folder of a checkpoint. base_url: of the server. name: of the parts of
    annotations; by default the kind and the model. from_images: show the images; with_captions: also the captions.
    refine: the kind of the annotations that are refined or judged. choice: which sets. seed: of all draws.
    moved: where the images' sources are now. cache: folder of answers; by default `annotations/answers` in `pairs`.
    max_new_tokens, temperature: of replies; by default the task's. attempts: at a reply that is not understood.
    limits: of requests, tokens and cost. server, local: further settings of `mining.chat.open_model`.
    """

    pairs: str
    kind: str = "comparison"
    annotator: str = "captions"
    model: str | None = None
    base_url: str | None = None
    name: str | None = None
    from_images: bool = False
    with_captions: bool = False
    refine: str | None = None
    choice: SetChoice = field(default_factory=SetChoice)
    seed: int = 0
    moved: dict[str, Folder] | Folder | None = None
    cache: str | None = None
    max_new_tokens: int | None = None
    temperature: float | None = None
    attempts: int = 3
    limits: Limits = field(default_factory=Limits)
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.annotator not in ANNOTATORS:
            raise BadInput(f"--annotator {self.annotator!r:.50}: choose one of {', '.join(ANNOTATORS)}")
        if self.annotator == "captions":
            if self.model or self.base_url or self.from_images:
                raise BadInput("--annotator captions compares captions by rules: it takes no model, URL or images")
        elif not self.model:
            raise BadInput(f"--annotator {self.annotator} needs --model NAME")
        if self.base_url and self.annotator != "openai":
            raise BadInput("--base-url is of --annotator openai")
        for name, least in (("max_new_tokens", 1), ("attempts", 1), ("seed", 0), ("temperature", 0)):
            value = getattr(self, name)
            if value is not None and not least <= value < float("inf"):
                raise BadInput(f"--{name.replace('_', '-')} must be at least {least}, not {value}")
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
        model = (self.model or self.annotator).rstrip("/").rpartition("/")[2]
        name = self.name or _NOT_IN_NAMES.sub("-", f"{self.kind}-{model}").strip("-._")[:80]
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
