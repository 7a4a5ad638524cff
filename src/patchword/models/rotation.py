"""How `config.json` says by which angles rotary positions turn, in transformers 4 and 5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from patchword.models.family import Key
from patchword.nn.positions import Scaling

_LLAMA3 = {
    "factor": "factor",
    "original": "original_max_position_embeddings",
    "low": "low_freq_factor",
    "high": "high_freq_factor",
}


def _rope(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """What `config.json` says of the rotation: transformers 5 has it in one place, transformers 4 in two."""
    rope = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    if not isinstance(rope, Mapping):
        raise ValueError(f"the rotation of the positions is {rope!r}, where an object with a rope_type is needed")
    return rope


def _base(raw: Mapping[str, Any]) -> Any:
    return _rope(raw).get("rope_theta") or raw.get("rope_theta")


def _scaling(raw: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The fields of a `Scaling`, not checked yet."""
    rope = _rope(raw)
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if (rope.get("partial_rotary_factor") or raw.get("partial_rotary_factor") or 1.0) != 1.0:
        raise ValueError("partial_rotary_factor is not 1; only heads that are turned as a whole are supported")
    try:
        match kind:
            case "default":
                return None
            case "linear":
                return {"factor": rope["factor"]}
            case "llama3":
                return {ours: rope[theirs] for ours, theirs in _LLAMA3.items()}
    except KeyError as error:
        raise ValueError(f"rope type '{kind}' needs {error}, which is not there") from error
    raise ValueError(f"rope type '{kind}' is not supported; supported are default, linear and llama3")


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

    def read(raw: Mapping[str, Any]) -> float | None:
        rope = (raw.get("rope_parameters") or {}).get(kind) or {}
        if rope.get("rope_type", "default") != "default":
            raise ValueError(
                f"rope_parameters of {kind} are of type '{rope['rope_type']}'; only 'default' is supported"
            )
        base: float | None = rope.get("rope_theta", raw.get(old))
        return base

    return Key(read, lambda base: {old: base})
