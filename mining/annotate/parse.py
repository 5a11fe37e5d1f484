"""A model's reply as a `Comparison`: headings, lists and prefixes in the many forms that language models write.

    parse_comparison("**Commonalities:**\\n- Both images show a dog.\\n**Differences:**\\n1. Actions: ...")

Every pass over the text takes linear time, and no more than its first 200,000 characters and 5,000 lines are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from index.errors import BadInput
from mining.annotate.comparison import Comparison, Item
from mining.annotate.item_axis import axis_named, axis_of
from mining.annotate.task import Unparsed
from mining.sets.annotation import Annotation

__all__ = ["comparison_of", "parse_comparison", "refusal", "without_thinking"]

_MOST_CHARACTERS, _MOST_LINES = 200_000, 5_000
_LONGEST_ITEM = 1_000
_MOST_ITEMS = 60  # of one list; a model that goes round in circles writes more

_COMMON = (
    "commonalit(?:y|ies)|similarit(?:y|ies)|common (?:features|points|aspects|elements)|"
    "shared (?:features|aspects|elements)|"
    "gemeinsamkeiten|similitudes?|points communs|puntos en común|similitudini|semelhanças|сходства|общее|"
    "共同点|相同点|相似之处|相似点|共通点|공통점"
)
_DIFFERENT = (
    "differences?|distinctions?|contrasts?|unterschiede?|différences?|diferencias?|differenze|diferenças|различия|"
    "不同点|不同之处|差异|区别|相違点|違い|차이점"
)
# The title of a list, with up to six words before and behind it ("Key differences between the two images").
_HEADING = re.compile(
    rf"(?:\w+ ){{0,3}}(?:(?P<commonalities>{_COMMON})|(?P<differences>{_DIFFERENT}))"
    r"(?: [\w,]+){0,8} ?(?P<colon>[:：]?)",
    re.IGNORECASE,
)
_BOTH = re.compile(rf"(?=.*(?:{_COMMON}))(?=.*(?:{_DIFFERENT}))", re.IGNORECASE)
# A title in the middle of a line, behind the list of the other title.
_TITLE_INSIDE = re.compile(
    r"(?<=[^\s#*_>-])[ \t]+(?=[*_#]{0,4} ?(?:Commonalities|Similarities|Differences) ?[*_]{0,2}[:：])"
)
_BULLET = re.compile(
    r"(?:(?P<number>\(?\d{1,3}[.):、]|\(\d{1,3}\))|(?P<letter>\(?[a-zA-Z]\))|[-*+•–—·▪●◦‣])(?:\s+|(?=\*\*)|(?<=、))"
)
_INSIDE_NUMBER = re.compile(r"(?<!\S)\(?(\d{1,2})[.)] ")
_NONE = re.compile(
    r"(?:none|n/?a|nothing|not applicable|(?:there are )?no(?: \w+){0,2} "
    r"(?:commonalities|differences|similarities)(?: \w+){0,5}|"
    r"keine?|aucune?|ninguna?|nessuna?|nenhuma?|无|なし|없음)[\s.!。]*",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"\W*(?:(?:i['’]?m|i am|we['’]?re) (?:very )?(?:sorry|unable|not able)|sorry\b|"
    r"(?:unfortunately,? )?i (?:can(?:no|['’])t|can not|won['’]?t|do not have|don['’]?t have)|"
    r"as an? (?:ai|artificial|language|text)|i apologi[sz]e)",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<=[.!?。！？])\s+(?=[^\s\d])|(?<=[。！？])(?=\S)")
_SUB_IMAGE = re.compile(r"(?:in )?(?:the )?(?:image (\d+)|(first|second|third) image) ?[:：,]", re.IGNORECASE)
_CLOSING = (".", "!", "?", '"', "'", ")", "。", "！", "？", "”", "’")


@dataclass
class _Reading:
    """The lists as they are read. name: the list being read, "" before the first title."""

    lists: dict[str, list[Item]] = field(default_factory=dict)
    name: str = ""
    axis: str | None = None  # of the sub-heading above
    bulleted: bool = False  # whether the list being read has bullets or numbers
    blank: bool = False  # whether an empty line was above
    merges: bool = False  # whether the previous item is a bullet without a number
    seen: set[tuple[str, str]] = field(default_factory=set)  # (list, item), since some models repeat an item for ever

    def begin(self, name: str) -> None:
        self.name, self.axis, self.bulleted, self.merges = name, None, False, False
        self.lists.setdefault(name, [])

    def add(self, text: str, numbered: bool = False) -> None:
        text, axis = _with_axis(_unmarked(text))
        if axis is not None and not text:
            self.axis = axis  # a sub-heading: "1. **Object types**"
            return
        if not text or _NONE.fullmatch(text):
            return
        items = self.lists[self.name]
        merges = self.merges and not numbered and items and len(items[-1].text) <= _LONGEST_ITEM
        if merges and _goes_on(items[-1].text, text):
            joined = f"{items[-1].text.rstrip('.;,')}; {text}"
            items[-1] = Item(joined, items[-1].axis)
            return
        said = (self.name, text.casefold())
        if said in self.seen or len(items) >= _MOST_ITEMS:
            return
        self.seen.add(said)
        items.append(Item(text, axis or self.axis or axis_of(text)))
        self.merges = not numbered

    def extend(self, text: str) -> None:
        """The previous item goes on in this line; one that is too long already stays as it is."""
        items = self.lists[self.name]
        if len(items[-1].text) > _LONGEST_ITEM:
            return
        items[-1] = Item(f"{items[-1].text} {_unmarked(text)}", items[-1].axis)


def parse_comparison(text: str, cut: bool = False) -> Comparison | Unparsed:
    """What a reply says. cut: it ended at the limit of tokens; a last item without a full stop is left out then."""
    said = without_thinking(text)
    if not said.strip():
        return Unparsed("the reply is empty" if not text.strip() else "the reply is only thinking")
    reading = _Reading()
    for line in islice(_lines(said[:_MOST_CHARACTERS]), _MOST_LINES):
        _read(reading, line)
    lists = reading.lists
    if not lists:
        why = refusal(said)
        return why or Unparsed(f"no list of commonalities or differences in {said.strip()[:60]!r}")
    last = lists[reading.name]
    if cut and last and not last[-1].text.endswith(_CLOSING):
        last.pop()
    if cut and not last:
        return Unparsed(f"the reply ends before its first item of {reading.name}")
    items = [item for each in lists.values() for item in each]
    if not items and len(lists) < 2:
        return Unparsed(f"the list of {reading.name} has no items, and the other list is missing")
    refused = next(filter(None, (refusal(item.text) for item in items)), None)
    if refused is not None:
        return refused
    longest = max((len(item.text) for item in items), default=0)
    if longest > _LONGEST_ITEM:
        return Unparsed(f"an item has {longest} characters")
    return Comparison(tuple(lists.get("commonalities", ())), tuple(lists.get("differences", ())))


def comparison_of(annotation: Annotation) -> Comparison | None:
    """The comparison that an annotation holds: its content, else its answer's text; None where neither has one."""
    if any(name in annotation.content for name in ("commonalities", "differences")):
        try:
            return Comparison.from_json(annotation.content)
        except BadInput:
            return None
    for turn in annotation.turns:
        if turn.role == "assistant":
            found = parse_comparison(turn.text)
            return found if isinstance(found, Comparison) else None
    return None


def refusal(text: str) -> Unparsed | None:
    """The reply as a refusal ("I'm sorry, but I cannot ..."), None where it is none."""
    said = text.lstrip()[:200]
    return Unparsed(f"the model refuses: {said[:80]!r}") if _REFUSAL.match(said) else None


def without_thinking(text: str) -> str:
    """The text behind the last thinking block; "" where such a block does not end."""
    end = text.rfind("</think>")
    if end >= 0:
        return text[end + len("</think>") :]
    start = text.find("<think>")
    return text if start < 0 else text[:start]


def _lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        # A line has a second title only where it has a colon.
        yield from (_TITLE_INSIDE.sub("\n", line) if line.count(":") + line.count("：") > 1 else line).split("\n")


def _read(reading: _Reading, line: str) -> None:
    stripped = line.strip()
    if not stripped or stripped.strip("-=_*~`") == "" or stripped.startswith("```"):
        reading.blank = True
        return
    after_blank, reading.blank = reading.blank, False
    heading = _heading(stripped)
    if heading is not None:
        name, rest = heading
        reading.begin(name)
        _read_rest(reading, rest)
        return
    if not reading.name or _BOTH.match(stripped[:200]):
        return  # an introduction
    bullet = _BULLET.match(stripped)
    if bullet:
        reading.bulleted = True
        reading.add(stripped[bullet.end() :], numbered=bullet["number"] is not None or bullet["letter"] is not None)
        return
    label = stripped.lstrip("#> ")
    if axis_named(_unmarked(label).rstrip(":：")) is not None and len(label) < 60:
        reading.add(label)
        return
    if not reading.bulleted:
        _read_rest(reading, stripped)
    elif not after_blank and reading.lists[reading.name] and not stripped.startswith("#"):
        reading.extend(stripped)
    # What else stands behind a list with bullets is a closing remark.


def _heading(stripped: str) -> tuple[str, str] | None:
    """(name of the list, what follows in the line) where the line is a title."""
    text = stripped.lstrip("#> ")
    bullet = _BULLET.match(text) if not text.startswith(("**", "__")) else None
    bare = text[bullet.end() :] if bullet else text
    title = re.sub(r"[*_`]{1,3}", "", bare[:160]).strip() if len(bare) <= 160 or "*" in bare[:160] else bare[:160]
    found = _HEADING.match(title)
    if found is None:
        return None
    name = "commonalities" if found["commonalities"] else "differences"
    rest = title[found.end() :].strip()
    if _BOTH.match(title[: found.end()]):
        return None
    if found["colon"]:
        if bullet and rest:
            return None  # an item: "1. Differences in color: ..."
        place = min((at for at in (bare.find(":"), bare.find("：")) if at >= 0), default=len(bare))
        return name, bare[place + 1 :].strip().lstrip("*_ ").strip()
    marked = stripped.startswith(("#", "**", "__")) and not bullet
    alone = not rest and len(title.split()) <= (7 if marked else 3) and not bullet
    return (name, "") if alone else None


def _read_rest(reading: _Reading, text: str) -> None:
    """Read a list in one line: "1. ... 2. ...", "...; ...", or sentences."""
    if not text:
        return
    pieces = _numbered_pieces(text)
    if pieces:
        reading.bulleted = True
        for piece in pieces:
            reading.add(piece, numbered=True)
        return
    bullet = _BULLET.match(text)
    text = text[bullet.end() :] if bullet else text
    parts = text.split(";") if ";" in text else _SENTENCE_END.split(text)
    for part in parts:
        reading.add(part, numbered=True)


def _numbered_pieces(text: str) -> list[str]:
    """The texts behind 1., 2., 3. within a line; [] where it does not begin with 1."""
    cuts: list[tuple[int, int]] = []
    for found in _INSIDE_NUMBER.finditer(text):
        if int(found[1]) == len(cuts) + 1 and (cuts or not text[: found.start()].strip()):
            cuts.append(found.span())
    ends = [*(start for start, _ in cuts[1:]), len(text)]
    return [text[start:end].strip() for (_, start), end in zip(cuts, ends, strict=False)]


def _unmarked(text: str) -> str:
    """The text on one line without Markdown's marks for bold, italics and code."""
    return " ".join(re.sub(r"\*{1,3}|(?<!\w)_{1,3}|_{1,3}(?!\w)|`", "", text).split())


def _with_axis(text: str) -> tuple[str, str | None]:
    """The text without a prefix that names an axis, and that axis."""
    label, colon, _ = text[:60].partition(":") if ":" in text[:60] else text[:60].partition("：")
    if colon:
        axis = axis_named(label)
        return (text[len(label) + 1 :].strip(), axis) if axis else (text, None)
    dash = re.match(r"([A-Za-z ]{3,30}) [-–—] ", text)
    if dash and axis_named(dash[1]):
        return text[dash.end() :].strip(), axis_named(dash[1])
    axis = axis_named(text) if len(text) < 40 and not text.endswith(".") else None
    return ("", axis) if axis else (text, None)


def _goes_on(before: str, text: str) -> bool:
    """Whether "Image 2: ..." goes on after "Image 1: ..."."""
    one, other = _SUB_IMAGE.match(before), _SUB_IMAGE.match(text)
    return one is not None and other is not None and _image_number(one) == 1 and _image_number(other) > 1


def _image_number(found: re.Match[str]) -> int:
    return int(found[1]) if found[1] else ("first", "second", "third").index(found[2].lower()) + 1
