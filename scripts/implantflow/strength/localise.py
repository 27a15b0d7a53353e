"""From the stress in the homogenised lattice down to the stress in its struts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from implantflow.geometry import FloatArray
from implantflow.strength import element
from implantflow.strength.homogenise import UnitCell

#: Elements of the cell with less metal than this are skin whose strain is not the metal's.
SOLID_SHARE = 0.5


@dataclass(frozen=True)
class StrutStress:
    """Von Mises stress in the metal of a cell under an overall stress.

    The re-entrant corners where struts meet have no finite stress in linear elasticity: the largest value
    only measures the voxel. A quantile of the metal's volume converges, so that is what is used.

    Attributes
    ----------
    response : (E, 6, 6) array
        Metal stress at each element = response @ overall stress.
    weight : (E,) array
        Metal share.
    quantile : float
    mean_square : (6, 6) array
        Mean square von Mises stress = s' mean_square s.
    """

    response: FloatArray
    weight: FloatArray
    quantile: float
    mean_square: FloatArray

    @classmethod
    def of(cls, cell: UnitCell, metal: FloatArray, quantile: float) -> StrutStress:
        """Prepare a cell for many overall stresses."""
        solid = cell.fraction >= min(SOLID_SHARE, float(cell.fraction.max()))
        weight = cell.fraction[solid]
        response = metal @ cell.localisation[solid] @ np.linalg.inv(cell.elasticity)
        squares = np.einsum(
            "e,eji,jk,ekl->il", weight, response, element.von_mises_form(), response, optimize=True
        )
        return cls(response, weight, quantile, squares / weight.sum())

    def root_mean_square(self, stress: FloatArray) -> FloatArray:
        """(N,) root mean square of the metal's von Mises stress for overall stresses (N, 6), cell axes."""
        return np.asarray(
            np.sqrt(np.maximum(np.einsum("ni,ij,nj->n", stress, self.mean_square, stress), 0.0))
        )

    def at_quantile(self, stress: FloatArray, quantile: float | None = None) -> FloatArray:
        """(N,) von Mises stress that the given share of the metal stays below, for (N, 6) overall stresses."""
        wanted = self.quantile if quantile is None else quantile
        out = np.empty(len(stress))
        for row, overall in enumerate(stress):
            local = element.von_mises(self.response @ overall)
            order = np.argsort(local, kind="stable")
            below = np.cumsum(self.weight[order])
            place = min(int(np.searchsorted(below, wanted * below[-1])), len(order) - 1)
            out[row] = local[order[place]]
        return out

    def worst(self, stress: FloatArray, candidates: int = 8) -> tuple[int, float]:
        """Row of (N, 6) ``stress`` with the highest strut stress, and that stress.

        The rows with the highest root mean square are looked at closely; the two go together well enough that
        the highest quantile is among them.
        """
        rms = self.root_mean_square(stress)
        rows = np.sort(np.argsort(-rms, kind="stable")[:candidates])
        values = self.at_quantile(stress[rows])
        best = int(np.argmax(values))
        return int(rows[best]), float(values[best])

    def concentration(self) -> dict[str, float]:
        """Strut stress per unit of overall stress, for tension along z and for shear in xy."""
        unit = np.zeros((2, 6))
        unit[0, 2] = unit[1, 5] = 1.0
        tension, shear = self.at_quantile(unit)
        high = self.at_quantile(unit, 0.999)
        return {
            "tension_z": float(tension),
            "shear_xy": float(shear),
            "tension_z_p999": float(high[0]),
            "shear_xy_p999": float(high[1]),
            "quantile": self.quantile,
        }
