"""The colour names of the drawing grammar: fixed colours, and roles that follow an object's colour (`palette.py`)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from scenes.shapes.expressions import GrammarError, calculate

FIXED_COLORS: dict[str, tuple[float, float, float]] = {  # hue, saturation, lightness
    "black": (0.62, 0.10, 0.11),
    "white": (0.12, 0.20, 0.96),
    "grey": (0.60, 0.05, 0.55),
    "darkgrey": (0.62, 0.08, 0.28),
    "lightgrey": (0.60, 0.08, 0.78),
    "red": (0.995, 0.75, 0.50),
    "orange": (0.075, 0.90, 0.54),
    "yellow": (0.135, 0.92, 0.57),
    "green": (0.34, 0.52, 0.42),
    "blue": (0.58, 0.65, 0.48),
    "purple": (0.77, 0.45, 0.48),
    "pink": (0.95, 0.65, 0.76),
    "brown": (0.065, 0.48, 0.30),
    "cream": (0.115, 0.60, 0.87),
    "tan": (0.095, 0.42, 0.66),
    "wood": (0.075, 0.48, 0.44),
    "darkwood": (0.065, 0.50, 0.28),
    "bark": (0.075, 0.30, 0.30),
    "leaf": (0.30, 0.52, 0.38),
    "grass": (0.26, 0.50, 0.45),
    "metal": (0.58, 0.10, 0.66),
    "steel": (0.58, 0.12, 0.45),
    "gold": (0.125, 0.75, 0.52),
    "glass": (0.54, 0.55, 0.80),
    "window": (0.56, 0.45, 0.68),
    "tire": (0.65, 0.08, 0.18),
    "rubber": (0.65, 0.06, 0.24),
    "skin": (0.065, 0.55, 0.74),
    "hair": (0.07, 0.45, 0.22),
    "horn": (0.10, 0.28, 0.74),
    "beak": (0.105, 0.88, 0.55),
    "paper": (0.13, 0.30, 0.93),
    "water": (0.56, 0.60, 0.60),
    "flame": (0.09, 0.95, 0.56),
    "ink": (0.64, 0.30, 0.14),
    "stone": (0.10, 0.06, 0.58),
}
# Colours derived from the object's own one; a type may set `accent` and `belly` itself.
ROLES = ("main", "dark", "light", "pale", "accent", "belly")
_HSL = re.compile(r"hsl\(([\d.]+),([\d.]+),([\d.]+)\)")


def parse_color(token: str, params: Mapping[str, float | str], known: Sequence[str]) -> tuple[str, float]:
    """(colour, lightness factor) of a token such as `main`, `main:0.8`, `hsl(0.1,0.5,0.5)` or a parameter's name.

    Raises GrammarError for an unknown colour.
    """
    name, _, factor = token.partition(":")
    shade = calculate(factor, params) if factor else 1.0

    def is_color(word: str) -> bool:
        return word in ROLES or word in FIXED_COLORS or word in known or _HSL.fullmatch(word) is not None

    # A parameter may have the name of a colour (horn=curved); its value replaces the name only if it is a colour too.
    for _ in range(4):
        value = params.get(name)
        if isinstance(value, str) and value != name and (is_color(value.partition(":")[0]) or value in params):
            name, _, factor = value.partition(":")
            shade *= calculate(factor, params) if factor else 1.0
    if is_color(name):
        return name, shade
    raise GrammarError(f"unknown colour {name!r}")


def explicit_color(name: str) -> tuple[float, float, float] | None:
    """(hue, saturation, lightness) of a fixed or hsl(...) colour; None for a role."""
    match = _HSL.fullmatch(name)
    if match:
        return float(match[1]), float(match[2]), float(match[3])
    return FIXED_COLORS.get(name)
