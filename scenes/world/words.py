"""Words for continuous values: the thresholds of colours, shapes, surfaces and sizes, and small rules of English.

All texts about scenes use these thresholds, so captions, questions and comparisons agree on what is "red" or "big".
"""

from __future__ import annotations

# Upper hue bound of each colour word on the colour circle (0 red, 1/3 green, 2/3 blue).
_HUES = (
    (0.035, "red"),
    (0.105, "orange"),
    (0.185, "yellow"),
    (0.43, "green"),
    (0.52, "turquoise"),
    (0.70, "blue"),
    (0.81, "purple"),
    (0.94, "pink"),
    (1.01, "red"),
)
COLORS = (
    "red", "orange", "yellow", "green", "turquoise", "blue", "purple", "pink", "brown", "black", "white", "gray",
)  # fmt: skip
# Other words for (shade, colour); the fact that a text states is still the word of COLORS.
COLOR_SYNONYMS: dict[tuple[str, str], tuple[str, ...]] = {
    ("dark", "red"): ("crimson", "maroon"),
    ("dark", "blue"): ("navy", "navy blue"),
    ("light", "brown"): ("tan", "beige"),
    ("dark", "purple"): ("plum",),
    ("light", "purple"): ("lilac", "lavender"),
    ("", "purple"): ("violet",),
    ("", "turquoise"): ("teal",),
    ("light", "blue"): ("sky blue", "pale blue"),
    ("light", "green"): ("pale green", "mint green"),
    ("", "gray"): ("grey",),
    ("light", "gray"): ("silver",),
    ("light", "pink"): ("pale pink",),
    ("light", "yellow"): ("pale yellow",),
    ("", "yellow"): ("golden",),
}
BIG, SMALL = 1.22, 0.82  # size relative to the usual one of the type at its depth
_HIGH, _LOW = 0.75, 0.25  # roundness, elongation and part_scale are neutral at 0.5
_ROUGH, _GLOSSY = 0.55, 0.55  # roughness and gloss are neutral at 0

SYNONYMS: dict[str, tuple[str, ...]] = {
    "big": ("big", "large", "huge"),
    "small": ("small", "little", "tiny"),
    "round": ("round", "rounded"),
    "angular": ("angular", "boxy"),
    "long": ("long", "elongated"),
    "short": ("short", "stubby"),
    "tall": ("tall", "slender"),
    "squat": ("squat", "stocky"),
    "rough": ("rough", "coarse"),
    "glossy": ("glossy", "shiny"),
    "dark": ("dark", "deep"),
    "light": ("light", "pale"),
}
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight")

# Attribute -> (word for more, word for less).
COMPARATIVES: dict[str, tuple[str, str]] = {
    "saturation": ("more vivid", "duller"),
    "lightness": ("lighter", "darker"),
    "roundness": ("rounder", "more angular"),
    "elongation": ("more stretched", "more squat"),
    "roughness": ("rougher", "smoother"),
    "gloss": ("glossier", "more matte"),
    "size": ("bigger", "smaller"),
}


def chroma(saturation: float, lightness: float) -> float:
    """The chroma of an HSL colour in [0, 1]: its saturation, reduced towards black and white."""
    return saturation * (1 - abs(2 * lightness - 1))


def color_word(hue: float, saturation: float, lightness: float) -> str:
    """The basic colour word of a colour given as HSL fractions."""
    if lightness < 0.13:
        return "black"
    if lightness > 0.9:
        return "white"
    if saturation < 0.1 or chroma(saturation, lightness) < 0.11:
        return "gray" if lightness < 0.83 else "white"
    hue %= 1.0
    # Dark or dull orange and yellow are called brown, and light red is called pink.
    if 0.02 <= hue < 0.14 and (lightness < 0.42 or saturation < 0.42):
        return "brown"
    if (hue < 0.035 or hue >= 0.94) and lightness > 0.68:
        return "pink"
    for bound, word in _HUES:
        if hue < bound:
            return word
    return "red"


def shade_word(hue: float, saturation: float, lightness: float) -> str:
    """The word "dark", "light" or "" (neither) for a colour given as HSL fractions."""
    word = color_word(hue, saturation, lightness)
    if word in ("black", "white"):
        return ""
    if word == "brown":
        return "dark" if lightness < 0.24 else "light" if lightness > 0.55 else ""
    if word == "pink":
        return "light" if lightness > 0.82 else "dark" if lightness < 0.4 else ""
    return "dark" if lightness < 0.33 else "light" if lightness > 0.69 else ""


def size_word(scale: float) -> str:
    """The word "big", "small" or "" for a size relative to the usual one of the type."""
    return "big" if scale >= BIG else "small" if scale <= SMALL else ""


def shape_words(roundness: float, elongation: float, sideways: bool) -> tuple[str, ...]:
    """The words for the two shape attributes, at most one each; sideways: whether elongation widens the type."""
    words = []
    if roundness >= _HIGH or roundness <= _LOW:
        words.append("round" if roundness >= _HIGH else "angular")
    if elongation >= _HIGH or elongation <= _LOW:
        longer, shorter = ("long", "short") if sideways else ("tall", "squat")
        words.append(longer if elongation >= _HIGH else shorter)
    return tuple(words)


def texture_words(roughness: float, gloss: float) -> tuple[str, ...]:
    """The words for roughness and gloss, at most one each."""
    return ("rough",) * (roughness >= _ROUGH) + ("glossy",) * (gloss >= _GLOSSY)


def part_word(part_scale: float) -> str:
    """The word "big", "small" or "" for a type's feature part."""
    return "big" if part_scale >= _HIGH else "small" if part_scale <= _LOW else ""


def hue_direction(hue: float, shift: float) -> str:
    """The next colour word in the direction of a signed hue shift: "orange"."""
    here = color_word(hue, 0.8, 0.5)
    step = 0.02 if shift > 0 else -0.02
    there = hue + shift
    for _ in range(50):  # one full turn of the circle
        if (word := color_word(there, 0.8, 0.5)) != here:
            return word
        there += step
    return here


_CONSONANT_SOUND = ("uni", "use", "usu", "uku", "eu", "one ", "ufo", "ute", "uro")
_VOWEL_SOUND = ("hour", "honest", "heir", "x-ray")


def article(phrase: str) -> str:
    """The article "a" or "an", by the sound that the phrase begins with."""
    text = phrase.lower()
    if text.startswith(_VOWEL_SOUND):
        return "an"
    if text.startswith(_CONSONANT_SOUND) and not text.startswith(("unin", "unim")):
        return "a"
    return "an" if text[:1] in "aeiou" else "a"


def indefinite(phrase: str) -> str:
    """The phrase with its indefinite article: "an orange cat"."""
    return f"{article(phrase)} {phrase}"


def listed(phrases: list[str]) -> str:
    """Phrases joined as English does: "a, b and c"."""
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def sentence(text: str) -> str:
    """The text as a sentence: first letter upper-case, a full stop at the end."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}"
