"""Task files: YAML files with a task's classes, templates, splits and metric, and where these come from.

load_task("dtd")                  # a task that comes with clipmine
load_task("mine.yaml")            # a file of the user, in the same form

name: shapes                      kind: classification | retrieval | segmentation | regions
metric: accuracy                  data: a folder beside the file, or hf:NAME (default: --data)
splits: {train: train, test: test}        folders: names | sorted        columns: {label: fine_label}
templates: a set's name or a list         classes: [...]                 class_count: 3
novel: [...] (regions)            background: [...] (segmentation)       captions: 5 (retrieval)
resolution: 512 (segmentation, regions; pixels of the shorter side)
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from customize.clip.evaluate.datasets.dataset import Dataset
from customize.clip.evaluate.datasets.open import open_dataset
from index.errors import BadInput
from index.files import exists, join
from retrieval.templates import load_templates, read_text

__all__ = ["Task", "benchmark_tasks", "load_task", "open_split", "task_names", "union_concepts"]

# Kind of task -> its metrics, the default first.
KINDS = {
    "classification": ("accuracy", "mean-per-class", "roc_auc", "11point_mAP"),
    "retrieval": ("recall",),
    "segmentation": ("mIoU",),
    "regions": ("AP50",),
}
_FOLDER = Path(__file__).parent / "tasks"
_KNOWN = frozenset(
    {"name", "title", "kind", "metric", "benchmark", "source", "class_count", "splits", "images", "folders", "columns"}
    | {"templates", "classes", "novel", "background", "captions", "resolution", "data"}
)


@dataclass(frozen=True)
class Task:
    """One task file.

    Attributes:
        splits: "train", "validation", "test" -> the dataset's own name of the split.
        classes: in the order of the labels; empty for retrieval.
        images: split -> number of images, as the task's source states it.
        folders, columns: see `datasets.open.open_dataset`.
        novel: classes that a detector would not have been trained on (regions).
        background: names that stand for class 0 (segmentation).
        captions: captions of an image that count (retrieval).
        resolution: pixels of the images' shorter side (segmentation, regions); None: as the model takes them.
        data: where the images are, where the file says so.
    """

    name: str
    kind: str
    metric: str
    source: str
    splits: Mapping[str, str]
    title: str = ""
    benchmark: str | None = None
    classes: tuple[str, ...] = ()
    templates: tuple[str, ...] | str = "openai_imagenet"
    images: Mapping[str, int] = field(default_factory=dict)
    folders: str = "names"
    columns: Mapping[str, str] = field(default_factory=dict)
    novel: tuple[str, ...] = ()
    background: tuple[str, ...] = ()
    captions: int = 5
    resolution: int | None = None
    data: str | None = None


def task_names() -> list[str]:
    """Names of the tasks that come with clipmine."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def benchmark_tasks(benchmark: str) -> list[Task]:
    """The tasks of a benchmark ("elevater": 20 sets with 1,151 classes). Raises BadInput when there are none."""
    found = [task for task in map(load_task, task_names()) if task.benchmark == benchmark]
    if not found:
        raise BadInput(f"no task belongs to a benchmark {benchmark!r}; there is elevater")
    return found


def load_task(source: str | os.PathLike[str]) -> Task:
    """Load a task by its name or its file. Raises BadInput for an unknown name or a wrong file."""
    text = os.fspath(source)
    path = _FOLDER / f"{text}.yaml"
    if text in task_names():
        return _parse(str(path), None)
    if not text.endswith((".yaml", ".yml")):
        raise BadInput(f"no task {text!r}: give a YAML file or one of {', '.join(task_names())}")
    return _parse(text, os.path.dirname(text) or ".")  # noqa: PTH120  may be a URL


def open_split(task: Task, data: str | None, split: str) -> Dataset:
    """Open the images of "train", "validation" or "test" of a task.

    Args:
        data: the dataset's folder, or hf:NAME. Where DATA/TASK_NAME exists it is opened instead, so that one folder
            may hold many datasets. By default the task file's `data`.

    Raises:
        BadInput: the place of the images is not known, the task has no such split, or there are no images.
    """
    if split not in task.splits:
        raise BadInput(f"task {task.name}: has no {split} split, only {', '.join(task.splits)}")
    if data is not None and not data.startswith("hf:") and exists(join(data, task.name)):
        data = join(data, task.name)
    data = data or task.data
    if data is None:
        raise BadInput(f"task {task.name}: where are its images? give --data DIR (class folders, tars) or hf:NAME")
    _refuse_other_split(task, data, split)
    return open_dataset(
        data,
        split=task.splits[split],
        classes=task.classes or None,
        folders="sorted" if task.folders == "sorted" else "names",
        columns=dict(task.columns),
    )


def _refuse_other_split(task: Task, data: str, split: str) -> None:
    """Raise BadInput where `data` has folders of splits, but not of this one: all of its images would be opened.

    A folder without folders of splits is the split itself.
    """
    if data.startswith("hf:") or exists(join(data, task.splits[split])):
        return
    folders = (folder for folder in task.splits.values() if folder not in task.classes)  # COCO has a class "train"
    others = [folder for folder in folders if exists(join(data, folder))]
    if others and not exists(join(data, "dataset_dict.json")):  # which has its splits by name
        raise BadInput(f"{data}: has no folder {task.splits[split]} ({split}), only {', '.join(others)}; add it")


def union_concepts(tasks: Sequence[Task]) -> str:
    """A concept list (YAML, see `retrieval.concepts`) of the classes of all tasks, each with its task's templates.

    A class that several tasks have is one concept with the templates of all of them; a name that two classes of one
    task have, such as ImageNet's, is a concept of each class, with the id TASK-LABEL. The thesis retrieves for the 20
    sets of ELEVATER together and trains one model.
    """
    folded = [[" ".join(name.casefold().split()) for name in task.classes] for task in tasks]
    several = {name for own in folded for name, count in Counter(own).items() if count > 1}
    names: dict[tuple[str, str | None], tuple[str, list[str]]] = {}
    for task, own in zip(tasks, folded, strict=True):
        templates = load_templates(task.templates).texts
        for label, (name, key) in enumerate(zip(task.classes, own, strict=True)):
            _, texts = names.setdefault((key, f"{task.name}-{label}" if key in several else None), (name, []))
            texts += [text for text in templates if text not in texts]
    concepts = [
        {"name": name, "templates": texts} | ({} if class_id is None else {"id": class_id})
        for (_, class_id), (name, texts) in names.items()
    ]
    text: str = yaml.safe_dump({"concepts": concepts}, sort_keys=False, allow_unicode=True, width=10_000)
    return text


def _parse(path: str, beside: str | None) -> Task:
    try:
        about = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise BadInput(f"{path}: not YAML: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(about, dict):
        raise BadInput(f"{path}: a task file is a mapping with name, kind, splits and classes")
    strange = sorted(set(map(str, about)) - _KNOWN)
    if strange:
        raise BadInput(f"{path}: unknown field {strange[0]!r}; a task file has {', '.join(sorted(_KNOWN))}")
    kind = about.get("kind", "classification")
    if kind not in KINDS:
        raise BadInput(f"{path}: unknown kind {kind!r}: choose {', '.join(KINDS)}")
    metric = about.get("metric", KINDS[kind][0])
    if metric not in KINDS[kind]:
        raise BadInput(f"{path}: metric {metric!r} is none of {kind}: choose {', '.join(KINDS[kind])}")
    classes, templates = _texts(path, about, "classes"), about.get("templates", "openai_imagenet")
    if kind != "retrieval" and not classes:
        raise BadInput(f"{path}: has no classes; {kind} needs their names in the labels' order")
    if about.get("class_count", len(classes)) != len(classes):
        raise BadInput(f"{path}: says {about['class_count']} classes and lists {len(classes)}; correct one of the two")
    novel = _texts(path, about, "novel")
    if set(novel) - set(classes):
        raise BadInput(f"{path}: novel class {sorted(set(novel) - set(classes))[0]!r} is not in `classes`")
    data = about.get("data")
    if data is not None and beside is not None and not str(data).startswith(("hf:", "/")) and "://" not in str(data):
        data = join(beside, str(data))
    return Task(
        name=str(about.get("name") or Path(path).stem),
        kind=kind,
        metric=metric,
        source=str(about.get("source", path)),
        splits={str(name): str(folder) for name, folder in _mapping(path, about, "splits").items()} or {"test": "test"},
        title=str(about.get("title", about.get("name", ""))),
        benchmark=about.get("benchmark"),
        classes=classes,
        templates=templates if isinstance(templates, str) else _texts(path, about, "templates"),
        images={str(name): int(count) for name, count in _mapping(path, about, "images").items()},
        folders=str(about.get("folders", "names")),
        columns={str(name): str(column) for name, column in _mapping(path, about, "columns").items()},
        novel=novel,
        background=_texts(path, about, "background"),
        captions=_count(path, about, "captions") or 5,
        resolution=_count(path, about, "resolution"),
        data=data,
    )


def _texts(path: str, about: Mapping[str, Any], name: str) -> tuple[str, ...]:
    found = about.get(name, [])
    if not isinstance(found, list) or not all(isinstance(text, (str, int)) for text in found):
        raise BadInput(f'{path}: `{name}` is not a list of texts (quote names such as "no" and "5.0")')
    if any(isinstance(text, bool) for text in found):
        raise BadInput(f"{path}: `{name}` has a name that YAML reads as true or false; put it in quotes")
    texts = tuple(str(text) for text in found)
    # ImageNet's list has two names twice. They are told apart by the sorted order of the folders.
    unique = name != "classes" or about.get("folders") != "sorted"
    twice = next((text for text in texts if texts.count(text) > 1), None) if len(set(texts)) < len(texts) else None
    if unique and twice is not None:
        raise BadInput(f"{path}: `{name}` has {twice!r} twice; give the two classes different names")
    return texts


def _count(path: str, about: Mapping[str, Any], name: str) -> int | None:
    found = about.get(name)
    if found is not None and (type(found) is not int or found < 1):
        raise BadInput(f"{path}: `{name}` is {found!r}; give a whole number of at least 1")
    return found


def _mapping(path: str, about: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = about.get(name, {})
    if not isinstance(found, dict):
        raise BadInput(f"{path}: `{name}` is not a mapping")
    return found
