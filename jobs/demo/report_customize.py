"""The report's section on customizing: zero-shot accuracy before and after, by concept, and changed answers.

`jobs.demo.customize_stage` measures what is shown here. Names are data and are escaped.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

__all__ = ["CUSTOMIZE_STYLE", "ConceptChange", "CustomizeReport", "Flip", "customize_section"]


@dataclass(frozen=True)
class ConceptChange:
    """One concept: the number of its held-out pictures named right, before and after; `group` as in the report."""

    concept: str
    group: str
    pictures: int
    before: int
    after: int


@dataclass(frozen=True)
class Flip:
    """A picture whose answer changed between right and wrong: its bytes, the truth, and both answers."""

    image: bytes
    truth: str
    before: str
    after: str


@dataclass(frozen=True)
class CustomizeReport:
    """Everything that the section shows.

    Attributes:
        before, after: accuracy over all pictures, 0 to 1.
        interval: 95% confidence interval of after - before, paired over pictures.
        gained, lost: number of pictures that went from wrong to right, and from right to wrong.
        gained_shown, lost_shown: a seeded random sample of them.
        seen: training steps times batch size.
        facts: (label, value) about the training run.
    """

    before: float
    after: float
    interval: tuple[float, float]
    pictures: int
    concepts: Sequence[ConceptChange]
    gained: int
    lost: int
    gained_shown: Sequence[Flip]
    lost_shown: Sequence[Flip]
    seen: int
    facts: Sequence[tuple[str, str]] = field(default_factory=list)


CUSTOMIZE_STYLE = """
.flips{display:grid;grid-template-columns:1fr 1fr;gap:8px 20px}.flips figcaption{font-size:12px;height:auto}
.flips .strip{grid-template-columns:repeat(4,1fr)}
td.change{width:30%}.track{position:relative;height:14px;background:#eef1f4;border-radius:4px;min-width:120px}
.track i{position:absolute;top:0;height:14px;border-radius:4px}.track .kept{background:#9db4cd;left:0}
.track .up{background:var(--ok)}.track .down{background:var(--orange)}
@media(max-width:860px){.flips{grid-template-columns:1fr}}
"""


def customize_section(report: CustomizeReport | None) -> str:
    """The section's HTML; an empty string for None."""
    if report is None:
        return ""
    change = report.after - report.before
    low, high = report.interval
    if low > 0:
        verdict = "better, and by more than chance"
    elif high < 0:
        verdict = "worse, and by more than chance"
    else:
        verdict = "not more than chance"
    rows = "".join(map(_row, report.concepts))
    facts = "".join(f"<tr><td>{escape(label)}</td><td>{escape(value)}</td></tr>" for label, value in report.facts)
    return f"""<h2>What customizing changed</h2>
<p>The small CLIP was customized on the selection above, whose captions are as noisy as the web's. Both models then
classified {report.pictures:,} held-out pictures, one object each, into the {len(report.concepts)} concepts by text
prompts (zero-shot). No corpus contains these pictures.</p>
<div class="numbers"><div><b>{report.before:.1%}</b><span>right before</span></div>
<div><b>{report.after:.1%}</b><span>right after</span></div>
<div><b>{100 * change:+.1f}</b><span>points ({100 * low:+.1f} to {100 * high:+.1f}, 95%): {verdict}</span></div>
<div><b>{report.gained:,}</b><span>wrong to right</span></div>
<div><b>{report.lost:,}</b><span>right to wrong</span></div></div>
<div class="scroll"><table><tr><th>concept</th><th></th><th class="n">pictures</th><th class="n">before</th>
<th class="n">after</th><th class="n">change</th><th>green gained, orange lost</th></tr>{rows}</table></div>
<div class="flips">{_flips("From wrong to right", report.gained_shown, right_after=True)}
{_flips("From right to wrong", report.lost_shown, right_after=False)}</div>
<div class="scroll"><table>{facts}</table></div>
"""


def _row(change: ConceptChange) -> str:
    before, after = 100 * change.before / change.pictures, 100 * change.after / change.pictures
    kept, moved = min(before, after), abs(after - before)
    kind = "up" if after >= before else "down"
    return (
        f'<tr><td>{escape(change.concept)}</td><td>{escape(change.group)}</td><td class="n">{change.pictures}</td>'
        f'<td class="n">{before:.0f}%</td><td class="n">{after:.0f}%</td><td class="n">{after - before:+.0f}</td>'
        f'<td class="change"><div class="track"><i class="kept" style="width:{kept:.0f}%"></i>'
        f'<i class="{kind}" style="left:{kept:.0f}%;width:{moved:.0f}%"></i></div></td></tr>'
    )


def _flips(title: str, flips: Sequence[Flip], *, right_after: bool) -> str:
    if not flips:
        return f'<div class="way"><b>{escape(title)}: none</b></div>'
    shown = "".join(_figure(flip, right_after) for flip in flips)
    return f'<div class="way"><b>{escape(title)}</b><div class="strip">{shown}</div></div>'


def _figure(flip: Flip, right_after: bool) -> str:
    kind = "png" if flip.image.startswith(b"\x89PNG") else "jpeg"
    data = base64.b64encode(flip.image).decode()
    said = f"{flip.truth}: {flip.before} → {flip.after}"
    return (
        f'<figure class="{"right" if right_after else "other"}" title="{escape(said, quote=True)}">'
        f'<img loading="lazy" alt="{escape(flip.truth, quote=True)}" src="data:image/{kind};base64,{data}">'
        f"<figcaption><b>{escape(flip.truth)}</b><br>{escape(flip.before)} → {escape(flip.after)}</figcaption></figure>"
    )
