"""One hierarchy for everything that can go wrong: what happened, where, and how to fix it."""

from __future__ import annotations


class ImplantflowError(Exception):
    """Base of all expected failures; shown to the user without a traceback.

    Parameters
    ----------
    what : str
        One sentence: what is wrong, with the figure that shows it.
    where : str
        The file, config key, series or place in patient space concerned.
    fix : str
        What the user can do about it.
    """

    exit_code = 1
    status = "failed"

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.fix:
            lines.append(f"  fix:   {self.fix}")
        return "\n".join(lines)


class ConfigError(ImplantflowError):
    """The configuration cannot be accepted; the message lists every error found in it."""

    exit_code = 2


class InputError(ImplantflowError):
    """A file given by the user is missing, damaged or not what it claims to be."""

    exit_code = 3


class GeometryError(ImplantflowError):
    """Positions, frames, sides or solids do not agree."""

    exit_code = 4


class QualityGateError(ImplantflowError):
    """A computed result lies outside the limits that the case states."""

    exit_code = 5


class ReviewError(ImplantflowError):
    """A review record is forged, stale, rejected or incomplete."""

    exit_code = 6


class AwaitingReview(ReviewError):
    """Nobody has decided yet: the pipeline stops here and says which command records the decision."""

    exit_code = 7
    status = "awaiting_review"


class AwaitingInput(InputError):
    """Nothing is wrong, something is not there yet: the pipeline stops here and says what to hand in."""

    exit_code = 9
    status = "awaiting_input"


class ProvenanceError(ImplantflowError):
    """The ledger, a digest or a signature does not match what is on disk."""

    exit_code = 8


class MachineError(ImplantflowError):
    """The machine, not the case: a full disk, a folder that cannot be written, too little memory."""

    exit_code = 10
