"""What a tuning run writes: the projector, and the adapter or the merged model with card and provenance.

OUT/                            the model, merged; or with export="adapter" the adapter
OUT/adapter/                    the adapter, with export="both"
OUT/base/ (OUT/adapter/base/)   the adapter's base, where it is no checkpoint of its own
OUT/projector/                  the projector alone, for the next stage: projector.safetensors
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch

from customize.lmm.model.adapter import PROJECTOR
from customize.lmm.model.export import BASE_NAME, export_adapter, export_base, export_merged
from customize.lmm.model.load import Lmm
from customize.lmm.model.merge import plain_state
from customize.lmm.train.config import TuneConfig
from customize.lmm.train.summary import TuneSummary
from index.files import atomic_file, join

__all__ = ["PROJECTOR_NAME", "describe_run", "export_model", "export_paths", "write_projector"]

# In a folder of its own: servers read all safetensors that are beside a model.
PROJECTOR_NAME = "projector/projector.safetensors"
State = Mapping[str, torch.Tensor]


def export_paths(config: TuneConfig) -> dict[str, str]:
    """What the run writes -> where: any of adapter, base, merged, and always the projector."""
    paths = {"projector": join(config.out, PROJECTOR_NAME)}
    what = config.exported
    if what in ("merged", "both"):
        paths["merged"] = config.out
    if what in ("adapter", "both"):
        paths["adapter"] = config.out if what == "adapter" else join(config.out, "adapter")
        if config.source.model is None:
            paths["base"] = join(paths["adapter"], BASE_NAME)
    return paths


def export_model(
    lmm: Lmm, config: TuneConfig, template: str, about: Mapping[str, Any], state: State | None = None
) -> None:
    """Write what `export_paths` names but the projector.

    template: of the prompts that it was trained with. state: the model's weights, where its own are sharded.
    """
    paths = export_paths(config)
    if "base" in paths:
        export_base(lmm, paths["base"], chat_template=template, state=state)
    if "adapter" in paths:
        export_adapter(lmm, paths["adapter"], about, chat_template=template, state=state)
    if "merged" in paths:
        export_merged(lmm, paths["merged"], about, chat_template=template, state=state)


def write_projector(lmm: Lmm, out: str, state: State | None = None) -> None:
    """Write the projector's weights by transformers' names, as `LmmSource.projector` reads them."""
    from safetensors.torch import save_file

    whole = lmm.model.state_dict() if state is None else state
    own = plain_state(lmm.model, {name: weight for name, weight in whole.items() if PROJECTOR in name}, merge=True)
    own = {name[name.index(PROJECTOR) :]: weight for name, weight in own.items()}
    with atomic_file(join(out, PROJECTOR_NAME)) as partial:
        save_file({name: weight.cpu().contiguous() for name, weight in own.items()}, str(partial))


def describe_run(
    summary: TuneSummary, config: TuneConfig, described: Sequence[Mapping[str, Any]], identity: str
) -> dict[str, Any]:
    """What card and provenance say of the run, as plain JSON data; see `customize.lmm.model.card.model_card`.

    described: of each source, in the order of `summary.sources`, see `customize.lmm.data.sources.describe_source`.
    """
    data = []
    for (name, each), about in zip(summary.sources.items(), described, strict=True):
        counts: dict[str, Any] = {"samples": each.samples, "trained": each.taken - each.unreadable}
        data.append({"name": name, **counts, **({"left_out": dict(each.left_out)} if each.left_out else {}), **about})
    return {
        "trained": dict(summary.trainable),
        "training": {"stage": config.stage, **_values(config), "steps": summary.steps, "seed": config.seed},
        "data": data,
        "losses": {
            "all, first tenth of the steps": summary.first_loss,
            "all, last tenth": summary.last_loss,
            **{f"{name}, last tenth": loss for name, loss in summary.loss_by_source.items()},
        },
        "run": identity,
    }


def _values(config: TuneConfig) -> dict[str, Any]:
    """The values of the recipe that this run used: no epochs where steps were given, no rank without adapters."""
    values = asdict(config.recipe)
    values = {"recipe": values.pop("source"), **values}
    unused = [name for name, value in values.items() if value is None]
    unused += ["epochs"] if config.steps else []
    unused += [name for name in values if name.startswith("lora_")] if config.recipe.train != "lora" else []
    return {name: value for name, value in values.items() if name not in unused}
