"""Folders that clipmine 0.1.0 wrote before its modules moved open as before.

The commands `embed`, `index`, `retrieve`, `export`, `mine`, `customize` and `forget` wrote `tests/old_outputs/`; it is
never written again. `expected.json` holds what the same release read from it.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from customize.clip.model_folder import load_customized
from index.errors import StoreInvalid
from index.graph.search_index import open_index
from index.store.embedding_store import EmbeddingStore
from jobs.cli import run
from mining import ImageSets
from mining.sets.decisions import read_decisions
from retrieval.search.retriever import Retriever
from retrieval.selection import Selection
from tests.folders import file_bytes

WRITTEN = Path(__file__).parent / "old_outputs"
EXPECTED: dict[str, Any] = json.loads((WRITTEN / "expected.json").read_text())


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, so that opening writes nothing into the repository, and no recorded path holds by chance."""
    return Path(shutil.copytree(WRITTEN, tmp_path_factory.mktemp("old") / "outputs"))


def test_a_store_opens_with_its_rows_captions_and_forgotten_rows(old: Path) -> None:
    store = EmbeddingStore.open(old / "store")
    assert store.rows == 20
    assert store.metadata([0, 3, 19], ["key"])["key"].to_pylist() == EXPECTED["captions"]
    assert [row for row in range(20) if store.is_forgotten([row])[0]] == [3]


def test_an_old_index_says_what_to_do_and_is_rebuilt_in_its_place(old: Path) -> None:
    """Its shards have another form; the exact scan needs none of them."""
    with pytest.raises(StoreInvalid, match="run `clipmine index` again"):
        open_index(EmbeddingStore.open(old / "store"), "image")
    assert run(["index", str(old / "store"), "--executor", "local"]) == 0
    for method in ("hnsw", "exact"):
        _same_rows(old, method)


def _same_rows(old: Path, method: Literal["hnsw", "exact"]) -> None:
    store = EmbeddingStore.open(old / "store")
    parts = [np.load(old / "store" / "img_emb" / f"img_emb_{part:04d}.npy") for part in range(2)]
    queries = np.concatenate(parts)[[0, 7, 19]]
    assert Retriever(store).search(queries, 5, "i2i", method).row_ids.tolist() == EXPECTED[method]


def test_a_selection_opens_and_finds_its_store_beside_it(old: Path) -> None:
    selection = Selection.open(old / "selection")
    table = selection.table(include_forgotten=True)
    assert table.column("row_id").to_pylist() == EXPECTED["selection"]["rows"]
    assert table.column("concept").to_pylist() == EXPECTED["selection"]["concept"]
    assert table.column("score").to_pylist() == EXPECTED["selection"]["scores"]
    # That release showed row 3, which was forgotten after the retrieval.
    hidden = EXPECTED["selection"]["rows"].count(3)
    assert selection.rows == selection.table().num_rows == len(EXPECTED["selection"]["rows"]) - hidden
    assert 3 not in selection.table()["row_id"].to_pylist()
    assert selection.store().rows == 20


def test_an_export_is_readable_tars(old: Path) -> None:
    with tarfile.open(old / "export" / "00000.tar") as tar:
        assert len(tar.getnames()) == 3 * len(EXPECTED["selection"]["rows"])


def test_image_sets_open_with_their_decisions(old: Path) -> None:
    sets = ImageSets.open(old / "pairs")
    read = [[each.set_id, each.strategy, [member.row_id for member in each.members]] for each in sets]
    assert read == EXPECTED["sets"]
    first: Any = read[0]
    decisions = read_decisions(old / "pairs" / "decisions.jsonl")
    assert decisions.rejected == {tuple(sorted(f"*/{row}" for row in first[2]))}
    assert decisions.of(sets[0]) == "reject"
    assert [each.set_id for each in sets.kept()] == [set_id for set_id, *_ in read if set_id != first[0]]
    assert decisions.rejected_rows(EmbeddingStore.open(old / "store")) == (frozenset({tuple(sorted(first[2]))}), 0)


def test_a_customized_model_loads_and_gives_the_same_features(old: Path) -> None:
    model = load_customized(old / "model", "cpu").model
    image = torch.linspace(-1, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)
    with torch.no_grad():
        features = model.encode_image(image)[0]
    # Another CPU sums in another order: equal to float32 rounding, not to the bit.
    torch.testing.assert_close(features, torch.tensor(EXPECTED["image_features"]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "command",
    [
        "embed corpus --out store --model-dir base_model --shard-size 12",
        "retrieve store --concepts concepts.txt --mode both -k 4 --templates simple --out selection",
        "export selection --out export",
        "mine store --strategy overlap:0.5,random:0.5 --sets 8 --near-duplicates 1.0 --max-per-image 4 --out pairs",
        "customize store selection --out model --steps 2 --batch 4 --gated-blocks 1 --augment none",
    ],
)
def test_the_command_that_wrote_a_folder_finds_it_finished(
    command: str, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Option names, defaults and the identity of a run may not change so that an older run cannot be continued."""
    monkeypatch.chdir(old)
    before = file_bytes(old)
    assert run(command.split()) == 0
    after = file_bytes(old)
    changed = {name for name in before if after.get(name) != before[name]}
    follow = {"store/model.json", "store/manifest.json"}  # they say where the model and the corpus lie now
    if command.startswith(("retrieve", "export")):  # they hold row 3, which was forgotten after they were written
        changed = {name for name in changed if not name.startswith(command.split()[-1])}
    assert changed <= follow
