"""The annotation job: image sets in, annotations of them out, by a server, a local checkpoint, Ray's actors or rules.

Killed at any point, it goes on when run again: what was decided is in the journal of the part, and every answer that
was received is in the cache (`mining.annotate.journal`, `mining.annotate.answer_cache`).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from index.errors import BadInput, OutputExists
from index.files import exists, is_local, local_path
from index.outputs import claim_folder, only_writer, remove_folder
from jobs.annotate_progress import AnnotateProgress
from mining.annotate.answer_cache import AnswerCache
from mining.annotate.budget import Budget
from mining.annotate.chosen_sets import choose_sets
from mining.annotate.config import AnnotateConfig
from mining.annotate.journal import REJECTED, Journal
from mining.annotate.ledger import Ledger
from mining.annotate.rule_run import run_rules
from mining.annotate.run import AnnotationRun, Sampling
from mining.annotate.statistics import AnnotationStatistics, statistics_of
from mining.annotate.summary import AnnotateSummary
from mining.annotate.task import AnnotationTask, RuleTask
from mining.annotate.tasks import make_rule_task, make_task, view_for
from mining.chat.chat import ChatModel
from mining.export.member_images import MemberImages
from mining.sets.annotation import Annotator
from mining.sets.annotation_rows import annotation_of
from mining.sets.forgotten_rows import register_image_sets
from mining.sets.image_sets import ImageSets

__all__ = ["open_model", "open_task", "part_statistics", "run_annotate", "sample_reply"]

# The file that says what decides the answers of a part.
CLAIM = "annotate.json"
_SHOWN = 160  # characters of a reply that was not understood
# The options of a task, by the names that they have there.
_TASK_OPTIONS = {
    "comparison": {
        "from_images": "from_images",
        "with_captions": "with_captions",
        "refine": "refine",
        "as_trained": "as_trained",
        "seed": "seed",
    },
    "cad-qa": {"refine": "summary", "rounds": "rounds", "seed": "seed"},
    "judge": {"refine": "of"},
}


def run_annotate(config: AnnotateConfig, *, executor: str = "local", workers: int | None = None) -> AnnotateSummary:
    """Annotate what `config` asks for; run again after an interruption or a limit, it goes on.

    executor, workers: `ray` runs a checkpoint in that many actors, each with the whole model.

    Raises:
        BadInput: sets, images, a task, model, server or key that cannot be used.
        OutputExists: the part was begun with other settings, or another process is writing it.
        ClipmineError: the server stopped answering; what it had answered is kept.
        DiskFull: what was kept before is whole.
    """
    if not is_local(config.pairs):
        raise BadInput(f"{config.pairs}: annotations are appended line by line, so the folder has to be local; copy it")
    if executor != "local" and config.annotator != "transformers":
        raise BadInput(f"--executor {executor} runs checkpoints: it is of --annotator transformers")
    whole = ImageSets.open(config.pairs)
    register_image_sets(config.pairs, whole.sources)  # sets that were mined before stores had a register
    if config.annotator == "captions":
        rules = open_rules(config)
        sets = view_for(rules, choose_sets(whole, config.choice, config.seed))
        progress = AnnotateProgress(len(sets))
        with _part(config, whole, {"prompt_hash": rules.prompt_hash}) as files, progress:
            note = progress.note_decided
            return run_rules(sets, rules, journal=files.journal, ledger=files.ledger, on_progress=note)
    task = open_task(config)
    sets = view_for(task, choose_sets(whole, config.choice, config.seed))
    images = MemberImages(sets, config.moved) if task.needs_images else None
    if images is not None:
        images.open(sets[0])  # a wrong folder fails here, before a model is asked for
    sampling = Sampling(config.max_new_tokens, config.temperature)
    model = open_model(config, executor, workers)
    said = {
        "model": dict(model.identity),
        "prompt_hash": task.prompt_hash,
        "max_new_tokens": config.max_new_tokens,
        "temperature": config.temperature,
    }
    progress = AnnotateProgress(len(sets))
    with _part(config, whole, said) as files, AnswerCache(config.answers, model.identity) as cache, progress:
        run = AnnotationRun(
            sets,
            task,
            model,
            _annotator(config, model, task),
            journal=files.journal,
            cache=cache,
            ledger=files.ledger,
            budget=Budget(config.limits, files.ledger.spent),
            images=images,
            sampling=sampling,
            attempts=config.attempts,
            on_progress=progress.note,
        )
        try:
            return run.run()
        finally:
            if executor == "ray":
                model.close()  # type: ignore[attr-defined]


def open_task(config: AnnotateConfig) -> AnnotationTask:
    """The task that asks a model. Raises BadInput for a kind that it is not of, and options that the kind lacks."""
    return make_task(config.kind, **_task_options(config, _TASK_OPTIONS.get(config.kind, {})))


def open_rules(config: AnnotateConfig) -> RuleTask:
    """The task without a model. Raises as `open_task` does."""
    return make_rule_task(config.kind, **_task_options(config, {"seed": "seed"}))


def open_model(config: AnnotateConfig, executor: str = "local", workers: int | None = None) -> ChatModel:
    """The model that answers. Raises BadInput for a model, address or key that cannot be used."""
    assert config.model is not None
    if config.annotator == "openai":
        from mining.chat.asking import Limits
        from mining.chat.openai_server import OpenAIServer

        assert config.base_url is not None
        settings = _given(key_variable=config.key_variable, max_concurrency=config.concurrency, timeout=config.timeout)
        settings["limits"] = Limits(**_given(patience=config.patience))
        return OpenAIServer(config.base_url, config.model, **settings)
    make = local_model(config)
    if executor == "ray":
        from jobs.chat_on_ray import ChatOnRay

        return ChatOnRay(make, workers)
    return make()


def local_model(config: AnnotateConfig) -> Callable[[], ChatModel]:
    """What makes the checkpoint's model, here or in an actor."""
    from mining.chat.factory import PRECISIONS, open_chat_model

    precision = None if config.precision is None else PRECISIONS[config.precision]
    settings = {"adapter": config.adapter, "device": config.device, "batch_size": config.batch_size}
    # A name after "transformers:" is a checkpoint, however it looks.
    return functools.partial(open_chat_model, f"transformers:{config.model}", precision=precision, **settings)


def part_statistics(config: AnnotateConfig) -> AnnotationStatistics:
    """The statistics of all that was annotated under this name."""
    annotations = ImageSets.open(config.pairs).annotations
    own = [number for number, (name, _) in enumerate(annotations.parts) if name.rpartition("_")[0] == config.part]
    tables = (table for number in own for table in annotations.tables(number))
    return statistics_of(annotation_of(row) for table in tables for row in table.to_pylist())


def sample_reply(config: AnnotateConfig) -> str | None:
    """The first characters of a reply under this name that was not understood; None without one."""
    with (local_path(config.folder) / "journal.jsonl").open("rb") as lines:
        for line in lines:
            for said in json.loads(line)["annotations"]:
                if said["kind"] == REJECTED:
                    return " ".join(str(said["content"]["text"]).split())[:_SHOWN]
    return None


@dataclass(frozen=True)
class _Files:
    journal: Journal
    ledger: Ledger


@contextmanager
def _part(config: AnnotateConfig, sets: ImageSets, said: dict[str, Any]) -> Iterator[_Files]:
    """The open files of the part, which no other process writes meanwhile; nothing stays of a part that did not begin.

    said: what decides the answers, beside the kind. Raises OutputExists where the part was begun with other settings.
    """
    folder = local_path(config.folder)
    with ExitStack() as lock:
        try:
            lock.enter_context(only_writer(config.folder))
        except OutputExists as error:
            raise OutputExists(
                f"{config.pairs}: another process is writing the annotations {config.part!r}; wait for it, or choose "
                "another --name"
            ) from error
        try:
            job = {"kind": config.kind, "annotator": config.annotator, "options": _asked(config), **said}
            claim_folder(config.folder, CLAIM, job, values=True)
        except OutputExists as error:
            why = str(error).removeprefix(f"{config.folder}: ").partition(";")[0]
            if "options" in why:
                why = f"was begun {_other_options(folder / CLAIM, config)}"
            elif "prompt_hash" in why:
                why = "was begun with prompts of another version"
            raise OutputExists(
                f"{config.pairs}: the annotations {config.part!r}: {why}; choose another --name"
            ) from error
        try:
            with (
                closing(Journal(sets, folder, config.part)) as journal,
                closing(Ledger(folder / "ledger.jsonl")) as ledger,
            ):
                yield _Files(journal, ledger)
        finally:
            if not _has_lines(folder):  # a corrected command may have other settings, which the claim would refuse
                remove_folder(config.folder)


def _asked(config: AnnotateConfig) -> dict[str, Any]:
    """The options that decide the questions, as on the command line; those at their defaults are left out."""
    names = ("from_images", "with_captions", "refine", "as_trained", "rounds", "seed")
    return {f"--{name.replace('_', '-')}": value for name in names if (value := getattr(config, name))}


def _other_options(claim: Path, config: AnnotateConfig) -> str:
    """Which of these options differ from those of the claim: "with --from-images, without --seed 5"."""
    was, now = json.loads(claim.read_bytes()).get("options"), _asked(config)
    if not isinstance(was, dict):
        return "by an earlier version, which did not note its options"
    said = []
    for words, one, other in (("with", was, now), ("without", now, was)):
        changed = [name for name in one if one[name] != other.get(name) and (words == "with" or name not in other)]
        said += [f"{words} {name}" + ("" if one[name] is True else f" {one[name]}") for name in changed]
    return ", ".join(said)


def _has_lines(folder: Path) -> bool:
    """Whether a set was decided or a request answered."""
    journal = folder / "journal.jsonl"
    spent = folder / "ledger.jsonl"
    return bool(journal.exists() and journal.stat().st_size) or (spent.exists() and b'"request"' in spent.read_bytes())


def _annotator(config: AnnotateConfig, model: ChatModel, task: AnnotationTask) -> Annotator:
    """Who answers: the model's identity goes into its version (what a user can look up) and its parameters.

    A folder is named without the path to it, and an adapter without its base.
    """
    identity = dict(model.identity)
    version = identity.get("revision")
    folder = config.adapter or config.model or ""
    local = config.annotator == "transformers" and exists(folder)
    name = (local_path(folder).resolve().name if local else "") or model.name
    return Annotator(name, None if version is None else str(version), task.prompt_hash, {"model": identity})


def _task_options(config: AnnotateConfig, names: dict[str, str]) -> dict[str, Any]:
    """The options of a task by its own names; BadInput for one that the user gave and the kind does not have."""
    given = _given(refine=config.refine, rounds=config.rounds)
    given |= {name: True for name in ("from_images", "with_captions", "as_trained") if getattr(config, name)}
    for name in given:
        if name not in names:
            raise BadInput(f"--{name.replace('_', '-')} has no meaning for --kind {config.kind} of {config.annotator}")
    return {names[name]: value for name, value in {**given, "seed": config.seed}.items() if name in names}


def _given(**settings: Any) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}
