"""What screws are planned in: bones as they stay, landmarks and the CT."""

from __future__ import annotations

from dataclasses import dataclass

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray
from implantflow.plan.axis import Foramina, SacralAxis
from implantflow.plan.spine import Vertebra
from implantflow.solids.mesh import Solid
from implantflow.volumes import Volume


@dataclass(frozen=True)
class Anatomy:
    """What screws are planned in.

    Attributes
    ----------
    specimen : Solid
        Shape of the implant-to-be.
    remaining : Solid
        Sacrum that stays, None when all of it leaves.
    hips : mapping
        ``implant`` and ``healthy`` -> ilium of that side, as it stays.
    axis, foramina
        Of the sacrum; ``foramina`` by ``left`` and ``right``.
    side_sign : float
        +1 when the left side is operated.
    vertebrae : mapping
        ``L5``, ``L4``, ``L3`` -> vertebra that stays, or why it cannot be used.
    front, up : (3,) arrays
        Of L5.
    ct : Volume or None
        For the density along a path.
    """

    specimen: Solid
    remaining: Solid | None
    hips: dict[str, Solid]
    axis: SacralAxis
    foramina: dict[str, Foramina]
    side_sign: float
    vertebrae: dict[str, Vertebra]
    front: FloatArray
    up: FloatArray
    ct: Volume | None

    def sacrum(self) -> Solid:
        """The sacrum that stays; GeometryError when there is none."""
        if self.remaining is None:
            raise GeometryError("nothing of the sacrum stays", fix="use screws of the ilium and the spine")
        return self.remaining

    def sign_of(self, side: str) -> float:
        """+1 when ``implant`` or ``healthy`` is the patient's left."""
        return self.side_sign if side == "implant" else -self.side_sign

    def foramina_of(self, side: str) -> Foramina:
        """Foramina of ``implant`` or ``healthy``."""
        return self.foramina["left" if self.sign_of(side) > 0 else "right"]
