"""How files call what a DINOv2 with registers has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from patchword.models.config_file import ConfigFile
from patchword.models.family import Key
from patchword.models.vit_names import CONFIG_NAMES as VIT_CONFIG_NAMES
from patchword.models.vit_names import TRUNK_NAMES
from patchword.models.weights import Batched, GridPositions, Names, Rows, weights_and_biases


def _hidden(raw: ConfigFile) -> int:
    width, times = raw.whole("hidden_size"), raw.whole("mlp_ratio")
    return (768 if width is None else width) * (4 if times is None else times)


CONFIG_NAMES: Mapping[str, str | Key] = {
    **VIT_CONFIG_NAMES,
    "hidden": Key(_hidden, lambda hidden: {}),
    "times": "mlp_ratio",
    "layer_scale": "layerscale_value",
    "registers": "num_register_tokens",
}

REQUIRED: Mapping[str, Any] = {"qkv_bias": True, "use_swiglu_ffn": False, "drop_path_rate": 0.0}

WEIGHT_NAMES: Names = {
    **{name: rule for name, rule in TRUNK_NAMES.items() if "{i}" not in name},
    "embed.positions.weight": GridPositions("embeddings.position_embeddings", antialias=True),
    "embed.registers": Batched("embeddings.register_tokens"),
    "embed.mask_token": Batched("embeddings.mask_token"),
    **weights_and_biases(
        {
            "attention.inner.qkv": Rows(tuple(f"attention.attention.{part}" for part in ("query", "key", "value"))),
            "attention.inner.out": "attention.output.dense",
            "attention_norm": "norm1",
            "feedforward.inner.up": "mlp.fc1",
            "feedforward.inner.down": "mlp.fc2",
            "feedforward_norm": "norm2",
        },
        "encoder.layers.{i}.",
        "encoder.layer.{i}.",
    ),
    "encoder.layers.{i}.attention.scale": "encoder.layer.{i}.layer_scale1.lambda1",
    "encoder.layers.{i}.feedforward.scale": "encoder.layer.{i}.layer_scale2.lambda1",
}
