"""A step's loss and gradient are those of the whole batch, whatever parts, packing and lengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest
import torch

from customize.clip.train.distributed import Worker
from customize.lmm.model.forward import TokenLosses
from customize.lmm.train.config import Weigh
from customize.lmm.train.step import Measured, PartInputs, TuneStep, answer_weights
from tests.customize.lmm.model.positions import restarting_positions
from tests.mining.tiny_llava import tiny_llava

IMAGE, TOKENS, WIDTH = 3, 4, 32
LENGTHS = (9, 30, 14, 22)


@pytest.fixture(scope="module")
def losses() -> TokenLosses:
    model = tiny_llava()
    model.model.vision_tower.requires_grad_(False)
    return TokenLosses(model)


def sample(number: int, length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tokens, labels and features of one image; the later half is trained."""
    draw = torch.Generator().manual_seed(number)
    ids = torch.randint(10, 250, (length,), generator=draw)
    ids[1 : 1 + TOKENS] = IMAGE
    labels = ids.clone()
    labels[: length // 2] = -100
    return ids, labels, torch.randn(1, TOKENS, WIDTH, generator=draw)


def padded(numbers: Sequence[int]) -> PartInputs:
    samples = [sample(number, LENGTHS[number]) for number in numbers]
    longest = max(len(ids) for ids, _, _ in samples)
    rows = len(samples)
    ids, labels = torch.zeros(rows, longest, dtype=torch.int64), torch.full((rows, longest), -100)
    sources = torch.zeros(rows, longest, dtype=torch.int64)
    for row, (number, (own, label, _)) in enumerate(zip(numbers, samples, strict=True)):
        ids[row, : len(own)], labels[row, : len(own)], sources[row] = own, label, number % 2
    features = torch.cat([each for _, _, each in samples])
    return PartInputs(ids, labels, None, sources, features, tuple(map(str, numbers)), sum(LENGTHS[n] for n in numbers))


def packed(numbers: Sequence[int]) -> PartInputs:
    samples = [sample(number, LENGTHS[number]) for number in numbers]
    ids, labels = (torch.cat([each[place] for each in samples])[None] for place in (0, 1))
    sources = torch.cat([torch.full((LENGTHS[number],), number % 2) for number in numbers])[None]
    positions = restarting_positions([LENGTHS[number] for number in numbers])
    features = torch.cat([each for _, _, each in samples])
    return PartInputs(ids, labels, positions, sources, features, tuple(map(str, numbers)), ids.numel())


def taken(
    losses: TokenLosses, parts: Sequence[PartInputs], weigh: Weigh = "tokens"
) -> tuple[Measured, dict[str, torch.Tensor]]:
    losses.zero_grad(set_to_none=True)
    measured = TuneStep(losses, 2, Worker(), "cpu", bf16=False, weigh=weigh)(parts)
    return measured, {name: p.grad.clone() for name, p in losses.named_parameters() if p.grad is not None}


def test_the_loss_is_the_mean_over_all_trained_tokens(losses: TokenLosses) -> None:
    """Against transformers' own loss of each sample, weighted by its trained tokens."""
    measured, _ = taken(losses, [padded([0, 1, 2, 3])])
    total, count = 0.0, 0
    for number, length in enumerate(LENGTHS):
        part = padded([number])
        with torch.no_grad():
            inputs = losses.model.get_input_embeddings()(part.ids)
            inputs[:, 1 : 1 + TOKENS] = losses.model.model.multi_modal_projector(part.features)
            total += float(losses.model(inputs_embeds=inputs, labels=part.labels).loss) * (length - length // 2)
        count += length - length // 2
    assert measured.loss == pytest.approx(total / count, abs=1e-5)
    assert sum(measured.counts) == count
    assert (measured.samples, measured.tokens) == ((2, 2), sum(LENGTHS))


def test_answers_weigh_the_same_or_by_the_root_of_their_length(losses: TokenLosses) -> None:
    """Each sample has one answer; its mean loss counts once, or as often as the root of its tokens."""
    alone = [taken(losses, [padded([number])])[0].loss for number in range(4)]
    counts = [length - length // 2 for length in LENGTHS]
    by_weigh = {"answers": [1.0] * 4, "square": [count**0.5 for count in counts], "tokens": [float(c) for c in counts]}
    for weigh, weights in by_weigh.items():
        measured, _ = taken(losses, [padded([0, 1, 2, 3])], cast("Weigh", weigh))
        expected = sum(loss * weight for loss, weight in zip(alone, weights, strict=True)) / sum(weights)
        assert measured.loss == pytest.approx(expected, abs=1e-5)
        assert measured.weights == pytest.approx((weights[0] + weights[2], weights[1] + weights[3]))
        assert sum(measured.counts) == sum(counts)


def test_weights_of_answers_in_rows_and_in_packed_rows() -> None:
    labels = torch.tensor([[-100, 5, 6, -100, 7, 8], [-100, -100, 9, 9, 9, 9]])
    assert answer_weights(labels, None, "tokens").tolist() == [1.0] * 8
    assert answer_weights(labels, None, "answers").tolist() == [0.5] * 4 + [0.25] * 4
    assert answer_weights(labels, None, "square").tolist() == pytest.approx([2**-0.5] * 4 + [0.5] * 4)
    row = labels.reshape(1, -1)
    positions = restarting_positions([6, 6])
    assert answer_weights(row, positions, "answers").tolist() == [0.5] * 4 + [0.25] * 4
    assert answer_weights(torch.full((1, 4), -100), None, "answers").tolist() == []


@pytest.mark.parametrize("weigh", ["tokens", "square", "answers"])
def test_parts_and_packing_change_neither_loss_nor_gradient(losses: TokenLosses, weigh: Weigh) -> None:
    whole, gradients = taken(losses, [padded([0, 1, 2, 3])], weigh)
    for parts in (
        [padded([0]), padded([1, 2, 3])],
        [padded([3, 1]), padded([2, 0])],
        [packed([0, 1, 2, 3])],
        [packed([2, 0]), padded([1, 3])],
    ):
        measured, own = taken(losses, parts, weigh)
        assert measured.loss == pytest.approx(whole.loss, abs=1e-5)
        assert measured.sums == pytest.approx(whole.sums, rel=1e-5)
        assert (measured.counts, measured.samples) == (whole.counts, whole.samples)
        for name, gradient in gradients.items():
            torch.testing.assert_close(own[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


def test_the_loss_is_split_by_source(losses: TokenLosses) -> None:
    measured, _ = taken(losses, [padded([0, 1, 2, 3])])
    even, _ = taken(losses, [padded([0, 2])])
    assert measured.sums[0] == pytest.approx(even.sums[0], rel=1e-5)
    assert measured.counts == (12, 26)
    assert sum(measured.sums) / sum(measured.counts) == pytest.approx(measured.loss)


def test_the_samples_of_a_part_without_a_finite_loss_are_named(losses: TokenLosses) -> None:
    broken = padded([1, 2])
    broken.features.fill_(float("nan"))
    measured, _ = taken(losses, [padded([0]), broken, padded([3])])
    assert measured.wrong == ("1", "2")
    assert measured.loss != measured.loss


def test_a_worker_without_a_part_adds_nothing(losses: TokenLosses) -> None:
    measured, gradients = taken(losses, [])
    assert (measured.loss, measured.samples, gradients) == (0.0, (0, 0), {})
