"""What benchmarks/react_ablation.py measures on: scenes embedded, pairs retrieved, held-out tasks; made when asked."""

from __future__ import annotations

import hashlib
import io
import json
import random
import tarfile
from pathlib import Path
from typing import Any

from react_ablation_arms import Arm, Plan

from examples.scenes.captions import captions
from examples.scenes.held_out import default_types, write_tasks
from examples.scenes.sample import sample
from examples.scenes.splits import concept_groups, group_of
from examples.scenes.tars import write_split
from index.corpus import read_image
from index.embed import EmbedConfig
from index.model_spec import ModelSpec
from index.store import EmbeddingStore
from jobs.embed import run_embed
from retrieval.retrieve import retrieve
from retrieval.rules import Rules
from retrieval.selection import Selection

MODEL = Path(__file__).resolve().parent.parent / "examples" / "scenes" / "model"
SHARD = 1000  # scenes a tar
# As the demo, whose model puts its drawn scenes closer together than a large CLIP puts photographs.
NEAR_DUPLICATES = 0.985


class World:
    """Folders of one plan below `root`; each is made at its first use and kept."""

    def __init__(self, root: Path, plan: Plan, store: str | None) -> None:
        self.root = root
        self.plan = plan
        groups = concept_groups()
        # Rare and made-up types are frequent in the test split, so a quick run finds its pictures fast.
        self.types = groups["rare"][:5] + groups["made_up"][:3] if plan.name == "quick" else default_types()
        self._given = store
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
        """The corpus, or the same number of scenes that the model was trained on, embedded."""
        if split == "corpus" and self._given:
            return EmbeddingStore.open(self._given)
        store, corpus = self.root / f"store-{split}-{self.plan.scenes}", self.root / f"{split}-{self.plan.scenes}"
        if not (store / "manifest.json").exists():
            write_split(split, corpus, self.plan.scenes, shard_size=SHARD, workers=2)
            config = EmbedConfig(source=str(corpus), out=str(store), model=ModelSpec(model_dir=str(MODEL)))
            run_embed(config, executor="local", workers=1)
        return EmbeddingStore.open(str(store))

    def pairs(self, arm: Arm) -> Path:
        """The tars that an arm trains on. Random rows and shares of the retrieved ones change with the arm's seed."""
        split = "pretrain" if arm.source == "pretrain" else "corpus"
        store = self.store(split)
        rows = self._rows(arm.task, arm.mode, split, store)
        chance = random.Random(f"{arm.source}-{arm.seed}")
        if arm.source == "random":
            rows = sorted(chance.sample(range(store.rows), min(len(rows), store.rows)))
        if arm.share < 1:
            rows = sorted(chance.sample(rows, max(self.plan.batch, round(arm.share * len(rows)))))
        digest = hashlib.sha256(json.dumps([store.path, rows]).encode()).hexdigest()[:16]
        folder = self.root / "pairs" / digest
        if not (folder / "00000.tar").exists():
            _write_pairs(store, rows, folder)
        return folder

    def by_group(self, per_class: dict[str, tuple[int, int]]) -> dict[str, float]:
        """Accuracy of each concept group: rare and made-up ones can be learned from the corpus, absent ones cannot."""
        right: dict[str, list[int]] = {}
        for name, (hits, total) in per_class.items():
            counts = right.setdefault(group_of(name), [0, 0])
            counts[0] += hits
            counts[1] += total
        return {group: hits / total for group, (hits, total) in sorted(right.items())}

    def _rows(self, task: str, mode: str, split: str, store: EmbeddingStore) -> list[int]:
        out = self.root / f"selection-{task}-{mode}-{split}-{self.plan.name}"
        selection = (
            Selection.open(str(out)) if (out / "manifest.json").exists() else self._retrieve(task, mode, store, out)
        )
        return sorted(int(row) for table in selection.tables(["row_id"]) for row in table["row_id"].to_pylist())

    def _retrieve(self, task: str, mode: Any, store: EmbeddingStore, out: Path) -> Selection:
        rules = Rules(near_duplicates=NEAR_DUPLICATES)
        names, templates, k = list(self.types), "simple", self.plan.k
        if task == "retrieval":
            # Captions of scenes that are neither in the corpus nor measured, as the thesis takes COCO's.
            said = (captions(sample("validation", number)).clean for number in range(self.plan.queries))
            names = list(dict.fromkeys(" ".join(max(texts, key=len).split()) for texts in said))
            folded: dict[str, str] = {}
            for name in names:
                folded.setdefault(name.casefold(), name)
            names, templates, k = list(folded.values()), "name", max(5, self.plan.k // 10)
        k = min(k, store.rows)
        return retrieve(
            store, names, out=out, mode=mode, k=k, templates=templates, rules=rules, reserve=0.0, method="exact"
        )


def _write_pairs(store: EmbeddingStore, rows: list[int], folder: Path) -> None:
    """Images with their captions as one tar, KEY.jpg and KEY.txt; written whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    said = store.metadata(rows, ["caption"])["caption"].to_pylist()
    with tarfile.open(folder / "00000.partial", "w") as tar:
        for row, caption in zip(rows, said, strict=True):
            for suffix, data in (("jpg", read_image(store, row)), ("txt", caption.encode())):
                about = tarfile.TarInfo(f"{row:09d}.{suffix}")
                about.size = len(data)
                tar.addfile(about, io.BytesIO(data))
    (folder / "00000.partial").rename(folder / "00000.tar")
