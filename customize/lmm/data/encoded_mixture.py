"""A mixture whose samples are encoded: what a training loop takes samples, lengths and counts from.

data = EncodedMixture.prepare([open_part(text) for text in config.data], encoder, cache="work/tokens", seed=0)
data.lengths, data.images          # of all samples, by their numbers in the mixture
data[data.mixture.order(0)[0]]     # EncodedSample
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from customize.lmm.data.encode import Encoder
from customize.lmm.data.mixture import Mixture, Part
from customize.lmm.data.sample import EncodedSample
from customize.lmm.data.skipped import SkippedCounts
from customize.lmm.data.token_cache import EncodedSource, OnProgress, encode_source
from index.files import hash_json

__all__ = ["EncodedMixture"]


class EncodedMixture:
    """Encoded samples by their numbers in `mixture`.

    Attributes:
        lengths: int32 [n], tokens of the model's input; 0 where a sample was skipped, which the mixture never takes.
        trained: int32 [n], tokens with a loss. images: int32 [n], how many images a sample shows.
        skipped: the samples that cannot be trained on, by source and reason.
    """

    def __init__(self, mixture: Mixture, sources: Sequence[EncodedSource], digest: str) -> None:
        self.mixture, self.sources, self._digest = mixture, tuple(sources), digest
        self.lengths: npt.NDArray[np.int32] = np.concatenate([source.lengths for source in sources])
        self.trained: npt.NDArray[np.int32] = np.concatenate([source.trained for source in sources])
        self.images: npt.NDArray[np.int32] = np.concatenate([source.images for source in sources])
        self.skipped = SkippedCounts()
        for source in sources:
            self.skipped.add(source.name, source.reasons, source.named)

    @classmethod
    def prepare(
        cls,
        parts: Sequence[Part],
        encoder: Encoder,
        cache: str | os.PathLike[str],
        *,
        seed: int = 0,
        samples: int | None = None,
        processes: int = 0,
        check_images: bool = False,
        on_progress: OnProgress | None = None,
    ) -> EncodedMixture:
        """Encode all sources, each once; see `Mixture` and `encode_source` for the arguments and what is raised."""
        Mixture(parts, seed=seed, samples=samples)  # what is wrong with it is an error before anything is encoded
        sources = [
            encode_source(
                part.source,
                encoder,
                cache,
                processes=processes,
                check_images=check_images,
                on_progress=on_progress,
            )
            for part in parts
        ]
        mixture = Mixture(parts, seed=seed, samples=samples, usable=[source.usable() for source in sources])
        content = [[part.source.digest(), part.source.name, part.weight, part.count] for part in parts]
        return cls(mixture, sources, hash_json([content, encoder.digest(), seed, samples, check_images]))

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, number: int) -> EncodedSample:
        place, own = self._place(number)
        return self.sources[place][own]

    def digest(self) -> str:
        """A hash of all that decides which samples are trained on, as which tokens, and in which order."""
        return self._digest

    def source_of(self, number: int) -> int:
        """The place of the sample's source in `mixture.names`."""
        return self._place(number)[0]

    def _place(self, number: int) -> tuple[int, int]:
        place = int(np.searchsorted(self.mixture.bounds, number, side="right")) - 1
        return place, number - int(self.mixture.bounds[place])
