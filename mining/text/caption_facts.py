"""The facts that a caption states, as slots with values: ("color", "dog") is "brown", ("action", "dog") is "run".

    facts_of("A tan dog runs on the beach")
    # {("object", "dog"): "dog", ("count", "dog"): "1|a", ("color", "dog"): "brown|tan", ("action", "dog"): "run|run",
    #  ("place", ""): "beach|beach", ...}

What somebody wears or has is named after its owner: "a boy in a yellow shirt" states ("color", "boy's shirt").

Every word with a meaning contributes to some slot, if only "other", so that two captions with equal slots and values
really state the same. A value is the group by which it is compared, followed by | and the words of the caption where
these may differ. `mining.text.tagging` tags the words, and `mining.text.axes` says what they state.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mining.text.axes import ACTIONS, ADJECTIVE_AXES, COUNTS, IGNORED, PHRASES, PLACES, POSITIONS, SAME_PLACES, WORN
from mining.text.lexicon import Word
from mining.text.tagging import Tagged, tag_caption
from mining.text.word_lists import COMPOUND_FIRST, COMPOUNDS, PLURALS

__all__ = ["Facts", "facts_of"]

# (axis, owner) -> value. Captions may differ in the axes of `AXES`; object, attribute, relation and other must agree.
Facts = dict[tuple[str, str], str]

_LONGEST_PHRASE = max(map(len, PHRASES))
_OTHERS = frozenset(["other", "others", "each", "everyone", "someone", "something", "himself", "herself"])
_PLACE_PREPOSITIONS = frozenset(["in", "on", "at"])
# Behind one of these, what is worn is worn by the person or animal named last.
_WORN_PREPOSITIONS = frozenset(["in", "with", "wearing"])
# Behind a verb and its object these belong to the object ("holds a baby in a blanket"), the others to the subject.
_OF_THE_LAST = frozenset(["in", "with", "of", "wearing"])
_POSSESSIVES = frozenset(["his", "her", "their", "its", "'s"])
_NOUN_TAGS = frozenset("NM")
_SIDES = {"left-of": "left", "right-of": "right"}


@dataclass
class _Reader:
    """The state of reading a caption from left to right."""

    facts: Facts = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    count: str = ""
    definite: bool = False  # after "the"
    adjectives: list[str] = field(default_factory=list)
    modifiers: list[str] = field(default_factory=list)
    preposition: str = ""
    possessive: bool = False  # after "his" or "'s"
    subject: str = ""  # the first noun of the clause
    last: str = ""  # the previous noun that nobody wears
    person: str = ""  # the previous person or animal
    wearers: list[str] = field(default_factory=list)  # whose things are being listed: "in a shirt and jeans"
    joined: str = ""  # "a man" of "a man and a woman"
    verb: bool = False  # whether there is a verb between the subject and here
    object: bool = False  # whether there is a noun behind that verb
    verbs: dict[str, int] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)

    def add(self, axis: str, owner: str, value: str) -> None:
        """Set a slot. One that is stated with two values keeps both, and agrees only with a slot of the same two."""
        before = self.facts.get((axis, owner))
        if before is None:
            self.facts[axis, owner] = value
        elif before != value:
            parts = zip(before.split("|"), value.split("|"), strict=False)
            self.facts[axis, owner] = "|".join(" and ".join(sorted(set(both))) for both in parts)

    def name(self, noun: str) -> str:
        """A name for a noun: "man", and "man 2" for a second man in the caption."""
        self.names[noun] = self.names.get(noun, 0) + 1
        return noun if self.names[noun] == 1 else f"{noun} {self.names[noun]}"

    def noun(self, word: Word, head: str) -> None:
        """Read a noun with what was said before it. word: the last word of the name `head`."""
        many = word.text in PLURALS or (word.plural and word.lemma != word.text)
        count = self.count or ("many|more than one" if many else "1|one")
        if count.startswith("many") and not many:
            count = "1|one"  # "some water"
        place = PLACES.get(head)
        if place and self.preposition in _PLACE_PREPOSITIONS and ("place", "") not in self.facts:
            # Where the scene is: one slot, and one for all attributes of the place.
            said = " ".join(sorted({*self.adjectives, *self.modifiers}))
            self.add("place", "", f"{place}|{head}")
            self.facts["place said", ""] = f"{count.partition('|')[0]} {said} {SAME_PLACES.get(head, head)}"
            self._begin()
            return
        again = self.definite and head in self.names
        wearers = [] if again else self._wearers(head, word)
        owners = [self.name(f"{each}'s {head}") for each in wearers] or [head if again else self.name(head)]
        for owner in owners:
            if not again:  # "the tree" after "a tree" is the same tree
                self.add("object", owner, head)
                self.add("count", owner, "1|one" if len(owners) > 1 else count)
            for said in (*self.adjectives, *self.modifiers):
                self._attribute(owner, said)
        if wearers:
            self.wearers = wearers
            self._begin()
            return
        self._relate(owners[0])
        if not self.subject or (not self.preposition and not self.verb and not self.last):
            self.subject = owners[0]
        self.last, self.wearers = owners[0], []
        if word.animate:
            self.person = owners[0]
        self._begin()

    def _wearers(self, head: str, word: Word) -> list[str]:
        """Who wears or has this thing: the person named last, or both of "a man and a woman in hats"; [] for nobody."""
        if head not in WORN:
            return []
        if self.wearers and not self.preposition:
            return self.wearers
        if not self.person or not (self.preposition in _WORN_PREPOSITIONS or self.possessive):
            return []
        if self.joined and word.plural and self.person == self.subject and not self.verb:
            return [self.joined, self.person]
        return [self.person]

    def _relate(self, owner: str) -> None:
        """Add the relation of a noun to the one before it, or to the subject where a verb is between them."""
        if self.preposition and self.last:
            of_last = not self.verb or not self.subject or (self.object and self.preposition in _OF_THE_LAST)
            one = self.last if of_last else self.subject
            group = POSITIONS.get(self.preposition)
            said = f"{group}|{self.preposition.replace('-', ' ')}" if group else self.preposition
            self.add("position" if group else "relation", f"{one} - {owner}", said)
        elif self.verb and self.subject:
            self.add("relation", f"{self.subject} - {owner}", "object")
        self.object = self.verb

    def _attribute(self, owner: str, word: str) -> None:
        known = ADJECTIVE_AXES.get(word)
        if known is None:
            self.add("attribute", owner, word)
        elif known[0] == known[1]:
            self.add(known[0], owner, f"{known[2]}|{word}")
        else:
            self.add(known[0], f"{owner} ({known[1]})", f"{known[2]}|{word}")

    def colors_alone(self, colors: list[str]) -> None:
        """Read "a girl in red": the colour of her clothes."""
        owner = self.person or self.last
        for color in colors if owner else ():
            self.add("color", f"{owner}'s clothes", f"{ADJECTIVE_AXES[color][2]}|{color}")
        self._begin()

    def act(self, word: Word) -> None:
        """Read a verb: an action of the subject, or of the previous noun."""
        owner = self.subject or self.last
        verb = word.verb or word.lemma
        self.verb, self.object, self.wearers = True, False, []
        if not owner:
            self.others.append(verb)
            return
        self.end_phrase()
        s_form = word.plural and word.text.endswith("s")
        for each in (self.joined, owner) if self.joined and not s_form and owner == self.subject else (owner,):
            number = self.verbs[each] = self.verbs.get(each, 0) + 1
            slot = each if number == 1 else f"{each} ({number})"
            self.add("action", slot, f"{ACTIONS.get(verb, f'?{verb}')}|{verb}")

    def _begin(self) -> None:
        self.count, self.adjectives, self.modifiers, self.preposition = "", [], [], ""
        self.definite = self.possessive = False

    def ignore(self) -> None:
        """Skip a phrase about the picture itself; "on the left side of the picture" is a position in it."""
        if self.preposition in _SIDES and self.last:
            side = _SIDES[self.preposition]
            self.add("position", self.subject if self.verb and self.subject else self.last, f"{side}|{side}")
        self._begin()

    def end_phrase(self) -> None:
        """End a phrase without a noun ("jumps around", "a wet one"); its words must agree like all else."""
        self.others += [*self.adjectives, *([self.preposition] if self.preposition else [])]
        self._begin()

    def clause(self, joined: bool = False) -> None:
        """Begin a new clause, with its own subject; joined: "a man and a woman", who do the same."""
        self.end_phrase()
        self.joined = self.subject if joined and not self.verb else ""
        self.subject = self.last = self.person = ""
        self.wearers = []
        self.verb = self.object = False


def facts_of(caption: str | None) -> Facts:
    """The facts that a caption states, {} where it names no object."""
    tagged = tag_caption(caption)
    reader = _Reader()
    at = 0
    while at < len(tagged):
        step = _phrase(reader, tagged, at)
        if not step:
            step = _word(reader, tagged, at)
        at += step
    reader.end_phrase()
    if reader.others:
        reader.facts["other", ""] = " ".join(sorted(reader.others))
    return reader.facts if any(axis == "object" for axis, _ in reader.facts) else {}


def _phrase(reader: _Reader, tagged: Tagged, at: int) -> int:
    """Read a phrase of `PHRASES` that begins here; returns its number of words, 0 where none begins."""
    for length in range(min(_LONGEST_PHRASE, len(tagged) - at), 0, -1):
        found = PHRASES.get(tuple(word.text for _, word in tagged[at : at + length]))
        if found is None:
            continue
        axis, value = found
        if axis == "position":
            reader.preposition = value
        elif axis == "worn":
            reader.preposition = "wearing"
        elif axis == "zone":
            owner = reader.subject if reader.verb else reader.last
            reader.add("position", owner or "scene", f"{value}|{value}")
        elif axis:
            reader.add(axis, "", f"{value}|{value}")
        return length
    return 0


def _word(reader: _Reader, tagged: Tagged, at: int) -> int:
    """Read the word, or the compound, that begins here; returns its number of words."""
    tag, word = tagged[at]
    following = tagged[at + 1][0] if at + 1 < len(tagged) else "."
    if tag in _NOUN_TAGS or word.text in COMPOUND_FIRST:
        taken = _noun(reader, tagged, at)
        if taken:
            return taken
    if tag in "SD":
        if word.text in COUNTS or word.text.isdigit():
            reader.count = f"{COUNTS.get(word.text, word.text)}|{word.text}"
        if word.text == "another":
            reader.others.append("another")
        reader.definite = word.text == "the"
        reader.possessive = word.text in _POSSESSIVES
    elif tag == "J" or (tag == "K" and following == "N"):
        colors = _colors_alone(tagged, at) if reader.preposition in ("in", "wearing") else []
        if colors:
            reader.colors_alone(colors)
            return 2 * len(colors) - 1
        reader.adjectives.append(word.text)
    elif tag in "PT":
        reader.end_phrase()
        reader.preposition = word.text
    elif tag == "V" or tag == "G":
        reader.act(word)
    elif tag == "C":
        _conjunction(reader, word, tagged, at)
    elif tag == ".":
        _stop(reader, tagged, at)
    elif (tag in "ORF" or word.text in _OTHERS) and word.text not in IGNORED:
        reader.others.append(word.text)
    return 1


def _colors_alone(tagged: Tagged, at: int) -> list[str]:
    """The colours that stand here without a noun: "a girl in red and white"."""
    colors = [tagged[at][1].text] if _is_color(tagged[at][1]) else []
    while colors and at + 2 < len(tagged) and tagged[at + 1][0] == "C" and _is_color(tagged[at + 2][1]):
        at += 2
        colors.append(tagged[at][1].text)
    following = tagged[at + 1][0] if at + 1 < len(tagged) else "."
    return colors if following not in "NMJKO" else []


def _is_color(word: Word) -> bool:
    return ADJECTIVE_AXES.get(word.text, ("", ""))[1] == "color"


def _stop(reader: _Reader, tagged: Tagged, at: int) -> None:
    """Read a punctuation mark: the subject goes on in "a man, wearing a hat, rides" and in a list of what he wears."""
    following = tagged[at + 1][0] if at + 1 < len(tagged) else "."
    if following == "C":
        return  # "a hat, and a scarf"
    if reader.wearers and _worn_follows(tagged, at + 1):
        reader.end_phrase()
    elif reader.subject and following in "VG":
        reader.end_phrase()
        reader.person = reader.person or reader.subject
    else:
        reader.clause()


def _worn_follows(tagged: Tagged, at: int) -> bool:
    """Whether the next phrase is of what somebody wears: "a blue hat"."""
    while at < len(tagged) and tagged[at][0] in "SDJKCO":
        at += 1
    end = at
    while end < len(tagged) and tagged[end][0] == "N":
        end += 1
    run = [word.text for _, word in tagged[at : end - 1]] + [
        word.lemma for _, word in tagged[end - 1 : end] if end > at
    ]
    return any(" ".join(run[start:]) in WORN for start in range(len(run)))


def _conjunction(reader: _Reader, word: Word, tagged: Tagged, at: int) -> None:
    """Read a conjunction: "a red and white ball" goes on, "a man and a dog" and "while a dog" begin a new clause."""
    if reader.adjectives:
        return
    follows = tagged[at + 1][0] if at + 1 < len(tagged) else "."
    if follows in "VG":
        return  # another action of the same subject
    if reader.wearers and _worn_follows(tagged, at + 1):
        reader.end_phrase()
        return
    reader.clause(joined=word.text in ("and", "&", "+"))


def _noun(reader: _Reader, tagged: Tagged, at: int) -> int:
    """Read a run of nouns as one object; returns its number of words."""
    end = at
    while end < len(tagged) and tagged[end][0] in _NOUN_TAGS:
        end += 1
    run = [word for _, word in tagged[at:end]]
    if len(tagged) > at + 1 and (tagged[at][1].text, tagged[at + 1][1].lemma) in COMPOUNDS and len(run) < 2:
        run, end = [tagged[at][1], tagged[at + 1][1]], at + 2
    if not run:
        return 0
    head = run[-1]
    if head.text in IGNORED or head.lemma in IGNORED:
        reader.ignore()
        return end - at
    if head.stop:
        if head.lemma in ("group", "number", "lot", "bunch", "couple", "pair"):
            reader.count = f"2|a {head.lemma} of" if head.lemma in ("couple", "pair") else f"many|a {head.lemma} of"
            if end < len(tagged) and tagged[end][1].text == "of":
                return end - at + 1
        reader.others.append(head.lemma)
        reader.end_phrase()
        return end - at
    before = [word.text for word in run[:-1]]
    materials = [word for word in before if word in ADJECTIVE_AXES]
    reader.modifiers = materials
    name = " ".join([word for word in before if word not in materials] + [head.lemma])
    reader.noun(head, name)
    return end - at
