"""What every section of the configuration has in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

#: Names that become wildcards: lower case, digits, underscore.
NAME_PATTERN = r"^[a-z][a-z0-9_]{0,39}$"

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Point = tuple[float, float, float]


class Section(BaseModel):
    """A frozen part of the configuration; refuses unknown keys and values that are not finite."""

    # A model's validator is built when it is first used: a job needs one or two of them.
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True, defer_build=True
    )
