"""The data of the ablation: embedded scenes, retrieved pairs and held-out tasks."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

from benchmarks.react_ablation.arms import Arm, Plan
from index.encoder.model_spec import ModelSpec
from index.store.embed import EmbedConfig
from index.store.embedding_store import EmbeddingStore
from index.store.read_image import read_image
from jobs.embed_job import run_embed
from retrieval.retrieve import retrieve
from retrieval.rules import Rules
from retrieval.selection import Selection
from scenes.held_out import write_tasks
from scenes.language.captions import captions
from scenes.tars import write_split, write_tar
from scenes.world.sample import sample
from scenes.world.splits import concept_groups

MODEL = Path(__file__).resolve().parents[2] / "scenes" / "models" / "clip"
SHARD = 1000  # scenes a tar
# As in the demo: the small CLIP puts drawn scenes closer together than a large CLIP puts photographs.
NEAR_DUPLICATES = 0.985


class World:
    """The folders of one plan below `root`; each is written at its first use and kept."""

    def __init__(self, root: Path, plan: Plan, store: str | None) -> None:
        self.root, self.plan = root, plan
        groups = concept_groups()
        # Concepts that a user would customize for; the model knows frequent types already.
        rare, absent, made_up = (groups[name] for name in ("rare", "absent", "made_up"))
        self.types = rare[:5] + made_up[:3] if plan.name == "quick" else rare + absent + made_up
        self._given = store
        self._found: dict[tuple[str, ...], list[int]] = {}
        self.tasks = root / f"tasks-{plan.name}"
        if not (self.tasks / "captions.yaml").exists():
            write_tasks(
                self.tasks,
                types=self.types,
                per_type=plan.per_type,
                shots=plan.shots_images,
                scenes=plan.captions,
                kinds=("types", "captions"),
            )

    def store(self, split: str) -> EmbeddingStore:
        """The store of a split's first scenes: "corpus", or "pretrain" with the model's own pre-training scenes."""
        if split == "corpus" and self._given:
            return EmbeddingStore.open(self._given)
        store, corpus = self.root / f"store-{split}-{self.plan.scenes}", self.root / f"{split}-{self.plan.scenes}"
        if not (store / "manifest.json").exists():
            write_split(split, corpus, self.plan.scenes, shard_size=SHARD, workers=2)
            config = EmbedConfig(source=str(corpus), out=str(store), model=ModelSpec(model_dir=str(MODEL)))
            run_embed(config, executor="local", workers=1)
        return EmbeddingStore.open(str(store))

    def pairs(self, arm: Arm) -> tuple[str, str]:
        """An arm's store, and the tars of its pairs. Random rows and shares depend on the arm's seed."""
        split = "pretrain" if arm.source == "pretrain" else "corpus"
        store = self.store(split)
        rows = self._rows(arm.task, arm.mode, split, store)
        chance = random.Random(f"{arm.source}-{arm.seed}")
        if arm.source == "random":
            rows = sorted(chance.sample(range(store.rows), min(len(rows), store.rows)))
        if arm.share < 1:
            rows = sorted(chance.sample(rows, max(self.plan.batch, round(arm.share * len(rows)))))
        digest = hashlib.sha256(json.dumps([split, str(store.path), rows]).encode()).hexdigest()[:16]
        folder = self.root / "pairs" / digest
        if not (folder / "00000.tar").exists():
            _write_pairs(store, rows, folder)
        return str(store.path), str(folder)

    def _rows(self, task: str, mode: str, split: str, store: EmbeddingStore) -> list[int]:
        key = (task, mode, split)
        if key not in self._found:
            out = self.root / f"selection-{task}-{mode}-{split}-{self.plan.name}"
            made = (out / "manifest.json").exists()
            selection = Selection.open(str(out)) if made else self._retrieve(task, mode, store, out)
            found = (row for table in selection.tables(["row_id"]) for row in table["row_id"].to_pylist())
            self._found[key] = sorted(map(int, found))
        return self._found[key]

    def _retrieve(self, task: str, mode: Any, store: EmbeddingStore, out: Path) -> Selection:
        rules = Rules(near_duplicates=NEAR_DUPLICATES)
        names, templates, k = list(self.types), "simple", self.plan.k
        if task == "retrieval":
            # Captions of scenes that are neither in the corpus nor in a test, as the thesis uses COCO's captions.
            said = (captions(sample("validation", number)).clean for number in range(self.plan.queries))
            longest = (" ".join(max(texts, key=len).split()) for texts in said)
            names = list({name.casefold(): name for name in longest}.values())
            templates, k = "name", max(5, self.plan.k // 10)
        return retrieve(
            store,
            names,
            out=out,
            mode=mode,
            k=min(k, store.rows),
            templates=templates,
            rules=rules,
            reserve=0.0,
            method="exact",
        )


def _write_pairs(store: EmbeddingStore, rows: list[int], folder: Path) -> None:
    """Write rows as one tar with their row ids, so that embeddings of locked towers can be read from the store."""
    said = store.metadata(rows, ["caption"])["caption"].to_pylist()
    samples = (
        (
            f"{row:09d}",
            {
                "jpg": read_image(store, row),
                "txt": caption.encode(),
                "json": json.dumps({"row_id": row}).encode(),
            },
        )
        for row, caption in zip(rows, said, strict=True)
    )
    write_tar(folder / "00000.tar", samples)
