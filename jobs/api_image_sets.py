"""The jobs on image sets and multimodal models as Python functions, in the way of `jobs.api`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from jobs.api_arguments import Path, config_of, paths_of, texts_of

if TYPE_CHECKING:
    from customize.lmm.evaluate.evaluate import LmmEvaluateSummary
    from customize.lmm.model.source import LmmSource
    from customize.lmm.train.summary import TuneSummary
    from mining import ImageSets
    from mining.annotate.summary import AnnotateSummary

__all__ = ["annotate", "evaluate_lmm", "import_sets", "mine", "tune"]


def mine(
    store: Path,
    strategy: str,
    out: Path,
    *,
    rows: Any = None,
    executor: str = "local",
    workers: int | None = None,
    **options: Any,
) -> ImageSets:
    """Mine image sets from a store into the folder `out` and open them.

    Args:
        store: folder of a store.
        strategy: a strategy's name, or a mix such as "similar:0.5,overlap:0.5".
        rows: a data frame of Spark, Ray Data, pandas, Polars or Arrow with a column `row_id`, or `key`: only these rows
            of the store are mined. Their neighbours come from an exact scan. Called again, it must name the same rows.
        options: other fields of `mining.strategies.context.MiningConfig`: sets, seed, max_per_image, selection, ...

    Raises:
        BadInput: an unknown strategy or option; and what `jobs.mine_job.run_mine` raises.
    """
    from index.errors import BadInput, OutputExists
    from index.files import remove
    from index.store import EmbeddingStore
    from jobs.frames_in import chosen_rows
    from jobs.mine_job import run_mine
    from mining.strategies.context import MiningConfig
    from mining.strategies.minable import rows_file, write_rows
    from mining.strategies.registry import check_strategies, parse_mix

    mix = parse_mix(strategy)
    places = {"store": os.fspath(store), "out": os.fspath(out)}
    config = config_of(MiningConfig, options, **places, strategies=mix, rows=None)
    if rows is None:
        return run_mine(config, executor=executor, workers=workers)
    opened = EmbeddingStore.open(config.store)
    check_strategies(config, opened)
    config = replace(config, rows=write_rows(config.out, chosen_rows(rows, opened)))
    try:
        sets = run_mine(config, executor=executor, workers=workers)
    except OutputExists:  # another run may be reading the file
        raise
    except BadInput:
        remove(rows_file(config))
        raise
    remove(rows_file(config))
    return sets


def import_sets(
    files: Path | Iterable[Path],
    format: str,
    out: Path,
    *,
    images: Path | Iterable[Path] = (),
    columns: str | None = None,
    **options: Any,
) -> ImageSets:
    """Import image sets of a foreign collection, with what was said of them, into the folder `out` and open them.

    Args:
        files: of records, folders of these or patterns.
        format: such as "cad-inst" or "llava"; "table" with `columns`.
        images: folders, tars and files of base64 images in which the images are looked up.
        columns: of a table, such as "image=file,caption=text".
        options: other fields of `mining.sets.importers.import_config.ImportConfig`: collection, only_complete, ...

    Raises:
        BadInput: an unknown format, column or option; and what `jobs.import_job.run_import` raises.
    """
    from jobs.import_job import run_import
    from mining.sets.importers.import_config import ImportConfig
    from mining.sets.importers.table import parse_mapping

    mapping = parse_mapping(columns) if columns else ()
    given = {"files": paths_of(files), "images": paths_of(images), "out": os.fspath(out), "mapping": mapping}
    return run_import(config_of(ImportConfig, options, format=format, **given))


def annotate(
    pairs: Path,
    kind: str = "comparison",
    annotator: str = "captions",
    *,
    model: Path | None = None,
    executor: str = "local",
    workers: int | None = None,
    **options: Any,
) -> AnnotateSummary:
    """Annotate the image sets in the folder `pairs`; what is annotated already is not asked again.

    Args:
        pairs: folder of image sets; the annotations are appended to it (`ImageSets.open(pairs).with_annotations()`).
        kind: "comparison", "cad-qa", "choice" or "judge".
        annotator: "openai" (a server, with `base_url`), "transformers" (a checkpoint) or "captions" (rules).
        model: the server's name of the model, or a checkpoint by name or folder.
        executor: "local" or "ray" (checkpoints). workers: actors of Ray.
        options: others of the command: name, refine, from_images, limit, max_cost, ...

    Raises:
        BadInput: an unknown option; and what `jobs.annotate_job.run_annotate` raises.
    """
    from jobs.annotate_job import run_annotate
    from mining.annotate.config import AnnotateConfig

    named = None if model is None else os.fspath(model)
    config = AnnotateConfig.of(os.fspath(pairs), kind=kind, annotator=annotator, model=named, **options)
    return run_annotate(config, executor=executor, workers=workers)


def tune(
    data: str | Iterable[str],
    model: Path | LmmSource,
    *,
    out: Path,
    stage: str = "instruct",
    executor: str = "local",
    workers: int | None = None,
    **options: Any,
) -> TuneSummary:
    """Tune a multimodal model on samples; the tuned model is written to the folder `out`.

    Args:
        data: sources of samples, each "PLACE[:WEIGHT][,OPTION=VALUE...]": image sets, tars, LLaVA's JSON, ...
        model: a LLaVA-family checkpoint by name or folder, or an `LmmSource` of several parts.
        stage: "align", "instruct" or "cad".
        executor: "local" or "ray" (Ray Train). workers: of Ray Train.
        options: other fields of `customize.lmm.train.config.TuneConfig`: train, lr, batch_size, epochs, export, ...

    Raises:
        BadInput: contradicting or unknown options; and what `jobs.tune_job.run_tune` raises.
    """
    from customize.lmm.model.source import LmmSource
    from customize.lmm.train.config import TuneConfig
    from jobs.tune_job import run_tune

    source = model if isinstance(model, LmmSource) else os.fspath(model)
    config = config_of(TuneConfig, options, data=texts_of(data), model=source, out=os.fspath(out), stage=stage)
    return run_tune(config, executor=executor, workers=workers)


def evaluate_lmm(
    models: Path | Iterable[Path] | Mapping[str, Path],
    tasks: str | Iterable[str],
    *,
    data: Path | None = None,
    out: Path = "evaluation",
    judge: Path | None = None,
    **options: Any,
) -> LmmEvaluateSummary:
    """Measure models that answer questions about images; replies that are in `out` already are not asked for again.

    Args:
        models: a folder (a checkpoint, an adapter), a Hugging Face name or "openai:MODEL@URL", or several, or
            {name in the tables: such a name}.
        tasks: "bison", "svo", "nlvr2", "eqben", "cola", "cad-qa", "cad-summaries", "seed-image", "seed-video",
            "NAME=FILE" or question files.
        data: folder of the images, and of the question files of tasks by name.
        judge: a model that rates open answers from 0 to 5, named as in `models`.
        options: fields of `customize.lmm.evaluate.evaluate.LmmEvaluateConfig` (swap, limit, max_new_tokens) and of
            `jobs.evaluate_lmm_job.ModelSettings` (device, precision, batch_size, key_variable, concurrency, timeout).

    Raises:
        BadInput: an unknown task, model or option, a question file that is missing or of another form.
    """
    from customize.lmm.evaluate.evaluate import LmmEvaluateConfig
    from jobs.evaluate_lmm_job import ModelSettings, run_evaluate_lmm

    names: list[str] | dict[str, str]
    if isinstance(models, Mapping):
        names = {name: os.fspath(model) for name, model in models.items()}
    else:
        names = list(paths_of(models))
    of_models = {field.name for field in fields(ModelSettings)}
    settings = ModelSettings(**{name: value for name, value in options.items() if name in of_models})
    others = {name: value for name, value in options.items() if name not in of_models}
    folder = None if data is None else os.fspath(data)
    config = config_of(LmmEvaluateConfig, others, tasks=texts_of(tasks), data=folder, out=os.fspath(out))
    return run_evaluate_lmm(names, config, None if judge is None else os.fspath(judge), settings)
