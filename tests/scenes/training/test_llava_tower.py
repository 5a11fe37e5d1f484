"""The tower with coarse patches: what it takes over from the CLIP, and the labels of its patches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from scenes.drawing.render import render
from scenes.training.llava_images import coverage, prepare_images
from scenes.training.llava_tower import (
    COLUMNS,
    HEADS,
    PLACES,
    PatchHeads,
    main,
    patch_labels,
    pixels_of,
    tower_of_clip,
)
from scenes.training.train_clip import MODEL_FOLDER
from scenes.world.easy import EASY_TYPES, easy_scene


def test_the_tower_has_the_blocks_of_the_clip_and_16_tokens_an_image() -> None:
    tower: Any = tower_of_clip()
    clip = load_file(str(MODEL_FOLDER / "open_clip_model.safetensors"))
    torch.testing.assert_close(
        tower.encoder.layers[3].mlp.fc1.weight.detach(), clip["visual.transformer.resblocks.3.mlp.c_fc.weight"].float()
    )
    tokens = tower(torch.zeros(1, 3, 96, 96)).last_hidden_state
    assert tokens.shape == (1, 17, 160)


def test_the_patch_kernel_answers_a_picture_of_twice_the_size_as_the_clip_does() -> None:
    tower: Any = tower_of_clip()
    clip = load_file(str(MODEL_FOLDER / "open_clip_model.safetensors"))["visual.conv1.weight"].float()
    flat = torch.full((1, 3, 24, 24), 0.7)
    fine = torch.nn.functional.conv2d(flat[..., :12, :12], clip)
    torch.testing.assert_close(tower.embeddings.patch_embedding(flat).detach(), fine, atol=1e-4, rtol=1e-4)


def test_labels_say_what_each_patch_shows() -> None:
    scene = easy_scene("language", 4)
    covered = coverage(render(scene).mask)
    labels, whole = patch_labels("language", [4], covered[None])
    assert labels.shape == (1, 16, COLUMNS)
    assert PLACES[whole[0, 0]] == scene.place
    shown = {EASY_TYPES[column] for column in np.flatnonzero(labels[0, :, : HEADS["types"]].any(0))}
    assert shown == {thing.type for thing in scene.objects}
    main_patches = labels[0, :, HEADS["types"] : 2 * HEADS["types"]]
    assert 1 <= main_patches.sum() <= len(scene.objects)


def test_heads_give_a_loss_and_f1_of_each_kind_of_label() -> None:
    torch.manual_seed(0)
    labels = torch.zeros(2, 16, COLUMNS, dtype=torch.bool)
    loss, found = PatchHeads(160).loss(torch.randn(2, 16, 160), labels, torch.zeros(2, 2, dtype=torch.int64))
    assert loss.item() > 0
    assert set(found) == {*HEADS, "place"}


def test_pixels_are_normalized_by_channel() -> None:
    pixels = pixels_of(np.full((1, 2, 2, 3), 255, np.uint8))
    assert pixels.shape == (1, 3, 2, 2)
    assert pixels[0, :, 0, 0].tolist() == [
        (1 - mean) / std
        for mean, std in zip(
            torch.tensor((0.48145466, 0.4578275, 0.40821073)),
            torch.tensor((0.26862954, 0.26130258, 0.27577711)),
            strict=True,
        )
    ]


def test_training_writes_weights_and_a_log(tmp_path: Path) -> None:
    prepare_images(tmp_path / "data", "language", 12, workers=1)
    main(["--data", str(tmp_path / "data"), "--out", str(tmp_path / "tower"), "--steps", "2"])
    rows = [json.loads(line) for line in (tmp_path / "tower" / "tower_log.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 2
    before, after = tower_of_clip().state_dict(), load_file(str(tmp_path / "tower" / "tower.safetensors"))
    assert set(before) == set(after)
    assert not torch.equal(before["embeddings.class_embedding"], after["embeddings.class_embedding"])
