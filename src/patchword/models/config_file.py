"""A JSON file of a model folder, read key by key: which keys were read is recorded, the others are reported."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from patchword.errors import UserError

LARGEST = 100_000_000  # bytes; a config has some thousand, a tokenizer.json some ten million
SHOWN = 5
"""Keys or tensors that a note names; of the others it gives the count."""

WITHOUT_EFFECT: frozenset[str] = frozenset(
    {
        # Records of who wrote the file, when, and from what.
        "transformers_version",
        "_name_or_path",
        "_commit_hash",
        "name_or_path",
        "finetuning_task",
        "gradient_checkpointing",
        "output_past",
        "_num_labels",
        "is_encoder_decoder",  # follows from model_type
        "task_specific_params",  # prompts of summaries, which `finetune` reads itself
        # The inverse of id2label, and its length, which is read instead.
        "label2id",
        "num_labels",
        # The type of the file's numbers, which the file itself gives; everything is computed in the type asked for.
        "torch_dtype",
        "dtype",
        # How the same numbers are computed, or what is returned beside them.
        "use_cache",
        "use_return_dict",
        "return_dict",
        "output_attentions",
        "output_hidden_states",
        "output_router_logits",
        "attn_implementation",
        "_attn_implementation",
        "_attn_implementation_autoset",
        "_attn_implementation_internal",
        "_experts_implementation_internal",
        "experts_implementation",
        "chunk_size_feed_forward",
        "torchscript",
        "tf_legacy_loss",
        "use_bfloat16",
        "reference_compile",
        "deterministic_flash_attn",
        "repad_logits_with_grad",
        "tokenizer_class",  # the tokenizer's own files are read instead
        # Dropout of layers and of heads while training: a recipe has its own.
        "layerdrop",
        "encoder_layerdrop",
        "decoder_layerdrop",
    }
)
"""Keys of a `config.json` that change no result here, for the reasons given."""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        UserError: no such regular file, not JSON, too large or too deep, or not an object.
    """
    if not path.exists():
        raise UserError(f"{path.parent} has no {path.name}.")
    if not path.is_file():  # a pipe would be waited for
        raise UserError(f"{path} is not a regular file.")
    if path.stat().st_size > LARGEST:
        raise UserError(f"{path} has {path.stat().st_size:,} bytes; at most {LARGEST:,} are read.")
    try:
        value = json.loads(path.read_text("utf-8"))
    except RecursionError as error:
        raise UserError(f"{path} can not be read as JSON: it is nested too deeply.") from error
    except ValueError as error:  # of JSON, of UTF-8, or a number of more digits than Python reads
        raise UserError(f"{path} can not be read as JSON: {error}.") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} holds no JSON object.")
    return value


class ConfigFile(Mapping[str, Any]):
    """The keys of a JSON object; those that are asked for are recorded as read.

    Args:
        values: the object.
        aliases: other names of keys -> the names that are asked for. An alias takes precedence, as in transformers.
        within: what stands before a key in messages, where the object is inside another ("rope_parameters.").
    """

    def __init__(self, values: Mapping[str, Any], aliases: Mapping[str, str] | None = None, within: str = "") -> None:
        self._within = within
        aliases = aliases or {}
        renamed = {aliases[key]: value for key, value in values.items() if key in aliases}
        self._values = {key: value for key, value in values.items() if key not in aliases} | renamed
        self._read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self._read.add(key)
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def unread(self, known: Collection[str] = ()) -> list[str]:
        """Keys that have a value and that nothing asked for.

        Args:
            known: keys that are not reported.
        """
        return [
            key for key, value in self._values.items() if key not in self._read | set(known) and not _is_nothing(value)
        ]

    def with_copies(self, key: str, copies: Collection[str]) -> Any:
        """The value of a key; those of `copies` that have the same one are read too."""
        value = self.get(key)
        self._read.update(copy for copy in copies if self._values.get(copy) == value)
        return value

    def whole(self, key: str) -> int | None:
        """A whole number; None where there is none."""
        value = self.get(key)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise ValueError(f"{self._within}{key} is {shown(value)}, where a whole number is needed")
        return value

    def number(self, key: str) -> float | None:
        """A finite number; None where there is none."""
        value = self.get(key)
        if value is not None and not is_number(value):
            raise ValueError(f"{self._within}{key} is {shown(value)}, where a number is needed")
        return value

    def text(self, key: str) -> str | None:
        """A string; None where there is none."""
        value = self.get(key)
        if value is not None and not isinstance(value, str):
            raise ValueError(f"{self._within}{key} is {shown(value)}, where a string is needed")
        return value

    def flag(self, key: str) -> bool | None:
        """True or false; None where there is neither."""
        value = self.get(key)
        if value is not None and not isinstance(value, bool):
            raise ValueError(f"{self._within}{key} is {shown(value)}, where true or false is needed")
        return value

    def items_of(self, key: str, kind: type) -> list[Any] | None:
        """A list of values of one type; None where there is none."""
        value = self.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or any(
            not isinstance(item, kind) or isinstance(item, bool) is not (kind is bool) for item in value
        ):
            raise ValueError(f"{self._within}{key} is {shown(value)}, where a list of {kind.__name__} is needed")
        return value

    def object(self, key: str) -> ConfigFile | None:
        """A JSON object; None where there is none."""
        value = self.get(key)
        if value is not None and not isinstance(value, dict):
            raise ValueError(f"{self._within}{key} is {shown(value)}, where an object is needed")
        return None if value is None else ConfigFile(value, within=f"{self._within}{key}.")


def is_number(value: Any) -> bool:
    """A finite number, true and false not being numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -sys.float_info.max <= value <= sys.float_info.max  # of a long integer, `math.isfinite` is an error


def shown(value: Any) -> str:
    """A value of a file for a message: cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, list | dict | str) and not value)


def note(what: str, names: Iterable[str]) -> str | None:
    """A sentence that counts names and gives the first; None where there are none.

    Args:
        what: its beginning, with `{count}` ("config.json: keys that are not used ({count})").
        names: all of them.
    """
    names = list(names)
    if not names:
        return None
    return f"{what.format(count=len(names))}: {', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}."
