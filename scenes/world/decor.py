"""The types that backgrounds show, so that no text denies or miscounts them.

The background of a forest has trees: "two trees in a forest" and "there is no tree" would both be false there, although
they are true of the scene's objects. This list must follow the drawings in `catalog/places.json`.
"""

from __future__ import annotations

import functools

from scenes.world.catalog import load_catalog

# Names of types and categories; a category counts for its own name and for the types directly under it.
DECOR: dict[str, tuple[str, ...]] = {
    "meadow": ("flower", "daisy", "plant", "hill", "grass"),
    "forest": ("tree", "bush", "fern", "plant"),
    "park": ("tree", "bush", "plant", "bench", "park bench", "lamp", "street lamp", "building", "house", "path"),
    "farm": ("barn", "silo", "fence", "building", "house", "plant", "haystack", "hay bale", "stalk of wheat"),
    "beach": ("tree", "palm tree", "plant", "seashell", "shell", "stone", "rock"),
    "desert": ("cactus", "plant", "stone", "rock", "hill"),
    "snow field": ("tree", "pine tree", "plant", "mountain", "snowflake"),
    "mountain": ("tree", "pine tree", "plant", "stone", "rock", "mountain"),
    "street": ("building", "house", "shop", "tree", "plant", "lamp", "street lamp", "door", "window", "road"),
    "lake": ("plant", "lily pad", "flower", "tree", "hill", "reed", "mountain"),
    "sea": ("wave",),
    "reef": ("coral", "seaweed", "plant", "bubble", "shell"),
    "sky": ("cloud", "field"),
    "kitchen": ("frying pan", "potted plant", "plant", "cupboard", "furniture", "window", "drawer", "kitchenware"),
    "living room": ("sofa", "painting", "potted plant", "plant", "lamp", "floor lamp", "rug", "furniture", "window"),
    "bedroom": ("bed", "pillow", "lamp", "painting", "rug", "furniture", "window", "nightstand", "blanket"),
    "workshop": (
        "hammer", "saw", "wrench", "screwdriver", "tool", "table", "workbench", "cardboard box", "lamp", "light bulb",
        "shelf", "bookshelf", "furniture", "toolbox",
    ),
    "classroom": (
        "table", "desk", "clock", "book", "stack of books", "blackboard", "furniture", "painting", "window", "note",
    ),
}  # fmt: skip
# Broad categories: one member in a background does not make the others doubtful.
_BROAD = ("plant", "furniture", "building", "kitchenware", "tool")


@functools.cache
def shown_by_background(place: str, term: str) -> bool:
    """Whether a type or category may be part of a place's background."""
    decor = DECOR.get(place, ())
    if term in decor:
        return True
    kind = load_catalog().types.get(term)
    if kind is None:
        return False
    return any(name in decor for name in kind.synonyms) or any(
        name in decor and name not in _BROAD for name in kind.path
    )
