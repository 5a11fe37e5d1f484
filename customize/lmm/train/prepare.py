"""Prepares a run: opens and encodes the data, loads the model, applies what is trained, and chooses how images enter.

`customize.lmm.train.loop` trains the prepared run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from customize.clip.train.distributed import Worker
from customize.lmm.data.batches import BatchPlan
from customize.lmm.data.encode import Encoder
from customize.lmm.data.encoded_mixture import EncodedMixture
from customize.lmm.data.loader import THREADS, LoadedPart, PartLoader
from customize.lmm.data.sample import EncodedSample, ImageFile
from customize.lmm.data.sources import describe_source, open_part
from customize.lmm.model.forward import TokenLosses
from customize.lmm.model.load import Lmm, load_lmm
from customize.lmm.model.trainable import TrainedParts, apply_trained
from customize.lmm.train.config import TuneConfig
from customize.lmm.train.generations import Generations
from customize.lmm.train.images import StepImages, choose_images
from customize.lmm.train.shard import shard_model
from customize.lmm.train.step import PartInputs
from index.encoder.loading import usable_device
from index.files import hash_json, join, make_folder
from index.outputs import check_free, claim_folder
from mining.chat.templates import chat_template_of

__all__ = ["CLAIM", "GPU_PART", "NO_OUTPUT", "Run", "part_inputs", "prepare_run", "trained_parts"]

CLAIM = "tune.json"
# What a run writes before it has a checkpoint or features, by paths in its folder.
NO_OUTPUT = ("tensorboard", "work/steps.json")
PREPARED = ".prepared"  # hidden: the data is read before the folder can be claimed
# Tokens of a part by default. On a CPU small parts cost nothing and have little padding; on a GPU larger ones fill it.
CPU_PART, GPU_PART = 1024, 8192
# The cache of features costs one pass of the tower over the images, so it saves time from the second epoch on.
WORTH_CACHING = 2
OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Run:
    """A prepared run.

    Attributes:
        identity: hash of all that decides the trained weights.
        data: the samples, encoded. loader: of this worker's parts of each step.
        lmm: the model, with what is trained set up. losses: the module that computes losses, sharded or not.
        trained_parts: what is trained, and at which rates.
        template: of the prompts. sources: the names of the data's sources, by their numbers.
        described: where the samples of each source come from, see `describe_source`; () on other workers than the
            first.
        generations: of held-out samples; None where none are asked for, and on other workers than the first.
    """

    config: TuneConfig
    worker: Worker
    device: str
    identity: str
    data: EncodedMixture
    loader: PartLoader[torch.Tensor]
    total_steps: int
    lmm: Lmm
    losses: TokenLosses
    trained_parts: TrainedParts
    images: StepImages
    template: str
    sources: tuple[str, ...]
    described: tuple[Mapping[str, Any], ...]
    generations: Generations | None

    @property
    def sharded(self) -> bool:
        """Whether the model is shared out among the workers."""
        return self.config.shard_model and self.worker.world_size > 1


def prepare_run(config: TuneConfig, worker: Worker, on_progress: OnProgress | None = None) -> Run | None:
    """Prepare a run on this worker; None when the same run was completed before.

    on_progress: called with what is being done (encoding a source, computing vision features), how much of it is done
    and how much there is.

    Raises:
        BadInput: data or model cannot be used: a source that is not there, a model of another kind, an adapter of
            another base, a tokenizer that lacks the template's tokens, no sample that can be trained on.
        OutputExists: `config.out` holds another run.
    """
    work = join(config.out, PREPARED)
    # Sources first: what is missing is said before a model is loaded. The first worker writes their files.
    if worker.first:
        check_free(config.out, CLAIM)
        _open_parts(config, work)
    worker.barrier()
    parts = _open_parts(config, work)
    device = usable_device(config.device)
    bf16 = config.bf16(device)
    recipe = config.recipe
    lmm = load_lmm(
        config.source,
        device=device,
        dtype="bfloat16" if bf16 and recipe.train != "full" else "float32",
        seed=config.seed,
    )
    template = chat_template_of(lmm.processor, recipe.template)
    encoder = Encoder(
        lmm.processor,
        template,
        image_tokens=lmm.image_tokens,
        max_length=recipe.max_length,
    )
    if worker.first:
        EncodedMixture.prepare(parts, encoder, join(work, "tokens"), seed=config.seed, on_progress=on_progress)
        _held_out(config, encoder, work)
    worker.barrier()
    held_out = _held_out(config, encoder, work)
    data = EncodedMixture.prepare(parts, encoder, join(work, "tokens"), seed=config.seed)
    identity = config.identity(_identified(lmm), data.digest())
    if worker.any_of(worker.first and claim_folder(config.out, CLAIM, identity, besides=NO_OUTPUT)):
        return None
    trained = trained_parts(config, bf16=bf16)
    apply_trained(lmm, trained, seed=config.seed)
    losses = TokenLosses(lmm.model)
    plan = BatchPlan(
        order=data.mixture.order,
        samples=data.mixture.epoch_samples,
        lengths=data.lengths,
        images=data.images,
        batch_size=recipe.batch_size,
        grouping="random" if config.batching == "random" else "length",
        seed=config.seed,
    )
    total = config.total_steps(plan.steps_per_epoch)
    images = choose_images(
        lmm,
        worker,
        config.features or join(config.out, "work", "features"),
        _shown(data, plan, total, held_out),
        cache=config.cache_features,
        repeated=config.features is not None or total >= WORTH_CACHING * plan.steps_per_epoch,
        bf16=bf16,
        on_progress=on_progress,
    )
    loader: PartLoader[torch.Tensor] = PartLoader(
        data,
        plan,
        images.load,
        pad_id=_pad_id(lmm),
        budget=config.part_tokens or (GPU_PART if device.startswith("cuda") else CPU_PART),
        packed=config.batching == "packed",
        rank=worker.rank,
        workers=worker.world_size,
        threads=config.loaders or THREADS,
    )
    if config.shard_model and worker.world_size > 1:
        shard_model(losses, device)
    return Run(
        config=config,
        worker=worker,
        device=device,
        identity=hash_json(identity),
        data=data,
        loader=loader,
        total_steps=total,
        lmm=lmm,
        losses=losses,
        trained_parts=trained,
        images=images,
        template=template,
        sources=data.mixture.names,
        described=tuple(map(describe_source, config.data)) if worker.first else (),
        generations=_generations(config, lmm, held_out, images) if worker.first else None,
    )


def part_inputs(part: LoadedPart[torch.Tensor], images: StepImages) -> PartInputs:
    """A loaded part as the tensors of a step, with the features of its images."""
    collated = part.collated
    return PartInputs(
        ids=torch.from_numpy(collated.ids),
        labels=torch.from_numpy(collated.labels),
        positions=None if collated.positions is None else torch.from_numpy(collated.positions),
        sources=torch.from_numpy(collated.sources),
        features=images.features(part.images),
        sample_ids=collated.sample_ids,
        tokens=collated.tokens,
    )


def _open_parts(config: TuneConfig, work: str) -> list[Any]:
    make_folder(work)
    return [open_part(text, cache=join(work, "records"), seed=config.seed) for text in config.data]


def trained_parts(config: TuneConfig, *, bf16: bool) -> TrainedParts:
    """What a configuration trains, at which rates and in which precision."""
    recipe = config.recipe
    return TrainedParts(
        language_model="frozen" if recipe.train == "projector" else recipe.train,
        projector=True,
        rate=recipe.lr,
        projector_rate=recipe.projector_lr,
        weight_decay=recipe.weight_decay,
        lora_r=recipe.lora_rank,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        precision="bfloat16" if bf16 else "float32",
        gradient_checkpointing=config.grad_checkpoint,
    )


def _identified(lmm: Lmm) -> dict[str, Any]:
    """The hashes of the model's parts, wherever they were loaded from."""
    return {name: value for name, value in lmm.source.items() if name != "names"}


def _pad_id(lmm: Lmm) -> int:
    """Any token serves: padding is never seen by another token, and has no loss."""
    found = lmm.tokenizer.pad_token_id
    return int(found if found is not None else lmm.tokenizer.eos_token_id or 0)


def _held_out(config: TuneConfig, encoder: Encoder, work: str) -> list[EncodedSample]:
    """The samples that the model answers while it trains."""
    if config.generate_on is None:
        return []
    part = open_part(config.generate_on, cache=join(work, "records"), seed=config.seed)
    held = EncodedMixture.prepare([part], encoder, join(work, "tokens"), seed=config.seed)
    return [held[number] for number in held.mixture.order(0)[: config.generate_count].tolist()]


def _generations(
    config: TuneConfig, lmm: Lmm, held_out: Sequence[EncodedSample], images: StepImages
) -> Generations | None:
    def features(sample: EncodedSample) -> torch.Tensor:
        return images.features([images.load(image) for image in sample.images])

    if not held_out:
        return None
    return Generations(lmm, held_out, features, config.generate_every, config.generate_tokens)


def _shown(data: EncodedMixture, plan: BatchPlan, total: int, held_out: Sequence[EncodedSample]) -> Iterator[ImageFile]:
    """The images of the run's steps, and of the samples that the model answers."""
    if total >= plan.steps_per_epoch:
        numbers = np.flatnonzero(data.lengths)
    else:
        numbers = np.unique(np.concatenate([plan.batch(step) for step in range(total)]))
    for number in numbers[data.images[numbers] > 0].tolist():
        place = data.source_of(number)
        yield from data.sources[place].image_files(number - int(data.mixture.bounds[place]))
    for sample in held_out:
        yield from sample.images
