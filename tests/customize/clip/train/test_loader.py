"""A step's inputs follow from the step, whether processes, threads or the caller's own thread load them."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from customize.clip.model_folder import LoadedModel
from customize.clip.train.augment import released_transform
from customize.clip.train.image_inputs import Pixels, StoreImages
from customize.clip.train.loader import CaptionTokens, StepInputs, StepLoader
from customize.clip.train.pairs import Pairs, gather_pairs
from customize.clip.train.schedule import BatchOrder
from index.errors import BadInput, StoreInvalid
from index.store.embedding_store import EmbeddingStore

PREPROCESS = {"size": 32, "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}


def loaded(loader: StepLoader, first: int = 0, last: int = 5) -> list[StepInputs]:
    with loader.steps(first, last) as steps:
        return list(steps)


def augmenting(pairs: Pairs, processes: int = 0) -> StepLoader:
    order = BatchOrder(pairs.shard_of, 8, seed=0)
    images = Pixels(pairs, released_transform(PREPROCESS), 0)
    return StepLoader(images, order.rows, order.steps_per_epoch, processes=processes)


def test_augmented_images_are_the_same_from_processes_and_from_this_thread(pairs: Pairs) -> None:
    here, there = loaded(augmenting(pairs)), loaded(augmenting(pairs, processes=1))
    for ours, theirs in zip(here, there, strict=True):
        assert (ours.step, ours.rows.tolist()) == (theirs.step, theirs.rows.tolist())
        assert torch.equal(ours.images, theirs.images)
    assert here[4].images.shape == (8, 3, 32, 32)


def test_processes_may_be_spawned(pairs: Pairs, tiny_model: LoadedModel) -> None:
    """As on macOS, and much as by forkserver, Python 3.14's default on Linux: all that they need is pickled."""
    transform, tokens = released_transform(PREPROCESS), CaptionTokens(pairs, tiny_model.tokenizer)
    order = BatchOrder(pairs.shard_of, 8, seed=0)

    def rows_of(step: int) -> npt.NDArray[np.int64]:
        return order.rows(step)

    spawned = StepLoader(Pixels(pairs, transform, 0), rows_of, 4, tokens, processes=1, start="spawn")
    here = StepLoader(Pixels(pairs, transform, 0), rows_of, 4, tokens)
    for ours, theirs in zip(loaded(here, last=2), loaded(spawned, last=2), strict=True):
        assert torch.equal(ours.images, theirs.images)
        assert ours.tokens is not None
        assert theirs.tokens is not None
        assert torch.equal(ours.tokens, theirs.tokens)
    own = Pixels(pairs, tiny_model.preprocess, None)
    assert len(pickle.dumps(own)) < 10_000  # the pairs' file is mapped again, not sent


def test_a_stream_that_starts_later_has_the_same_steps(pairs: Pairs) -> None:
    whole, later = loaded(augmenting(pairs)), loaded(augmenting(pairs), 3)
    assert [inputs.step for inputs in later] == [3, 4]
    assert torch.equal(later[0].images, whole[3].images)


@pytest.mark.parametrize("processes", [0, 1])
def test_tokens_belong_to_the_rows_that_were_used(
    processes: int, pairs: Pairs, known_store: EmbeddingStore, tiny_model: LoadedModel
) -> None:
    tokenize = CaptionTokens(pairs, tiny_model.tokenizer)
    order = BatchOrder(pairs.shard_of, 8, seed=1)
    loader = StepLoader(StoreImages(pairs, known_store), order.rows, order.steps_per_epoch, tokenize, processes)
    for inputs in loaded(loader):
        assert inputs.rows.tolist() == order.rows(inputs.step).tolist()
        assert inputs.tokens is not None
        assert torch.equal(inputs.tokens, tiny_model.tokenizer(pairs.captions(inputs.rows)))
        assert inputs.images.shape == (8, 16)


def test_without_a_tokenizer_there_are_no_tokens(pairs: Pairs, tiny_model: LoadedModel) -> None:
    loader = StepLoader(Pixels(pairs, tiny_model.preprocess, None), lambda step: np.arange(2) + step, 4)
    assert [inputs.tokens for inputs in loaded(loader, last=2)] == [None, None]


@pytest.mark.parametrize("processes", [0, 1])
def test_a_tar_that_is_cut_off_in_training_is_one_line(
    processes: int, small_export: str, tiny_model: LoadedModel, tmp_path: Path
) -> None:
    shutil.copytree(small_export, tmp_path / "tars")
    tars = str(tmp_path / "tars")
    pairs = gather_pairs(str(tmp_path / "pairs.arrow"), selection=None, store=None, tars=tars)
    images = Pixels(pairs, tiny_model.preprocess, None)
    loader = StepLoader(images, lambda step: np.arange(3) + 8 * step, 4, processes=processes)
    tar = tmp_path / "tars" / pairs.shards[pairs.shard_of[8]]
    tar.write_bytes(tar.read_bytes()[: pairs.table["offset"][8].as_py() + 100])
    seen = []
    with pytest.raises(StoreInvalid) as caught, loader.steps(0, 4) as steps:
        seen += [step.step for step in steps]
    key = pairs.keys([8])[0]
    assert str(caught.value) == (
        f"{tar}: no longer holds the image of {key}: it was cut off or changed since this run was begun; put it back "
        "as it was and run again"
    )


def test_an_error_while_loading_reaches_the_caller(pairs: Pairs) -> None:
    def refuse(image: object) -> torch.Tensor:
        raise BadInput("cannot be transformed")

    loader = StepLoader(Pixels(pairs, refuse, None), lambda step: np.arange(2), 4)
    with pytest.raises(BadInput, match="cannot be transformed"):
        loaded(loader)
