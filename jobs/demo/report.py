"""The demo's report: one self-contained HTML file, rendered from the plain data that `jobs.demo.run` gathers.

Captions and names are data and are escaped.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from jobs.demo.report_customize import CUSTOMIZE_STYLE, CustomizeReport, customize_section
from jobs.demo.report_pairs import PAIRS_STYLE, PairStrip, pairs_section
from jobs.progress import duration


@dataclass(frozen=True)
class Stage:
    """One stage of the demo: what it did, the rows it handled and the seconds it took."""

    name: str
    what: str
    rows: int
    seconds: float


@dataclass(frozen=True)
class Hit:
    """A retrieved picture: its bytes from the corpus, caption, cosine, and whether the scene shows the concept."""

    image: bytes
    caption: str
    score: float
    right: bool


@dataclass(frozen=True)
class ConceptHits:
    """What T2I and T2T returned for one concept, best first; `group`: how often pretraining showed it."""

    concept: str
    group: str
    t2i: Sequence[Hit]
    t2t: Sequence[Hit]
    selected: int


@dataclass(frozen=True)
class RecallCurve:
    """Recall@10 and @100 of one index over efSearch, and the efSearch that searches use."""

    modality: str
    ef_search: Sequence[int]
    recall_at_10: Sequence[float]
    recall_at_100: Sequence[float]
    chosen: int
    target: float


@dataclass(frozen=True)
class Report:
    """Everything that the report shows."""

    title: str
    summary: Sequence[tuple[str, str]]  # number, what it counts
    stages: Sequence[Stage]
    curves: Sequence[RecallCurve]
    concepts: Sequence[ConceptHits]
    rules: Sequence[tuple[str, str, int]]  # rule, what it does, rows dropped
    hits: int
    selected: int
    plans: Sequence[str]
    commands: Sequence[str] = field(default_factory=list)
    pairs: Sequence[PairStrip] = field(default_factory=list)
    customized: CustomizeReport | None = None


REPORT_STYLE = """
:root{--ink:#1c2430;--soft:#5b6675;--line:#dfe4ea;--card:#fff;--page:#f5f7f9;--blue:#2563a8;--orange:#c8641b;--ok:#2e8b57}
*{box-sizing:border-box}body{margin:0;font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page)}
main{max-width:1120px;margin:0 auto;padding:24px 20px 60px}h1{font-size:28px;margin:8px 0 4px}h2{margin:40px 0 8px;font-size:21px}
p{margin:6px 0 12px;color:var(--soft);max-width:75ch}.numbers{display:flex;flex-wrap:wrap;gap:12px;margin:18px 0}
.numbers div{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:10px 16px;min-width:120px}
.numbers b{display:block;font-size:22px}.numbers span{color:var(--soft);font-size:14px}
table{border-collapse:collapse;background:var(--card);border:1px solid var(--line);border-radius:10px;width:100%;font-size:15px}
td,th{padding:6px 12px;text-align:left;border-top:1px solid var(--line)}th{color:var(--soft);font-weight:600;border-top:0}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}.bar{height:10px;background:var(--blue);border-radius:5px}
.concept{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 16px;margin:12px 0}
.concept h3{margin:0 0 6px;font-size:17px}.concept h3 small{color:var(--soft);font-weight:400;margin-left:8px}
.ways{display:grid;grid-template-columns:1fr 1fr;gap:8px 20px}.way b{font-size:13px;color:var(--soft)}
.strip{display:grid;grid-template-columns:repeat(8,1fr);gap:4px}figure{margin:0;min-width:0}
figure img{width:100%;display:block;border-radius:5px;border:3px solid #c9ced6}figure.right img{border-color:var(--ok)}
figcaption{font-size:10px;line-height:1.25;color:var(--soft);height:38px;overflow:hidden;overflow-wrap:anywhere;margin-top:2px}
.curves{display:flex;flex-wrap:wrap;gap:16px}.curves svg{background:var(--card);border:1px solid var(--line);border-radius:10px;max-width:100%}
code,pre{font:13px/1.6 ui-monospace,monospace}pre{background:#1c2430;color:#e8edf2;padding:14px 18px;border-radius:10px;overflow-x:auto}
.scroll{overflow-x:auto}
@media(max-width:860px){.ways{grid-template-columns:1fr}}@media(max-width:480px){.strip{grid-template-columns:repeat(4,1fr)}}
"""


def _figure(hit: Hit) -> str:
    kind = "png" if hit.image.startswith(b"\x89PNG") else "jpeg"
    data = base64.b64encode(hit.image).decode()
    shown = "right" if hit.right else "other"
    caption = escape(hit.caption, quote=True)
    return (
        f'<figure class="{shown}" title="{caption} ({hit.score:.3f})"><img loading="lazy" alt="{caption}" '
        f'src="data:image/{kind};base64,{data}"><figcaption>{hit.score:.2f} {caption}</figcaption></figure>'
    )


def _concept(found: ConceptHits) -> str:
    ways = []
    for name, hits in (("text → image (T2I)", found.t2i), ("text → text (T2T)", found.t2t)):
        right = sum(hit.right for hit in hits)
        ways.append(
            f'<div class="way"><b>{name}: {right} of {len(hits)} show it</b>'
            f'<div class="strip">{"".join(map(_figure, hits))}</div></div>'
        )
    return (
        f'<section class="concept"><h3>{escape(found.concept)}<small>{escape(found.group)} · '
        f'{found.selected:,} rows selected</small></h3><div class="ways">{"".join(ways)}</div></section>'
    )


def stages_table(stages: Sequence[Stage]) -> str:
    longest = max((stage.seconds for stage in stages), default=1.0) or 1.0
    rows = []
    for stage in stages:
        rate = f"{stage.rows / stage.seconds:,.0f}" if stage.seconds > 0 and stage.rows else ""
        rows.append(
            f'<tr><td>{escape(stage.name)}</td><td>{escape(stage.what)}</td><td class="n">{stage.rows:,}</td>'
            f'<td class="n">{duration(stage.seconds)}</td><td class="n">{rate}</td>'
            f'<td style="width:22%"><div class="bar" style="width:{max(1, 100 * stage.seconds / longest):.0f}%"></div></td></tr>'
        )
    total = sum(stage.seconds for stage in stages)
    return (
        '<div class="scroll"><table><tr><th>stage</th><th>what it does</th><th class="n">rows</th><th class="n">time</th>'
        f'<th class="n">rows/s</th><th></th></tr>{"".join(rows)}'
        f'<tr><td>total</td><td></td><td></td><td class="n">{duration(total)}</td><td></td><td></td></tr></table></div>'
    )


def _curve(curve: RecallCurve) -> str:
    """Recall over efSearch (log scale), the target as a line, the efSearch that searches use as a ring."""
    from math import log2

    wide, high, left, top, right, bottom = 520, 280, 52, 34, 14, 44
    lowest = min([*curve.recall_at_10, *curve.recall_at_100, curve.target])
    floor = max(0.0, int(lowest * 20 - 0.5) / 20)
    first, last = log2(curve.ef_search[0]), log2(curve.ef_search[-1])

    def x(ef: float) -> float:
        return left + (wide - left - right) * (log2(ef) - first) / ((last - first) or 1)

    def y(recall: float) -> float:
        return top + (high - top - bottom) * (1 - recall) / ((1 - floor) or 1)

    parts = [
        f'<text x="{left}" y="20" font-weight="600">{escape(curve.modality)} index: recall against exact search</text>'
    ]
    for step in range(5):
        value = floor + (1 - floor) * step / 4
        parts.append(
            f'<line x1="{left}" x2="{wide - right}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#e6eaef"/>'
            f'<text x="{left - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.3f}</text>'
        )
    for ef in curve.ef_search:
        parts.append(f'<text x="{x(ef):.1f}" y="{high - bottom + 16}" text-anchor="middle">{ef}</text>')
    parts.append(f'<text x="{(left + wide - right) / 2}" y="{high - 8}" text-anchor="middle">efSearch</text>')
    parts.append(
        f'<line x1="{left}" x2="{wide - right}" y1="{y(curve.target):.1f}" y2="{y(curve.target):.1f}" '
        f'stroke="#888" stroke-dasharray="4 4"/><text x="{wide - right}" y="{y(curve.target) - 5:.1f}" '
        f'text-anchor="end">asked recall@10: {curve.target:g}</text>'
    )
    for name, values, colour, place in (
        ("recall@10", curve.recall_at_10, "#2563a8", 20),
        ("recall@100", curve.recall_at_100, "#c8641b", 36),
    ):
        points = " ".join(f"{x(ef):.1f},{y(value):.1f}" for ef, value in zip(curve.ef_search, values, strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.extend(
            f'<circle cx="{x(ef):.1f}" cy="{y(value):.1f}" r="3" fill="{colour}"><title>{name} {value:.4f} at '
            f"efSearch {ef}</title></circle>"
            for ef, value in zip(curve.ef_search, values, strict=True)
        )
        parts.append(
            f'<text x="{wide - right}" y="{high - bottom - place}" text-anchor="end" fill="{colour}">{name}</text>'
        )
    if curve.chosen in curve.ef_search:
        chosen = curve.recall_at_10[list(curve.ef_search).index(curve.chosen)]
        parts.append(
            f'<circle cx="{x(curve.chosen):.1f}" cy="{y(chosen):.1f}" r="8" fill="none" stroke="#2563a8" '
            f'stroke-width="2"><title>in use: efSearch {curve.chosen}, recall@10 {chosen:.4f}</title></circle>'
        )
    return (
        f'<svg viewBox="0 0 {wide} {high}" width="{wide}" role="img" aria-label="recall curve of the {escape(curve.modality)} index" '
        f'font-family="system-ui" font-size="12" fill="#5b6675">{"".join(parts)}</svg>'
    )


def _rules(report: Report) -> str:
    rows = "".join(
        f'<tr><td>{escape(rule)}</td><td>{escape(what)}</td><td class="n">{lost:,}</td></tr>'
        for rule, what, lost in report.rules
    )
    return (
        '<div class="scroll"><table><tr><th>filter</th><th>what it removes</th><th class="n">rows</th></tr>'
        f'<tr><td>searches returned</td><td></td><td class="n">{report.hits:,}</td></tr>{rows}'
        f'<tr><td><b>selected</b></td><td></td><td class="n"><b>{report.selected:,}</b></td></tr></table></div>'
    )


def render_report(report: Report) -> str:
    """The report as HTML text."""
    numbers = "".join(
        f"<div><b>{escape(number)}</b><span>{escape(what)}</span></div>" for number, what in report.summary
    )
    plans = "".join(f"<li>{escape(plan)}</li>" for plan in report.plans)
    commands = escape("\n".join(report.commands))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(report.title)}</title><style>{REPORT_STYLE}{PAIRS_STYLE}{CUSTOMIZE_STYLE}</style></head><body><main>
<h1>{escape(report.title)}</h1>
<p>The pictures below were retrieved from a corpus of drawn scenes with web-like captions, for a list of concepts. What
each scene shows is known: a green frame marks a picture that does show the concept.</p>
<div class="numbers">{numbers}</div>
<h2>What each concept got</h2>
<p>The eight best rows by matching the concept's prompt with images (T2I) and with captions (T2T). Some captions are
wrong, as on the web, so the two differ. Rare concepts were hardly seen when the model was trained.</p>
{"".join(map(_concept, report.concepts))}
{customize_section(report.customized)}
{pairs_section(report.pairs)}
<h2>What each filter removed</h2>
{_rules(report)}
<h2>Recall of the indexes</h2>
<p>Measured with text queries against exact search over the whole store; the ring marks the efSearch that searches use.</p>
<div class="curves">{"".join(map(_curve, report.curves))}</div>
<p>How this search was run:</p><ul>{plans}</ul>
<h2>Time</h2>
{stages_table(report.stages)}
<h2>The same, by hand</h2>
<p>The commands that make all of this. In these folders they find their work done; in others they do it again.</p>
<pre>{commands}</pre>
</main></body></html>
"""
