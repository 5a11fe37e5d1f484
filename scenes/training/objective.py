"""The training objective of the scenes' CLIP: images are matched with texts, and objects in them with phrases.

Both losses are CLIP's symmetric contrastive loss with UniCL's targets (arXiv 2204.03610), where a text may have
several matches. A caption matches its image and those of equal captions; a bare name ("a photo of a dog") matches every
image of the batch that shows the type. For an object, the mean feature of the patches that it covers is matched with
its phrase or name, as in RegionCLIP (arXiv 2112.09106), so that patch features are meaningful and small objects are
learned.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
import torch.nn.functional as F
from open_clip.model import CLIP

TEXT_BOUNDS = (12, 26)  # tokens; half of the captions are shorter than the first bound, dense ones have 40 to 64
REGION_WEIGHT = 0.5  # weight of the objects' loss; other values were not tried
Trunk = Callable[[torch.Tensor], torch.Tensor]


@dataclasses.dataclass(frozen=True)
class Batch:
    """b images with a text each, and r objects in them with a text each."""

    pixels: torch.Tensor  # float32 [b, 3, size, size], normalized
    tokens: torch.Tensor  # int64 [b, longest]
    named: torch.Tensor  # int64 [b]: the type of a text that is a bare name; -1: the text is a caption
    shown: torch.Tensor  # int64 [b, regions]: the types that an image shows, then -1
    region_image: torch.Tensor  # int64 [r]: the image of an object
    region_patches: torch.Tensor  # bool [r, patches]: the patches that an object covers
    region_tokens: torch.Tensor  # int64 [r, longest]
    region_named: torch.Tensor  # int64 [r], as `named`
    region_type: torch.Tensor  # int64 [r]


def encode_image(
    model: CLIP, pixels: torch.Tensor, kept: torch.Tensor | None, trunk: Trunk
) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of the images [b, d] and of their patches [b, t, d], projected as by `CLIP.encode_image`.

    kept: int64 [b, t], the patches that are used; None: all.
    trunk: the visual transformer, possibly compiled.
    """
    visual = model.visual
    x = visual.conv1(pixels).flatten(2).transpose(1, 2)
    x = x + visual.positional_embedding[1:].to(x.dtype)
    if kept is not None:
        x = x.gather(1, kept[:, :, None].expand(-1, -1, x.shape[2]))
    start = (visual.class_embedding + visual.positional_embedding[0]).to(x.dtype).expand(len(x), 1, -1)
    x = visual.ln_post(trunk(visual.ln_pre(torch.cat([start, x], dim=1))))
    x = x @ visual.proj
    return x[:, 0], x[:, 1:]


def encode_text(model: CLIP, tokens: torch.Tensor) -> torch.Tensor:
    """Text features [n, d] as `CLIP.encode_text` gives them, for tokens cut to the batch's longest text.

    The causal mask hides positions after end-of-text, so cutting them changes nothing.
    """
    length = tokens.shape[1]
    hidden = model.token_embedding(tokens) + model.positional_embedding[:length]
    hidden = model.ln_final(model.transformer(hidden, attn_mask=model.attn_mask[:length, :length]))
    pooled = hidden[torch.arange(len(tokens)), tokens.argmax(dim=-1)]
    features: torch.Tensor = pooled @ model.text_projection
    return features


def encode_mixed(model: CLIP, tokens: torch.Tensor) -> torch.Tensor:
    """`encode_text` in groups of similar length, so that a few dense captions do not pad all others."""
    lengths = (tokens != 0).sum(1)
    kind = torch.bucketize(lengths, torch.tensor(TEXT_BOUNDS, device=tokens.device))
    features = tokens.new_zeros((len(tokens), model.text_projection.shape[1]), dtype=torch.float32)
    for rows in (torch.nonzero(kind == place)[:, 0] for place in range(len(TEXT_BOUNDS) + 1)):
        if len(rows):
            part = encode_text(model, tokens[rows, : int(lengths[rows].max())])
            features = features.index_copy(0, rows, part.float())
    return features


def keep_patches(batch: Batch, patches: int, count: int) -> torch.Tensor:
    """int64 [b, count]: random patches of each image; patches of its objects are kept more often."""
    covered = torch.zeros((len(batch.pixels), patches), device=batch.pixels.device)
    covered.index_add_(0, batch.region_image, batch.region_patches.float())
    scores = torch.rand_like(covered) + 0.5 * (covered > 0)
    return scores.topk(count, dim=1).indices


def pool_regions(features: torch.Tensor, kept: torch.Tensor | None, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean patch features [r, d] of each object, and bool [r]: whether any of its patches was kept."""
    covers = batch.region_patches.float()
    if kept is not None:
        covers = covers.gather(1, kept[batch.region_image])
    weight = covers / covers.sum(1, keepdim=True).clamp(min=1)
    pooled = torch.einsum("rt,rtd->rd", weight, features[batch.region_image].float())
    return pooled, covers.any(1)


def matching_loss(scale: torch.Tensor, image: torch.Tensor, text: torch.Tensor, match: torch.Tensor) -> torch.Tensor:
    """The symmetric contrastive loss between n images and n texts, [n, d] each; match: bool [n, n], image by text."""
    logits = scale * F.normalize(image.float(), dim=-1) @ F.normalize(text.float(), dim=-1).T
    match = match.float()
    rows = F.cross_entropy(logits, match / match.sum(1, keepdim=True))
    return (rows + F.cross_entropy(logits.T, match.T / match.T.sum(1, keepdim=True))) / 2


def equal_texts(tokens: torch.Tensor) -> torch.Tensor:
    """bool [n, n]: which texts are the same."""
    return (tokens[:, None] == tokens[None]).all(-1)


def contrastive_loss(model: CLIP, batch: Batch, keep: int | None, trunk: Trunk) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of the images and that of the objects (unweighted). keep: patches used of each image; None: all."""
    patches = batch.region_patches.shape[1]
    kept = None if keep is None else keep_patches(batch, patches, keep)
    with torch.autocast(batch.pixels.device.type, dtype=torch.bfloat16):
        image, features = encode_image(model, batch.pixels, kept, trunk)
        text = encode_mixed(model, batch.tokens)
        phrases = encode_mixed(model, batch.region_tokens)
    scale = model.logit_scale.exp()
    shows = (batch.shown[:, None, :] == batch.named[None, :, None]).any(-1) & (batch.named >= 0)
    pictures = matching_loss(scale, image, text, equal_texts(batch.tokens) | shows)
    pooled, seen = pool_regions(features, kept, batch)
    named = (batch.region_type[:, None] == batch.region_named[None]) & (batch.region_named >= 0)
    match = (equal_texts(batch.region_tokens) | named)[seen][:, seen]
    objects = matching_loss(scale, pooled[seen], phrases[seen], match)
    return pictures, objects
