"""The drawing grammar: expands the "draw" data of a type into parts with numbers, joints and poses.

A part is one line of text, `shape colour numbers... options...`, as GRAMMAR.md describes. A body plan is a list of such
lines with named parameters; a type sets the parameters and adds lines of its own. No data is run as code.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from scenes.shapes.colors import parse_color
from scenes.shapes.expressions import GrammarError, Params, calculate
from scenes.shapes.primitives import SHAPES

FLAGS = ("f", "in", "far", "flat", "noline")
KEYS = ("g", "f", "rot", "r", "mir", "rep", "around", "in", "id", "a", "if", "only", "not", "over", "under")
DRAW_KEYS = ("plan", "set", "parts", "back", "groups", "poses", "colors", "stretch", "drop")
PLAN_KEYS = ("params", "let", "parts", "groups", "poses", "colors", "stretch")


@dataclasses.dataclass(frozen=True)
class Part:
    """One line of a drawing, with all expressions calculated."""

    shape: str
    color: str  # a role, a fixed colour, or hsl(h,s,l)
    shade: float  # factor of the colour's lightness
    numbers: tuple[float, ...]
    group: str = "all"
    feature: tuple[float, float] | None = None  # point about which part_scale scales the part
    rotation: float = 0.0
    radius: float = 0.0
    mirror: float | None = None  # x about which a second copy is mirrored
    repeat: tuple[float, float, float] = (1, 0, 0)  # count, dx, dy
    around: tuple[float, float, float, float] = (1, 0, 0, 360)  # count, cx, cy, degrees over which the copies spread
    clip: str | None = None  # id of the part it is drawn inside of; "": the nearest earlier part without clip
    id: str = ""
    alpha: float = 1.0
    far: bool = False
    flat: bool = False
    outlined: bool = True
    only: tuple[str, ...] = ()  # the only poses it is drawn in; (): all
    without: tuple[str, ...] = ()  # poses it is not drawn in


@dataclasses.dataclass(frozen=True)
class Joint:
    """The point that a group turns about, and the group that it moves with."""

    pivot: tuple[float, float]
    parent: str


@dataclasses.dataclass(frozen=True)
class Drawing:
    """The geometry of a type in its own units; y points up, and the object faces right."""

    parts: tuple[Part, ...]
    joints: Mapping[str, Joint]
    poses: Mapping[str, Mapping[str, tuple[float, float, float, float, float]]]  # joint: degrees, dx, dy, sx, sy
    air: frozenset[str]  # poses off the ground, whose shadow falls below the object
    colors: Mapping[str, str]
    stretch: str  # direction of elongation: "x", "y", or "" for the longer side


def _holds(condition: str, params: Params) -> bool:
    """Whether an if= holds: terms `ear:pointed|round`, `horns` (not 0, none or no) or `!horns`, joined by &."""
    for term in condition.split("&"):
        wanted = not term.startswith("!")
        name, _, values = term.lstrip("!").partition(":")
        if name not in params:
            raise GrammarError(f"if= asks for an unknown parameter {name!r}")
        value = params[name]
        holds = str(value) in values.split("|") if values else value not in (0, 0.0, "", "none", "no")
        if holds != wanted:
            return False
    return True


def _settings(data: Any, where: str) -> Params:
    """Parameters from `"leg=30 ear=pointed"` or from a mapping."""
    if isinstance(data, str):
        pairs = [token.partition("=")[::2] for token in data.split()]
    elif isinstance(data, Mapping):
        pairs = [(str(k), str(v)) for k, v in data.items()]
    else:
        raise GrammarError(f"{where} must be text or an object")
    result: Params = {}
    for name, value in pairs:
        if not value:
            raise GrammarError(f"{where}: {name!r} has no value")
        try:
            result[name] = float(value)
        except ValueError:
            result[name] = value
    return result


def _parse_part(
    text: str, params: Params, joints: Mapping[str, Joint], known_colors: Sequence[str]
) -> tuple[Part, str, str] | None:
    """(part, id it is drawn over, id it is drawn under) of a line; None when its if= does not hold."""
    words = text.split()
    options: dict[str, str] = {}
    numbers: list[str] = []
    for word in words[2:]:
        key, equals, value = word.partition("=")
        if equals:
            if key not in KEYS:
                raise GrammarError(f"unknown option {key!r} (known: {', '.join(KEYS)}; flags {', '.join(FLAGS)})")
            options[key] = value
        elif word in FLAGS:
            options[word] = ""
        else:
            numbers.append(word)
    if "if" in options and not _holds(options["if"], params):
        return None
    if len(words) < 2 or words[0] not in SHAPES:
        raise GrammarError(f"unknown shape {words[0] if words else ''!r} (known: {', '.join(SHAPES)})")
    color, shade = parse_color(words[1], params, known_colors)
    group = options.get("g", "all")
    if group not in joints:
        raise GrammarError(f"unknown group {group!r} (known: {', '.join(joints)})")

    def listed(key: str, least: int, default: tuple[float, ...]) -> tuple[float, ...]:
        if key not in options:
            return default
        values = tuple(calculate(v, params) for v in options[key].split(","))
        if len(values) < least or len(values) > len(default):
            raise GrammarError(f"{key}= takes {least} to {len(default)} values")
        return values + default[len(values) :]

    feature: tuple[float, float] | None = None
    if "f" in options:
        feature = joints[group].pivot
        if options["f"]:
            anchor = [calculate(v, params) for v in options["f"].split(",")]
            if len(anchor) != 2:
                raise GrammarError("f= takes x,y")
            feature = (anchor[0], anchor[1])
    one = {key: listed(key, 1, (0.0,))[0] for key in ("rot", "r")}
    repeat, around = listed("rep", 3, (1.0, 0.0, 0.0)), listed("around", 3, (1.0, 0.0, 0.0, 360.0))
    part = Part(
        shape=words[0],
        color=color,
        shade=shade,
        numbers=tuple(calculate(n, params) for n in numbers),
        group=group,
        feature=feature,
        rotation=one["rot"],
        radius=one["r"],
        mirror=listed("mir", 1, (0.0,))[0] if "mir" in options else None,
        repeat=(repeat[0], repeat[1], repeat[2]),
        around=(around[0], around[1], around[2], around[3]),
        clip=options.get("in"),
        id=options.get("id", ""),
        alpha=listed("a", 1, (1.0,))[0],
        far="far" in options,
        flat="flat" in options,
        outlined="noline" not in options,
        only=tuple(options["only"].split(",")) if "only" in options else (),
        without=tuple(options["not"].split(",")) if "not" in options else (),
    )
    return part, options.get("over", ""), options.get("under", "")


def _joints(data: Mapping[str, Any], params: Params) -> dict[str, Joint]:
    """Joints from `{"head": "30 60"}`, or with the parent group, `{"jaw": "40 55 head"}`."""
    result = {"all": Joint((0.0, 0.0), "")}
    for name, text in data.items():
        words = str(text).split()
        parent = words[2] if len(words) == 3 else "all"
        if len(words) not in (2, 3) or parent not in result:
            raise GrammarError(f"group {name!r} needs 'x y' or 'x y parent', the parent before it; got {text!r}")
        result[name] = Joint((calculate(words[0], params), calculate(words[1], params)), parent)
    return result


def _pose(
    name: str, data: Mapping[str, Any], joints: Mapping[str, Joint], params: Params
) -> dict[str, tuple[float, ...]]:
    result: dict[str, tuple[float, ...]] = {}
    for group, value in data.items():
        if group == "air":
            continue
        if group not in joints:
            raise GrammarError(f"pose {name!r} moves an unknown group {group!r} (known: {', '.join(joints)})")
        values = value if isinstance(value, list) else [value]
        numbers = tuple(calculate(str(v), params) for v in values)
        if not 1 <= len(numbers) <= 5 or len(numbers) == 4:
            raise GrammarError(f"pose {name!r}, {group!r}: degrees, or [degrees, dx, dy], or [degrees, dx, dy, sx, sy]")
        result[group] = numbers + (0.0, 0.0, 0.0, 1.0, 1.0)[len(numbers) :]
    return result


def expand(draw: Mapping[str, Any], plans: Mapping[str, Mapping[str, Any]]) -> Drawing:
    """The drawing of a type's "draw" data, with the body plans by name. Raises GrammarError, which names the line."""
    unknown = set(draw) - set(DRAW_KEYS)
    if unknown:
        raise GrammarError(f"unknown key {sorted(unknown)[0]!r} in draw (known: {', '.join(DRAW_KEYS)})")
    plan: Mapping[str, Any] = {}
    if "plan" in draw:
        if draw["plan"] not in plans:
            raise GrammarError(f"unknown plan {draw['plan']!r} (known: {', '.join(plans)})")
        plan = plans[draw["plan"]]
        unknown = set(plan) - set(PLAN_KEYS)
        if unknown:
            raise GrammarError(f"unknown key {sorted(unknown)[0]!r} in plan {draw['plan']!r}")
    params = _settings(plan.get("params", {}), "params")
    given = _settings(draw.get("set", {}), "set")
    derived = plan.get("let", {})
    for name in given:
        if plan and name not in params and name not in derived:
            raise GrammarError(f"plan {draw['plan']!r} has no parameter {name!r} (it has: {', '.join(params)})")
    params.update(given)
    for name, expression in derived.items():
        if name not in given:
            params[name] = calculate(str(expression), params)

    colors = {str(k): str(v) for k, v in {**plan.get("colors", {}), **draw.get("colors", {})}.items()}
    for name, value in colors.items():
        resolved, shade = parse_color(value, params, ())
        colors[name] = f"{resolved}:{shade}"
    joints = _joints({**plan.get("groups", {}), **draw.get("groups", {})}, params)

    def lines(texts: Sequence[str]) -> list[tuple[Part, str, str]]:
        result = []
        for text in texts:
            try:
                parsed = _parse_part(text, params, joints, tuple(colors))
                if parsed is not None:
                    SHAPES[parsed[0].shape](parsed[0].numbers, {"r": parsed[0].radius})
                    result.append(parsed)
            except ValueError as error:
                raise GrammarError(f"{error} in the line {text!r}") from None
        return result

    parts = [part for part, _, _ in lines(plan.get("parts", ())) if part.id not in draw.get("drop", ()) or not part.id]
    parts = [part for part, _, _ in lines(draw.get("back", ()))] + parts
    for part, over, under in lines(draw.get("parts", ())):
        place = over or under
        if not place:
            parts.append(part)
            continue
        spots = [i for i, other in enumerate(parts) if other.id == place]
        if not spots:
            raise GrammarError(f"over/under names an unknown id {place!r}")
        parts.insert(spots[-1] + 1 if over else spots[0], part)
    if not parts:
        raise GrammarError("draws nothing")

    posed = {**plan.get("poses", {}), **draw.get("poses", {})}
    for part in parts:
        for name in (*part.only, *part.without):
            if name not in posed:
                raise GrammarError(f"only/not names an unknown pose {name!r}")
    poses = {name: _pose(name, data, joints, params) for name, data in posed.items()}
    return Drawing(
        parts=tuple(parts),
        joints=joints,
        poses={n: {g: (v[0], v[1], v[2], v[3], v[4]) for g, v in p.items()} for n, p in poses.items()},
        air=frozenset(name for name, data in posed.items() if data.get("air")),
        colors=colors,
        stretch=str(draw.get("stretch", plan.get("stretch", ""))),
    )
