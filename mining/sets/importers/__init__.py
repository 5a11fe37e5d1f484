"""Foreign collections of image sets: read into the contract of `mining.sets`, and their records written back."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mining.sets.importers.formats import FORMATS
    from mining.sets.importers.import_config import ImportConfig
    from mining.sets.importers.importing import import_sets
    from mining.sets.importers.restoring import export_records, write_records

__all__ = ["FORMATS", "ImportConfig", "export_records", "import_sets", "write_records"]

_MODULES = {
    "FORMATS": "formats",
    "ImportConfig": "import_config",
    "export_records": "restoring",
    "import_sets": "importing",
    "write_records": "restoring",
}


# Imported when they are first used: the list of formats needs no images.
def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"mining.sets.importers.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
