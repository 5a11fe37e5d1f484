"""The training forward pass on features of the frozen vision tower, of padded batches and of packed ones.

A packed batch is one row of several samples without padding. Its position ids restart at 0 with each sample, and
without an attention mask transformers then lets each sample see itself alone
(`transformers.masking_utils.find_packed_sequence_indices`). So losses are those of the samples one by one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from customize.lmm.model.load import bare_model
from index.errors import BadInput

__all__ = ["TokenLosses", "embed", "trained_places"]

_IGNORED = -100  # the label of a token without loss: torch's cross_entropy ignore_index


def embed(model: Any, input_ids: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """Embeddings [rows, n, hidden] of tokens [rows, n], with projected features in the places of image tokens.

    Args:
        model: `LlavaForConditionalGeneration`, also within peft.
        features: [images, tokens an image, width], the vision tower's, in the order of the image tokens; [0, ...] where
            there is no image.

    Raises:
        BadInput: the numbers of image tokens and features differ.
    """
    llava = bare_model(model)
    places = input_ids == llava.config.image_token_index
    count, expected = int(places.sum()), features.shape[0] * features.shape[1] if len(features) else 0
    if count != expected:
        raise BadInput(f"the tokens have {count} places for image features, and {expected} features were given")
    projector = llava.model.multi_modal_projector
    dtype = projector.linear_1.weight.dtype
    embeddings: torch.Tensor = llava.get_input_embeddings()(input_ids)
    if len(features):
        projected = projector(features.to(dtype))
        return embeddings.masked_scatter(places.unsqueeze(-1), projected.to(embeddings.dtype))
    if torch.is_grad_enabled() and projector.linear_1.weight.requires_grad:
        # Without images the projector gets a gradient of zeros, since the workers of a run all reduce the same weights.
        nothing: torch.Tensor = projector(
            torch.zeros(1, projector.linear_1.in_features, dtype=dtype, device=input_ids.device)
        )
        return embeddings + 0.0 * nothing.sum().to(embeddings.dtype)
    return embeddings


class TokenLosses(nn.Module):
    """A model as a module that returns the losses of its trained tokens, for DistributedDataParallel and FSDP to wrap.

    The output layer is computed for trained tokens only; a batch has several times as many tokens.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: torch.Tensor,
        features: torch.Tensor,
        labels: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Cross entropies float32 [trained tokens], in the order of `trained_places(labels, position_ids)`.

        Args:
            input_ids, labels: [rows, n]; labels of tokens without loss are -100.
            features: see `embed`.
            attention_mask: [rows, n], 0 on padding; of padded batches.
            position_ids: [rows, n], restarting with each sample; of packed batches.
        """
        llava = bare_model(self.model)
        hidden = llava.model.language_model(
            inputs_embeds=embed(llava, input_ids, features),
            attention_mask=attention_mask,
            position_ids=position_ids,
            use_cache=False,  # with a cache, transformers does not look for packed samples
        ).last_hidden_state
        places = trained_places(labels, position_ids)
        logits = llava.lm_head(hidden[:, :-1][places])
        return nn.functional.cross_entropy(logits.float(), labels[:, 1:][places], reduction="none")


def trained_places(labels: torch.Tensor, position_ids: torch.Tensor | None = None) -> torch.Tensor:
    """bool [rows, n - 1]: the tokens whose next token has a loss. None is the first token of a sample."""
    places = labels[:, 1:] != _IGNORED
    return places if position_ids is None else places & (position_ids[:, 1:] != 0)
