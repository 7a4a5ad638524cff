"""Which settings a run would not read, by what it starts from and by its other settings: they are refused by name.

Those that depend on the task alone are in `tasks/options.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from patchword.data.files import Data, ending, find
from patchword.data.tables import TABLE_ENDINGS
from patchword.errors import UserError
from patchword.models.config import EncoderDecoderConfig
from patchword.models.family import Family, Model
from patchword.nn.config import ModelConfig
from patchword.nn.meta import shapes_only
from patchword.tasks.options import refuse_unread
from patchword.tasks.task import Task
from patchword.training.matrices import matrices
from patchword.training.recipe import Recipe

OF_WEIGHTS = ("tune", "head_lr", "layer_decay", "unfreeze", "blend", "extend_vocab")
"""Settings that a model with random weights does not read."""
OF_A_NEW_MODEL = ("tokenizer", "vocab_size", "patch_size")
"""Settings that a model with weights does not read."""


@dataclass(frozen=True)
class Plan:
    """What decides whether a setting is read.

    Args:
        kind: the task.
        family, config: of the model that the run starts from.
        data: all that it reads.
        settings: those that the user set, of `RunConfig` and `Recipe`.
    """

    kind: type[Task]
    family: Family
    config: ModelConfig
    data: tuple[Data, ...]
    settings: Mapping[str, Any]

    @property
    def tune(self) -> str:
        """What learns."""
        return str(self.settings.get("tune", Recipe.model_fields["tune"].default))

    @property
    def fields(self) -> Collection[str]:
        """Names of the fields of the model's config."""
        return self.family.config.model_fields

    def has_matrices(self) -> bool:
        """Whether all of the model's layers learn, and some of them are made of matrices."""
        if self.tune != "all":
            return False
        with shapes_only():
            labels, problem = ("a", "b"), "single_label_classification"
            return bool(matrices(Model(self.family, self.config, self.kind.way_out, labels, problem)))

    def has_plain_text(self) -> bool:
        """Whether there is a file that is no table."""
        return any(ending(path) not in TABLE_ENDINGS for data in self.data for path in find(data))


_LOW_RANK = ("lora_rank", "lora_alpha", "lora_dropout", "lora_targets")
_RULES: tuple[tuple[tuple[str, ...], Callable[[Plan], bool], str], ...] = (
    (_LOW_RANK, lambda plan: plan.tune in ("lora", "dora"), "--tune lora or dora"),
    (("layer_decay",), lambda plan: plan.tune != "head", "layers that learn, and with --tune head none does"),
    (("head_lr",), lambda plan: plan.kind.new_head, "tasks whose head is new"),
    (
        ("dropout",),
        lambda plan: bool({"dropout", "activation_dropout"} & set(plan.fields)),
        "models that have dropout, and this one has none",
    ),
    (
        ("attention_dropout",),
        lambda plan: "attention_dropout" in plan.fields,
        "models that have dropout in attention, and this one has none",
    ),
    (("patch_size",), lambda plan: "patch_size" in plan.fields, "models that cut patches, and this one cuts none"),
    (("matrix_lr",), Plan.has_matrices, "matrices of layers that learn (--tune all), and there are none here"),
    (("batch_start",), lambda plan: bool(plan.settings.get("batch_ramp")), "batches that grow: batch_ramp"),
    (("length_start",), lambda plan: bool(plan.settings.get("length_ramp")), "texts that grow: length_ramp"),
    (
        ("prompt",),
        lambda plan: not isinstance(plan.config, EncoderDecoderConfig),
        "models that go on with a text; this one reads the document with an encoder of its own",
    ),
    (("vocab_size",), lambda plan: "tokenizer" not in plan.settings, "a vocabulary that is learnt, not --tokenizer"),
    (("lines",), Plan.has_plain_text, ".txt files; each row of a table is a document already"),
)
"""Settings, whether a run reads them, and what they are for."""


def asked(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that ask for something.

    A switch that is off does not; nor does the default of a recipe, since a recipe can be given as a whole.
    """
    defaults = {name: field.default for name, field in Recipe.model_fields.items()}
    off = (None, False)
    return {
        name: value
        for name, value in settings.items()
        if not any(value is one for one in off) and not (name in defaults and value == defaults[name])
    }


def refuse_by_start(begins_anew: bool, start: str, settings: Mapping[str, Any]) -> None:
    """Refuse settings of weights where there are none yet, and those of a new model where there is one.

    Raises:
        UserError: one of them was set.
    """
    refused: tuple[str, ...]
    if begins_anew:
        refused, why = OF_WEIGHTS, f"go on from weights, and {start} has none (--from)"
    else:
        refused, why = OF_A_NEW_MODEL, f"are for a new model; {start} has its own"
    if given := [name for name in refused if settings.get(name) is not None]:
        raise UserError(f"{', '.join(given)}: such settings {why}.")


def refuse_unread_settings(plan: Plan) -> None:
    """Refuse settings that the run would not read.

    Raises:
        UserError: one of them was set.
    """
    refuse_unread(plan.settings, plan.kind)
    for names, reads, purpose in _RULES:
        if (given := [name for name in names if name in plan.settings]) and not reads(plan):
            raise UserError(f"{', '.join(given)}: only for {purpose}. Leave it out.")
