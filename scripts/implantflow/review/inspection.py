"""What the inspection of a print decided: a fact that the release gate reads and no signature can change."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from implantflow import artifacts
from implantflow.config.base import NAME_PATTERN
from implantflow.errors import ReviewError

#: What a person can do about a print that was rejected.
REJECTED_FIX = (
    "build and inspect a new revision; machine the part again where stock was left; scan it again if the scan was at "
    "fault; or, with a reason that stands in the case config, change the limits of its section inspect and inspect "
    "again: a signature does not accept what was measured out of tolerance"
)


class Inspection(BaseModel):
    """The keys of ``deviation.json`` and ``machined.json`` that decide about a release; others are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    id: str = Field(pattern=NAME_PATTERN)
    decision: Literal["accepted", "rejected"]
    reasons: list[str]

    @property
    def rejected(self) -> bool:
        """True when the print is out of tolerance."""
        return self.decision == "rejected"


def read_inspection(path: Path) -> Inspection:
    """Read a ``deviation.json``, or the ``machined.json`` of a part that was machined afterwards.

    Raises
    ------
    ReviewError
        It does not say what was decided, or rejects without a reason.
    """
    try:
        found = Inspection.model_validate(artifacts.read_json(path))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in problem["loc"])
        raise ReviewError(
            f"not a record of an inspection: {key}: {problem['msg']}",
            where=str(path),
            fix="remove the file and inspect the print again",
        ) from error
    if found.rejected and not found.reasons:
        raise ReviewError("an inspection rejects a print and gives no reason", where=str(path))
    return found
