"""Eq. 2.4-2.6: their reductions, their gradients, and the same gradients from one worker and from two."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from customize.clip.objective import Targets, contrastive_loss, positives, sigmoid_loss
from index.errors import BadInput

TEXT_IDS = torch.tensor([0, 1, 0, 2, 2, 3, 4, 2])


def rows(seed: int, count: int = 8, width: int = 6, dtype: torch.dtype = torch.float64) -> Tensor:
    return F.normalize(torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=dtype), dim=1)


def texts_with_doubles() -> Tensor:
    """Eight rows of which TEXT_IDS says which are equal."""
    return rows(1)[TEXT_IDS]


def by_the_book(image: Tensor, text: Tensor, tau: float, right: Tensor) -> float:
    """Eq. 2.5 + 2.6 as they are printed, summed in plain Python."""
    total = 0.0
    count = len(image)
    for i in range(count):
        own = [k for k in range(count) if right[i, k]]
        below_image = sum(float(torch.exp(tau * image[i] @ text[j])) for j in range(count))
        below_text = sum(float(torch.exp(tau * image[j] @ text[i])) for j in range(count))
        for k in own:
            total -= float(torch.log(torch.exp(tau * image[i] @ text[k]) / below_image)) / len(own)
            total -= float(torch.log(torch.exp(tau * image[k] @ text[i]) / below_text)) / len(own)
    return total


def test_it_is_the_printed_sum_over_twice_the_batch() -> None:
    image, text = rows(0), texts_with_doubles()
    for targets in (Targets(), Targets(0.3), Targets(0.9), Targets(1.0, TEXT_IDS)):
        loss = contrastive_loss(image, text, torch.tensor(7.0, dtype=torch.float64), targets).loss
        expected = by_the_book(image, text, 7.0, positives(text, text, targets)) / (2 * len(image))
        assert float(loss) == pytest.approx(expected, rel=1e-10)


def test_without_alike_texts_it_is_clips_loss() -> None:
    image, text = rows(0), rows(1)
    logits = 10 * image @ text.T
    labels = torch.arange(len(image))
    clip = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
    scale = torch.tensor(10.0, dtype=torch.float64)
    # Texts that all differ are one-to-one whatever gamma is above their cosines.
    for targets in (Targets(), Targets(0.999), Targets(1.0, torch.arange(8))):
        torch.testing.assert_close(contrastive_loss(image, text, scale, targets).loss, clip)


def test_with_gamma_1_it_is_unicls_loss() -> None:
    """UniCL (arXiv 2204.03610, algorithm 1): soft targets from equal labels, both directions."""
    image, text = rows(0), texts_with_doubles()
    logits = 10 * image @ text.T
    same = (TEXT_IDS[:, None] == TEXT_IDS[None, :]).double()
    soft = same / same.sum(1, keepdim=True)
    unicl = (F.cross_entropy(logits, soft) + F.cross_entropy(logits.T, soft)) / 2
    scale = torch.tensor(10.0, dtype=torch.float64)
    torch.testing.assert_close(contrastive_loss(image, text, scale, Targets(1.0, TEXT_IDS)).loss, unicl)


def test_gamma_1_compares_ids_since_the_cosine_of_a_rounded_vector_with_itself_is_often_below_1() -> None:
    text = rows(3, 4000, 512, torch.float32)
    assert ((text * text).sum(1) < 1).float().mean() > 0.2
    ids = torch.arange(4000)
    assert torch.equal(positives(text[:100], text[:100], Targets(1.0, ids[:100])), torch.eye(100, dtype=torch.bool))
    with pytest.raises(BadInput, match="give text_ids"):
        Targets(1.0)


def test_a_pairs_own_text_is_always_a_positive_and_positives_are_symmetric() -> None:
    text = texts_with_doubles()
    right = positives(text, text, Targets(0.9))
    assert torch.equal(right, right.T)
    assert torch.equal(right, (TEXT_IDS[:, None] == TEXT_IDS[None, :]) | (text @ text.T >= 0.9))
    half = (text * 0.5).float()  # shorter than unit length: below gamma even with themselves
    assert torch.equal(positives(half, half, Targets(0.9)), torch.eye(8, dtype=torch.bool))


@pytest.mark.parametrize("targets", [Targets(), Targets(0.3), Targets(1.0, TEXT_IDS)])
def test_gradients_are_the_numerical_ones(targets: Targets) -> None:
    image, text = rows(0).requires_grad_(), texts_with_doubles().requires_grad_()
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    fixed = positives(text, text, targets)  # the choice of positives has no gradient

    def loss(image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
        return contrastive_loss(image, text, scale, targets).loss

    assert fixed.sum() >= 8
    assert torch.autograd.gradcheck(loss, (image, text, scale))


def test_gamma_has_no_gradient_through_the_choice_of_positives() -> None:
    text = rows(1).requires_grad_()
    assert not positives(text, text, Targets(0.3)).requires_grad


def test_half_precision_features_are_compared_in_float32() -> None:
    loss = contrastive_loss(rows(0).bfloat16(), rows(1).bfloat16(), torch.tensor(100.0), Targets(0.9)).loss
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)


def test_accuracy_counts_images_whose_nearest_text_is_a_positive() -> None:
    image = texts_with_doubles()
    scale = torch.tensor(1.0, dtype=torch.float64)
    assert float(contrastive_loss(image, image, scale, Targets(1.0, TEXT_IDS)).accuracy) == 1.0
    wrong = torch.cat([image[1:], image[:1]])
    assert float(contrastive_loss(wrong, image, scale, Targets(1.0, TEXT_IDS)).accuracy) == pytest.approx(1 / 8)


@pytest.mark.parametrize("gamma", [0.0 - 1, 1.1, 90.0])
def test_a_gamma_that_is_no_cosine(gamma: float) -> None:
    with pytest.raises(BadInput, match="above -1 and at most 1"):
        Targets(gamma)


@pytest.fixture(scope="module")
def of_two_workers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the gradients that each of two workers ends with, as RANK-LOCKED.pt."""
    folder = tmp_path_factory.mktemp("of_two_workers")
    context = torch.multiprocessing.start_processes(  # type: ignore[attr-defined, no-untyped-call]
        work, (str(folder),), nprocs=2, join=False, start_method="spawn"
    )
    while not context.join(timeout=60):
        pass
    return folder


def test_the_sigmoid_loss_is_open_clips() -> None:
    from open_clip.loss import SigLipLoss

    image, text = rows(0), rows(1)
    scale, bias = torch.tensor(10.0, dtype=torch.float64), torch.tensor(-8.0, dtype=torch.float64)
    expected = SigLipLoss()(image, text, scale, bias)
    for targets in (Targets(), Targets(0.999), Targets(1.0, torch.arange(8))):
        torch.testing.assert_close(sigmoid_loss(image, text, scale, bias, targets).loss, expected)


def test_all_positives_answer_yes_in_the_sigmoid_loss() -> None:
    image, text = rows(0), texts_with_doubles()
    scale, bias = torch.tensor(7.0, dtype=torch.float64), torch.tensor(-3.0, dtype=torch.float64)
    found = sigmoid_loss(image, text, scale, bias, Targets(1.0, TEXT_IDS))
    logits = (7 * image @ text.T - 3).tolist()
    same = (TEXT_IDS[:, None] == TEXT_IDS[None, :]).tolist()
    total = sum(
        math.log1p(math.exp(-z if yes else z))
        for row, yeses in zip(logits, same, strict=True)
        for z, yes in zip(row, yeses, strict=True)
    )
    assert float(found.loss) == pytest.approx(total / 8)
    alike = sigmoid_loss(text, text, scale, bias, Targets(1.0, TEXT_IDS))
    assert float(alike.accuracy) == 1.0


@pytest.mark.parametrize("locked_text", [False, True])
def test_two_workers_give_one_workers_gradients(of_two_workers: Path, locked_text: bool) -> None:
    inputs, targets = torch.randn(8, 5, generator=torch.Generator().manual_seed(4)).double(), TEXT_IDS
    alone = gradients(inputs, targets, locked_text)
    for rank in range(2):
        shared = torch.load(of_two_workers / f"{rank}-{locked_text}.pt", weights_only=True)
        assert shared.keys() == alone.keys()
        for name, gradient in alone.items():
            torch.testing.assert_close(shared[name], gradient, rtol=1e-10, atol=1e-12)


def work(rank: int, folder: str) -> None:
    """One of two workers: its half of the batch, and the mean of both workers' gradients."""
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    inputs = torch.randn(8, 5, generator=torch.Generator().manual_seed(4)).double()
    half = slice(4 * rank, 4 * rank + 4)
    for locked_text in (False, True):
        own = gradients(inputs[half], TEXT_IDS[half], locked_text)
        for gradient in own.values():
            dist.all_reduce(gradient)
            gradient /= 2
        torch.save(own, Path(folder) / f"{rank}-{locked_text}.pt")
    dist.destroy_process_group()


def gradients(inputs: Tensor, text_ids: Tensor, locked_text: bool) -> dict[str, Tensor]:
    """Of two small towers and the temperature, by name; with locked text the text tower has none."""
    torch.manual_seed(0)
    model: Any = nn.ModuleDict({"image": nn.Linear(5, 6), "text": nn.Linear(5, 6)}).double()
    model.text.requires_grad_(not locked_text)
    scale = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
    image, text = F.normalize(model.image(inputs), dim=1), F.normalize(model.text(inputs.flip(1)), dim=1)
    bias = nn.Parameter(torch.tensor(-1.0, dtype=torch.float64))
    targets = Targets(0.8, text_ids)
    both = contrastive_loss(image, text, scale.exp(), targets).loss
    both = both + sigmoid_loss(image, text, scale.exp(), bias, targets).loss
    both.backward()  # type: ignore[no-untyped-call]
    named = {**dict(model.named_parameters()), "scale": scale, "bias": bias}
    return {name: parameter.grad for name, parameter in named.items() if parameter.grad is not None}
