"""How a figure of the page is described: where it is, label, unit, rounding, and what it is held against."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limit:
    """Bound of a figure: ``value`` or the config key ``config`` (read in the running case)."""

    sense: str
    value: float | None = None
    config: str = ""


@dataclass(frozen=True)
class Row:
    """One figure of a section.

    Attributes
    ----------
    key : dotted key below the stage; a part of a list is named by its name or id.
    label, unit : as shown.
    digits : decimals.
    factor : from the stored unit to the shown one.
    limit : what the figure must keep, or None.
    must : a yes-or-no figure that has to be yes.
    join : what stands between several numbers.
    """

    key: str
    label: str
    unit: str = ""
    digits: int = 1
    factor: float = 1.0
    limit: Limit | None = None
    must: bool = False
    join: str = " × "


@dataclass(frozen=True)
class Listing:
    """A table over a list of the stage: where it is, its title, its columns (key below the entry)."""

    key: str
    title: str
    columns: tuple[Row, ...]
