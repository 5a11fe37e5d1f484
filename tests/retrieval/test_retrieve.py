from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from index.errors import BadInput, ModelMismatch, OutputExists
from index.store.embedding_store import EmbeddingStore
from retrieval import Rules, Selection, load_concepts, retrieve
from retrieval.concepts import concept_list
from retrieval.query_blocks import QueryBlock, RetrieveConfig, plan_blocks
from retrieval.templates import load_templates
from tests.retrieval.stores import forget, make_store, unit
from tests.retrieval.words import WordEncoder

DIM = 16
WORDS = {"dog": np.eye(DIM)[0], "cat": np.eye(DIM)[1], "fox": np.eye(DIM)[2]}
ROWS = 60


def vectors(seed: int) -> npt.NDArray[np.float16]:
    """Row i leans to word i % 4 (the fourth is no word), the more the smaller i is."""
    noise = np.random.default_rng(seed).normal(scale=0.15, size=(ROWS, DIM))
    lean = np.eye(DIM)[[0, 1, 2, 5]][np.arange(ROWS) % 4] * np.linspace(1.5, 0.8, ROWS)[:, None]
    return unit(lean + noise)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    return make_store(tmp_path_factory.mktemp("retrieve"), vectors(1), vectors(2))


@pytest.fixture
def encoder() -> WordEncoder:
    return WordEncoder(WORDS, DIM)


def run(store: EmbeddingStore, out: Path, encoder: Any, **choices: Any) -> Selection:
    arguments = {"mode": "t2i", "k": 5, "templates": "name", "reserve": 0.0, **choices}
    return retrieve(store, arguments.pop("concepts", ["dog", "cat"]), out=out, encoder=encoder, **arguments)


def adds_up(selection: Selection) -> bool:
    return selection.hits == selection.rows + sum(selection.losses.values())


def exact(store: EmbeddingStore, modality: Any, query: npt.NDArray[np.float16], k: int) -> list[int]:
    scores = store.gather(modality, np.arange(store.rows)).astype(np.float64) @ query.astype(np.float64)
    return np.lexsort((np.arange(store.rows), -scores))[:k].tolist()  # type: ignore[no-any-return]


def test_one_prompt_gives_the_k_nearest_images_in_order(
    store: EmbeddingStore, encoder: WordEncoder, tmp_path: Path
) -> None:
    selection = run(store, tmp_path / "out", encoder)
    for concept in ("dog", "cat"):
        table = selection.table(concepts=[concept])
        assert table["row_id"].to_pylist() == exact(store, "image", encoder.encode_texts([concept])[0], 5)
        assert table["rank"].to_pylist() == [1, 2, 3, 4, 5]
        assert table["mode"].unique().to_pylist() == ["t2i"]
        assert table["key"].to_pylist() == store.metadata(table["row_id"].to_numpy(), ["key"])["key"].to_pylist()
    assert selection.hits == selection.rows == 10


def test_t2t_searches_captions(store: EmbeddingStore, encoder: WordEncoder, tmp_path: Path) -> None:
    selection = run(store, tmp_path / "out", encoder, mode="t2t", concepts=["fox"])
    assert selection.table()["row_id"].to_pylist() == exact(store, "text", encoder.encode_texts(["fox"])[0], 5)


def test_both_modes_are_joined_and_every_hit_is_accounted_for(
    store: EmbeddingStore, encoder: WordEncoder, tmp_path: Path
) -> None:
    selection = run(store, tmp_path / "out", encoder, mode="both", k=6, templates="simple", concepts=["dog", "cat"])
    assert selection.hits == 2 * 7 * 6 * 2
    assert adds_up(selection)
    rows = list(selection)
    assert len({(row["concept"], row["row_id"]) for row in rows}) == len(rows)
    assert {row["mode"] for row in rows} == {"t2i", "t2t"}
    assert any(row["both_ways"] for row in rows)
    assert selection.losses["several-prompts"] > 0
    for row in rows:
        assert row["prompt"] in {text.replace("{}", row["concept"]) for text in load_templates("simple").texts}


def test_the_reserve_holds_the_next_ranks(store: EmbeddingStore, encoder: WordEncoder, tmp_path: Path) -> None:
    selection = run(store, tmp_path / "out", encoder, concepts=["dog"], reserve=0.6)
    reserve = selection.table(section="reserve")
    assert selection.rows == 5
    assert reserve["row_id"].to_pylist() == exact(store, "image", encoder.encode_texts(["dog"])[0], 8)[5:]
    assert reserve["rank"].to_pylist() == [6, 7, 8]


def test_three_lines_are_enough(store: EmbeddingStore, tmp_path: Path, encoder: WordEncoder) -> None:
    (tmp_path / "pets.txt").write_text("dog\ncat\n")
    selection = retrieve(
        EmbeddingStore.open(store.path),
        load_concepts(tmp_path / "pets.txt"),
        mode="both",
        k=5,
        out=tmp_path / "out",
        encoder=encoder,  # type: ignore[arg-type]  # the words above instead of a model
    )
    assert selection.concepts == ("dog", "cat")
    assert Selection.open(tmp_path / "out").rows == selection.rows


def test_a_concept_files_own_templates_win(store: EmbeddingStore, tmp_path: Path, encoder: WordEncoder) -> None:
    (tmp_path / "pets.yaml").write_text(
        "templates: ['one {}', 'two {}']\nconcepts: [dog, {name: cat, templates: '{}', id: 7}]\n"
    )
    selection = run(store, tmp_path / "out", encoder, concepts=tmp_path / "pets.yaml")
    assert encoder.encoded[:3] == ["one dog", "two dog", "cat"]
    assert selection.manifest["concepts"][1]["class_id"] == "7"


def test_rules_are_applied_and_kept_in_the_manifest(
    store: EmbeddingStore, encoder: WordEncoder, tmp_path: Path
) -> None:
    rules = Rules(min_score=0.7, per_concept=3)
    selection = run(store, tmp_path / "out", encoder, concepts=["dog", "cat", "unicorn"], k=30, rules=rules)
    assert selection.counts == {"dog": 3, "cat": 3, "unicorn": 0}
    assert selection.losses["min-score"] > 0
    assert selection.losses["cap"] > 0
    assert adds_up(selection)
    assert selection.manifest["rules"]["cap"] == 3
    by_concept = {loss["rule"]: loss["by_concept"] for loss in selection.manifest["losses"]}
    assert by_concept["min-score"]["unicorn"] == 30
    assert {loss["rule"]: loss["rows"] for loss in selection.manifest["losses"]} == {
        rule: sum(losses.values()) for rule, losses in by_concept.items()
    }


def test_the_manifest_says_how_it_searched(store: EmbeddingStore, encoder: WordEncoder, tmp_path: Path) -> None:
    selection = run(store, tmp_path / "out", encoder, mode="both", templates="simple")
    plans = selection.manifest["search"]["plans"]
    assert [plan["mode"] for plan in plans] == ["t2i", "t2t"]
    assert all(plan["method"] and plan["why"] for plan in plans)
    assert selection.manifest["search"]["prompts"] == 14
    assert selection.manifest["store"]["rows"] == ROWS


def test_blocks_hold_whole_concepts_and_do_not_change_the_result(
    store: EmbeddingStore, encoder: WordEncoder, tmp_path: Path
) -> None:
    whole = run(store, tmp_path / "whole", encoder, concepts=["dog", "cat", "fox"], templates="simple", mode="both")
    config = RetrieveConfig(
        "", "", concept_list(["dog", "cat", "fox"]), load_templates("simple"), k=5, block_queries=15
    )
    assert plan_blocks(config) == [QueryBlock(0, 0, 2, 14), QueryBlock(1, 2, 3, 7)]
    blocks = run(
        store,
        tmp_path / "blocks",
        encoder,
        concepts=["dog", "cat", "fox"],
        templates="simple",
        mode="both",
        block_queries=7,
    )
    assert blocks.table().equals(whole.table())
    assert blocks.losses == whole.losses


def test_killed_after_a_block_it_goes_on_and_gives_the_same(
    store: EmbeddingStore, encoder: WordEncoder, tmp_path: Path
) -> None:
    whole = run(store, tmp_path / "whole", encoder, block_queries=1)

    def killed(done: int, total: int) -> None:
        if done == 1:
            return
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(store, tmp_path / "out", encoder, block_queries=1, on_progress=killed)
    with pytest.raises(BadInput, match="unfinished"):
        Selection.open(tmp_path / "out")
    encoder.encoded.clear()
    again = run(store, tmp_path / "out", encoder, block_queries=1)
    assert encoder.encoded == ["cat"]
    assert again.table().equals(whole.table())
    for name in ("manifest.json", "rows/rows_0000.parquet"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (tmp_path / "out" / "work").exists()


def test_a_finished_selection_is_returned_without_searching_again(
    store: EmbeddingStore, encoder: WordEncoder, tmp_path: Path
) -> None:
    first = run(store, tmp_path / "out", encoder)
    encoder.encoded.clear()
    assert run(store, tmp_path / "out", encoder).manifest == first.manifest
    assert encoder.encoded == []


def test_an_output_of_another_configuration_or_of_someone_else_is_not_touched(
    store: EmbeddingStore, encoder: WordEncoder, tmp_path: Path
) -> None:
    run(store, tmp_path / "out", encoder)
    with pytest.raises(OutputExists, match="another configuration"):
        run(store, tmp_path / "out", encoder, k=6)
    with pytest.raises(OutputExists):
        run(store, tmp_path / "out", encoder, rules=Rules(per_concept=1))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("...")
    with pytest.raises(OutputExists, match="holds no run to continue"):
        run(store, tmp_path / "mine", encoder)


def test_a_retrieval_that_found_nothing_yet_leaves_its_folder_to_another_one(
    store: EmbeddingStore, encoder: WordEncoder, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="query vectors have shape"):
        run(store, tmp_path / "out", WordEncoder({}, encoder.dim + 1))
    assert not (tmp_path / "out").exists()
    assert run(store, tmp_path / "out", encoder, k=6).manifest["k"] == 6


def test_an_empty_folder_may_be_the_output(store: EmbeddingStore, encoder: WordEncoder, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert run(store, tmp_path / "out", encoder).rows == 10


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"k": ROWS + 1}, f"k {ROWS + 1}: larger than the store, which has {ROWS} rows"),
        ({"k": 0}, "k 0: must be at least 1"),
        ({"mode": "i2i"}, "valid ones: t2i, t2t, both"),
        ({"concepts": []}, "no concept in it"),
        ({"templates": "imagnet"}, "openai_imagenet, simple, name"),
        ({"reserve": -1.0}, "reserve -1.0"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    store: EmbeddingStore, encoder: WordEncoder, tmp_path: Path, choices: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        run(store, tmp_path / "out", encoder, **choices)
    assert not (tmp_path / "out").exists()


def test_t2t_needs_text_embeddings(encoder: WordEncoder, tmp_path: Path) -> None:
    imageless = make_store(tmp_path, vectors(1))
    with pytest.raises(BadInput, match="no text embeddings, so no T2T; use the mode t2i"):
        run(imageless, tmp_path / "out", encoder, mode="both")


def test_another_model_than_the_stores_is_refused(store: EmbeddingStore, tmp_path: Path) -> None:
    other = WordEncoder(WORDS, DIM)
    other.fingerprint["weights"] = "others"
    with pytest.raises(ModelMismatch):
        run(store, tmp_path / "out", other)


def test_forgotten_rows_are_never_selected(encoder: WordEncoder, tmp_path: Path) -> None:
    shrinking = make_store(tmp_path, vectors(1), vectors(2))
    gone = run(shrinking, tmp_path / "before", encoder, mode="both").table()["row_id"].to_pylist()[:4]
    forget(shrinking, gone)
    after = run(EmbeddingStore.open(shrinking.path), tmp_path / "after", encoder, mode="both")
    assert not set(gone) & set(after.table()["row_id"].to_pylist())
    assert adds_up(after)


def test_k_of_the_whole_store_is_the_limit(store: EmbeddingStore, encoder: WordEncoder, tmp_path: Path) -> None:
    selection = run(store, tmp_path / "out", encoder, concepts=["dog"], k=ROWS, reserve=1.0)
    assert selection.rows == ROWS
    assert selection.reserve_rows == 0


def test_an_empty_selection_is_whole_and_readable(store: EmbeddingStore, encoder: WordEncoder, tmp_path: Path) -> None:
    selection = run(store, tmp_path / "out", encoder, rules=Rules(min_score=1.0))
    assert selection.rows == 0
    assert selection.table().num_rows == 0
    assert list(selection) == []
    assert adds_up(selection)
    json.dumps(selection.manifest)
