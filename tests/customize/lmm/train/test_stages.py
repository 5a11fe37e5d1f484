"""The stages have their papers' numbers, and a stage says what it cannot train."""

from __future__ import annotations

import pytest

from customize.lmm.train.stages import Recipe, stage_recipe
from index.errors import BadInput


def test_the_stages_have_their_papers_numbers() -> None:
    """Learning rate, projector's, batch, prompt; LLaVA 4.2, LLaVA-1.5 table 9 and its scripts, CaD-VI's details."""

    def numbers(recipe: Recipe) -> tuple[str, float, float, int, str | None]:
        return recipe.train, recipe.lr, recipe.projector_lr, recipe.batch_size, recipe.template

    assert numbers(stage_recipe("align")) == ("projector", 1e-3, 1e-3, 256, "plain")
    assert numbers(stage_recipe("align", projector="linear")) == ("projector", 2e-3, 2e-3, 128, "plain")
    assert numbers(stage_recipe("instruct")) == ("lora", 2e-4, 2e-5, 128, None)
    assert numbers(stage_recipe("instruct", "full")) == ("full", 2e-5, 2e-5, 128, None)
    assert numbers(stage_recipe("cad")) == ("lora", 1e-4, 2e-5, 128, None)


def test_all_stages_share_llavas_schedule() -> None:
    for recipe in (stage_recipe("align"), stage_recipe("instruct"), stage_recipe("cad"), stage_recipe("cad", "full")):
        assert (recipe.epochs, recipe.warmup, recipe.weight_decay, recipe.max_length) == (1, 0.03, 0, 2048)
        assert (recipe.lora_rank, recipe.lora_alpha) == (128, 256)
        assert recipe.source


def test_a_stage_says_what_it_does_not_train() -> None:
    with pytest.raises(BadInput, match="--stage sft: choose align, instruct, cad"):
        stage_recipe("sft")
    with pytest.raises(BadInput, match="align trains the projector only"):
        stage_recipe("align", "lora")
    with pytest.raises(BadInput, match="to train the projector, choose --stage align"):
        stage_recipe("cad", "projector")
