"""Writes a scene's alt text as on the web: short, decorated, often partial, sometimes wrong or off-topic."""

from __future__ import annotations

from scenes.language.phrases import Phrase, TextContext, doing, light, mention, noun, place
from scenes.world import words
from scenes.world.catalog import load_catalog
from scenes.world.decor import shown_by_background
from scenes.world.facts import Fact
from scenes.world.seeded_random import pick, seed_of, shuffled

# Share of each kind: most texts state something true, few state everything, and some are wrong or unrelated. This is
# about the noise of a CLIP-filtered web collection.
RATES = (("clean", 0.45), ("partial", 0.37), ("wrong", 0.08), ("off_topic", 0.10))
_OFF_TOPIC = (
    "IMG_{n}", "DSC_{n}.JPG", "untitled design ({n})", "click to enlarge", "image may contain: outdoor",
    "free shipping on orders over ${n}", "screenshot {n}", "photo by user{n}", "thumbnail", "see more like this",
    "posted on monday by admin", "wallpaper 1920x1080 hd download", "best deals of the week", "page {n} of the gallery",
    "new post on the blog", "my favorite memories", "no description available", "share this on social media",
    "{n} ideas for your weekend", "subscribe to our newsletter", "stock image #{n}", "cover photo", "how it all began",
    "vintage style print, framed", "customer review {n}", "logo", "header-image-{n}.png", "throwback thursday",
)  # fmt: skip
_DECORATIONS = (
    "{}", "{}", "{}", "{}", "{} | stock photo", "{} - photo gallery", "{} #{n}", "{} (picture {n})", "{}, {n}px",
    "{} - free image", "photo: {}", "{} wallpaper", "{} ...",
)  # fmt: skip
_DROPPED = {"a", "an", "the", "is", "are"}


def alt_text(ctx: TextContext) -> tuple[str, str, list[Fact]]:
    """(text, kind of RATES, facts that it states) of an alt text; a wrong or off-topic one has no facts."""
    roll, kind = ctx.rng.random(), "off_topic"
    for name, share in RATES:
        if roll < share:
            kind = name
            break
        roll -= share
    if kind == "off_topic" or not ctx.units:
        text = pick(ctx.rng, _OFF_TOPIC).format(n=100 + int(ctx.rng.random() * 9000))
        return text, "off_topic", []
    if kind == "wrong":
        return _decorated(ctx, _wrong(ctx)), kind, []
    text, facts = _partial(ctx) if kind == "partial" else _whole(ctx)
    return _decorated(ctx, text), kind, facts


def _decorated(ctx: TextContext, text: str) -> str:
    """The text in a style of the web: unchanged, in title case, without articles, or as a file name."""
    roll = ctx.rng.random()
    if roll < 0.3:
        text = " ".join(word for word in text.split() if word not in _DROPPED)
    elif roll < 0.42:
        text = text.title()
    elif roll < 0.48:
        text = "-".join(word.strip(",") for word in text.split() if word not in _DROPPED) + ".jpg"
        return text
    elif roll < 0.6:
        text = text[:1].upper() + text[1:]
    return pick(ctx.rng, _DECORATIONS).format(text, n=1 + int(ctx.rng.random() * 99))


def _whole(ctx: TextContext) -> Phrase:
    """All units, one with an adjective or an action, and the place."""
    parts: list[str] = []
    facts: list[Fact] = []
    done: set[int] = set()  # targets of actions that were mentioned
    for unit in shuffled(ctx.rng, ctx.units):
        if done.issuperset(unit):
            continue
        text, stated = mention(ctx, unit, int(ctx.rng.random() * 2.4), name=0.5)
        text = text.rstrip(",")
        if ctx.rng.random() < 0.35 and (action := doing(ctx, unit, 0)) is not None:
            text, stated = f"{text} {action[0]}", stated + action[1]
            done |= {fact[3] for fact in action[1] if fact[0] == "action"}
        parts.append(text)
        facts += stated
    where = place(ctx)
    text, facts = f"{words.listed(parts)} {where[0]}", facts + where[1]
    if ctx.rng.random() < 0.3 and (when := light(ctx)) is not None:
        text, facts = f"{text} {when[0]}", facts + when[1]
    return text, facts


def _partial(ctx: TextContext) -> Phrase:
    """One unit or the place only."""
    if ctx.rng.random() < 0.15:
        text, facts = place(ctx)
        return text.split(" ", 2)[-1], facts  # "in a meadow" -> "meadow"
    unit = pick(ctx.rng, ctx.units)
    if ctx.rng.random() < 0.5:
        return noun(ctx, unit, int(ctx.rng.random() * 2.5), 0.08)
    text, facts = mention(ctx, unit, int(ctx.rng.random() * 2), 0.08, name=0.5)
    text = text.rstrip(",")
    if ctx.rng.random() < 0.4:
        where = place(ctx)
        text, facts = f"{text} {where[0]}", facts + where[1]
    return text, facts


def _wrong(ctx: TextContext) -> str:
    """A plausible text about a type that is not in the scene; in half of the cases at another place."""
    catalog = load_catalog()
    # Only captions teach made-up names, so a wrong text never uses one.
    present = {word for kind in ctx.kinds for word in (kind.name, *kind.path, *kind.synonyms)}
    absent = [
        name
        for name, kind in sorted(catalog.types.items())
        if not kind.made_up
        and not present & {name, *kind.synonyms}
        and not any(shown_by_background(place, name) for place in catalog.places)
    ]
    if not absent:
        return "a picture of something else"
    name = pick(ctx.rng, absent)
    text = words.indefinite(f"{pick(ctx.rng, words.COLORS)} {name}" if ctx.rng.random() < 0.4 else name)
    if ctx.rng.random() < 0.5:
        _, other = min((seed_of(ctx.scene.id, key), key) for key in catalog.places)
        return f"{text} {catalog.places[other].phrase}"
    return f"{text} {place(ctx)[0]}"
