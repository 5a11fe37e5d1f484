"""Loading checkpoints with transformers, quietly, and with what is wrong in one line."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from index.errors import BadInput, ClipmineError

__all__ = ["load_weights", "loading", "quiet"]

_SHOWN = 3  # names of weights in a message
# Buffers that older versions of transformers stored; they follow from the configuration.
_COMPUTED = re.compile(r"(rotary_emb\.inv_freq|position_ids|rotary_emb\.\w+_cached)$")


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' progress bars, reports and warnings."""
    from transformers.utils import logging as transformers_logging

    logging: Any = transformers_logging
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


@contextmanager
def loading(folder: Path) -> Iterator[None]:
    """`quiet`, and transformers' errors become BadInput that names `folder`."""
    try:
        with quiet():
            yield
    except ClipmineError:
        raise
    except Exception as error:  # of a damaged or foreign folder: any of several libraries' exceptions
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise BadInput(f"{folder}: cannot be loaded: {' '.join(lines[:2])[:300]}") from error


def load_weights(kind: Any, folder: Path, dtype: torch.dtype, ignore: str | None = None, config: Any = None) -> Any:
    """A model of the transformers class `kind` with a folder's weights, each of which must be there and belong to it.

    Args:
        ignore: a pattern of names that the checkpoint may have beside the model's.
        config: the model's configuration, where it is not the folder's.

    Raises:
        BadInput: the folder cannot be loaded, lacks weights of the model, or has others.
    """
    own = {} if config is None else {"config": config}
    with loading(folder):
        model, report = kind.from_pretrained(
            str(folder), dtype=dtype, output_loading_info=True, trust_remote_code=False, **own
        )
    _check_report(report, folder, ignore)
    return model


def _check_report(report: Mapping[str, Any], folder: Path, ignore: str | None) -> None:
    mismatched = sorted(str(entry[0] if isinstance(entry, tuple) else entry) for entry in report["mismatched_keys"])
    missing = sorted(name for name in report["missing_keys"] if not _COMPUTED.search(name))
    unexpected = sorted(name for name in report["unexpected_keys"] if not _COMPUTED.search(name))
    if ignore is not None:
        unexpected = [name for name in unexpected if not re.search(ignore, name)]
    for names, what in (
        (mismatched, "have another shape than its config.json says"),
        (missing, "are missing"),
        (unexpected, "belong to no part of the model"),
    ):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            raise BadInput(f"{folder}: weights {what}: {', '.join(names[:_SHOWN])}{more}")
