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
from patchword.models.config_file import ConfigFile
from patchword.models.heads import Head
from patchword.models.weights import Names, Rule, rule_for
from patchword.nn.config import ModelConfig
from patchword.nn.packing import Packed
from patchword.nn.transformer import initialise

Modality = Literal["text", "image"]


@dataclass(frozen=True)
class Key:
    """A field that `config.json` writes differently.

    Args:
        read: the whole of `config.json` -> our value; None where it says nothing. A `ValueError` says that what it
            asks for is not supported.
        write: our value -> keys of `config.json`.
    """

    read: Callable[[ConfigFile], Any]
    write: Callable[[Any], Mapping[str, Any]]


def causal_only(file: ConfigFile) -> None:
    """`Family.check` of decoders: transformers 5 lets each token attend to later ones where `is_causal` is false."""
    if file.flag("is_causal") is False:
        raise ValueError("is_causal is false; only decoders whose tokens attend to earlier ones are supported")


def repeated(key: str, *copies: str) -> Key:
    """A field that `config.json` writes under several keys, of which the first is used; another value is unread."""
    return Key(lambda raw: raw.with_copies(key, copies), lambda value: dict.fromkeys((key, *copies), value))


@dataclass(frozen=True)
class WayOut:
    """A head of a family, as a task asks for it.

    Args:
        architecture: what Hugging Face calls trunk and head together ("BertForMaskedLM").
        build: (config, trunk, number of classes) -> the head.
        names: the head's weights in files; a name that begins with "/" stands outside the trunk's prefix.
        bare: whether the trunk's weights have no prefix in such a file.
        prefix: of the trunk's weights in such a file, where it is not the family's.
        trunk: as in `Family`, where such a model has another (an encoder without its decoder).
    """

    architecture: str
    build: Callable[[Any, Any, int], Head]
    names: Names = field(default_factory=dict)
    bare: bool = False
    prefix: str | None = None
    trunk: type[nn.Module] | None = None


@dataclass(frozen=True)
class Family:
    """One architecture of the papers.

    Args:
        model_type: Hugging Face's name for it.
        modality: what it reads.
        config: its config class.
        trunk: made from a config, goes from inputs to `Packed` vectors. Its class says what tasks it can learn.
        prefix: what the trunk is called inside a model with a head.
        config_names: our fields -> keys of `config.json`.
        required: keys of `config.json` that must have this value where they are present, because we build no other.
        weight_names: the trunk's weights in files.
        ways_out: the heads, by what a task asks for: "features", "masked_token", "next_token", "class", "token_class",
            "span", "next_sentence", "masked_image".
        presets: configs by name.
        begin: (model, config): puts random weights in.
        ignored: endings of names of tensors in files in which nothing is learnt.
        objective: the task that such models are pretrained with where no other is asked for.
        recipe: which of the ways to pretrain such models are pretrained in, where it is not the usual one.
        image_processor: class of transformers that prepares pictures, where a folder does not name one.
        start: role of the token that every written text begins with, where a model reads one and writes another.
        tokenizer: how a new vocabulary is learnt; a family without one takes its tokenizer from a folder.
        continues_as: `model_type` of the family that takes the trunk over, for heads that this one has not; its
            trunk's names in files are the same.
        modules: parts of names in files -> what they are in the modules of transformers 5, where those are called
            otherwise.
        respelled: beginnings of names in files -> how the tables here spell them.
        aliases: other names that transformers has for keys of `config.json` (its `attribute_map`) -> the keys.
        unread: keys of `config.json` that change nothing of what is built here.
        copies: endings of names of tensors in files that must be copies of the word table.
        labels: classes of a head where `config.json` does not give their number.
        check: given a `config.json`, raises a `ValueError` for what it asks for and no field here can hold.
        adds_token_types: whether transformers adds the word vector of each token type to the token's own.
    """

    model_type: str
    modality: Modality
    config: type[ModelConfig]
    trunk: type[nn.Module]
    prefix: str
    config_names: Mapping[str, str | Key]
    required: Mapping[str, Any]
    weight_names: Names
    ways_out: Mapping[str, WayOut]
    presets: Mapping[str, ModelConfig]
    begin: Callable[[Any, Any], None] = lambda model, config: initialise(model, config.init_std)
    ignored: tuple[str, ...] = ()
    objective: str = "masked-lm"
    recipe: str = ""
    image_processor: str = "ViTImageProcessor"
    start: str = "pad"
    tokenizer: TokenizerStyle | None = None
    continues_as: str | None = None
    modules: Mapping[str, str] = field(default_factory=dict)
    respelled: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    unread: frozenset[str] = frozenset()
    copies: tuple[str, ...] = ()
    labels: int = 2
    check: Callable[[ConfigFile], None] = lambda file: None
    adds_token_types: bool = False

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

    def rule(self, parameter: str, way_out: str, prefix: str) -> Rule:
        """Where a parameter of `Model(self, config, way_out)` stands in a file in which the trunk has that prefix."""
        part, name = parameter.split(".", 1)
        return rule_for(self.weight_names if part == "trunk" else self.way_out(way_out).names, name, prefix)


class Model(nn.Module):
    """A trunk and one way out.

    Args:
        family: which architecture.
        config: its sizes.
        way_out: a key of `family.ways_out`.
        labels: names of the classes, where the way out has classes.
        problem: what the scores mean, in Hugging Face's words: "single_label_classification",
            "multi_label_classification" or "regression".

    Attributes:
        generation: `generation_config.json` of the folder that it was read from; empty in a new model.
    """

    def __init__(
        self,
        family: Family,
        config: ModelConfig,
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
        self.generation: dict[str, Any] = {}
        way = family.way_out(way_out)
        self.trunk = (way.trunk or family.trunk)(config)
        self.head = way.build(config, self.trunk, len(labels))
        family.begin(self, config)

    def forward(self, *inputs: Any) -> Tensor:
        """Inputs as the trunk takes them -> what the head gives."""
        output: Tensor = self.head(self.trunk(*inputs))
        return output

    def features(self, *inputs: Any) -> Packed:
        """Inputs as the trunk takes them -> contextual vectors, `[T, width]`."""
        features: Packed = self.trunk(*inputs)
        return features

    def read(self, *inputs: Any) -> Packed:
        """Inputs -> contextual vectors of what is read; of an encoder-decoder, those of its encoder."""
        vectors: Packed = getattr(self.trunk, "encode", self.trunk)(*inputs)
        return vectors

    def tensors(self) -> dict[str, Tensor]:
        """All that is learnt, and what is counted meanwhile (the statistics of a batch norm); shared ones once."""
        kept = self.state_dict().keys() - dict(self.named_parameters(remove_duplicate=False)).keys()
        return dict(self.named_parameters()) | {name: b for name, b in self.named_buffers() if name in kept}

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
def presets() -> dict[str, tuple[Family, ModelConfig]]:
    """All presets by name, in the order of their families' files."""
    return {name: (family, config) for family in families().values() for name, config in family.presets.items()}


def preset(name: str) -> tuple[Family, ModelConfig]:
    """A family and a config by name, "bert-mini".

    Raises:
        UserError: there is no preset of that name; says which is near.
    """
    if name not in presets():
        raise UserError(
            f"There is no model preset '{name}'{did_you_mean(name, presets())} `patchword presets` lists them all."
        )
    return presets()[name]
