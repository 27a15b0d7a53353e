"""What every section of the configuration has in common."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

#: Names that become wildcards: lower case, digits, underscore.
NAME_PATTERN = r"^[a-z][a-z0-9_]{0,39}$"

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Point = tuple[float, float, float]


class Problems(ValueError):
    """Several problems of one section, each to be told by itself; each begins with the key it is about."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class Section(BaseModel):
    """A frozen part of the configuration; refuses unknown keys and values that are not finite."""

    #: What to do when the file of this model is not there.
    when_missing: ClassVar[str] = "check the path"

    #: Keys with a default of which one must be given all the same, and when; ``new-case`` says so beside them.
    required_when: ClassVar[dict[str, str]] = {}

    # A model's validator is built when it is first used: a job needs one or two of them.
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True, defer_build=True
    )


class Sourced(Section):
    """Figures taken from elsewhere."""

    source: str = Field(description="Where the figures of this block come from.", min_length=5)


class Checkable(Sourced):
    """Figures taken from elsewhere, and whether somebody has checked that they hold here."""

    verified: bool = Field(
        description="Whether somebody has checked the figures against the machine, material or patient in use."
    )
