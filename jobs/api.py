"""The jobs on a store and on CLIP as Python functions with plain arguments; `clipmine` re-exports them.

Each does what the command of its name does, shows its progress on stderr, and can be interrupted and called again.
Options are those of the command, with underscores; an unknown one is a BadInput that lists the known ones. The jobs on
corpora are in `jobs.api_corpus`, those on image sets in `jobs.api_image_sets`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from index.encoder.model_spec import ModelSpec
from index.errors import BadInput
from jobs.api_arguments import Path, Precision, check_options, config_of, model_of, texts_of

if TYPE_CHECKING:
    from customize.clip.evaluate.evaluate import EvaluateSummary
    from customize.clip.train.train import TrainSummary
    from index.encoder.clip_encoder import Encoder
    from index.graph.build import IndexSummary
    from index.store import EmbeddingStore
    from retrieval.concepts import ConceptList
    from retrieval.query_blocks import Mode
    from retrieval.rules import Rules
    from retrieval.selection import Selection
    from retrieval.templates import Templates

__all__ = [
    "customize",
    "evaluate",
    "index",
    "retrieve",
]


def index(
    store: Path,
    modality: str = "both",
    *,
    memory: str | int | None = None,
    executor: str = "local",
    workers: int | None = None,
    checksums: bool = False,
    pilot: bool = False,
    **options: Any,
) -> list[IndexSummary]:
    """Build the store's HNSW indexes and measure their recall; one summary for each modality.

    What is not given is as in the index that the store has.

    Args:
        store: folder of a store.
        modality: "image", "text" or "both".
        memory: memory of the machine, such as "64GB" or a number of bytes; sets the codec and the shard size of the
            first index (16 GB).
        checksums: first read the shards that are built already, and build those that are damaged again.
        pilot: measure all codecs on a sample of the store first, and take the best that fits the memory; else that is
            done only where a first index does not fit in fp16.
        options: other fields of `index.graph.build.IndexConfig`: recall, M, ef_construction, codec, shard_rows,
            queries, seed.

    Raises:
        BadInput: an unknown modality or option; and what `jobs.index_job.run_index` raises.
    """
    from index.graph.build import IndexConfig
    from index.sizes import parse_bytes
    from jobs.index_job import run_index

    size = parse_bytes(memory) if isinstance(memory, str) else memory
    config = config_of(IndexConfig, options, store=os.fspath(store), memory=size)
    return run_index(config, modality, executor=executor, workers=workers, checksums=checksums, pilot=pilot)


def customize(
    store: Path | None = None,
    selection: Path | None = None,
    *,
    out: Path,
    tars: Path | None = None,
    model: str | ModelSpec | None = None,
    pretrained: str | None = None,
    model_dir: Path | None = None,
    random_weights: int | None = None,
    executor: str = "local",
    workers: int | None = None,
    **options: Any,
) -> TrainSummary:
    """Customize CLIP on a selection's pairs, or on `tars`; the model is written to the folder `out`.

    Args:
        store, selection: folders; or `tars`, a folder of webdataset tars, instead of both.
        model, pretrained, model_dir, random_weights: the model to start from; by default the store's.
        executor: "local" or "ray" (Ray Train). workers: of Ray Train.
        options: other fields of `customize.clip.train.config.CustomizeConfig`: strategy, epochs, batch_size, lr, ...

    Raises:
        BadInput: contradicting or unknown options; and what `jobs.customize_job.run_customize` raises.
    """
    from customize.clip.train.config import CustomizeConfig
    from jobs.customize_job import run_customize

    paths = {"store": store, "selection": selection, "tars": tars, "out": out}
    places = {name: None if path is None else os.fspath(path) for name, path in paths.items()}
    spec = model_of(model, pretrained, model_dir, random_weights)
    config = config_of(CustomizeConfig, options, model=spec, **places)
    return run_customize(config, executor=executor, workers=workers)


def retrieve(
    store: Path | EmbeddingStore,
    concepts: ConceptList | Path | Iterable[str],
    *,
    out: Path,
    mode: Mode = "both",
    k: int = 50,
    templates: Templates | Path | Iterable[str] = "simple",
    rules: Rules | None = None,
    model: str | ModelSpec | None = None,
    pretrained: str | None = None,
    model_dir: Path | None = None,
    random_weights: int | None = None,
    precision: Precision = "fp32",
    encoder: Encoder | None = None,
    executor: str = "local",
    workers: int | None = None,
    **options: Any,
) -> Selection:
    """Retrieve for a concept list and write the selection to the folder `out`; a complete one is opened.

    Args:
        store: an open store, or its folder.
        concepts: a concept list, the path of a concept file, or names.
        mode: "t2i" (texts search images), "t2t" (texts search captions) or "both".
        k: rows for each prompt and mode.
        templates: a set's name, a file, or texts with `{}`.
        rules: filters; see `clipmine.Rules`.
        model, pretrained, model_dir, random_weights, precision: the store's model, where it cannot be loaded by the
            name that the store has.
        encoder: the model, loaded already; for a search in this process only.
        executor: "local", "ray" or "spark". workers: items that run at once. A search on "local" without workers is in
            this process; the selection is the same.
        options: reserve (extra ranks to keep, as a share of k), method ("hnsw" or "exact"), block_queries (prompts that
            are answered at once), on_progress (called with queries done and in all; a search in this process only).

    Raises:
        BadInput: an unknown option, an encoder for other processes; and what `retrieval.retrieve.retrieve` and
            `jobs.retrieve_job.run_retrieve` raise.
    """
    from jobs.progress import Progress
    from jobs.retrieve_job import run_retrieve

    here = executor == "local" and workers is None
    check_options(options, ["reserve", "method", "block_queries", *(["on_progress"] if here else [])])
    if encoder is not None and not here:
        raise BadInput("an encoder is not sent to other processes: name the model, or leave executor and workers out")
    spec = model_of(model, pretrained, model_dir, random_weights, precision)
    choices: dict[str, Any] = {
        "out": os.fspath(out),
        "mode": mode,
        "k": k,
        "templates": templates,
        "rules": rules,
        "model": spec,
    }
    if not here:
        return run_retrieve(store, concepts, executor=executor, workers=workers, **choices, **options)
    with Progress("retrieve", unit="queries") as progress:
        options.setdefault("on_progress", progress.reach)
        return run_retrieve(store, concepts, encoder=encoder, **choices, **options)


def evaluate(
    models: Path | ModelSpec | Mapping[str, Path | ModelSpec],
    tasks: str | Iterable[str],
    *,
    out: Path = "evaluation",
    **options: Any,
) -> EvaluateSummary:
    """Measure models on tasks; runs that are in `out` already are not measured again.

    Args:
        models: a model folder, a ModelSpec, or several as {name in the table: folder or ModelSpec}.
        tasks: names of task files that come with clipmine, or paths of task files.
        options: other fields of `customize.clip.evaluate.config.EvaluateConfig`: data, protocols, shots, seeds, ...

    Raises:
        BadInput: what `customize.clip.evaluate.evaluate.evaluate` raises, or an unknown option.
    """
    from customize.clip.evaluate.config import EvaluateConfig
    from customize.clip.evaluate.evaluate import evaluate as measure
    from jobs.progress import Progress

    named = models if isinstance(models, Mapping) else {str(models): models}
    specs = tuple(
        (name, model if isinstance(model, ModelSpec) else ModelSpec(model_dir=os.fspath(model)))
        for name, model in named.items()
    )
    config = config_of(EvaluateConfig, options, models=specs, tasks=texts_of(tasks), out=os.fspath(out))
    with Progress("evaluate", unit="runs") as progress:
        return measure(config, on_progress=progress.reach)
