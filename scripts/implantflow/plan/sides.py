"""Left or right: config, tumour and specimen must say the same."""

from __future__ import annotations

import numpy as np

from implantflow.errors import GeometryError
from implantflow.geometry import Plane
from implantflow.solids.mesh import Solid


def agree_on_side(side: str, name: str, solid: Solid, midplane: Plane) -> float:
    """Signed distance in mm of the centroid of ``solid`` from the mid-plane, positive on the patient's left.

    Raises
    ------
    GeometryError
        The centroid lies on the other side than ``side`` says.
    """
    area = solid.areas_mm2
    centroid = np.average(solid.centres_mm, axis=0, weights=area)
    away = float(midplane.distance(centroid[None])[0])
    found = "left" if away > 0 else "right"
    if found != side:
        raise GeometryError(
            f"the config says side: {side}, but the {name} lies {abs(away):.1f} mm to the patient's {found} "
            "of the sacral mid-plane",
            where=f"side; {name}",
            fix=f"check the patient's images; write side: {found} only if the {name} is the right one",
        )
    return away
