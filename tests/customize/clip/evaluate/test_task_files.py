"""The task files that come with the package, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest

from customize.clip.evaluate.task_files import benchmark_tasks, load_task, open_split, task_names, union_concepts
from index.errors import BadInput
from retrieval.concepts import load_concepts
from retrieval.templates import load_templates


@pytest.mark.parametrize("name", task_names())
def test_every_task_file_is_whole(name: str) -> None:
    task = load_task(name)
    assert task.name == name
    assert task.source
    assert "test" in task.splits
    if task.kind != "retrieval":
        assert load_templates(task.templates).texts


def test_elevater_is_20_sets_of_1151_classes() -> None:
    tasks = benchmark_tasks("elevater")
    assert len(tasks) == 20
    assert sum(len(task.classes) for task in tasks) == 1151  # thesis, section 2.4
    assert {task.metric for task in tasks} == {"accuracy", "mean-per-class", "roc_auc", "11point_mAP"}


def test_imagenet_is_open_clips_list() -> None:
    assert load_task("imagenet-1k").classes == tuple(open_clip.IMAGENET_CLASSNAMES)


def test_the_union_is_a_concept_list_to_retrieve_with(tmp_path: Path) -> None:
    (tmp_path / "union.yaml").write_text(union_concepts(benchmark_tasks("elevater")))
    concepts = load_concepts(str(tmp_path / "union.yaml")).concepts
    assert len(concepts) == 1115  # 36 names stand in several lists
    airplane = next(concept for concept in concepts if concept.name == "airplane")
    assert airplane.templates is not None
    assert len(airplane.templates) > len(load_templates(load_task("cifar-10").templates).texts)


def test_two_classes_of_one_name_are_two_concepts_of_the_union(tmp_path: Path) -> None:
    (tmp_path / "union.yaml").write_text(union_concepts([load_task("imagenet-1k")]))
    concepts = load_concepts(str(tmp_path / "union.yaml"))
    assert len(concepts) == 1000
    assert sum(concept.class_id is not None for concept in concepts) == 4
    assert all(str(concept.class_id).startswith("imagenet-1k-") for concept in concepts if concept.class_id is not None)


def _written(folder: Path, text: str) -> str:
    (folder / "task.yaml").write_text(text)
    return str(folder / "task.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: detection\n", "unknown kind 'detection'"),
        ("kind: retrieval\nmetric: accuracy\n", "metric 'accuracy' is none of retrieval"),
        ("classes: [a, b]\nclass_count: 3\n", "says 3 classes and lists 2"),
        ("classes: [a, b, a]\n", "has 'a' twice"),
        ("classes: [yes, no]\n", "true or false"),
        ("metric: accuracy\n", "has no classes"),
        ("classes: [a]\nnovel: [b]\nkind: regions\n", "novel class 'b' is not in"),
        ("classes: [a]\ncolour: red\n", "unknown field 'colour'"),
        ("classes: [a\n", "not YAML"),
        ("classes: [a]\nkind: segmentation\nresolution: high\n", "`resolution` is 'high'; give a whole number"),
        ("kind: retrieval\ncaptions: 0\n", "`captions` is 0; give a whole number of at least 1"),
    ],
)
def test_a_wrong_file_is_one_clear_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        load_task(_written(tmp_path, text))


def test_images_are_looked_for_beside_the_file_or_where_told(tmp_path: Path) -> None:
    task = load_task(_written(tmp_path, "name: mine\nclasses: [a]\ndata: images\n"))
    assert task.data == str(tmp_path / "images")
    with pytest.raises(BadInput, match="no such dataset"):
        open_split(task, None, "test")
    with pytest.raises(BadInput, match="where are its images"):
        open_split(load_task("mnist"), None, "test")
    with pytest.raises(BadInput, match="has no train split"):
        open_split(task, None, "train")
    with pytest.raises(BadInput, match="no task 'imagnet': give a YAML file or one of caltech-101"):
        load_task("imagnet")


def test_a_missing_split_is_not_replaced_by_the_others(tmp_path: Path) -> None:
    (tmp_path / "images" / "test" / "train").mkdir(parents=True)
    text = "data: images\nclasses: [a]\nsplits: {train: learn, test: test}\n"
    task = load_task(_written(tmp_path, text))
    with pytest.raises(BadInput, match=r"images: has no folder learn \(train\), only test; add it"):
        open_split(task, None, "train")
    with pytest.raises(BadInput, match="holds neither images nor tars"):  # the split's own folder, given as the data
        open_split(task, str(tmp_path / "images" / "test"), "train")
    with pytest.raises(BadInput, match="holds neither images nor tars"):
        open_split(task, None, "test")
