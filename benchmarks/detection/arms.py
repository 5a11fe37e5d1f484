"""REACT's retrieval and customizing for the novel types, and the detectors that are trained from each CLIP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.detection.world import NOVEL, SIDE, World
from customize.clip.detect.config import DetectConfig, Recipe
from customize.clip.detect.evaluate import evaluate_detector
from customize.clip.detect.folder import load_detector
from customize.clip.detect.train import train_detector
from customize.clip.model_folder import load_customized
from customize.clip.train.config import CustomizeConfig
from customize.clip.train.train import train
from index.encoder.model_spec import ModelSpec
from index.store.embed import EmbedConfig
from index.store.embedding_store import EmbeddingStore
from jobs.embed_job import run_embed
from retrieval.retrieve import retrieve
from retrieval.rules import Rules
from scenes.held_out.clip_tasks import TEMPLATES

Result = dict[str, float | int | str]


def customized(world: World, base: Path) -> Path:
    """The CLIP after REACT: pairs for the novel types' names from the pool, locked text."""
    plan, store, selection, out = (
        world.plan,
        world.root / "store",
        world.root / "selection",
        world.root / "react",
    )
    spec = ModelSpec(model_dir=str(base))
    run_embed(EmbedConfig(source=str(world.pool), out=str(store), model=spec, device="cpu"), workers=1)
    if not (selection / "manifest.json").exists():
        opened = EmbeddingStore.open(str(store))
        retrieve(
            opened,
            list(NOVEL),
            out=selection,
            mode="both",
            k=min(plan.per_type, opened.rows),
            templates=TEMPLATES,
            rules=Rules(per_concept=plan.per_type),
            reserve=0.0,
            method="exact",
        )
    train(
        CustomizeConfig(
            out=str(out),
            store=str(store),
            selection=str(selection),
            strategy="locked-text",
            steps=plan.react_steps,
            batch_size=plan.react_batch,
            lr=2e-4,
            gamma=1.0,
            augment="none",
            precision="fp32",
            loaders=0,
            device="cpu",
        )
    )
    return out


def detectors(world: World, models: Mapping[str, Path], say: Callable[[str], None]) -> list[Result]:
    """Train and test a detector from each model with each seed, the seeds in turns."""
    plan, results = world.plan, []
    for seed in range(plan.seeds):
        for name, model in models.items():
            scale = float(load_customized(model, "cpu").model.logit_scale.detach().exp())
            boxes, tested = world.boxes("train"), world.boxes("test")
            config = DetectConfig(
                out=str(world.root / f"detector-{name}-{seed}"),
                model=ModelSpec(model_dir=str(model)),
                annotations=str(boxes / "boxes.json"),
                images=str(boxes / "images"),
                split=str(boxes / "split.json"),
                recipe=recipe(world, scale),
                seed=seed,
                save_every=10**9,
                device="cpu",
            )
            train_detector(config)
            found = evaluate_detector(
                load_detector(config.out, "cpu"), str(tested / "boxes.json"), str(tested / "images")
            )
            figures = {kind: 100 * (getattr(found, kind) or 0.0) for kind in ("base", "novel", "all")}
            results.append({"model": name, "seed": seed, **figures})
            shown = ", ".join(f"{kind} {value:.1f}" for kind, value in figures.items())
            say(f"{name}, seed {seed}: {shown}")
    return results


def recipe(world: World, scale: float) -> Recipe:
    """RegionCLIP's losses with images of twice the model's side; AdamW, as a few hundred steps are few for SGD.

    scale: the CLIP's factor of cosines, in place of RegionCLIP's 100, which is that of a CLIP trained to its end.
    """
    return Recipe(
        sizes=(2 * SIDE,),
        longest=2 * SIDE,
        anchors=(24, 48, 96),
        boxes_per_image=64,
        proposals=100,
        temperature=1 / scale,
        optimizer="adamw",
        lr=3e-4,
        batch_size=world.plan.detect_batch,
        steps=world.plan.detect_steps,
    )
