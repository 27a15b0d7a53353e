"""Everything the implant's model needs to know about the lattice."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from implantflow.artifacts import read_json, write_json, write_npz
from implantflow.config.strength import CellConfig
from implantflow.errors import GeometryError
from implantflow.field.cells import occupancy
from implantflow.geometry import FloatArray
from implantflow.strength import element, homogenise
from implantflow.strength.localise import StrutStress

#: Strut sizes, as a share of the nominal one, of the curve of stiffness against density; the middle three give the
#: exponent by which the implant's model scales stiffness near the nominal density.
STRUT_STEPS = (0.7, 0.85, 1.0, 1.15, 1.3)
NEAR = slice(1, 4)

#: Largest deviation of a cell's elasticity from a cubic one; beyond it one modulus along z does not describe it.
CUBIC_MAX = 0.01


@dataclass(frozen=True)
class LatticeCell:
    """The homogenised lattice.

    Attributes
    ----------
    metal : (6, 6) array
        Elasticity of the solid metal, MPa.
    elasticity : (6, 6) array
        Effective elasticity, MPa, along the cell's axes.
    relative_density : float
    exponent : float
        Stiffness goes with density to this power near the nominal density.
    struts : StrutStress
    facts : dict
        For the JSON.
    """

    metal: FloatArray
    elasticity: FloatArray
    relative_density: float
    exponent: float
    struts: StrutStress
    facts: dict[str, Any]

    def density_factor(self, density: FloatArray) -> FloatArray:
        """Stiffness at ``density`` as a multiple of the nominal one; at most that of the solid metal."""
        most = float(self.metal[2, 2] / self.elasticity[2, 2])
        factor = (np.maximum(density, 0.0) / self.relative_density) ** self.exponent
        return np.asarray(np.minimum(factor, most))

    def stress_factor(self, strut_mm: FloatArray) -> FloatArray:
        """Strut stress in struts of ``strut_mm`` (N,) as a multiple of that in the nominal ones, same overall stress.

        From cells homogenised with struts of :data:`STRUT_STEPS`, by the root mean square in their metal, which settles
        with the voxel long before a quantile does; the larger of the ratios in tension and in shear.

        Raises
        ------
        GeometryError
            A strut outside those that were homogenised.
        """
        samples = self.facts["gibson_ashby"]["samples"]
        known = np.array([s["strut_mm"] for s in samples])
        if strut_mm.min() < known[0] - 1e-6 or strut_mm.max() > known[-1] + 1e-6:
            raise GeometryError(
                f"struts of {strut_mm.min():.3f} to {strut_mm.max():.3f} mm cannot be judged: the lattice was "
                f"homogenised with {known[0]:.3f} to {known[-1]:.3f} mm",
                where="lattice.grading, lattice.stress_grading",
                fix=f"grade within {STRUT_STEPS[0]:g} to {STRUT_STEPS[-1]:g} times lattice.strut_mm",
            )
        curves = []
        for name in ("rms_tension_z", "rms_shear_xy"):
            felt = np.array([s[name] for s in samples])
            nominal = np.interp(self.facts["strut_mm"], known, felt)
            curves.append(np.interp(strut_mm, known, felt) / nominal)
        return np.asarray(np.maximum(*curves))

    def save(self, facts: Path, data: Path) -> None:
        """Write the facts (JSON) and the arrays (npz) for :meth:`load`."""
        write_json(facts, self.facts)
        write_npz(
            data,
            {
                "metal": self.metal,
                "elasticity": self.elasticity,
                "scalars": np.array([self.relative_density, self.exponent, self.struts.quantile]),
                "response": self.struts.response,
                "weight": self.struts.weight,
                "mean_square": self.struts.mean_square,
            },
        )

    @classmethod
    def load(cls, facts: Path, data: Path) -> LatticeCell:
        """Read what :meth:`save` wrote."""
        with np.load(data) as stored:
            density, exponent, quantile = (float(v) for v in stored["scalars"])
            struts = StrutStress(stored["response"], stored["weight"], quantile, stored["mean_square"])
            return cls(stored["metal"], stored["elasticity"], density, exponent, struts, read_json(facts))


def characterise(config: CellConfig, cell: str, cell_mm: float, strut_mm: float) -> LatticeCell:
    """Homogenise the lattice that the field defines.

    Parameters
    ----------
    cell, cell_mm, strut_mm : as in :mod:`implantflow.field.cells`.
    """
    metal = element.isotropic(1000.0 * config.metal.modulus_gpa, config.metal.poisson)
    n = config.cell_voxels

    @functools.cache
    def share(strut: float, voxels: int) -> FloatArray:
        return occupancy(cell, cell_mm, strut, voxels)

    elasticity, unit_cell, study = homogenise.converge(lambda voxels: share(strut_mm, voxels), metal, n)

    def felt(sample: homogenise.UnitCell) -> dict[str, float]:
        unit = np.zeros((2, 6))
        unit[0, 2] = unit[1, 5] = 1.0
        tension, shear = StrutStress.of(sample, metal, config.strut_stress_quantile).root_mean_square(unit)
        return {"rms_tension_z": float(tension), "rms_shear_xy": float(shear)}

    samples = homogenise.density_samples(
        lambda strut: share(strut, n // 2), metal, [step * strut_mm for step in STRUT_STEPS], felt
    )
    coefficient, wide = homogenise.density_law(samples)
    _, exponent = homogenise.density_law(samples[NEAR])
    deviation = homogenise.cubic_deviation(elasticity)
    struts = StrutStress.of(unit_cell, metal, config.strut_stress_quantile)
    constants = homogenise.engineering_constants(elasticity)
    facts = {
        "cell": cell,
        "cell_mm": cell_mm,
        "strut_mm": strut_mm,
        "relative_density": unit_cell.relative_density,
        "effective_modulus_gpa": constants["e_z"] / 1000.0,
        "error_pct": study["error_pct"],
        "constants": {
            (f"{k}_gpa" if k.startswith(("e_", "shear")) else k): v / 1000.0
            if k.startswith(("e_", "shear"))
            else v
            for k, v in constants.items()
        },
        "elasticity_gpa": elasticity / 1000.0,
        "elasticity_order": ["xx", "yy", "zz", "yz", "xz", "xy"],
        "levels": [_level(level) for level in study["levels"]],
        "cubic_deviation": deviation,
        "cubic": deviation <= CUBIC_MAX,
        "gibson_ashby": {
            "coefficient": coefficient,
            "exponent": wide,
            "exponent_near_nominal": exponent,
            "samples": samples,
        },
        "stress_concentration": struts.concentration(),
    }
    return LatticeCell(metal, elasticity, unit_cell.relative_density, exponent, struts, facts)


def _level(level: dict[str, Any]) -> dict[str, Any]:
    return {
        "voxels": level["voxels"],
        "relative_density": level["relative_density"],
        "e_z_upper_gpa": level["e_z_upper"] / 1000.0,
        "e_z_lower_gpa": level["e_z_lower"] / 1000.0,
    }
