"""`patchword.json` of a run: what it was made of and what it reached, checked once when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from patchword.errors import UserError
from patchword.models.config_file import read_json

CARD = "patchword.json"

Number = Annotated[float, Field(allow_inf_nan=True)]
Metrics = dict[str, Number]


class _Loose(BaseModel):
    """Known keys have their types; others may be there."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)


class _Data(_Loose):
    files: list[str] = []
    fingerprint: str = ""
    validation_fingerprint: str | None = None
    rows: int | None = None
    validation_rows: int | None = None
    label_rows: dict[str, int] | None = None
    columns: dict[str, str] | None = None
    findings: list[dict[str, Any]] = []


class _Seed(_Loose):
    validation: Metrics
    best_step: int
    seconds: Number


class _Seeds(_Loose):
    count: int
    chosen: list[int]
    collapsed: list[int]
    validation: dict[str, Metrics]
    test: dict[str, Metrics] | None = None
    runs: list[_Seed]


class _Folds(_Loose):
    folds: int
    collapsed: list[int]
    kept_collapsed: bool
    validation: dict[str, Metrics]
    runs: list[_Seed]
    retries: list[_Seed]


class _Report(_Loose):
    validation: Metrics = {}
    test: Metrics | None = None
    floors: dict[str, Metrics] = {}
    test_floors: dict[str, Metrics] = {}
    seeds: _Seeds | None = None
    cross_validation: _Folds | None = None
    samples: list[dict[str, Any]] = []
    guesses: list[dict[str, Any]] = []
    review: dict[str, Any] | None = None
    suspects: dict[str, Any] | None = None
    learning_curve: dict[str, Any] | None = None
    coverage: list[Any] | None = None
    reliability: list[Any] | None = None


class Card(_Loose):
    """What a folder with `patchword.json` may say: enough to use its model."""

    task: str = ""
    stage: str = ""
    start: str = ""
    settings: dict[str, Any] = {}
    labels: list[str] = []
    problem: str | None = None
    max_length: Annotated[int, Field(gt=0)] | None = None
    data: _Data = _Data()
    versions: dict[str, str] = {}
    fingerprints: dict[str, str] | None = None
    report: _Report | None = None


class _RunData(_Data):
    files: list[str]
    fingerprint: str


class _RunReport(_Report):
    validation: Annotated[Metrics, Field(min_length=1)]
    steps: int
    best_step: int
    tokens: int
    seconds: Number
    tokens_per_second: Number
    device: str
    threads: int


class RunCard(Card):
    """What the card of a run always says."""

    task: str
    stage: str
    start: str
    data: _RunData
    recipe: dict[str, Any]
    seed: int
    versions: dict[str, str]
    report: _RunReport | None = None


def read_card(folder: Path, schema: type[Card] = Card) -> dict[str, Any]:
    """`patchword.json` of a folder, or nothing where it has none: another program wrote it.

    Args:
        folder: of a model or a run.
        schema: `RunCard` where all that a run writes is needed.

    Raises:
        UserError: it is damaged.
    """
    path = folder / CARD
    if not path.is_file():
        return {}
    return checked(schema, path, "Restore the file from a copy, or train the model again.")


def checked(schema: type[BaseModel], path: Path, remedy: str) -> dict[str, Any]:
    """A JSON object from a file that one of our own commands has written.

    Args:
        schema: of it.
        path: of the file.
        remedy: what to do where the file is damaged, in a sentence.

    Raises:
        UserError: it can not be read, or is not what the schema says.
    """
    try:
        value = read_json(path)
        schema.model_validate(value)
    except (UserError, OSError) as error:
        raise UserError(f"{str(error).rstrip('.')}. {remedy}") from error
    except pydantic.ValidationError as error:
        raise UserError(f"{path} is damaged: {problem_of(error)}. {remedy}") from error
    return value


def problem_of(error: pydantic.ValidationError) -> str:
    """The first thing that is wrong: where, and what."""
    first: Mapping[str, Any] = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}"
