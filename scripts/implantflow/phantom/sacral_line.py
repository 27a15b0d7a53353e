"""The curved mid-line of the sacrum and the coordinates along it.

``s`` runs along the line from the S1 endplate (0) towards the coccyx, ``u`` forward (ventral) from it, both in
mm; the sacrum's own tables use s scaled to a length of 110 (:data:`TABLE_LENGTH_MM`). The line lies in the
median plane, so (s, u) depend on (y, z) only and are tabulated once on a 2-D grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implantflow.phantom.parameters import Shape

FloatArray = NDArray[np.float64]

TABLE_LENGTH_MM = 110.0
MAP_STEP_MM = 1.0
#: Lower corner (y, z) and upper corner of the tabulated coordinates, anatomy frame.
MAP_FROM_MM = (-60.0, -160.0)
MAP_TO_MM = (120.0, 50.0)

#: Share of the kyphosis reached at a fraction of the sacral length; the bend sits between 0.45 and 0.8 (S3-S4).
_BEND_AT = np.array([-0.5, 0.0, 0.30, 0.45, 0.60, 0.80, 1.0, 1.4])
_BEND = np.array([0.0, 0.0, 0.05, 0.18, 0.42, 0.74, 0.98, 1.75])
_SMOOTHING_MM = 8.0


@dataclass(frozen=True)
class SacralLine:
    """Samples of the mid-line: table coordinate s, position (y, z) and tangent angle from -z towards +y."""

    s: FloatArray
    y: FloatArray
    z: FloatArray
    angle: FloatArray

    @classmethod
    def of(cls, shape: Shape) -> SacralLine:
        """Integrate the tangent of the drawn slope, length and kyphosis."""
        from scipy.ndimage import gaussian_filter1d

        step = 0.25
        t = np.arange(-70.0, 200.0, step)
        degrees = shape.sacral_slope_deg - shape.sacral_kyphosis_deg * np.interp(
            t / shape.sacral_length_mm, _BEND_AT, _BEND
        )
        angle = np.radians(gaussian_filter1d(degrees, _SMOOTHING_MM / step))
        y, z = np.cumsum(np.sin(angle)) * step, -np.cumsum(np.cos(angle)) * step
        origin = int(np.argmin(np.abs(t)))
        return cls(t * TABLE_LENGTH_MM / shape.sacral_length_mm, y - y[origin], z - z[origin], angle)

    def point(self, x: float, u: float, s: float) -> FloatArray:
        """Anatomy-frame point (3,) of the curved coordinates (x, u, s)."""
        angle = np.interp(s, self.s, self.angle)
        y = np.interp(s, self.s, self.y) - u * np.cos(angle)
        z = np.interp(s, self.s, self.z) - u * np.sin(angle)
        return np.array([x, y, z])

    def direction(self, x: float, u: float, s: float) -> FloatArray:
        """Turn a direction given in (x, u, s) at the S1 endplate into the anatomy frame."""
        angle = float(np.interp(0.0, self.s, self.angle))
        return np.array([x, -u * np.cos(angle) + s * np.sin(angle), -u * np.sin(angle) - s * np.cos(angle)])

    def maps(self) -> FloatArray:
        """(2, NY, NZ) table of s and u on the grid of :data:`MAP_STEP_MM` from :data:`MAP_FROM_MM`."""
        from scipy.spatial import cKDTree

        y = np.arange(MAP_FROM_MM[0], MAP_TO_MM[0], MAP_STEP_MM)
        z = np.arange(MAP_FROM_MM[1], MAP_TO_MM[1], MAP_STEP_MM)
        grid = np.stack(np.meshgrid(y, z, indexing="ij"), -1).reshape(-1, 2)
        nearest = cKDTree(np.c_[self.y, self.z]).query(grid)[1]
        dy, dz = grid[:, 0] - self.y[nearest], grid[:, 1] - self.z[nearest]
        sine, cosine = np.sin(self.angle[nearest]), np.cos(self.angle[nearest])
        per_mm = (self.s[1] - self.s[0]) / 0.25
        s = self.s[nearest] + (dy * sine - dz * cosine) * per_mm
        u = -dy * cosine - dz * sine
        return np.stack([s, u]).reshape(2, len(y), len(z))
