"""The report's section on mined image sets: some sets of each strategy, side by side, with their reasons.

`jobs.demo.pairs_stage` gathers what is shown here. Captions are data and are escaped.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["PAIRS_STYLE", "MinedSet", "PairStrip", "pairs_section"]


@dataclass(frozen=True)
class MinedSet:
    """One image set: (bytes, caption) of its images, its level, and its reasons."""

    images: Sequence[tuple[bytes, str]]
    level: int
    reasons: Sequence[str]


@dataclass(frozen=True)
class PairStrip:
    """Some sets of one strategy; `what`: a line on what it pairs; `made`: the number of sets in all."""

    strategy: str
    what: str
    made: int
    sets: Sequence[MinedSet]


PAIRS_STYLE = """
.sets{display:grid;grid-template-columns:repeat(4,1fr);gap:12px 18px}.set .images{display:grid;gap:4px}
.set .images{grid-template-columns:repeat(auto-fit,minmax(30%,1fr))}.set .images img{border-color:#c9ced6}
.set p{font-size:12px;line-height:1.35;margin:4px 0 0}.set figcaption{height:26px}
@media(max-width:860px){.sets{grid-template-columns:1fr 1fr}}@media(max-width:480px){.sets{grid-template-columns:1fr}}
"""


def pairs_section(strips: Sequence[PairStrip]) -> str:
    """The section's HTML; an empty string without strips."""
    if not strips:
        return ""
    return (
        "<h2>Mined pairs</h2>\n<p>Each strategy mines its own kind of pair from the same store and gives its reasons. "
        "The pairs shown are a seeded random sample.</p>\n" + "".join(map(_strip, strips))
    )


def _strip(strip: PairStrip) -> str:
    what = f"{escape(strip.what)} · {strip.made:,} made"
    sets = "".join(map(_set, strip.sets))
    return (
        f'<section class="concept"><h3>{escape(strip.strategy)}<small>{what}</small></h3>'
        f'<div class="sets">{sets}</div></section>'
    )


def _set(mined: MinedSet) -> str:
    images = "".join(_image(data, caption) for data, caption in mined.images)
    level = f"level {mined.level}: " if mined.level else ""
    return f'<div class="set"><div class="images">{images}</div><p>{escape(level + "; ".join(mined.reasons))}</p></div>'


def _image(data: bytes, caption: str) -> str:
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    text = escape(caption, quote=True)
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    shown = f'<img loading="lazy" alt="{text}" src="{source}">'
    return f'<figure title="{text}">{shown}<figcaption>{text}</figcaption></figure>'
