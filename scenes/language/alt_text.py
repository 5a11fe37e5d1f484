"""A scene's alt text as the web would have it: terse, decorated, often partial, at times wrong or about nothing at all.

Knows nothing about clean captions.
"""

from __future__ import annotations

from scenes.language.phrases import Said, Speaker, doing, light, mention, noun, place
from scenes.world import words
from scenes.world.catalog import load_catalog
from scenes.world.decor import shown_by_background
from scenes.world.facts import Fact
from scenes.world.seeded_random import pick, seed_of, shuffled

# Share of each kind. Web alt texts match their images loosely; these rates leave about as much noise as CLIP-filtered
# collections keep: most texts say something true, few say all, some are wrong or unrelated.
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


def alt_text(who: Speaker) -> tuple[str, str, list[Fact]]:
    """An alt text, its kind (a name of RATES) and what it states; a wrong or off-topic one states nothing."""
    roll, kind = who.rng.random(), "off_topic"
    for name, share in RATES:
        if roll < share:
            kind = name
            break
        roll -= share
    if kind == "off_topic" or not who.units:
        text = pick(who.rng, _OFF_TOPIC).format(n=100 + int(who.rng.random() * 9000))
        return text, "off_topic", []
    if kind == "wrong":
        return _decorated(who, _wrong(who)), kind, []
    text, facts = _partial(who) if kind == "partial" else _whole(who)
    return _decorated(who, text), kind, facts


def _decorated(who: Speaker, text: str) -> str:
    """The text in one of the web's manners: as it is, title case, without articles, or as tags."""
    roll = who.rng.random()
    if roll < 0.3:
        text = " ".join(word for word in text.split() if word not in _DROPPED)
    elif roll < 0.42:
        text = text.title()
    elif roll < 0.48:
        text = "-".join(word.strip(",") for word in text.split() if word not in _DROPPED) + ".jpg"
        return text
    elif roll < 0.6:
        text = text[:1].upper() + text[1:]
    return pick(who.rng, _DECORATIONS).format(text, n=1 + int(who.rng.random() * 99))


def _whole(who: Speaker) -> Said:
    """All units, one with an adjective or an action, and the place."""
    parts: list[str] = []
    facts: list[Fact] = []
    done: set[int] = set()  # targets of actions told already
    for unit in shuffled(who.rng, who.units):
        if done.issuperset(unit):
            continue
        text, stated = mention(who, unit, int(who.rng.random() * 2.4), name=0.5)
        text = text.rstrip(",")
        if who.rng.random() < 0.35 and (action := doing(who, unit, 0)) is not None:
            text, stated = f"{text} {action[0]}", stated + action[1]
            done |= {fact[3] for fact in action[1] if fact[0] == "action"}
        parts.append(text)
        facts += stated
    where = place(who)
    text, facts = f"{words.listed(parts)} {where[0]}", facts + where[1]
    if who.rng.random() < 0.3 and (when := light(who)) is not None:
        text, facts = f"{text} {when[0]}", facts + when[1]
    return text, facts


def _partial(who: Speaker) -> Said:
    """One thing or the place, and no more."""
    if who.rng.random() < 0.15:
        text, facts = place(who)
        return text.split(" ", 2)[-1], facts  # "in a meadow" -> "meadow"
    unit = pick(who.rng, who.units)
    if who.rng.random() < 0.5:
        return noun(who, unit, int(who.rng.random() * 2.5), 0.08)
    text, facts = mention(who, unit, int(who.rng.random() * 2), 0.08, name=0.5)
    text = text.rstrip(",")
    if who.rng.random() < 0.4:
        where = place(who)
        text, facts = f"{text} {where[0]}", facts + where[1]
    return text, facts


def _wrong(who: Speaker) -> str:
    """A plausible text about something that is not there: another type, and half of the time another place."""
    catalog = load_catalog()
    # Made-up names are taught by captions alone, so no caption ever misuses one.
    present = {word for kind in who.kinds for word in (kind.name, *kind.path, *kind.synonyms)}
    absent = [
        name
        for name, kind in sorted(catalog.types.items())
        if not kind.made_up
        and not present & {name, *kind.synonyms}
        and not any(shown_by_background(place, name) for place in catalog.places)
    ]
    if not absent:
        return "a picture of something else"
    name = pick(who.rng, absent)
    text = words.indefinite(f"{pick(who.rng, words.COLORS)} {name}" if who.rng.random() < 0.4 else name)
    if who.rng.random() < 0.5:
        _, other = min((seed_of(who.scene.id, key), key) for key in catalog.places)
        return f"{text} {catalog.places[other].phrase}"
    return f"{text} {place(who)[0]}"
