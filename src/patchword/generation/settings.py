"""How to write, as data."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from patchword.errors import UserError

Count = Annotated[int, Field(gt=0)]
Above0 = Annotated[float, Field(gt=0.0)]


class Generation(BaseModel):
    """How the next token is chosen from its scores. Without a temperature and with one beam: the best (greedy)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_new_tokens: Count = 64
    temperature: float = Field(0.0, ge=0.0, allow_inf_nan=False)
    """Scores are divided by it, and a token is drawn; 0 takes the best."""
    top_k: Count | None = None
    """Draw from so many best tokens only."""
    top_p: float = Field(1.0, gt=0.0, le=1.0)
    """Draw from the fewest best tokens that have this share together (Holtzman et al. 2020)."""
    min_p: float = Field(0.0, ge=0.0, lt=1.0)
    """Draw from tokens that have at least this share of the best one's (Nguyen et al. 2024)."""
    beams: Count = 1
    """Texts that are followed side by side; the best whole one wins."""
    length_penalty: float = 1.0
    """A beam's score is its log-probability / length^penalty: above 0 favours long texts."""
    repetition_penalty: Above0 = 1.0
    """Scores of tokens that stand there already are divided by it, if above 0, or multiplied (Keskar et al. 2019)."""
    stop: tuple[Annotated[str, StringConstraints(min_length=1)], ...] = ()
    """A text ends before the first of these."""
    seed: int = 0
    """Of what is drawn; each prompt has its own generator, so that its text does not depend on the others."""

    @model_validator(mode="after")
    def _beams_do_not_draw(self) -> Generation:
        drawing = self.temperature > 0.0
        if 0.0 < self.temperature < 1e-6:
            raise ValueError(f"a temperature of {self.temperature:g} draws the best token only: give 0")
        if self.beams > 1 and drawing:
            raise ValueError("beams follow the best texts, a temperature draws one: give one of the two")
        if not drawing and (self.top_k is not None or self.top_p < 1.0 or self.min_p > 0.0):
            raise ValueError("top_k, top_p and min_p limit what is drawn: give a temperature as well")
        if self.beams > 1 and self.stop:
            raise ValueError("with beams a text ends at its end token, not at a stop string")
        return self


def read_settings(settings: dict[str, Any]) -> Generation:
    """Settings that a person gave, checked.

    Raises:
        UserError: one is out of its range, or two contradict each other.
    """
    try:
        return Generation(**settings)
    except ValidationError as error:
        problem = error.errors()[0]
        where = f"{problem['loc'][0]} = {problem['input']!r}: " if problem["loc"] else ""
        raise UserError(f"{where}{problem['msg'].removeprefix('Value error, ')}.") from error
