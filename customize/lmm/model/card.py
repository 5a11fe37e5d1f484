"""The model card (README.md) of a tuned multimodal model: what it is, what it was trained on, and how to load it.

The card is made from the values of `clipmine.json`, which lies beside it for programs.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from customize.markdown import inline, markdown_list, markdown_table
from index.files import hash_json
from mining.annotate.journal import REJECTED

if TYPE_CHECKING:
    from mining.sets.image_sets import ImageSets

__all__ = ["describe_sets", "model_card"]

_SHOWN_DIGITS = 12
_MERGED = """```python
from PIL import Image
from transformers import AutoProcessor, LlavaForConditionalGeneration

folder = {place}  # this folder
model = LlavaForConditionalGeneration.from_pretrained(folder).eval()
processor = AutoProcessor.from_pretrained(folder)
```
"""
_SERVED = "vLLM and other servers of LLaVA models take the folder as well.\n"
_ADAPTER = """```python
from peft import PeftModel
from PIL import Image
from transformers import AutoProcessor, LlavaForConditionalGeneration

folder = {place}  # this folder
model = PeftModel.from_pretrained(LlavaForConditionalGeneration.from_pretrained({base}), folder).eval()
processor = AutoProcessor.from_pretrained(folder)
```
"""
_HASHES = "The base must have the hashes below. clipmine checks them, and plain peft does not.\n"
# The template of the folder writes the token that begins a text, so the processor must not add a second one.
_GENERATION = """A question about two images:

```python
asked = "\\nSummarize what the two images have in common and how they differ."
parts = ["Image 1: ", None, "\\nImage 2: ", None, asked]  # None: an image
content = [{"type": "image"} if part is None else {"type": "text", "text": part} for part in parts]
prompt = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
images = [Image.open(name).convert("RGB") for name in ("a.jpg", "b.jpg")]
inputs = processor(images=images, text=prompt, add_special_tokens=False, return_tensors="pt")
tokens = model.generate(**inputs, max_new_tokens=256, do_sample=False)
print(processor.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
```
"""
_KINDS = {
    "adapter": "A LoRA adapter with a projector",
    "merged": "A multimodal model",
    "base": "The model that an adapter was trained on",
}
_HASHED = ("vision_tower", "language_model", "projector")
# Fields of an entry of `data` that have a column of their own.
_DATA_COLUMNS = ("name", "samples", "trained", "weight", "digest")


def describe_sets(
    sets: ImageSets, kinds: Collection[str] | None = None, annotators: Collection[str] | None = None
) -> dict[str, Any]:
    """Where a folder of image sets comes from, for an entry of a card's `data`: plain JSON values, without paths.

    `identity` is a hash of its manifest, `sources` have their licences where they are known, and `annotations` of these
    kinds and annotators are counted by both; None: of all. Rejected answers are never trained on and not counted.
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
            if kind != REJECTED and (kinds is None or kind in kinds) and (annotators is None or annotator in annotators)
        ],
    }


def model_card(about: Mapping[str, Any], place: str = "FOLDER", base_place: str | None = None) -> str:
    """The text of README.md.

    Args:
        about: the values of `clipmine.json`: `kind` (adapter, merged or base) and `base` (`Lmm.source`), and where they
            are there `trained` (weights by part), `training` (a recipe's values), `data` (a list of sources, each with
            `name`, `samples` and what else is known, such as what `describe_sets` gives), `losses` (by source) and
            `results`. Values that are None are not shown.
        place: the folder that the card is written into. base_place: of an adapter, its base: a name on the hub, a
            folder, or the name of a folder in `place`; by default the name in `about`.
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
        *_loading(kind, place, base_place or names.get("model", "base")),
        "## Base\n",
        markdown_table(
            ("part", "sha256 of the weights, as bfloat16"), [(part.replace("_", " "), base[part]) for part in _HASHED]
        ),
        markdown_list({**_named(base["names"]), "preprocessing": base["preprocessing"], "features": base["features"]}),
    ]
    if "trained" in about:
        rows = [(part, f"{count:,}") for part, count in about["trained"].items()]
        parts += ["## Trained weights\n", markdown_table(("part", "parameters"), rows)]
    if "training" in about:
        parts += ["## Training\n", markdown_list(_known(about["training"]))]
    if "data" in about:
        parts += ["## Data\n", *_data(about["data"])]
    if "losses" in about:
        rows = [(name, inline(value)) for name, value in _known(about["losses"]).items()]
        parts += ["## Losses\n", markdown_table(("source", "cross entropy a token"), rows)]
    if "results" in about:
        parts += ["## Results\n", markdown_list(_known(about["results"]))]
    return "\n".join(parts).rstrip() + "\n"


def _loading(kind: str, place: str, base: str) -> list[str]:
    """How the folder is loaded and asked, as code that runs."""
    if kind != "adapter":
        return [_MERGED.format(place=json.dumps(place)), _SERVED, _GENERATION]
    named = 'folder + "/base"' if base == "base" else json.dumps(base)
    return [_ADAPTER.format(place=json.dumps(place), base=named), _HASHES, _GENERATION]


def _named(names: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The parts of the base by name: "llava-hf/llava-1.5-7b-hf, commit 8c85e9a4"."""
    return {
        part: str(each["name"]) + (f", commit {each['commit']}" if each.get("commit") else "")
        for part, each in names.items()
    }


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


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
