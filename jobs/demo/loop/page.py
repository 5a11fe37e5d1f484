"""The loop's page: what each model says of held-out pairs beside the truth, and the scores. One HTML file.

What models say is data and is escaped. `jobs.demo.loop.gather` gathers what is shown here.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from jobs.demo.report import REPORT_STYLE, Stage, stages_table

__all__ = ["ComparedPair", "LoopPage", "ModelScores", "SaidItem", "render_loop_page"]


@dataclass(frozen=True)
class SaidItem:
    """One commonality or difference that a model stated. right: by the truth; None where no fact was recognised."""

    text: str
    right: bool | None


@dataclass(frozen=True)
class ComparedPair:
    """A held-out pair. images: the two files. truth: (commonalities, differences). said: model -> the same two lists.

    A model without an entry gave no answer that could be read; `raw` then has its text.
    """

    images: tuple[bytes, bytes]
    truth: tuple[Sequence[str], Sequence[str]]
    said: Mapping[str, tuple[Sequence[SaidItem], Sequence[SaidItem]]]
    raw: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelScores:
    """A model's column of the table: metric -> (value, interval or note as text)."""

    model: str
    what: str
    scores: dict[str, tuple[float, str]]


@dataclass(frozen=True)
class LoopPage:
    """Everything that the page shows. summary: (number, what it counts)."""

    title: str
    intro: str
    summary: Sequence[tuple[str, str]]
    models: Sequence[ModelScores]
    pairs: Sequence[ComparedPair]
    stages: Sequence[Stage]


_STYLE = """
.pair{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 16px;margin:14px 0}
.pair .images{display:flex;gap:10px}.pair figure{width:144px}.pair figure img{border-color:#c9ced6;image-rendering:auto}
.pair figcaption{font-size:13px;height:auto}.columns{display:grid;grid-template-columns:repeat(var(--n),1fr);gap:8px 18px;margin-top:8px}
.column h4{margin:4px 0;font-size:15px}.column b{font-size:13px;color:var(--soft)}
.column ul{margin:2px 0 8px;padding-left:18px;font-size:14px;line-height:1.4}li.right{color:#1d6e43}li.wrong{color:#b03a2e}
li.right::marker{content:"✓ "}li.wrong::marker{content:"✗ "}li.open{color:var(--soft)}
.raw{font-size:13px;color:var(--soft);overflow-wrap:anywhere}td small{color:var(--soft)}td.best{font-weight:700}
@media(max-width:860px){.columns{grid-template-columns:1fr}}
"""


def render_loop_page(page: LoopPage) -> str:
    """The page as HTML text."""
    numbers = "".join(f"<div><b>{escape(number)}</b><span>{escape(what)}</span></div>" for number, what in page.summary)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(page.title)}</title><style>{REPORT_STYLE}{_STYLE}</style></head><body><main>
<h1>{escape(page.title)}</h1>
<p>{escape(page.intro)}</p>
<div class="numbers">{numbers}</div>
<h2>Before and after</h2>
<p>On held-out scenes. In brackets: the 95% interval. The best value of each row is bold.</p>
{_scores(page.models)}
<h2>What each model says of held-out pairs</h2>
<p>A green item is true of the two scenes, a red one is not; a gray one states no fact that could be checked. Beside them
all true items.</p>
{"".join(_pair(pair, [model.model for model in page.models]) for pair in page.pairs)}
<h2>Time</h2>
{stages_table(page.stages)}
</main></body></html>
"""


def _scores(models: Sequence[ModelScores]) -> str:
    metrics = list(dict.fromkeys(metric for model in models for metric in model.scores))
    best = {metric: max(model.scores[metric][0] for model in models if metric in model.scores) for metric in metrics}
    head = "".join(f'<th class="n">{escape(model.model)}</th>' for model in models)
    rows = []
    for metric in metrics:
        cells = "".join(_cell(model.scores.get(metric), best[metric]) for model in models)
        rows.append(f"<tr><td>{escape(metric)}</td>{cells}</tr>")
    about = "".join(f"<li><b>{escape(model.model)}</b>: {escape(model.what)}</li>" for model in models)
    return f'<ul>{about}</ul><div class="scroll"><table><tr><th></th>{head}</tr>{"".join(rows)}</table></div>'


def _cell(score: tuple[float, str] | None, best: float) -> str:
    if score is None:
        return '<td class="n">-</td>'
    value, note = score
    shown = "n best" if value == best else "n"
    return f'<td class="{shown}">{value:.1%}<br><small>{escape(note)}</small></td>'


def _pair(pair: ComparedPair, models: Sequence[str]) -> str:
    figures = "".join(_figure(data, f"image {number}") for number, data in enumerate(pair.images, 1))
    names = [name for name in models if name in pair.said or name in pair.raw]
    columns = [_column(name, pair.said[name]) if name in pair.said else _raw(name, pair.raw[name]) for name in names]
    common, different = ([SaidItem(text, True) for text in texts] for texts in pair.truth)
    truth = _column("truth", (common, different), marked=False)
    return (
        f'<section class="pair"><div class="images">{figures}</div>'
        f'<div class="columns" style="--n:{len(columns) + 1}">{"".join(columns)}{truth}</div></section>'
    )


def _column(name: str, said: tuple[Sequence[SaidItem], Sequence[SaidItem]], marked: bool = True) -> str:
    lists = "".join(
        f"<b>{title}</b><ul>{''.join(_item(item, marked) for item in items) or '<li class=open>none</li>'}</ul>"
        for title, items in zip(("Commonalities", "Differences"), said, strict=True)
    )
    return f'<div class="column"><h4>{escape(name)}</h4>{lists}</div>'


def _item(item: SaidItem, marked: bool) -> str:
    shown = {True: "right", False: "wrong", None: "open"}[item.right] if marked else ""
    return f'<li class="{shown}">{escape(item.text)}</li>'


def _raw(name: str, text: str) -> str:
    return f'<div class="column"><h4>{escape(name)}</h4><b>not a comparison</b><p class="raw">{escape(text[:600])}</p></div>'


def _figure(data: bytes, name: str) -> str:
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return f'<figure><img loading="lazy" alt="{name}" src="{source}"><figcaption>{name}</figcaption></figure>'
