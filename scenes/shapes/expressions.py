"""Arithmetic in drawing data: numbers, parameter names and + - * / ( ), calculated without running code."""

from __future__ import annotations

import re
from collections.abc import Mapping

_TOKEN = re.compile(r"\s*(\d+\.?\d*|\.\d+|[A-Za-z_]\w*|[-+*/()])")

Params = dict[str, float | str]


class GrammarError(ValueError):
    """A drawing is malformed; the message names the line."""


def calculate(text: str, params: Mapping[str, float | str]) -> float:
    """The value of an expression of numbers, parameter names and + - * / ( ). Raises GrammarError."""
    tokens, position = [], 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise GrammarError(f"can't read {text!r} as a number or expression")
        tokens.append(match.group(1))
        position = match.end()
    tokens.append("")
    at = 0

    def atom() -> float:
        nonlocal at
        token = tokens[at]
        at += 1
        if token == "-":
            return -atom()
        if token == "+":
            return atom()
        if token == "(":
            value = total()
            if tokens[at] != ")":
                raise GrammarError(f"missing ) in {text!r}")
            at += 1
            return value
        if token and (token[0].isdigit() or token[0] == "."):
            return float(token)
        value_of = params.get(token)
        if value_of is None or isinstance(value_of, str):
            raise GrammarError(f"{token!r} in {text!r} is not a number or numeric parameter")
        return value_of

    def product() -> float:
        nonlocal at
        value = atom()
        while tokens[at] in ("*", "/") and tokens[at]:
            at += 1
            if tokens[at - 1] == "*":
                value *= atom()
            else:
                divisor = atom()
                if divisor == 0:
                    raise GrammarError(f"division by zero in {text!r}")
                value /= divisor
        return value

    def total() -> float:
        nonlocal at
        value = product()
        while tokens[at] in ("+", "-") and tokens[at]:
            at += 1
            value = value + product() if tokens[at - 1] == "+" else value - product()
        return value

    result = total()
    if tokens[at]:
        raise GrammarError(f"can't read {text!r} as a number or expression")
    return result
