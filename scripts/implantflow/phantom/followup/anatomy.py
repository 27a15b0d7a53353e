"""The patient before the operation, ready to be sampled plane by plane in a scan's frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, transform_points
from implantflow.volumes import Volume, read_volume

#: What is at least tissue, HU, and how much coarser than the CT the body's outline is drawn.
_BODY_HU, _COARSE = -400, 4
#: How far a scan may reach past the last slice of the planning CT, which is repeated there, mm.
_REPEATED_MM = 8.0


@dataclass(frozen=True)
class Anatomy:
    """HU of the patient, air outside the body.

    Attributes
    ----------
    hu : (K, J, I) int16.
    affine : (4, 4) index (i, j, k) -> planning LPS, mm.
    body_mm : (N, 3) points that span the body's outline, planning LPS.
    """

    hu: NDArray[np.int16]
    affine: FloatArray
    body_mm: FloatArray

    @property
    def centre_mm(self) -> FloatArray:
        """(3,) middle of the body's bounding box, planning LPS."""
        return np.asarray((self.body_mm.min(0) + self.body_mm.max(0)) / 2)


def read_anatomy(path: Path, low_mm: FloatArray, high_mm: FloatArray, median_pixels: int) -> Anatomy:
    """The slices of a CT that hold the box from ``low_mm`` to ``high_mm`` (planning LPS), air outside the body.

    Raises
    ------
    GeometryError
        The CT does not cover the box's height, or shows no body.
    """
    volume = read_volume(path)
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) * (high_mm - low_mm)
    k = volume.lps_to_index(low_mm + corners)[:, 2]
    allowed = _REPEATED_MM / volume.spacing_mm[2]
    if k.min() < -allowed or k.max() > len(volume.array) - 1 + allowed:
        raise GeometryError(
            "the simulated scan reaches beyond the planning CT "
            f"(slices {k.min():.0f} to {k.max():.0f} of 0 to {len(volume.array) - 1})",
            where="simulated_followup.cranial_mm, caudal_mm",
            fix="let the scan reach less far above or below the implant",
        )
    first, last = max(int(k.min()) - 1, 0), min(int(np.ceil(k.max())) + 2, len(volume.array))
    affine = volume.affine_lps.copy()
    affine[:3, 3] = transform_points(affine, np.array([[0.0, 0.0, first]]))[0]
    part = np.asarray(volume.array[first:last]).astype(np.int16)
    if median_pixels > 1:
        from scipy.ndimage import median_filter

        part = median_filter(part, size=(1, median_pixels, median_pixels), mode="nearest")
    return _without_surroundings(Volume(np.ascontiguousarray(part), affine))


def _without_surroundings(volume: Volume) -> Anatomy:
    """Air wherever the body is not: a table and the noise of air would be projected for nothing."""
    from scipy import ndimage

    coarse = volume.array[:, ::_COARSE, ::_COARSE] > _BODY_HU
    pieces, count = ndimage.label(ndimage.binary_opening(coarse))
    if count == 0:
        raise GeometryError("the planning CT shows no body", fix="name the CT of a patient")
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    body = pieces == int(np.argmax(sizes))
    body = np.stack([ndimage.binary_fill_holes(plane) for plane in body])
    body = ndimage.binary_dilation(body, iterations=2)
    hu = volume.array.copy()
    for values, plane in zip(hu, body, strict=True):
        full = np.repeat(np.repeat(plane, _COARSE, axis=0), _COARSE, axis=1)
        values[~full[: hu.shape[1], : hu.shape[2]]] = -1000
    rim = body & ~ndimage.binary_erosion(body, np.ones((1, 3, 3)))
    k, j, i = np.nonzero(rim)
    points = transform_points(volume.affine_lps, np.column_stack([_COARSE * i, _COARSE * j, k]))
    return Anatomy(hu, volume.affine_lps, points)
