"""ModernBERT: an encoder with what decoders have learnt since (Warner et al. 2024, section 2.1).

Pre-norm layers without biases, the first without a norm of its own, as the embeddings have just had one; rotary
positions; GeGLU. Every third layer looks at the whole sequence, the others at 64 tokens to each side, and these turn
faster with the position.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from pydantic import Field
from torch import nn

from patchword.data.tokenizers import TokenizerStyle
from patchword.models.config import TextConfig
from patchword.models.family import Family
from patchword.models.modernbert_heads import WAYS_OUT
from patchword.models.modernbert_names import CONFIG_NAMES, REQUIRED, WEIGHT_NAMES
from patchword.models.stems import WordEmbedding
from patchword.nn.attention import BIDIRECTIONAL, Mask, SelfAttention
from patchword.nn.block import Block, pre_norm
from patchword.nn.config import Count, Positive, Probability
from patchword.nn.feedforward import GatedFeedForward
from patchword.nn.packing import Packed
from patchword.nn.positions import Rotary
from patchword.nn.transformer import Transformer, initialise_residual


class ModernBertConfig(TextConfig):
    """Sizes of a ModernBERT."""

    vocab_size: Positive = 50368
    width: Positive = 768
    depth: Count = 22
    heads: Positive = 12
    hidden: Positive = 1152
    max_length: Positive = 8192
    norm_eps: float = Field(1e-5, gt=0.0)
    dropout: Probability = 0.0
    """On the embeddings and inside the feed-forward part, while training."""
    attention_dropout: Probability = 0.0
    class_dropout: Probability = 0.0
    """Before the scores of classes, while training."""
    global_every: Positive = 3
    """Layers 0, `global_every`, 2 x `global_every`, ... look at the whole sequence."""
    window: Positive = 64
    """How many tokens to each side the others look at."""
    global_base: float = Field(160_000.0, gt=0.0)
    """Of the rotary positions (`Rotary`) in layers that look at the whole sequence."""
    local_base: float = Field(10_000.0, gt=0.0)
    """The same in the others."""
    pooling: Literal["cls", "mean"] = "cls"
    """What a class is read from: the first token, or the mean of all."""
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    cls_token_id: int | None = None
    sep_token_id: int | None = None
    """Ids that `config.json` keeps beside the tokenizer's; where it has none, transformers takes the published ones."""


class ModernBert(nn.Module):
    """Words in both directions, near and far by turns, norm before each sub-layer."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__()
        norm = partial(nn.LayerNorm, config.width, eps=config.norm_eps, bias=False)
        self.embed = WordEmbedding(nn.Embedding(config.vocab_size, config.width), norm=norm(), dropout=config.dropout)
        near = Mask(window=config.window), Rotary(config.head_width, config.local_base)
        far = BIDIRECTIONAL, Rotary(config.head_width, config.global_base)

        attention: dict[str, Any] = {"bias": False, "dropout": config.attention_dropout}
        gates: dict[str, Any] = {"activation": config.activation, "bias": False, "dropout": config.dropout}

        def block(layer: int) -> Block:
            mask, positions = near if layer % config.global_every else far
            return Block(
                attention=SelfAttention(config.width, config.heads, mask=mask, positions=positions, **attention),
                feedforward=GatedFeedForward(config.width, config.hidden, **gates),
                norm=norm,
                order=pre_norm,
                first_norm=None if layer else nn.Identity(),
            )

        self.encoder = Transformer(config.depth, block, norm)

    def forward(self, tokens: Packed) -> Packed:
        """Token ids `[T]` -> `[T, width]`."""
        hidden: Packed = self.encoder(self.embed(tokens))
        return hidden


def _sizes(depth: int, width: int, hidden: int, **more: Any) -> ModernBertConfig:
    sizes = {"depth": depth, "width": width, "heads": width // 64, "hidden": hidden}
    return ModernBertConfig(**{**sizes, "pad_token_id": 50283, "pooling": "mean", **more})


# Next to the BERT of each size. A gated part of 8/3 x width has as many numbers as one of 4 x width that is not gated
# (Shazeer 2020), here in multiples of 64; the first layer and the last look at the whole sequence. Positions are those
# of the paper's first phase, for texts of up to 1,024 tokens (section 2.2). Weights begin smaller the wider a model is,
# as its rate is lower: so what a step changes is the same at every width (Yang et al. 2022).
def _short(depth: int, width: int, hidden: int) -> ModernBertConfig:
    more = {"vocab_size": 32768, "max_length": 1024, "global_base": 10_000.0, "pad_token_id": 3}
    return _sizes(depth, width, hidden, init_std=width**-0.5, **more)


FAMILY = Family(
    model_type="modernbert",
    modality="text",
    config=ModernBertConfig,
    trunk=ModernBert,
    prefix="model.",
    config_names=CONFIG_NAMES,
    required=REQUIRED,
    # How new weights begin, and what a loss looks at.
    unread=frozenset({"initializer_cutoff_factor", "sparse_prediction", "sparse_pred_ignore_index"}),
    weight_names=WEIGHT_NAMES,
    ways_out=WAYS_OUT,
    begin=lambda model, config: initialise_residual(model, config.init_std, config.depth),
    presets={
        "patchword-tiny": _short(2, 128, 320),
        "patchword-mini": _short(4, 256, 704),
        "patchword-small": _short(7, 384, 1024),
        "patchword-base": _short(13, 768, 2048),
        "modernbert-base": _sizes(22, 768, 1152),
        "modernbert-large": _sizes(28, 1024, 2624),
    },
    recipe="modern",
    tokenizer=TokenizerStyle(
        "bpe",
        special={"unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "pad": "[PAD]", "mask": "[MASK]"},
        before=("cls",),
        after=("sep",),
    ),
)
