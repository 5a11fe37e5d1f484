"""`X-Robots-Tag`, the header by which the owner of an image forbids uses of it, to all or to named agents.

    X-Robots-Tag: noai                          to all
    X-Robots-Tag: otherbot: noai, noimageindex  to this agent only
    X-Robots-Tag: max-snippet: 10, noindex      a directive with a value names no agent

Format: Google's specification of X-Robots-Tag; `noai` and `noimageai` are DeviantArt's, `noml` is Mojeek's.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

__all__ = ["is_disallowed"]

_AGENT = re.compile(r"([A-Za-z*][\w.*/-]*)\s*:\s*(.*)", re.DOTALL)
_WITH_VALUE = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})
_MEANS = {"none": ("noindex", "nofollow")}  # by Google's specification


def is_disallowed(values: Iterable[str], agent: str | None, directives: Collection[str]) -> bool:
    """Whether one of `directives` (lower case) is among the header's `values`, for all agents or for `agent`."""
    ours = (agent or "").strip().lower()
    for value in values:
        addressed = True
        for entry in value.split(","):
            named = _AGENT.match(entry.strip())
            directive = entry
            if named and named[1].lower() not in _WITH_VALUE:
                addressed = named[1].lower() in ("*", ours)
                directive = named[2]
            word = directive.strip().lower()
            if addressed and any(meant in directives for meant in _MEANS.get(word, (word,))):
                return True
    return False
