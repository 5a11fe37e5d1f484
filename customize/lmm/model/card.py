"""The model card (README.md) of a tuned multimodal model: what it is, what it was trained on, and how to load it.

The card is made from the values of `clipmine.json`, which lies beside it for programs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from customize.markdown import inline, markdown_list, markdown_table
from index.files import hash_json

if TYPE_CHECKING:
    from mining.sets.image_sets import ImageSets

__all__ = ["describe_sets", "model_card"]

_SHOWN_DIGITS = 12
_MERGED = """```python
from transformers import AutoProcessor, LlavaForConditionalGeneration

model = LlavaForConditionalGeneration.from_pretrained("FOLDER")
processor = AutoProcessor.from_pretrained("FOLDER")
```

vLLM and other servers of LLaVA models take the folder as well.
"""
_ADAPTER = """```python
from peft import PeftModel
from transformers import AutoProcessor, LlavaForConditionalGeneration

model = PeftModel.from_pretrained(LlavaForConditionalGeneration.from_pretrained("{base}"), "FOLDER")
processor = AutoProcessor.from_pretrained("FOLDER")
```

The base must have the hashes below. clipmine checks them, and plain peft does not.
"""
_KINDS = {
    "adapter": "A LoRA adapter with a projector",
    "merged": "A multimodal model",
    "base": "The model that an adapter was trained on",
}
_HASHED = ("vision_tower", "language_model", "projector")
# Fields of an entry of `data` that have a column of their own.
_DATA_COLUMNS = ("name", "samples", "trained", "weight", "digest")


def describe_sets(sets: ImageSets) -> dict[str, Any]:
    """Where a folder of image sets comes from, for an entry of a card's `data`: plain JSON values, without paths.

    `identity` is a hash of its manifest, `sources` have their licences where they are known, and `annotations` are
    counted by kind and annotator.
    """
    shown = ("kind", "identity", "collection", "licence", "homepage")
    return {
        "identity": hash_json(_without_paths(sets.manifest)),
        "sets": len(sets),
        "strategies": {
            name: sum(n for (each, _), n in sets.counts().items() if each == name) for name in sets.strategies
        },
        "sources": [
            {"name": name, **{field: value for field in shown if (value := getattr(source, field)) is not None}}
            for name, source in sorted(sets.sources.items())
        ],
        "annotations": [
            {"kind": kind, "annotator": annotator, "count": number}
            for (kind, annotator), number in sets.annotations.counts().items()
        ],
    }


def model_card(about: Mapping[str, Any]) -> str:
    """The text of README.md.

    Args:
        about: the values of `clipmine.json`: `kind` (adapter, merged or base) and `base` (`Lmm.source`), and where they
            are there `trained` (weights by part), `training` (a recipe's values), `data` (a list of sources, each with
            `name`, `samples` and what else is known, such as what `describe_sets` gives), `losses` (by source) and
            `results`.
    """
    kind, base = str(about["kind"]), about["base"]
    names = {part: str(each["name"]) for part, each in base["names"].items()}
    called = names.get("model") or " + ".join(names[part] for part in ("vision_tower", "language_model"))
    parts = [
        _front(kind, names),
        f"# {called}" + ("" if kind == "base" else ", tuned") + "\n",
        f"{_KINDS[kind]} of the LLaVA family, {'of' if kind == 'base' else 'from'} {called}. The licences of the base "
        "model and of the data apply.\n",
        "## Loading\n",
        _ADAPTER.format(base=names.get("model", "BASE")) if kind == "adapter" else _MERGED,
        "## Base\n",
        markdown_table(
            ("part", "sha256 of the weights, as bfloat16"), [(part.replace("_", " "), base[part]) for part in _HASHED]
        ),
        markdown_list({"names": base["names"], "preprocessing": base["preprocessing"], "features": base["features"]}),
    ]
    if "trained" in about:
        rows = [(part, f"{count:,}") for part, count in about["trained"].items()]
        parts += ["## Trained weights\n", markdown_table(("part", "parameters"), rows)]
    if "training" in about:
        parts += ["## Training\n", markdown_list(about["training"])]
    if "data" in about:
        parts += ["## Data\n", *_data(about["data"])]
    if "losses" in about:
        rows = [(name, inline(value)) for name, value in about["losses"].items()]
        parts += ["## Losses\n", markdown_table(("source", "cross entropy a token"), rows)]
    if "results" in about:
        parts += ["## Results\n", markdown_list(about["results"])]
    return "\n".join(parts).rstrip() + "\n"


def _front(kind: str, names: Mapping[str, str]) -> str:
    """The card's head in YAML, which the hub reads. Values are JSON texts, which are YAML as well."""
    hub = [name for name in names.values() if name.count("/") == 1 and not name.endswith(".bin")]
    lines = [
        "---",
        f"library_name: {'peft' if kind == 'adapter' else 'transformers'}",
        "pipeline_tag: image-text-to-text",
        *(["base_model:", *(f"- {json.dumps(name)}" for name in hub)] if hub else []),
        "tags:",
        "- llava",
        *(["- lora"] if kind == "adapter" else []),
        "---",
    ]
    return "\n".join(lines) + "\n"


def _data(sources: Sequence[Mapping[str, Any]]) -> list[str]:
    columns = [column for column in _DATA_COLUMNS if any(column in source for source in sources)]
    rows = [tuple(_short(column, source.get(column, "")) for column in columns) for source in sources]
    parts = [markdown_table(tuple(columns), rows)]
    for source in sources:
        more = {name: value for name, value in source.items() if name not in (*_DATA_COLUMNS, "annotations", "sources")}
        if more or "annotations" in source or "sources" in source:
            parts += [f"### {inline(source['name'])}\n"]
        if more:
            parts.append(markdown_list(more))
        for field in ("sources", "annotations"):
            listed = source.get(field) or []
            if listed:
                header = tuple(dict.fromkeys(name for entry in listed for name in entry))
                rows = [tuple(_short(name, entry.get(name, "")) for name in header) for entry in listed]
                parts.append(markdown_table(header, rows))
    return parts


def _without_paths(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_paths(each) for name, each in value.items() if name not in ("path", "relative")}
    return [_without_paths(each) for each in value] if isinstance(value, list | tuple) else value


def _short(column: str, value: Any) -> str:
    if column in ("digest", "identity"):
        return str(value)[:_SHOWN_DIGITS]
    return f"{value:,}" if isinstance(value, int) else inline(value)
