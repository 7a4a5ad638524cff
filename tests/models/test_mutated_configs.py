"""Every key of every family's `config.json` with a value of another type or size: read, or refused with one message."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from patchword.errors import UserError
from patchword.models.family import families
from patchword.models.folder import describe
from tests.models.parity import Case, all_cases

VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    10**9,
    10**400,
    1.5,
    math.nan,
    math.inf,
    "",
    "512",
    [],
    [0, -1],
    {"a": 1},
    [[1]],
]
FIRST = {case.family: case for case in reversed(all_cases())}


def told(folder: Path, config: dict[str, Any]) -> str:
    """The message where it is refused; an error of another kind fails the test."""
    (folder / "config.json").write_text(json.dumps(config))
    try:
        describe(folder)
    except UserError as error:
        return str(error)
    return "config.json"


@pytest.mark.parametrize("case", FIRST.values(), ids=FIRST)
def test_a_key_of_another_type_is_one_message(case: Case, tmp_path: Path) -> None:
    config = case.model().config.to_dict()
    config |= {"architectures": [case.theirs], "model_type": config["model_type"]}
    config = json.loads(json.dumps(config, default=str))
    family = families()[config["model_type"]]
    ours = {name for name in family.config_names.values() if isinstance(name, str)}
    more = {"rope_scaling", "rope_theta", "quantization_config", "problem_type", "num_labels", "id2label"}
    messages = []
    for key in sorted(config.keys() | family.aliases.keys() | ours | more):
        for value in VALUES:
            messages.append(told(tmp_path, config | {key: value}))
        messages.append(told(tmp_path, {name: cell for name, cell in config.items() if name != key}))
    assert [text for text in messages if "config.json" not in text or "\n" in text or len(text) > 1000] == []


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff\xfe\x00", b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b'{"a":' * 100_000],
    ids=lambda content: repr(content[:9]),
)
def test_a_config_that_is_no_object_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(UserError, match=r"config\.json (can not be read as JSON|holds no JSON object)"):
        describe(tmp_path)
