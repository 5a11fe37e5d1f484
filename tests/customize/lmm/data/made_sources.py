"""A source of made conversations whose images are made when they are read, for the tests of batches and caches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from customize.lmm.data.encode import Encoder
from customize.lmm.data.sample import ImageFile, LmmSample
from customize.lmm.data.skipped import SkippedSample
from customize.lmm.data.source import Numbers, PlacedImage
from index.errors import ClipmineError
from mining.chat.templates import VICUNA_V1_NO_SYSTEM
from mining.sets.annotation import Turn
from tests.customize.lmm.data.made_data import llama_tokenizer


@dataclass(frozen=True)
class MadeSource:
    """Conversations of many lengths: two of three show an image, and every tenth record is broken.

    lost: images that cannot be read.
    """

    name: str
    samples: int
    lost: tuple[str, ...] = ()
    version: int = 0

    def __len__(self) -> int:
        return self.samples

    def digest(self) -> str:
        return f"{self.name} {self.samples} {self.version}"

    def read(self, numbers: Numbers) -> Iterator[LmmSample | SkippedSample]:
        for number in numbers.tolist():
            if number % 10 == 9:
                yield SkippedSample(str(number), self.name, "broken JSON", f"line {number}")
                continue
            images = (self.image(f"{self.name}/{number}", str(number)),) if number % 3 else ()
            asked = Turn("user", (*range(len(images)), f"\nWhat is in {number}?"))
            answer = Turn("assistant", (f"Picture {number}" + " of a red bus" * (number * 7 % 23),))
            yield LmmSample(str(number), self.name, (asked, answer), images)

    def image(self, key: str, place: str) -> ImageFile:
        return PlacedImage(key, lambda: self.file(key), place)

    def file(self, key: str) -> bytes:
        if key in self.lost:
            raise ClipmineError(f"{key}: missing")
        return key.encode()


def made_encoder(image_tokens: int = 4, max_length: int | None = None) -> Encoder:
    return Encoder(llama_tokenizer(), VICUNA_V1_NO_SYSTEM, image_tokens=image_tokens, max_length=max_length)
