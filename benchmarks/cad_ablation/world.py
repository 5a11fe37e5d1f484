"""The data of the ablation: mined pairs, edited pairs with notes, frames with captions, a single-image mixture.

    ROOT/material/            corpus, instructions, held-out tasks, as the loop draws them
    ROOT/store, pairs, pairs-STRATEGY, edits, frames, frames-captions
    ROOT/edits-refined-SEED   copies of edits and frames, annotated by the phase-1 model of a seed

All pairs are annotated with the rules that compare captions, so arms differ only in which pairs they are, and in who
annotated them.
"""

from __future__ import annotations

import json
import shutil
from functools import cached_property
from pathlib import Path

from benchmarks.cad_ablation.arms import MIXTURE, STRATEGIES, Arm, Plan
from index.errors import ClipmineError
from jobs.annotate_job import run_annotate
from jobs.demo.loop.material import INSTRUCTIONS_FROM, Material, draw_material
from jobs.demo.loop.settings import CLIP, MIX, LoopSettings
from jobs.import_job import run_import
from mining.annotate.config import AnnotateConfig
from mining.sets.image_sets import ImageSets
from mining.sets.importers.import_config import ImportConfig
from scenes.drawing.render import render
from scenes.edited_pairs import edited_pair
from scenes.language.captions import captions
from scenes.tars import encode_jpeg

__all__ = ["World"]

_FRAMES_FROM = 50_000  # numbers of the split `pool`; edits begin at 0, instructions at INSTRUCTIONS_FROM
assert _FRAMES_FROM < INSTRUCTIONS_FROM


class World:
    """The data in one folder, once `make` has made it. material: what is drawn."""

    def __init__(self, root: Path, plan: Plan) -> None:
        self.root, self.plan = root, plan
        self._settings = LoopSettings(
            scenes=plan.scenes,
            pairs=plan.pairs,
            edits=plan.edits,
            instructions=plan.instructions,
            held_out=plan.questions,
            compared=plan.compared,
        )

    @cached_property
    def material(self) -> Material:
        return draw_material(self.root / "material", self._settings)

    def make(self) -> None:
        """Make all data that no tuned model annotates; what is there is not made again."""
        self._store()
        self._mine("pairs", MIX, self.plan.pairs)
        for name in (*STRATEGIES, "mix"):
            self._mine(f"pairs-{name}", ",".join(STRATEGIES) if name == "mix" else name, self.plan.strategy_pairs)
        run_import(_notes(str(self.material.notes), str(self.root / "edits")))
        self._frames()

    def source(self, name: str, parts: str | None) -> str:
        """The data as a source that `tune` reads."""
        if parts is None:
            return f"{self.root / name / 'records.json'},images={self.root / 'frames-images'},name={name}"
        return f"{self.root / name},cad={parts},name={name}{'-choices' if parts == 'choice' else ''}"

    def sources(self, arm: Arm, seed: int) -> tuple[str, ...]:
        """The sources of an arm, the mixture first.

        Where an arm has fewer pairs, the mixture is taken less often, so that all arms see pairs as often. Pairs that a
        model was to annotate are left out where nothing that it said could be read as a comparison.
        """
        folder = self.material.instructions.parent
        count = self.plan.instructions
        if arm.table == "strategy":
            count = max(1, count * self.plan.strategy_pairs // self.plan.pairs)
        found = [f"{self.material.instructions},images={folder},name={MIXTURE},count={count}"]
        for pattern, parts in arm.data:
            name = pattern.format(seed=seed)
            if name == pattern or self._compared(name):
                found.append(self.source(name, parts))
        return tuple(found)

    def _compared(self, name: str) -> bool:
        counts = ImageSets.open(str(self.root / name)).annotations.counts()
        return any(count for (kind, _), count in counts.items() if kind == "comparison")

    def annotate(self, arm: Arm, seed: int, model: Path) -> None:
        """Let the phase-1 model of a seed annotate what the arm needs, from images."""
        for pattern, _ in arm.data:
            if "{seed}" not in pattern:
                continue
            target = self.root / pattern.format(seed=seed)
            kind, how, _ = pattern.split("-")
            if not (target / "manifest.json").exists():
                shutil.copytree(self.root / kind, target, ignore=shutil.ignore_patterns("*.lock"), dirs_exist_ok=True)
            config = AnnotateConfig(
                str(target),
                annotator="transformers",
                model=str(model),
                name="phase-2",
                from_images=True,
                as_trained=True,
                refine="difference_note" if how == "refined" else None,
                with_captions=how == "given",
                max_new_tokens=256,
                attempts=2,
                device="cpu",
                batch_size=32,
            )
            run_annotate(config)

    def _store(self) -> None:
        from index.encoder.model_spec import ModelSpec
        from index.store.embed import EmbedConfig
        from jobs.embed_job import run_embed

        source, out = str(self.material.corpus), str(self.root / "store")
        run_embed(EmbedConfig(source=source, out=out, model=ModelSpec(model_dir=CLIP)), executor="local", workers=2)

    def _mine(self, name: str, mix: str, count: int) -> None:
        from jobs.mine_job import run_mine
        from mining.strategies.context import MiningConfig
        from mining.strategies.registry import parse_mix

        out = str(self.root / name)
        config = MiningConfig(
            str(self.root / "store"),
            out,
            parse_mix(mix),
            sets=count,
            max_per_image=20,
            levels=(1, 2, 3, 4, 5),
        )
        found = len(run_mine(config, workers=2))
        if found < count:
            raise ClipmineError(f"{out}: {found} pairs, so the strategies have no equal counts; enlarge the corpus")
        run_annotate(AnnotateConfig(out, name="phase-1"))

    def _frames(self) -> None:
        """Pairs of alike images without a note: their captions as a table, and as single-image descriptions."""
        images = self.root / "frames-images"
        images.mkdir(parents=True, exist_ok=True)
        table = images / "frames.jsonl"
        rows, records = [], []
        for number in range(self.plan.frames):
            row: dict[str, str] = {"id": f"{number:06d}"}
            scenes = edited_pair("pool", _FRAMES_FROM + number)
            for side, scene in zip(("left", "right"), scenes, strict=True):
                row[side], row[f"{side}_caption"] = f"{number:06d}_{side}.jpg", captions(scene).clean[-1]
                if not (images / row[side]).exists():
                    (images / row[side]).write_bytes(encode_jpeg(render(scene).image))
                said = [
                    {"from": "human", "value": "<image>\nDescribe the picture."},
                    {"from": "gpt", "value": row[f"{side}_caption"]},
                ]
                records.append({"id": f"{row['id']}-{side}", "image": row[side], "conversations": said})
            rows.append(json.dumps(row) + "\n")
        if not table.exists():
            table.write_text("".join(rows))
        mapping = (("image", "left"), ("image", "right"), ("caption", "left_caption"), ("caption", "right_caption"))
        run_import(
            ImportConfig(
                (str(table),),
                "table",
                str(self.root / "frames"),
                images=(str(images),),
                mapping=(*mapping, ("id", "id")),
            )
        )
        described = self.root / "frames-captions"
        described.mkdir(exist_ok=True)
        (described / "records.json").write_text(json.dumps(records))


def _notes(notes: str, out: str) -> ImportConfig:
    return ImportConfig((notes,), "spot-the-diff", out, images=(str(Path(notes).parent),))
