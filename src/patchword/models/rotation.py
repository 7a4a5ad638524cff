"""How `config.json` says by which angles rotary positions turn, in transformers 4 and 5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from patchword.models.config_file import ConfigFile
from patchword.models.family import Key
from patchword.nn.positions import Scaling

_LLAMA3 = {
    "factor": "factor",
    "original": "original_max_position_embeddings",
    "low": "low_freq_factor",
    "high": "high_freq_factor",
}


def _rope(raw: ConfigFile) -> ConfigFile:
    """What `config.json` says of the rotation: transformers 5 has it in one place, transformers 4 in two.

    `rope_scaling` has precedence, as in transformers 5: model cards tell people to add it to a file.
    """
    scaling, parameters = raw.object("rope_scaling"), raw.object("rope_parameters")
    rope = scaling or parameters or ConfigFile({})
    if nested := [key for key, value in rope.items() if isinstance(value, dict)]:
        raise ValueError(
            f"the rotation of the positions differs by layer ({', '.join(nested)}), which is not supported"
        )
    return rope


def _base(raw: ConfigFile) -> float | None:
    rope, outside = _rope(raw), raw.number("rope_theta")
    return rope.number("rope_theta") if "rope_theta" in rope else outside


def _kind(rope: ConfigFile) -> str:
    kind = rope.text("rope_type") if "rope_type" in rope else rope.text("type")
    if any(part not in (None, 1) for part in (rope.number("partial_rotary_factor"),)):
        raise ValueError("partial_rotary_factor is not 1; only heads that are turned as a whole are supported")
    return "default" if kind is None else kind


def _scaling(raw: ConfigFile) -> Mapping[str, Any] | None:
    """The fields of a `Scaling`."""
    rope = _rope(raw)
    kind = _kind(rope)
    if raw.number("partial_rotary_factor") not in (None, 1):
        raise ValueError("partial_rotary_factor is not 1; only heads that are turned as a whole are supported")
    match kind:
        case "default":
            return None
        case "linear":
            return {"factor": _needed(rope, kind, "factor")}
        case "llama3":
            if raw.get("original_max_position_embeddings") is not None:
                raise ValueError("original_max_position_embeddings belongs into the parameters of the rotation")
            original = rope.whole("original_max_position_embeddings")
            if original is None:
                original = raw.whole("max_position_embeddings")
            if original is None or original < 1:
                raise ValueError("rope type 'llama3' needs original_max_position_embeddings, a number above 0")
            low, high = _needed(rope, kind, "low_freq_factor"), _needed(rope, kind, "high_freq_factor")
            if low == high:
                raise ValueError("low_freq_factor and high_freq_factor are the same; the second must be larger")
            return {"factor": _needed(rope, kind, "factor"), "original": original, "low": low, "high": high}
    raise ValueError(f"rope type '{kind}' is not supported; supported are default, linear and llama3")


def _needed(rope: ConfigFile, kind: str, key: str) -> float:
    value = rope.number(key)
    if value is None or value <= 0:
        raise ValueError(f"rope type '{kind}' needs {key}, a number above 0")
    return float(value)


def _written(scaling: Scaling | None) -> dict[str, Any]:
    """As transformers 4 writes it, which 5 reads too."""
    if scaling is None:
        return {"rope_scaling": None}
    if scaling.original is None:
        return {"rope_scaling": {"type": "linear", "factor": scaling.factor}}
    fields = {theirs: getattr(scaling, ours) for ours, theirs in _LLAMA3.items()}
    return {"rope_scaling": {"rope_type": "llama3", **fields}}


ROTATION: Mapping[str, Key] = {
    "rotary_base": Key(_base, lambda base: {"rope_theta": base}),
    "rotary_scaling": Key(_scaling, _written),
}
"""Our fields -> how they are read and written (`Family.config_names`)."""


def base_by_kind(kind: str, old: str) -> Key:
    """The base of one kind of layer, where kinds differ.

    Args:
        kind: its name in `rope_parameters`, where transformers 5 has it.
        old: the key that transformers 4 has for it, which both read.
    """

    def read(raw: ConfigFile) -> float | None:
        outside = raw.number(old)
        rope = (raw.object("rope_parameters") or ConfigFile({})).object(kind) or ConfigFile({})
        if (name := _kind(rope)) != "default":
            raise ValueError(f"rope_parameters of {kind} are of type '{name}'; only 'default' is supported")
        return rope.number("rope_theta") if "rope_theta" in rope else outside

    return Key(read, lambda base: {old: base})
