"""What ViT's sizes and weights are called in files: its own, and those of families that go on from it."""

from __future__ import annotations

from collections.abc import Mapping

from patchword.models.config import TRANSFORMER_NAMES, square_or_pair
from patchword.models.config_file import ConfigFile
from patchword.models.family import Key
from patchword.models.weights import Batched, GridPositions, Names, Rows, weights_and_biases, with_prefix

UNREAD = frozenset({"encoder_stride"})
"""Of a head that is not here."""


def check_pooler(file: ConfigFile) -> None:
    """`Family.check`: the pooler gives as many numbers as it reads."""
    width, pooled = file.whole("hidden_size"), file.whole("pooler_output_size")
    if pooled and pooled != (768 if width is None else width):
        raise ValueError(f"pooler_output_size is {pooled}; only hidden_size, {width}, is supported")


CONFIG_NAMES: Mapping[str, str | Key] = {
    **TRANSFORMER_NAMES,
    "image_size": Key(
        lambda raw: square_or_pair(raw.get("image_size")),
        lambda size: {"image_size": size[0] if size[0] == size[1] else list(size)},
    ),
    "patch_size": "patch_size",
    "channels": "num_channels",
}
"""Sizes."""
LAYER_NAMES: Names = weights_and_biases(
    {
        "attention.qkv": Rows(tuple(f"attention.attention.{part}" for part in ("query", "key", "value"))),
        "attention.out": "attention.output.dense",
        "attention_norm": "layernorm_before",
        "feedforward.up": "intermediate.dense",
        "feedforward.down": "output.dense",
        "feedforward_norm": "layernorm_after",
    }
)
"""Weights of one layer."""
TRUNK_NAMES: Names = {
    "embed.class_token": Batched("embeddings.cls_token", axes=2),
    "embed.positions.weight": GridPositions("embeddings.position_embeddings"),
    **weights_and_biases({"embed.project": "embeddings.patch_embeddings.projection", "encoder.norm": "layernorm"}),
    **with_prefix(LAYER_NAMES, "encoder.layers.{i}.", "encoder.layer.{i}."),
}
"""Weights of a trunk."""

ATTENTION_MODULES: Mapping[str, str] = {
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.o_proj",
}
MODULES: Mapping[str, str] = {
    "encoder.layer.": "layers.",
    **ATTENTION_MODULES,
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}
"""`Family.modules`."""
