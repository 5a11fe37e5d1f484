"""The scenes' LLaVA: its tokenizer, its configuration, its Hugging Face folder, and a fast forward pass for training.

A folder loads in plain transformers (`LlavaForConditionalGeneration`, `LlavaProcessor`). The prompt is vicuna_v1 with
images in their places: "<s>USER: Image 1: <image>\\nImage 2: <image>\\nIs there a bus in image 1? ASSISTANT: no</s>".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from scenes.training.llava_images import GRID, SIZE
from scenes.training.llava_tower import PATCH, tower_config
from scenes.training.train_clip import MEAN, STD

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import LlamaModel, LlavaForConditionalGeneration

VOCABULARY = 2048
CONTEXT = 1024  # tokens
BOS, EOS, UNKNOWN, PAD, IMAGE = "<s>", "</s>", "<unk>", "<pad>", "<image>"
SPECIAL = (BOS, EOS, UNKNOWN, PAD, IMAGE)  # ids 0 to 4
BOS_ID, EOS_ID, PAD_ID, IMAGE_ID = 0, 1, 3, 4
IMAGE_TOKENS = GRID * GRID
# The language model: 2.2M weights in blocks and 0.4M in tied embeddings.
LANGUAGE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 192,
    "intermediate_size": 512,
    "num_hidden_layers": 5,
    "num_attention_heads": 6,
    "num_key_value_heads": 6,
    "max_position_embeddings": CONTEXT,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
    "bos_token_id": BOS_ID,
    "eos_token_id": EOS_ID,
    "pad_token_id": PAD_ID,
}
EARLY = 2  # blocks after which image tokens should know the number of their image
MATCHING, MATCH_SCALE = 3, 1.4  # heads a layer, scale of their equal projections
# What the model writes after "ASSISTANT:" begins with the space that its answers have in training.
CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] != 'assistant' %}"
    "{% if message['role'] == 'user' %}{{ 'USER: ' }}{% endif %}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<image>' }}{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}{{ ' ' }}"
    "{% else %}{{ 'ASSISTANT:' }}{% generation %}{{ ' ' }}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}{{ part['text'] }}{% endfor %}{% endif %}"
    "{{ eos_token }}{% endgeneration %}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


def train_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """A byte-level BPE with case, which encodes any text and adds no token by itself."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def fresh_model(tower: dict[str, torch.Tensor], vocabulary: int, seed: int = 0) -> LlavaForConditionalGeneration:
    """A LLaVA with the given weights of the tower and random ones elsewhere, in float32."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    torch.manual_seed(seed)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**tower_config()),
        text_config=LlamaConfig(**{**LANGUAGE, "vocab_size": vocabulary}),
        image_token_index=IMAGE_ID,
        image_seq_length=IMAGE_TOKENS,
        vision_feature_select_strategy="default",
        vision_feature_layer=-1,
        tie_word_embeddings=True,
    )
    model = LlavaForConditionalGeneration(config)
    model.model.vision_tower.load_state_dict(tower, strict=True)
    attend_to_equals(model.model.language_model)
    return model


@torch.no_grad()
def attend_to_equals(language: LlamaModel) -> None:
    """Set attention so that a token attends to tokens similar to it, as trained attention partly does.

    Query and key projections of a head are equal in the slow half of the rotary frequencies, in which a match depends
    little on distance, for the first MATCHING heads of every layer but the last. Blocks add little
    to the embeddings at first. Without it, a model of this size answered "Is there a car?" by chance after 300,000
    answers. After Trockman and Kolter: Mimetic initialization of self-attention layers, 2023.
    """
    config = language.config
    width, heads = config.hidden_size, config.num_attention_heads
    size = width // heads
    slow = [i for i in range(size) if i % (size // 2) >= size // 4]
    blocks: Any = language.layers
    for layer in blocks:
        for name, weight in layer.named_parameters():
            if weight.ndim == 2:
                weight.normal_(0, 0.01 if "o_proj" in name or "down_proj" in name else weight.shape[1] ** -0.5 / 2)
    language.embed_tokens.weight.normal_(0, width**-0.5)
    for layer in blocks[:-1]:
        query, key = (
            linear.weight.view(heads, size, width) for linear in (layer.self_attn.q_proj, layer.self_attn.k_proj)
        )
        for head in range(MATCHING):
            basis = torch.linalg.qr(torch.randn(width, len(slow)))[0].T
            query[head, slow], key[head, slow] = MATCH_SCALE * basis, MATCH_SCALE * basis


def rotation(model: LlavaForConditionalGeneration, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and sine [length, head] of the rotary position embedding."""
    cos, sin = model.model.language_model.rotary_emb(torch.zeros(1, 1), torch.arange(length)[None])
    return cos[0], sin[0]


def _normed(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight


def language_hidden(
    language: LlamaModel, embedded: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """The last hidden states [n, length, width] of the language model, and those behind EARLY blocks, normalized.

    Without padding masks.

    The same sums as `LlamaModel`'s with matrix products in `dtype` and the rest in float32, written so that
    torch.compile makes few kernels of it: on a CPU that is twice as fast as the model under autocast.
    """
    config = language.config
    heads, eps = config.num_attention_heads, config.rms_norm_eps
    count, length, width = embedded.shape
    future = torch.ones(length, length, dtype=torch.bool).triu(1)

    def product(x: torch.Tensor, linear: torch.nn.Linear) -> torch.Tensor:
        return F.linear(x.to(dtype), linear.weight.to(dtype))

    def turned(x: torch.Tensor) -> torch.Tensor:
        x = x.view(count, length, heads, -1).transpose(1, 2).float()
        half = torch.cat([-x[..., x.shape[-1] // 2 :], x[..., : x.shape[-1] // 2]], dim=-1)
        return (x * cos + half * sin).to(dtype)

    x = embedded
    blocks: Any = language.layers
    early = x
    for number, layer in enumerate(blocks):
        if number == EARLY:
            early = _normed(x, torch.ones(width), eps)
        attention, mlp = layer.self_attn, layer.mlp
        normed = _normed(x, layer.input_layernorm.weight, eps)
        query, key = turned(product(normed, attention.q_proj)), turned(product(normed, attention.k_proj))
        value = product(normed, attention.v_proj).view(count, length, heads, -1).transpose(1, 2)
        scores = (query @ key.transpose(2, 3)).float() * (width // heads) ** -0.5
        weights = scores.masked_fill(future, -1e9).softmax(-1).to(dtype)
        x = x + product((weights @ value).transpose(1, 2).reshape(count, length, width), attention.o_proj).float()
        normed = _normed(x, layer.post_attention_layernorm.weight, eps)
        inner = F.silu(product(normed, mlp.gate_proj).float()) * product(normed, mlp.up_proj).float()
        x = x + product(inner, mlp.down_proj).float()
    return _normed(x, language.norm.weight, eps), early


def image_features(model: LlavaForConditionalGeneration, pixels: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The projected tokens float32 [images, 16, width] of pixels [images, 3, s, s]; dtype: of matrix products."""
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        features: torch.Tensor = model.model.multi_modal_projector(
            model.model.vision_tower(pixels).last_hidden_state[:, 1:]
        )
    return features.float()


def text_logits(
    model: LlavaForConditionalGeneration,
    tokens: torch.Tensor,
    features: torch.Tensor,
    wanted: torch.Tensor,
    dtype: torch.dtype = torch.float32,
    hidden_of: Callable[..., tuple[torch.Tensor, torch.Tensor]] = language_hidden,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [k, vocabulary] behind the positions of `wanted` (bool [n, length]) only; early states of image tokens.

    The latter [images * 16, width] are normalized states behind EARLY blocks.

    tokens: int64 [n, length], padded on the right, so that padding changes no logit before it.
    features: of the images in the order of their places in the tokens.
    dtype: of matrix products. hidden_of: `language_hidden`, or the same compiled.
    """
    language = model.model.language_model
    embedded = language.embed_tokens(tokens)
    places = (tokens == IMAGE_ID).flatten().nonzero()[:, 0]
    flat = embedded.flatten(0, 1).index_copy(0, places, features.flatten(0, 1))
    hidden, early = hidden_of(language, flat.view_as(embedded), *rotation(model, tokens.shape[1]), dtype)
    logits = F.linear(hidden[wanted].to(dtype), model.lm_head.weight.to(dtype)).float()
    return logits, early.flatten(0, 1)[places]


def save_folder(model: LlavaForConditionalGeneration, tokenizer: Tokenizer, out: Path) -> None:
    """Write the Hugging Face folder: configuration, fp16 weights, processor, tokenizer, chat template."""
    import copy

    from transformers import CLIPImageProcessor, GenerationConfig, LlavaProcessor, PreTrainedTokenizerFast

    out.mkdir(parents=True, exist_ok=True)
    words = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNKNOWN,
        pad_token=PAD,
        extra_special_tokens={"image_token": IMAGE},
        model_max_length=CONTEXT,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    images = CLIPImageProcessor(
        size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE}, image_mean=MEAN, image_std=STD
    )
    processor = LlavaProcessor(  # type: ignore[no-untyped-call]
        image_processor=images,
        tokenizer=words,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        chat_template=CHAT_TEMPLATE,
        num_additional_image_tokens=1,
    )
    half: Any = copy.deepcopy(model).half()  # type: ignore[no-untyped-call]
    half.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        bos_token_id=BOS_ID, eos_token_id=EOS_ID, pad_token_id=PAD_ID, do_sample=False
    )
    half.save_pretrained(out)
    processor.save_pretrained(out)
