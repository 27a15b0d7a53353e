"""What a resection is planned from, and what it comes to: the same for sacrum and vertebra."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from implantflow.config.plan import PlanRevision
from implantflow.plan.cuts import Cut
from implantflow.plan.joints import JointPlane
from implantflow.plan.midplane import MidPlane
from implantflow.solids.mesh import Solid
from implantflow.volumes import Volume

Side = Literal["left", "right"]


@dataclass(frozen=True)
class Case:
    """Everything a plan is made from.

    Attributes
    ----------
    sacrum, l5, tumour : Solid
    hips : ``left`` and ``right`` -> Solid
    side : operated side
    labels, above_l5, ct : bone labels, the number of the bone above L5 in them, and the CT; None when not there
    sacrum_cut_off : True when the sacrum reaches the scan's lower end (its tip or more may be missing)
    """

    revision: PlanRevision
    side: Side
    sacrum: Solid
    l5: Solid | None
    hips: dict[str, Solid]
    tumour: Solid
    labels: Volume | None = None
    above_l5: int | None = None
    ct: Volume | None = None
    sacrum_cut_off: bool = False


@dataclass(frozen=True)
class Planned:
    """A resection: the bone's parts, how it is cut, and what is known of it.

    Attributes
    ----------
    middle : MidPlane
        Of the bone that is resected.
    cuts, joints
        Osteotomies; joints taken apart, by name.
    specimen, remaining : Solid
        Of the bone that is resected, with the ilium's part in the specimen where it is taken; ``remaining`` is None
        when all of the bone leaves.
    hips : ``left`` and ``right`` as they stay
    room : from the tumour to each neighbour that stays, mm
    volumes, facts
        Figures for ``plan.json``.
    bone : ``sacrum`` or ``l5``, the one that is resected
    """

    middle: MidPlane
    cuts: list[Cut]
    joints: dict[str, JointPlane]
    specimen: Solid
    remaining: Solid | None
    hips: dict[str, Solid]
    room: dict[str, float]
    volumes: dict[str, float]
    facts: dict[str, Any]
    bone: str = "sacrum"
