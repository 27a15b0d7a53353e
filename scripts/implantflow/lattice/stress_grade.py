"""Struts by stress: what strength/solid found in nominal struts becomes a smooth grid of strut diameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from implantflow.config.lattice import StressGradingConfig
from implantflow.errors import GeometryError
from implantflow.field.field import Field
from implantflow.field.shaping import Grading
from implantflow.geometry import FloatArray, invert_rigid

#: Steps of strut between the thinnest and the thickest, in figures.
STEPS = 5


def stress_grading(
    config: StressGradingConfig, view: Mapping[str, NDArray[Any]], build_from_patient: ArrayLike
) -> Grading:
    """Strut diameters on the voxels of strength/solid, for the field to interpolate.

    Parameters
    ----------
    view : arrays of strength/solid/view.npz, of which ``strut_all_cases_mpa`` (K, J, I) is zero outside the lattice.
    build_from_patient : (4, 4) rigid matrix of the field.

    Raises
    ------
    GeometryError
        The implant has no lattice to grade.
    """
    stress = np.asarray(view["strut_all_cases_mpa"], dtype=np.float64)
    if not (stress > 0).any():
        raise GeometryError(
            "strength/solid found no stressed lattice to grade",
            where="lattice.stress_grading",
            fix="leave it out, or use strength.voxel_mm small enough for the lattice to have voxels",
        )
    spacing = np.asarray(view["spacing_mm"], dtype=np.float64)
    share = np.clip((stress - config.low_mpa) / (config.high_mpa - config.low_mpa), 0.0, 1.0)
    asked = config.strut_min_mm + share * (config.strut_max_mm - config.strut_min_mm)
    smooth = smoothed(_filled(asked, stress > 0), config.over_mm / float(spacing[0]))
    into_grid = invert_rigid(np.asarray(view["patient_from_grid"], dtype=np.float64))
    return Grading(
        config.strut_min_mm,
        config.strut_max_mm,
        config.over_mm,
        stored=(smooth, np.asarray(view["origin_mm"]) + 0.5 * spacing, spacing),
        stored_from_build=into_grid @ invert_rigid(np.asarray(build_from_patient, dtype=np.float64)),
    )


def _filled(values: FloatArray, known: NDArray[np.bool_]) -> FloatArray:
    """``values`` with every voxel that is not ``known`` given the value of the nearest that is."""
    from scipy import ndimage

    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    return np.asarray(values[tuple(nearest)])


def smoothed(asked: FloatArray, width: float) -> FloatArray:
    """``asked`` (K, J, I) averaged over a cube of ``width`` voxels, each having taken the largest within reach.

    One voxel more than the average reaches, so the result is nowhere smaller than ``asked``, in all of a voxel as it is
    read between middles; and it changes by no more than the whole range over ``width`` voxels along each axis.
    """
    from scipy import ndimage

    reach = max(int(np.ceil((width - 1.0) / 2.0 - 1e-9)), 0)
    out = ndimage.maximum_filter(asked, size=2 * reach + 3, mode="nearest")
    if reach == 0:
        return np.asarray(out)
    taps = np.ones(2 * reach + 1)
    taps[0] = taps[-1] = (width - (2 * reach - 1)) / 2.0
    for axis in range(3):
        out = ndimage.convolve1d(out, taps / taps.sum(), axis=axis, mode="nearest")
    return np.asarray(out)


def steps_of(low_mm: float, high_mm: float) -> list[float]:
    """Struts from the thinnest to the thickest, to a micrometre, that figures are given for."""
    return [round(float(s), 3) for s in np.linspace(low_mm, high_mm, STEPS)]


def porous_shares(field: Field) -> dict[str, Any]:
    """How much of the porous region has which strut, at the nodes of the field's grids."""
    if field.grade is None:
        return {}
    porous = (field.solid < 0) & (field.dense >= 0)
    struts = np.sort(field.grade[porous]) * 1e-4
    if len(struts) == 0:
        return {}
    edges = np.linspace(*field.lattice.strut_range_mm, STEPS)
    counts, _ = np.histogram(struts, np.concatenate([[-np.inf], 0.5 * (edges[1:] + edges[:-1]), [np.inf]]))
    return {
        "strut_mm": {f"p{p}": float(np.percentile(struts, p)) for p in (5, 50, 95)},
        "share_of_porous_volume": {
            f"{strut:.3f}": float(n / len(struts))
            for strut, n in zip(steps_of(edges[0], edges[-1]), counts, strict=True)
        },
    }
