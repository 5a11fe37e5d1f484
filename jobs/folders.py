"""What a folder is that was given to a command that does not take it, and which command does."""

from __future__ import annotations

import json

from index.errors import BadInput
from index.files import exists, is_local, join, local_path, read_bytes

__all__ = ["refuse_other_folder"]

# Files that tell a folder, what the folder is, and what takes it.
_BY_FILE = (
    ("tune.json", "a tuned model", "clipmine evaluate {} --task ..., or clipmine annotate PAIRS --model {}"),
    ("adapter_config.json", "an adapter of a model", "clipmine evaluate {} --task ..."),
    ("open_clip_config.json", "a CLIP model", "clipmine evaluate {} --task ..., or clipmine embed --model-dir {}"),
    ("lmm_results.json", "the results of clipmine evaluate", "read lmm_results.txt in it"),
)
# The same by the `format` of its manifest.json.
_BY_FORMAT = {
    "clipmine-image-sets": (
        "image sets",
        "clipmine annotate {}, clipmine tune --data {}; as tars: mining.export.to_webdataset",
    ),
    "clipmine-image-set-tars": ("tars of image sets", "clipmine tune --data {}"),
    "clipmine-selection": ("a selection", "clipmine export {}, or clipmine customize {}"),
    "clipmine-store": ("a store", "clipmine retrieve {}, or clipmine mine {}"),
}


def refuse_other_folder(path: str, taken: str) -> None:
    """Raise BadInput where the folder is of another known kind than `taken`, such as "a store"."""
    if not is_local(path) or not local_path(path).is_dir():
        return
    found = next(((what, takes) for name, what, takes in _BY_FILE if exists(join(path, name))), None)
    found = found or _by_manifest(path)
    if found is not None and found[0] not in taken:
        raise BadInput(f"{path}: is {found[0]}, not {taken}; what takes it: {found[1].format(*[path] * 2)}")


def _by_manifest(path: str) -> tuple[str, str] | None:
    try:
        manifest = json.loads(read_bytes(join(path, "manifest.json")))
    except (OSError, ValueError):
        return None
    return _BY_FORMAT.get(str(manifest.get("format"))) if isinstance(manifest, dict) else None
