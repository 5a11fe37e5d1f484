"""Samples as tokens: image tokens in place, and labels on the answers and their stops alone.

    encoder = Encoder(processor, chat_template_of(processor, "vicuna_v1"), image_tokens=576, max_length=2048)
    encoded = encoder.encode(sample)      # EncodedSample, or a SkippedSample that says why there is none

A conversation is tokenized as one text, as it is when a model is asked, and the characters of the answers decide which
tokens are trained. So the tokens of a question are those that generation starts from. A sample in which a token is part
of both a question and an answer is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from customize.lmm.data.sample import IGNORED, EncodedSample, ImageFile, LmmSample
from customize.lmm.data.skipped import SkippedSample
from index.errors import BadInput, ClipmineError
from index.files import hash_json
from mining.chat.rendering import Rendered, render, tokenizer_of
from mining.sets.annotation import IMAGE, Turn

__all__ = ["Encoder", "ImageTokens", "TokenRow", "expand"]

# Tokens of an image: one number for all, or a function of the image.
ImageTokens = int | Callable[[ImageFile], int]

NO_ANSWER = "no answer"
PLACES = "as many places as images are needed"
TOO_LONG = "longer than the context"
UNALIGNED = "a token is part of a question and an answer"
_PROBE = LmmSample(
    "probe",
    "probe",
    (
        Turn("user", ("wordone ", 0, "\nwordtwo ", 0, "\nwordthree")),
        Turn("assistant", ("wordfour",)),
        Turn("user", ("wordfive",)),
        Turn("assistant", ("wordsix",)),
    ),
    (ImageFile("probe", lambda: b""),),
)


@dataclass(frozen=True)
class TokenRow:
    """A sample's tokens with one image token for each image.

    ids: int64 [n]. trained: bool [n], the answers and their stops. images: those of the image tokens, in their order.
    image_tokens: how many tokens each of them takes in the model's input.
    """

    ids: npt.NDArray[np.int64]
    trained: npt.NDArray[np.bool_]
    images: tuple[ImageFile, ...] = ()
    image_tokens: tuple[int, ...] = ()

    @property
    def length(self) -> int:
        """Tokens of the model's input."""
        return len(self.ids) + sum(self.image_tokens) - len(self.image_tokens)


class Encoder:
    """Encodes samples for one tokenizer and one chat template. Pickled, it takes its processor along."""

    def __init__(
        self,
        processor: Any,
        template: str,
        *,
        image_tokens: ImageTokens,
        image_token: str | None = None,
        max_length: int | None = None,
    ) -> None:
        """processor: a processor, or a tokenizer alone. template: Jinja, as `chat_template_of` gives it.

        image_token: what the template writes for an image, by default the processor's `image_token`, else `<image>`.
        max_length: tokens of the model's context, images included; longer samples are skipped. Raises BadInput where
        the tokenizer lacks the image token, or the template writes no answers that can be trained with their stops.
        """
        self.processor, self.template = processor, template
        self.tokenizer = tokenizer_of(processor)
        own = image_token or getattr(processor, "image_token", None) or IMAGE
        self.image_token = str(own)
        self.image_token_id = int(self.tokenizer.convert_tokens_to_ids(self.image_token) or 0)
        self._image_tokens, self.max_length = image_tokens, max_length
        if self.image_token not in self.tokenizer.get_vocab():
            raise BadInput(
                f"the tokenizer has no token {self.image_token!r:.50} for images; add it to the tokenizer and resize "
                "the model's embeddings"
            )
        self._check_template()

    def digest(self) -> str:
        """A hash of what decides the tokens: the tokenizer's, the template, the image tokens, the context."""
        tokenizer = self.tokenizer
        rules = tokenizer.backend_tokenizer.to_str() if tokenizer.is_fast else sorted(tokenizer.get_vocab().items())
        fixed = self._image_tokens if isinstance(self._image_tokens, int) else repr(self._image_tokens)
        return hash_json([rules, self.template, self.image_token, fixed, self.max_length])

    def encode(self, sample: LmmSample) -> EncodedSample | SkippedSample:
        """The sample with its image tokens expanded, or why it is skipped."""
        (found,) = self.rows([sample])
        if isinstance(found, SkippedSample):
            return found
        return expand(found, self.image_token_id, sample.sample_id, sample.source)

    def rows(self, samples: Sequence[LmmSample]) -> list[TokenRow | SkippedSample]:
        """The samples with one image token for each image; many at a time are tokenized by several threads."""
        found: list[TokenRow | SkippedSample | None] = []
        texts: list[Rendered] = []
        for sample in samples:
            rendered = self._rendered(sample)
            found.append(rendered if isinstance(rendered, SkippedSample) else None)
            if isinstance(rendered, Rendered):
                texts.append(rendered)
        tokens = iter(self._tokens(texts) if texts else ())
        return [
            each if each is not None else self._row(sample, next(tokens))
            for sample, each in zip(samples, found, strict=True)
        ]

    def _rendered(self, sample: LmmSample) -> Rendered | SkippedSample:
        shown = [place for turn in sample.turns for place in turn.images]
        if set(shown) != set(range(len(sample.images))):
            return _skipped(sample, PLACES, f"{len(set(shown))} places, {len(sample.images)} images")
        turns = _with_answers(sample.turns)
        if not turns:
            answered = any(turn.role == "assistant" for turn in sample.turns)
            return _skipped(sample, NO_ANSWER, "an answer is empty or an image" if answered else "")
        try:
            return render(self.template, self.processor, turns)
        except BadInput as error:
            return _skipped(sample, "the template does not fit the conversation", str(error))

    def _tokens(self, texts: Sequence[Rendered]) -> Iterable[tuple[list[int], npt.NDArray[np.bool_] | None]]:
        """(token ids, whether each is trained) of each text; None for the second where a token is half trained."""
        if not self.tokenizer.is_fast:
            yield from map(self._tokens_by_prefixes, texts)
            return
        encoded = self.tokenizer(
            [each.text for each in texts],
            add_special_tokens=False,
            return_offsets_mapping=True,
            return_attention_mask=False,
            verbose=False,
        )
        for each, ids, offsets in zip(texts, encoded["input_ids"], encoded["offset_mapping"], strict=True):
            yield ids, _trained(offsets, each.trained)

    def _tokens_by_prefixes(self, rendered: Rendered) -> tuple[list[int], npt.NDArray[np.bool_] | None]:
        """For tokenizers that don't tell where a token is in the text: the text's beginnings are tokenized as well."""
        whole = self._ids(rendered.text)
        trained = np.zeros(len(whole), np.bool_)
        for start, end in rendered.trained:
            before, behind = self._ids(rendered.text[:start]), self._ids(rendered.text[:end])
            if whole[: len(before)] != before or whole[: len(behind)] != behind:
                return whole, None
            trained[len(before) : len(behind)] = True
        return whole, trained

    def _ids(self, text: str) -> list[int]:
        found: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return found

    def _row(
        self, sample: LmmSample, tokens: tuple[list[int], npt.NDArray[np.bool_] | None]
    ) -> TokenRow | SkippedSample:
        ids, trained = np.array(tokens[0], np.int64), tokens[1]
        if trained is None:
            return _skipped(sample, UNALIGNED)
        if not trained.any():
            return _skipped(sample, NO_ANSWER)
        images = tuple(sample.images[place] for turn in sample.turns for place in turn.images)
        found = int((ids == self.image_token_id).sum())
        if found != len(images):
            return _skipped(sample, PLACES, f"{found} image tokens, {len(images)} images")
        try:
            counts = tuple(self._count(image) for image in images)
        except ClipmineError as error:
            return _skipped(sample, "an image that cannot be read", str(error))
        row = TokenRow(ids, trained, images, counts)
        if self.max_length is not None and row.length > self.max_length:
            return _skipped(sample, TOO_LONG, f"{row.length} tokens")
        return row

    def _count(self, image: ImageFile) -> int:
        return self._image_tokens if isinstance(self._image_tokens, int) else self._image_tokens(image)

    def _check_template(self) -> None:
        """Encode a conversation and read what is trained, so that a template that fits no sample fails here."""
        rendered = self._rendered(_PROBE)
        problem = str(rendered) if isinstance(rendered, SkippedSample) else ""
        if isinstance(rendered, Rendered):
            (tokens,) = self._tokens([rendered])
            ids, trained = np.array(tokens[0]), tokens[1]
            if trained is None:
                problem = UNALIGNED
            elif int((ids == self.image_token_id).sum()) != 2:
                problem = f"it does not write {self.image_token} for each image"
            else:
                problem = self._problem(ids, trained)
        if problem:
            raise BadInput(f"the chat template cannot be trained with this tokenizer: {problem}; name another template")

    def _problem(self, ids: npt.NDArray[np.int64], trained: npt.NDArray[np.bool_]) -> str:
        said = "".join(self.tokenizer.decode(ids[run]) for run in _runs(trained))
        found = re.fullmatch(r"\s*wordfour(.*?)\s*wordsix(.*)", said, re.DOTALL)
        if found is None or found[1].strip() != found[2].strip():
            return f"it trains {said!r:.200}, not the answers alone"
        # LLaVA's plain template ends with the end of a line. Any other stop is one token, which generation waits for.
        ends = {int(ids[run.stop - 1]) for run in _runs(trained)}
        if not said.endswith("\n") and not ends <= set(self.tokenizer.added_tokens_decoder):
            return f"it trains no stop behind an answer that is a token of its own (it ends {said[-20:]!r})"
        return ""


def expand(row: TokenRow, image_token_id: int, sample_id: str, source: str) -> EncodedSample:
    """The row with each image token as often as the image has tokens."""
    repeats = np.ones(len(row.ids), np.int64)
    repeats[row.ids == image_token_id] = row.image_tokens
    labels = np.where(row.trained, row.ids, IGNORED)
    return EncodedSample(sample_id, source, np.repeat(row.ids, repeats), np.repeat(labels, repeats), row.images)


def _with_answers(turns: Sequence[Turn]) -> list[Turn]:
    """The turns up to the last answer, answers without white space around them; [] where there is no answer.

    A question behind the last answer teaches nothing. An empty answer would teach to stop at once; the sample is not
    used up to there either, since its later turns refer to it.
    """
    found: list[Turn] = []
    last = 0
    for turn in turns:
        if turn.role != "assistant":
            found.append(turn)
            continue
        text = turn.text.strip()
        if turn.images or not text:
            return []
        found.append(Turn("assistant", (text,)))
        last = len(found)
    return found[:last]


def _trained(offsets: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]) -> npt.NDArray[np.bool_] | None:
    """bool [tokens]: whether a token lies in a span of trained characters; None where one lies partly in it."""
    places = np.array(offsets, np.int64).reshape(-1, 2)
    starts, ends = places[:, 0], places[:, 1]
    trained = np.zeros(len(places), np.bool_)
    for start, end in spans:
        inside = (starts >= start) & (ends <= end) & (starts < end)
        if ((starts < end) & (ends > start) & ~inside).any():
            return None
        trained |= inside
    return trained


def _runs(trained: npt.NDArray[np.bool_]) -> list[slice]:
    edges = np.flatnonzero(np.diff(trained.astype(np.int8), prepend=0, append=0))
    return [slice(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def _skipped(sample: LmmSample, reason: str, detail: str = "") -> SkippedSample:
    return SkippedSample(sample.sample_id, sample.source, reason, detail)
