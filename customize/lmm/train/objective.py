"""The loss of a multimodal model on rows of tokens, computed only where it is needed.

Rows are padded on the right. Attention is causal, so no token sees the padding behind it, and no mask is needed: the
fastest attention of each device applies. The output layer runs on the positions that predict a trained token alone; in
LLaVA's data these are a small part of all positions, most of which are of images.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from customize.lmm.data.sample import IGNORED

__all__ = ["Objective"]


class Objective(nn.Module):
    """A `LlavaForConditionalGeneration` as a module whose output is the loss of each trained token.

    It is the module that is sharded (FSDP): all of the model's weights that a step needs are used within `forward`.
    """

    def __init__(self, llava: Any, image_token_id: int) -> None:
        super().__init__()
        self.llava = llava
        self.image_token_id = image_token_id

    def forward(
        self,
        ids: torch.Tensor,
        labels: torch.Tensor,
        positions: torch.Tensor | None,
        features: torch.Tensor | None,
        touch_projector: bool = False,
    ) -> torch.Tensor:
        """The negative log-likelihood of each trained token: float32 [trained], row by row.

        Args:
            ids, labels: int64 [rows, n].
            positions: int64 [rows, n], from 0 in each sample of a row that holds several; None: one sample a row.
            features: [images, tokens an image, width], outputs of the vision tower in the order of the image tokens;
                None: no images.
            touch_projector: run the projector without images too, since all workers of a sharded model must.
        """
        llava = self.llava
        hidden = llava.model.language_model(
            inputs_embeds=self.embed(ids, features, touch_projector), position_ids=positions, use_cache=False
        ).last_hidden_state
        targets = labels[:, 1:]
        trained = targets != IGNORED
        if positions is not None:  # a sample's first token follows nothing, least of all the sample before it
            trained = trained & (positions[:, 1:] != 0)
        logits = llava.lm_head(hidden[:, :-1][trained])
        return nn.functional.cross_entropy(logits.float(), targets[trained], reduction="none")

    def embed(self, ids: torch.Tensor, features: torch.Tensor | None, touch_projector: bool = False) -> torch.Tensor:
        """The language model's inputs: token embeddings, with projected features in the places of the images."""
        embeddings = self.llava.get_input_embeddings()
        place = ids == self.image_token_id
        inputs: torch.Tensor = embeddings(ids.masked_fill(place, 0))
        projector = self.llava.model.multi_modal_projector
        if features is not None:
            projected = projector(features.to(_weight(projector).dtype))
            return inputs.masked_scatter(place.unsqueeze(-1), projected.to(inputs.dtype))
        if touch_projector:
            weight = _weight(projector)
            nothing = projector(torch.zeros(1, 1, weight.shape[1], dtype=weight.dtype, device=ids.device))
            return inputs + 0 * nothing.to(inputs.dtype).sum()
        return inputs


def _weight(projector: Any) -> torch.Tensor:
    weight: torch.Tensor = projector.linear_1.weight
    return weight
