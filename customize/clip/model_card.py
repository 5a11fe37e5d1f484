"""The model card (README.md) of a customized model: what it is, what it was trained on, and how to load it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from customize.markdown import markdown_list, markdown_table
from retrieval.selection import Selection

__all__ = ["describe_selection", "model_card"]

_TOP_CONCEPTS = 50  # concepts that a card lists; customize.json has all of them

_FRONT = """---
library_name: open_clip
pipeline_tag: zero-shot-image-classification
tags:
- clip
- react
---
"""

_PLAIN = """```python
import open_clip

model, _, preprocess = open_clip.create_model_and_transforms("local-dir:FOLDER")
tokenizer = open_clip.get_tokenizer("local-dir:FOLDER")
```

After an upload to the Hugging Face Hub: `hf-hub:OWNER/NAME` instead of `local-dir:FOLDER`.
"""

_GATED = """Plain open_clip has no gated blocks and refuses these weights. With clipmine installed:

```python
from customize.clip.model_folder import load_customized

loaded = load_customized("FOLDER")
loaded.model, loaded.preprocess, loaded.tokenizer  # as from open_clip.create_model_and_transforms
```

All commands of clipmine with `--model-dir` take this folder.
"""


def describe_selection(selection: Selection) -> dict[str, Any]:
    """The `data` of a model card: a selection's counts and rules, the rows that each rule removed, and the store.

    Plain JSON values, without paths of this machine.
    """
    manifest = selection.manifest
    store = {name: manifest["store"].get(name) for name in ("rows", "identity", "model")}
    rules = {name: value for name, value in manifest["rules"].items() if value is not None}
    if "exclude" in rules:
        rules["exclude"] = "the rows of an evaluation set"
    return {
        "rows": selection.rows,
        "concepts": len(selection.concepts),
        "rows_by_concept": selection.counts,
        "mode": manifest["mode"],
        "k": manifest["k"],
        "templates": manifest["templates"],
        "hits": selection.hits,
        "rules": rules,
        "losses": selection.losses,
        "store": store,
    }


def model_card(about: Mapping[str, Any]) -> str:
    """The text of README.md, from the values of customize.json."""
    base, card = about["base"], about["card"]
    called = base.get("model_dir") or " ".join([str(base["name"]), f"({base.get('pretrained') or 'random weights'})"])
    gated = bool(about["image_gates"] or about["text_gates"])
    parts = [
        _FRONT,
        f"# {called}, customized\n",
        f"CLIP tuned by REACT (arXiv 2301.07094), strategy **{about['strategy']}**, from {called}. "
        "The licences of the base model and of the data apply.\n",
        "## Loading\n",
        _GATED if gated else _PLAIN,
        _base_loading(base),
        "## Trained weights\n",
        markdown_table(("weights", "parameters"), [(name, f"{count:,}") for name, count in about["trainable"].items()]),
        f"Temperature (`logit_scale`, exponentiated): {about['logit_scale']:.2f}.",
    ]
    for tower, values in about["gates"].items():
        first = about[f"{tower}_gates"]
        rows = [(block, f"{a:+.4f}", f"{d:+.4f}") for block, (a, d) in zip(first, values, strict=True)]
        parts += [f"\nGates of the {tower} tower:\n", markdown_table(("before block", "attention", "MLP"), rows)]
    if "data" in card:
        parts += ["\n## Data\n", _data(card["data"])]
    for part in ("training", "results"):
        if part in card:
            parts += [f"\n## {part.capitalize()}\n", markdown_list(card[part])]
    return "\n".join(parts).rstrip() + "\n"


def _base_loading(base: Mapping[str, Any]) -> str:
    """How to go back to the base model, whose weights training does not change."""
    if base.get("model_dir"):
        return f"The base model is unchanged in its own folder, `{base['model_dir']}`: `local-dir:FOLDER` there.\n"
    if not base.get("pretrained"):
        return ""
    create = f'open_clip.create_model_and_transforms("{base["name"]}", pretrained="{base["pretrained"]}")'
    return f"The base model is unchanged: `{create}`.\n"


def _data(data: Mapping[str, Any]) -> str:
    """The section on the data: what `describe_selection` returned, or any other plain values."""
    if "rows_by_concept" not in data:
        return markdown_list(data)
    store = data["store"]
    model = store["model"] or {}
    lines = [
        f"{data['rows']:,} image-text pairs of {data['concepts']:,} concepts, retrieved from a store of "
        f"{store['rows']:,} rows.\n",
        f"- Store: identity `{store['identity']}`, embedded with {model.get('name', 'unknown')}"
        f"{', weights `' + str(model['weights']) + '`' if 'weights' in model else ''}.",
        f"- Search: {data['mode']}, {data['k']} a prompt, templates {data['templates'].get('name', 'given as texts')}: "
        f"{data['hits']:,} hits.",
        f"- Rules: `{json.dumps(data['rules'], sort_keys=True)}`.",
        "",
        markdown_table(("rule", "rows removed"), [(rule, f"{rows:,}") for rule, rows in data["losses"].items()]),
    ]
    counts = sorted(data["rows_by_concept"].items(), key=lambda entry: -entry[1])
    lines.append(markdown_table(("concept", "pairs"), [(name, f"{rows:,}") for name, rows in counts[:_TOP_CONCEPTS]]))
    if len(counts) > _TOP_CONCEPTS:
        lines.append(f"{len(counts) - _TOP_CONCEPTS:,} more are in customize.json.")
    return "\n".join(lines)
