"""The words by which captions state an axis: colours, sizes, counts, materials, actions, positions, places, light.

Each table maps a word to its group; two words of one group say the same ("big", "large"), and of two groups only those
exclude each other that are listed so. Knows no grammar: `mining.text.caption_facts` reads the sentences.
"""

from __future__ import annotations

__all__ = [
    "ACTIONS", "ADJECTIVE_AXES", "AXES", "IGNORED", "NUMBERS", "OPPOSITE_POSITIONS", "PHRASES", "PLACES", "POSITIONS",
    "SAME_PLACES", "excludes",
]  # fmt: skip


def _groups(text: str) -> dict[str, str]:
    """Lines of words of one group, named by the first."""
    return {word: line.split()[0] for line in text.strip().splitlines() for word in line.split()}


# A group holds what people call by either word: tan is a light brown, silver a light gray, golden a yellow.
_COLORS = _groups(
    """
    red crimson maroon scarlet reddish
    orange
    yellow golden gold blonde blond yellowish
    green
    turquoise teal cyan
    blue navy bluish
    purple violet lavender lilac indigo plum
    pink magenta
    brown tan beige khaki brunette brownish
    black
    white
    gray grey silver
    """
)
_SIZES = _groups(
    """
    large big huge giant enormous massive great
    small little tiny mini miniature
    """
)
_HEIGHTS = _groups("tall slender\nshort")
_WIDTHS = _groups("wide broad\nnarrow")
_MATERIALS = _groups(
    """
    wooden wood hardwood
    metal steel iron metallic
    brick
    plastic
    leather
    stone
    glass
    concrete cement
    paper cardboard
    denim
    dirt
    gravel
    """
)
_TEXTURES = _groups(
    """
    glossy shiny
    matte
    rough coarse
    smooth
    striped
    plaid checkered
    spotted polka-dot
    floral flowered
    plain
    """
)
_SHAPES = _groups(
    """
    round rounded circular
    angular boxy square rectangular
    triangular
    oval
    squat stocky
    """
)
_STATES = _groups("wet soaked\ndry")

# Adjective -> (axis, dimension, group). Dimensions of one axis are stated independently: big and tall do not exclude.
ADJECTIVE_AXES: dict[str, tuple[str, str, str]] = {
    word: (axis, dimension, group)
    for axis, dimension, table in (
        ("color", "color", _COLORS), ("size", "size", _SIZES), ("size", "height", _HEIGHTS), ("size", "width", _WIDTHS),
        ("material", "material", _MATERIALS), ("texture", "texture", _TEXTURES), ("shape", "shape", _SHAPES),
        ("state", "wetness", _STATES),
    )
    for word, group in table.items()
}  # fmt: skip

NUMBERS = {
    "a": "1", "an": "1", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7",
    "eight": "8", "nine": "9", "ten": "10", "several": "many", "many": "many", "some": "many", "few": "many",
    "multiple": "many", "various": "many", "lots": "many",
}  # fmt: skip

# What a subject can do only one of at a time.
ACTIONS = _groups(
    """
    run jog race sprint dash
    walk stroll
    jump leap hop
    stand
    sit perch
    lie lay recline
    sleep nap
    swim
    fly soar glide hover
    climb
    crawl
    ride
    fall
    dance
    eat chew
    drink
    sing
    read
    write
    cook
    kneel crouch squat
    drive
    ski
    surf
    skateboard
    dig
    throw toss
    catch
    kick
    wave
    chase
    point
    park
    """
)

POSITIONS = _groups(
    """
    on onto atop
    in inside into within
    under below beneath underneath
    above over
    behind
    next-to beside near by
    in-front-of before
    left-of
    right-of
    outside
    """
)
_OPPOSITES = (
    ("on", "under"), ("on", "next-to"), ("on", "behind"), ("on", "in-front-of"), ("in", "outside"), ("in", "next-to"),
    ("in", "behind"), ("in", "in-front-of"), ("under", "above"), ("behind", "in-front-of"), ("left-of", "right-of"),
    ("above", "in"), ("under", "in"), ("left", "right"), ("left", "middle"), ("right", "middle"),
)  # fmt: skip
OPPOSITE_POSITIONS = frozenset(_OPPOSITES) | frozenset((other, one) for one, other in _OPPOSITES)

# Nouns that say where a scene is, behind "in", "on" or "at". Those of one group may be one place, so they exclude each
# other no more than they agree; only `SAME_PLACES` agree.
PLACES = _groups(
    """
    beach shore sand coast seaside
    street road sidewalk city highway crosswalk intersection town alley
    park field grass meadow lawn yard backyard garden farm pasture
    forest wood woods jungle
    mountain mountains hill cliff
    desert dune
    water ocean sea lake river pond
    pool
    snow slope
    kitchen
    bathroom
    bedroom
    restaurant cafe bar
    office
    classroom school
    library
    stage
    gym
    airport runway
    station platform
    store shop market mall supermarket
    stadium arena court
    museum
    church
    zoo
    workshop garage
    """
) | {"living room": "living room", "dining room": "dining room", "parking lot": "street", "snow field": "snow"}

SAME_PLACES = _groups(
    """
    grass lawn
    field meadow pasture
    yard backyard garden
    shore coast
    beach seaside
    forest wood woods
    mountain mountains
    ocean sea
    store shop
    """
)

# Phrases of several words, longest first when matched: (axis or "", value); "" takes the phrase out.
PHRASES: dict[tuple[str, ...], tuple[str, str]] = {
    tuple(text.split()): (axis, value)
    for axis, value, texts in (
        ("position", "in-front-of", "in front of|nearer than"),
        ("position", "behind", "in back of|farther back than"),
        ("position", "next-to", "next to|close to|to the side of|at the side of|on the side of"),
        ("position", "on", "on top of"),
        ("position", "left-of", "to the left of|on the left of|left of|on the left side of"),
        ("position", "right-of", "to the right of|on the right of|right of|on the right side of"),
        ("zone", "left", "on the left|on the left side|to the left"),
        ("zone", "right", "on the right|on the right side|to the right"),
        ("zone", "middle", "in the middle|in the center|near the center"),
        ("light", "day", "in daylight|during the day|by day|in the daytime|on a sunny day"),
        ("light", "dusk", "at dusk|at sunset|in the evening light|in the evening|at dawn|at sunrise"),
        ("light", "night", "at night|in the dark|after dark|at nighttime"),
        ("light", "overcast", "on an overcast day|on a gray day|on a cloudy day|on a grey day"),
        ("view", "high", "seen from above|from a high angle|from above"),
        ("view", "low", "seen from a low angle|from a low angle|from low down|from below"),
        ("worn", "", "dressed in|wearing"),
        ("", "", "in the background|in the foreground|in the air|in midair|as well as"),
    )
    for text in texts.split("|")
}

# Tagged words that state nothing about a picture.
IGNORED = frozenset(
    {"photo", "picture", "image", "view", "snapshot", "photograph", "stock", "free", "wallpaper", "page", "px"}
)

AXES = (
    "color", "size", "count", "material", "texture", "shape", "state", "position", "action", "place", "light", "view",
)  # fmt: skip


def excludes(axis: str, one: str, other: str) -> bool:
    """Whether two values of one slot cannot both be true: "red" and "blue", but not "black" and "black and white"."""
    if one == other:
        return False
    if axis == "count":
        return "many" not in (one, other) or "1" in (one, other)
    if axis == "position":
        return (one, other) in OPPOSITE_POSITIONS
    if axis == "light":
        return {one, other} != {"day", "overcast"}
    if axis == "action" and "?" in one + other:
        return False  # looking and smiling go together
    first, second = set(one.split(" and ")), set(other.split(" and "))
    return not first & second
