"""The figures as lines of a table."""

from __future__ import annotations

from benchmarks.service_attack.measure import Quiet, Row

__all__ = ["HEAD", "line_of", "quiet_line"]

HEAD = (
    f"{'attack':26} {'probe ms':>9} {'failed':>6} {'+MB':>7} {'back s':>7} {'searches':>8} {'failed':>6} {'lists':>5} "
    f"{'p99 x':>7}  {'verdict':28} attacker got"
)


def quiet_line(quiet: Quiet) -> str:
    """The service at rest, in a sentence."""
    return (
        f"at rest: {quiet.searches} searches, p99 {quiet.p99 * 1e3:.1f} ms, longest probe "
        f"{quiet.longest_probe * 1e3:.0f} ms, {quiet.mb:,.0f} MB"
    )


def line_of(row: Row) -> str:
    """A row of the table; the verdict names what missed its target."""
    back = "never" if row.back_after is None else f"{row.back_after:.1f}"
    got = ", ".join(f"{status}: {count:,}" for status, count in sorted(row.got.items(), key=lambda item: -item[1])[:5])
    word = (
        "DIED" if row.died else ("stopped: " if row.stopped else "") + (", ".join(map(_short, row.verdict)) or "holds")
    )
    said = f" ({'; '.join(row.said)})" if row.said else ""
    return (
        f"{row.attack:26} {row.longest_probe * 1e3:9,.0f} {row.failed_probes:6} {row.above_rest_mb:7,.0f} {back:>7} "
        f"{row.searches:8,} {row.failed_searches:6} {row.failed_lists:5} {row.p99_ratio:7.1f}  {word:28} {got}{said}"
    )


def _short(name: str) -> str:
    names = {
        "longest_probe": "probe", "above_rest_mb": "memory", "back_after": "back", "failed_searches": "failed",
        "p99_ratio": "p99", "failed_probes": "probes failed", "redirected": "redirected",
    }  # fmt: skip
    return names[name]
