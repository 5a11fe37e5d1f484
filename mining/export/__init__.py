"""Image sets as training data: LLaVA JSON, chat messages, datasets, tars, torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mining.export.llava import to_llava
    from mining.export.messages import to_datasets, to_messages
    from mining.export.sample import Sample
    from mining.export.samples import Samples
    from mining.export.streamed_sets import torch_stream, torch_stream_tars
    from mining.export.tars import to_webdataset
    from mining.export.torch_sets import collate_sets, torch_dataset
    from mining.export.turns import caption_turns

__all__ = [
    "Sample",
    "Samples",
    "caption_turns",
    "collate_sets",
    "to_datasets",
    "to_llava",
    "to_messages",
    "to_webdataset",
    "torch_dataset",
    "torch_stream",
    "torch_stream_tars",
]

_MODULES = {
    "Sample": "sample",
    "Samples": "samples",
    "caption_turns": "turns",
    "collate_sets": "torch_sets",
    "to_datasets": "messages",
    "to_llava": "llava",
    "to_messages": "messages",
    "to_webdataset": "tars",
    "torch_dataset": "torch_sets",
    "torch_stream": "streamed_sets",
    "torch_stream_tars": "streamed_sets",
}


# Imported when they are first used: writing LLaVA's JSON needs no torch.
def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"mining.export.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
