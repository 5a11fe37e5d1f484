"""Caption text as it is read: entities resolved, one form for each character, without markup, addresses and controls.

Nouns and facts read captions through `plain_text` alone, so that both see the same words.
"""

from __future__ import annotations

import html
import re
import unicodedata

__all__ = ["CAPTION_CHARACTERS", "plain_text"]

# Longer captions are cut: 10,000 words of alt text are no description, and the limit bounds the memory of a task.
# Localized Narratives' longest has some 250 words.
CAPTION_CHARACTERS = 4_000

_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,30});")
# Tags, web addresses, e-mail addresses and file names.
_MARKUP = re.compile(
    r"</?[a-zA-Z!?][^<>]{0,300}>|(?:https?://|www\.)\S+|"
    r"(?<!\S)(?:[^\s@]+@\S+\.\S+|[^\s.]+\.(?:jpe?g|png|gif|webp|svg|bmp|tiff?|pdf|html?)\b)",
    re.IGNORECASE,
)
# NFKC would glue the marks of products to the word before them ("NikeTM").
_MARKS = dict.fromkeys(map(ord, "™®©℠℗"), " ")
_QUOTES = dict.fromkeys(map(ord, "’‘ʼ´`"), "'")
# Controls (Cc) and lone surrogates (Cs) become spaces; what has no width (Cf, as the soft hyphen) is taken out.
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_NO_WIDTH = re.compile("[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufe00-\ufe0f\ufeff]")


def plain_text(caption: str) -> str:
    """The first `CAPTION_CHARACTERS` of a caption, normalized to NFKC; its lines and its letters' case are kept.

    Entities are resolved twice, since "&amp;amp;" is frequent. What an entity hides ("&lt;b&gt;") is markup too.
    """
    text = caption[:CAPTION_CHARACTERS]
    if "&" in text and ";" in text and _ENTITY.search(text):
        text = html.unescape(html.unescape(text))
    if "." in text[:-1] or "<" in text:  # an address has a dot; that at the end of a sentence is none
        text = _MARKUP.sub(" ", text)
    if not text.isascii():
        text = text.translate(_MARKS).translate(_QUOTES)
        text = _NO_WIDTH.sub("", unicodedata.normalize("NFKC", text))[:CAPTION_CHARACTERS]
    if not text.isprintable():
        text = _CONTROL.sub(" ", text)
    return text
