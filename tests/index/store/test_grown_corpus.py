"""A corpus may grow anywhere: finished items keep their numbers and rows, new files follow; a changed file is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from index.corpus.reading import Reading
from index.corpus.samples import ShardItem
from index.errors import BadInput, OutputExists
from index.store.embed import begun_with, plan_items, prepare_store
from index.store.embed_item import embed_item
from index.store.embedding_store import EmbeddingStore
from index.store.markers import read_marker, write_marker
from tests.conftest import embed_store
from tests.index.corpora import picture
from tests.index.store.conftest import Configure


def add(root: Path, *names: str) -> None:
    root.mkdir(exist_ok=True)
    for name in names:
        (root / f"{name}.png").write_bytes(picture((hash(name) % 200, 7, 90)))
        (root / f"{name}.txt").write_text(f"of {name}")


def keys(store: EmbeddingStore) -> list[str]:
    found: list[str] = store.metadata(np.arange(store.rows), ["key"])["key"].to_pylist()
    return found


def test_new_images_follow_wherever_their_names_sort(configure: Configure, tmp_path: Path) -> None:
    root = tmp_path / "photos"
    add(root, "b", "d", "f")
    config = configure(source=str(root), shard_size=2)
    assert keys(embed_store(config)) == ["b", "d", "f"]
    add(root, "a", "c", "e", "g")
    grown = embed_store(config)
    assert keys(grown) == ["b", "d", "f", "a", "c", "e", "g"]
    assert [part.rows for part in grown.parts] == [2, 1, 2, 2]
    assert prepare_store(config, plan_items(config)) == []
    add(root, "aa")
    assert keys(embed_store(config)) == ["b", "d", "f", "a", "c", "e", "g", "aa"]


def test_a_store_that_grew_before_it_was_finished_is_continued(configure: Configure, tmp_path: Path) -> None:
    root = tmp_path / "photos"
    add(root, *"abcdef")
    config = configure(source=str(root), shard_size=2)
    items = prepare_store(config, plan_items(config))
    embed_item(items[1], config)
    add(root, "bb")
    planned = plan_items(config)
    assert [(item.number, item.paths[::2]) for item in planned] == [
        (0, ("a.png", "b.png")),
        (1, ("c.png", "d.png")),
        (2, ("bb.png", "e.png")),
        (3, ("f.png",)),
    ]
    assert keys(embed_store(config)) == ["a", "b", "c", "d", "bb", "e", "f"]


def test_an_image_that_takes_the_key_of_another_does_not_stop_growth(configure: Configure, tmp_path: Path) -> None:
    root = tmp_path / "photos"
    add(root, "a", "b")
    config = configure(source=str(root))
    embed_store(config)
    (root / "a.gif").write_bytes(picture())
    assert keys(embed_store(config)) == ["a", "b", "a"]


def test_what_changed_is_named_and_what_did_not_is_not_blamed(configure: Configure, tmp_path: Path) -> None:
    root = tmp_path / "photos"
    add(root, *"abcd")
    config = configure(source=str(root), shard_size=2)
    embed_store(config)
    (root / "c.txt").write_text("a longer caption than before")
    with pytest.raises(BadInput, match=r"side-car of part 0001, from c\.png to d\.png, was added or has changed"):
        plan_items(config)
    (root / "c.txt").write_text("of c")
    (root / "b.png").rename(tmp_path / "b.png")
    with pytest.raises(BadInput, match=r"photos: b\.png is gone since it was embedded into .*files may be added"):
        plan_items(config)
    (tmp_path / "b.png").rename(root / "b.png")
    assert prepare_store(config, plan_items(config)) == []


def test_rejects_count_as_known_too(configure: Configure, tmp_path: Path) -> None:
    root = tmp_path / "photos"
    add(root, "a", "b")
    (root / "a.png").write_bytes(b"broken")
    (root / "x.NEF").write_bytes(b"raw")
    (root / "blob").write_bytes(b"no image")
    config = configure(source=str(root))
    embed_store(config)
    add(root, "0")
    assert [item.paths for item in plan_items(config)] == [
        ("a.png", "a.txt", "b.png", "b.txt", "blob", "x.NEF"),
        ("0.png", "0.txt"),
    ]


def test_a_store_from_before_more_kinds_of_files_were_read_grows_by_them(configure: Configure, tmp_path: Path) -> None:
    root = tmp_path / "photos"
    add(root, "a", "b")
    config = configure(source=str(root))
    embed_store(config)
    (root / "a.png.json").write_text('{"caption": "newer than the store"}')
    (root / "c.png?w=3").write_bytes(picture())
    (root / "c.txt").write_text("of c")
    marker = read_marker(config.out, 0)
    assert marker is not None
    sizes = tuple((root / name).stat().st_size for name in ("a.png", "a.txt", "b.png", "b.txt"))
    then = ShardItem(0, str(root), "folder", ("a.png", "a.txt", "b.png", "b.txt"), sizes, Reading())
    assert then.signature == marker.signature
    assert keys(embed_store(config)) == ["a", "b", "c"]


def test_another_configuration_is_refused_as_such(configure: Configure, tmp_path: Path) -> None:
    root = tmp_path / "photos"
    add(root, "a", "b")
    config = configure(source=str(root))
    assert begun_with(config.out) == {}
    embed_store(config)
    assert begun_with(config.out)["shard_size"] == 10_000
    for changes, said in (
        ({"shard_size": 1}, "shard_size 10000, not 1"),
        ({"key_rule": "stem"}, "key_rule None, not stem"),
        ({"image_ext": ["img"]}, r"image_ext None, not \['img'\]"),
    ):
        other = configure(source=str(root), **changes)
        with pytest.raises(OutputExists, match=said):
            prepare_store(other, plan_items(other))
    marked = configure(source=str(root), out=str(tmp_path / "stem"), key_rule="stem", image_ext=("img",))
    embed_store(marked)
    assert prepare_store(marked, plan_items(marked)) == []
    plain = configure(source=str(root), out=str(tmp_path / "stem"))
    with pytest.raises(OutputExists, match="key_rule stem, not None"):
        prepare_store(plain, plan_items(plain))


def test_a_damaged_marker_is_no_finished_item(configure: Configure, tmp_path: Path) -> None:
    root = tmp_path / "photos"
    add(root, *"abcd")
    config = configure(source=str(root), shard_size=2)
    embed_store(config)
    marker = read_marker(config.out, 0)
    assert marker is not None
    (Path(config.out) / "done" / "0000.json").write_text("{")
    add(root, "aa")
    assert [(item.number, item.paths[::2]) for item in plan_items(config)] == [
        (0, ("a.png", "aa.png")),
        (1, ("c.png", "d.png")),
        (2, ("b.png",)),
    ]
    write_marker(config.out, 0, marker)
    assert keys(embed_store(config)) == ["a", "b", "c", "d", "aa"]
