"""The data of the grid: the pool and the base's pretraining data as stores, selections, and the pairs of each arm."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.react_gain.arms import TEMPLATES, Arm, Plan
from benchmarks.react_gain.pictures import write_pictures
from index.encoder.model_spec import ModelSpec
from index.store.embed import EmbedConfig
from index.store.embedding_store import EmbeddingStore
from index.store.read_image import read_image
from jobs.embed_job import run_embed
from retrieval.retrieve import retrieve
from retrieval.rules import Rules
from retrieval.selection import Selection
from scenes.tars import write_split, write_tar
from scenes.training.web_data import IMAGE_SIZE
from scenes.world.catalog import load_catalog
from scenes.world.splits import domain_concepts

Rows = npt.NDArray[np.int64]


class World:
    """The folders below `root`; each is written at its first use and kept."""

    def __init__(self, root: Path, plan: Plan, model: Path, tars: Path | None = None, workers: int = 2) -> None:
        self.root, self.plan, self.model, self.workers = root, plan, model, workers
        self.concepts = domain_concepts()[: plan.concepts]
        self.tars = tars or root
        self.pictures = write_pictures(root / f"pictures-{plan.name}", self.concepts, plan)
        self._stores: dict[tuple[str, int], EmbeddingStore] = {}
        self._truth: dict[tuple[str, int], Truth] = {}

    def store(self, split: str, scenes: int) -> EmbeddingStore:
        """The store of the first `scenes` scenes of a split."""
        key = (split, scenes)
        if key not in self._stores:
            path, corpus = self.root / f"store-{split}-{scenes}", self.root / f"tars-{split}-{scenes}"
            if not (path / "manifest.json").exists():
                drawn = write_split(split, self.tars / split, scenes, size=IMAGE_SIZE, workers=self.workers, lean=True)
                corpus.mkdir(parents=True, exist_ok=True)
                for tar in drawn:
                    if not (corpus / tar.name).exists():
                        (corpus / tar.name).symlink_to(tar.resolve())
                config = EmbedConfig(source=str(corpus), out=str(path), model=ModelSpec(model_dir=str(self.model)))
                run_embed(config, executor="local", workers=1)
            self._stores[key] = EmbeddingStore.open(str(path))
        return self._stores[key]

    def store_of(self, arm: Arm) -> tuple[str, int]:
        """The split and the number of scenes that an arm's pairs come from."""
        if arm.source == "pretrain":
            return "web_pretrain", self.plan.pretrain
        return "web_pool", self.plan.small_pool if arm.small_pool else self.plan.pool

    def truth(self, split: str, scenes: int) -> Truth:
        """What the scenes of a store show and say."""
        key = (split, scenes)
        if key not in self._truth:
            self._truth[key] = Truth(self.store(split, scenes), self.concepts)
        return self._truth[key]

    def selection(self, mode: Any, split: str, scenes: int, *, k: int, per_concept: int | None, **rules: Any) -> Any:
        """The selection of all concepts by one mode or both, with these rules."""
        made = json.dumps([self.concepts, mode, split, scenes, k, per_concept, rules], sort_keys=True)
        out = self.root / "selections" / hashlib.sha256(made.encode()).hexdigest()[:16]
        if (out / "manifest.json").exists():
            return Selection.open(str(out))
        store = self.store(split, scenes)
        return retrieve(
            store,
            list(self.concepts),
            out=out,
            mode=mode,
            k=min(k, store.rows),
            templates=TEMPLATES,
            rules=Rules(per_concept=per_concept, **rules),
            reserve=0.0,
            method="exact",
        )

    def rows(self, arm: Arm) -> Rows:
        """The rows of an arm's pairs, int64 [n] in order. Those of random, oracle and named arms depend on the seed."""
        split, scenes = self.store_of(arm)
        cap = arm.per_concept or self.plan.per_concept
        found = self.selection(arm.mode, split, scenes, k=self.plan.k, per_concept=cap)
        chosen = np.concatenate([table["row_id"].to_numpy() for table in found.tables(["row_id"])])
        chance = np.random.default_rng((arm.seed, 7))
        if arm.source == "random":
            chosen = chance.choice(self.store(split, scenes).rows, len(chosen), replace=False)
        elif arm.source in ("oracle", "named"):
            truth = self.truth(split, scenes)
            suited = truth.fitting if arm.source == "oracle" else truth.says
            chosen = np.concatenate([chance.permutation(np.flatnonzero(own))[:cap] for own in suited.T])
        return np.unique(chosen).astype(np.int64)

    def pairs(self, arm: Arm) -> tuple[str, str]:
        """An arm's store, and the tars of its pairs."""
        split, scenes = self.store_of(arm)
        store, rows = self.store(split, scenes), self.rows(arm)
        made = json.dumps([split, str(store.path), rows.tolist(), arm.noise, arm.seed if arm.noise else 0])
        folder = self.root / "pairs" / hashlib.sha256(made.encode()).hexdigest()[:16]
        if not (folder / "00000.tar").exists():
            said = store.metadata(rows, ["caption"])["caption"].to_pylist()
            _write_pairs(store, rows, _exchanged(said, arm.noise, arm.seed), folder, named=not arm.noise)
        return str(store.path), str(folder)


class Truth:
    """What the rows of a store show and say, of each concept.

    Attributes:
        shows: bool [rows, concepts]: the picture has an object of the concept.
        says: bool [rows, concepts]: the caption has its name, a synonym, or their plural.
        fitting: both.
        kinds: the kind of each alt text.
    """

    def __init__(self, store: EmbeddingStore, concepts: Sequence[str]) -> None:
        types = load_catalog().types
        place = {name: number for number, name in enumerate(concepts)}
        words = [{name, types[name].plural, *types[name].synonyms} for name in concepts]
        self.shows = np.zeros((store.rows, len(concepts)), np.bool_)
        self.says = np.zeros_like(self.shows)
        self.kinds: list[str] = []
        for first, table in store.iter_metadata(["caption", "extra"]):
            said = zip(table["caption"].to_pylist(), table["extra"].to_pylist(), strict=True)
            for row, (caption, extra) in enumerate(said, first):
                about = json.loads(extra)
                self.kinds.append(about["alt_kind"])
                for name in about["types"]:
                    if name in place:
                        self.shows[row, place[name]] = True
                plain = f" {caption.casefold().replace('-', ' ').replace(',', ' ').replace('.', ' ')} "
                for number, several in enumerate(words):
                    self.says[row, number] = any(f" {word.replace('-', ' ')} " in plain for word in several)

    @property
    def fitting(self) -> npt.NDArray[np.bool_]:
        """bool [rows, concepts]: shown and said."""
        return self.shows & self.says


def _exchanged(captions: list[str], share: float, seed: int) -> list[str]:
    """The captions, a share of them replaced by each other's."""
    if not share:
        return captions
    chance = random.Random(seed)
    places = chance.sample(range(len(captions)), round(share * len(captions)))
    moved = places[1:] + places[:1]
    result = list(captions)
    for to, source in zip(places, moved, strict=True):
        result[to] = captions[source]
    return result


def _write_pairs(store: EmbeddingStore, rows: Rows, captions: list[str], folder: Path, *, named: bool) -> None:
    """Write rows as one tar; named: with their row ids, so that embeddings of locked towers come from the store."""
    samples = (
        (
            f"{row:09d}",
            {"jpg": read_image(store, int(row)), "txt": caption.encode()}
            | ({"json": json.dumps({"row_id": int(row)}).encode()} if named else {}),
        )
        for row, caption in zip(rows, captions, strict=True)
    )
    write_tar(folder / "00000.tar", samples)
