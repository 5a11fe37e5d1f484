"""The parts of a ResNet in a detector do what the image tower does, and texts classify."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from customize.clip.detect.parts import BoxCut, BoxHead, TextClassifier, Trunk, check_tower, cut_side
from index.errors import BadInput
from tests.customize.clip.detect.conftest import SIDE, tower
from tests.customize.clip.tiny_models import VIT, clip


@pytest.mark.parametrize("cut_after", [3, 4])
def test_a_box_around_a_whole_image_gives_the_image_towers_own_vector(cut_after: int) -> None:
    visual = tower()
    pixels = torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    trunk, head = Trunk(visual, cut_after, 2).eval(), BoxHead(visual, cut_after).eval()
    cut = BoxCut(cut_side(visual, cut_after), trunk.stride)
    whole = [torch.tensor([[0.0, 0.0, SIDE, SIDE]])] * 3
    with torch.no_grad():
        own = visual(pixels)
        found = head(cut({"0": trunk(pixels)}, whole, [(SIDE, SIDE)] * 3))
    assert float(own.std(0).min()) > 1e-2  # the images differ
    torch.testing.assert_close(found, own, rtol=1e-4, atol=1e-4)


def test_half_an_image_gives_another_vector() -> None:
    visual = tower()
    pixels = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    trunk, head = Trunk(visual, 3, 2).eval(), BoxHead(visual, 3).eval()
    half = BoxCut(cut_side(visual, 3), trunk.stride)(
        {"0": trunk(pixels)}, [torch.tensor([[0.0, 0.0, SIDE / 2, SIDE]])], [(SIDE, SIDE)]
    )
    with torch.no_grad():
        assert not torch.allclose(head(half), visual(pixels), atol=1e-3)


def test_the_cut_of_an_rn50_is_what_its_attention_pooling_takes() -> None:
    from open_clip.modified_resnet import ModifiedResNet

    with torch.device("meta"):
        visual = ModifiedResNet((3, 4, 6, 3), output_dim=1024, heads=32, image_size=224, width=64)
    assert (cut_side(visual, 3), cut_side(visual, 4)) == (14, 7)
    assert Trunk(visual, 3, 2).out_channels == 1024
    assert (Trunk(visual, 3, 2).stride, Trunk(visual, 4, 2).stride) == (16, 32)


def test_the_first_stages_are_frozen() -> None:
    trunk = Trunk(tower(), 3, 2)
    trained = {name.split(".")[0] + name.split(".")[1] for name, p in trunk.named_parameters() if p.requires_grad}
    assert {name for name in trained if name.startswith("stem")} == set()
    assert {name for name in trained if name.startswith("stages")} == {"stages1", "stages2"}


def test_no_boxes_give_no_vectors() -> None:
    assert BoxHead(tower(), 3)(torch.zeros(0, 256, 4, 4)).shape == (0, 16)


def test_texts_classify_by_cosine_over_temperature() -> None:
    texts = torch.randn(3, 16, generator=torch.Generator().manual_seed(1)) * 5
    vectors = torch.randn(4, 16, generator=torch.Generator().manual_seed(2))
    classifier = TextClassifier(texts, 0.02, learned_background=True)
    logits, corrections = classifier(vectors)
    expected = functional.cosine_similarity(vectors[:, None], texts[None], dim=-1) / 0.02
    torch.testing.assert_close(logits[:, 1:], expected)
    assert logits[:, 0].abs().max() == 0  # the background starts as zero
    assert corrections.shape == (4, 4)
    logits[:, 0].sum().backward()
    assert classifier.background.grad is not None
    assert not TextClassifier(texts, 0.02, learned_background=False).background.requires_grad


def test_a_classifier_takes_other_texts() -> None:
    classifier = TextClassifier(torch.eye(3, 16), 0.01, learned_background=False)
    classifier.use(torch.eye(5, 16))
    assert classifier(torch.ones(1, 16))[0].shape == (1, 6)
    assert "texts" not in classifier.state_dict()


def test_a_vision_transformer_is_refused_with_the_remedy() -> None:
    with pytest.raises(BadInput, match=r"ViT-B-32: .*VisionTransformer.*take RN50:openai.*locked-text") as refused:
        check_tower(clip(VIT).visual, "ViT-B-32")
    assert "\n" not in str(refused.value)
    check_tower(tower(), "RN50")
