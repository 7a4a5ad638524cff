"""What a family is: a config, a trunk, ways out, presets, and the names Hugging Face uses for all of it.

A family is one module in this package that defines `FAMILY`; putting the file there is all it takes.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from torch import Tensor, nn

import patchword.models
from patchword.data.tokenizers import TokenizerStyle
from patchword.errors import UserError, did_you_mean
from patchword.models.heads import Head
from patchword.models.weights import Names, Rule, expand
from patchword.nn.config import TransformerConfig
from patchword.nn.packing import Packed
from patchword.nn.transformer import initialise

Modality = Literal["text", "image"]


@dataclass(frozen=True)
class Key:
    """A field of `config.json` whose value is written differently: its name, and both directions."""

    name: str
    read: Callable[[Any], Any]
    write: Callable[[Any], Any]


@dataclass(frozen=True)
class WayOut:
    """A head of a family, as a task asks for it.

    Args:
        architecture: what Hugging Face calls trunk and head together ("BertForMaskedLM").
        build: (config, trunk, number of classes) -> the head.
        names: the head's weights in files; a name that begins with "/" stands outside the trunk's prefix.
        bare: whether the trunk's weights have no prefix in such a file.
    """

    architecture: str
    build: Callable[[Any, Any, int], Head]
    names: Names = field(default_factory=dict)
    bare: bool = False


@dataclass(frozen=True)
class Family:
    """One architecture of the papers.

    Args:
        model_type: Hugging Face's name for it.
        modality: what it reads.
        config: its config class.
        trunk: config -> the module from inputs to `Packed` vectors.
        prefix: what the trunk is called inside a model with a head.
        config_names: our fields -> keys of `config.json`.
        required: keys of `config.json` that must have this value where they are present, because we build no other.
        weight_names: the trunk's weights in files.
        ways_out: the heads, by what a task asks for: "features", "class", "masked_token".
        presets: configs by name.
        tokenizer: how a new vocabulary is learnt; a family without one takes its tokenizer from a folder.
    """

    model_type: str
    modality: Modality
    config: type[TransformerConfig]
    trunk: Callable[[Any], nn.Module]
    prefix: str
    config_names: Mapping[str, str | Key]
    required: Mapping[str, Any]
    weight_names: Names
    ways_out: Mapping[str, WayOut]
    presets: Mapping[str, TransformerConfig]
    tokenizer: TokenizerStyle | None = None

    def way_out(self, name: str) -> WayOut:
        """The head that a task asks for.

        Raises:
            UserError: the family has none of that name.
        """
        if name not in self.ways_out:
            raise UserError(
                f"{self.model_type} models have no way out '{name}'; they have {', '.join(sorted(self.ways_out))}."
            )
        return self.ways_out[name]

    def table(self, config: TransformerConfig, way_out: str, prefix: str) -> dict[str, Rule]:
        """Every parameter of `Model(self, config, way_out)` and where it stands in a file with that prefix."""
        return expand(self.weight_names, config.depth, "trunk.", prefix) | expand(
            self.way_out(way_out).names, config.depth, "head.", prefix
        )


class Model(nn.Module):
    """A trunk and one way out.

    Args:
        family: which architecture.
        config: its sizes.
        way_out: a key of `family.ways_out`.
        labels: names of the classes, where the way out has classes.
        problem: what the scores mean, in Hugging Face's words: "single_label_classification",
            "multi_label_classification" or "regression".
    """

    def __init__(
        self,
        family: Family,
        config: TransformerConfig,
        way_out: str,
        labels: tuple[str, ...] = (),
        problem: str | None = None,
    ) -> None:
        super().__init__()
        self.family = family
        self.config = config
        self.way_out = way_out
        self.labels = labels
        self.problem = problem
        self.trunk = family.trunk(config)
        self.head = family.way_out(way_out).build(config, self.trunk, len(labels))
        initialise(self, config.init_std)

    def forward(self, *inputs: Any) -> Tensor:
        """Inputs as the trunk takes them -> what the head gives."""
        output: Tensor = self.head(self.trunk(*inputs))
        return output

    def features(self, *inputs: Any) -> Packed:
        """Inputs as the trunk takes them -> contextual vectors, `[T, width]`."""
        features: Packed = self.trunk(*inputs)
        return features

    @property
    def num_parameters(self) -> int:
        """Numbers that are learnt; shared ones count once."""
        return sum(p.numel() for p in self.parameters())


@cache
def families() -> dict[str, Family]:
    """All families by Hugging Face's `model_type`: every module of this package that defines `FAMILY`."""
    found = {}
    for module in pkgutil.iter_modules(patchword.models.__path__, "patchword.models."):
        family = getattr(importlib.import_module(module.name), "FAMILY", None)
        if family is not None:
            found[family.model_type] = family
    return found


@cache
def presets() -> dict[str, tuple[Family, TransformerConfig]]:
    """All presets by name, in the order of their families' files."""
    return {name: (family, config) for family in families().values() for name, config in family.presets.items()}


def preset(name: str) -> tuple[Family, TransformerConfig]:
    """A family and a config by name, "bert-mini".

    Raises:
        UserError: there is no preset of that name; says which is near.
    """
    if name not in presets():
        raise UserError(
            f"There is no model preset '{name}'{did_you_mean(name, presets())} `patchword presets` lists them all."
        )
    return presets()[name]
