"""Flat pictures through volumes: a plane of the patient, its pixels, and where a point falls on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from implantflow.report import raster
from implantflow.report.meshes import Mesh, section
from implantflow.volumes import Volume

Float = NDArray[np.float64]

#: Axis of patient LPS that stands on each plane, the picture's right and down directions, and its edge letters
#: (left, right, top, bottom). Axial slices are seen from the feet, sagittal ones from the patient's left.
ORIENTATIONS = {
    "axial": (2, (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), ("R", "L", "A", "P")),
    "coronal": (1, (1.0, 0.0, 0.0), (0.0, 0.0, -1.0), ("R", "L", "H", "F")),
    "sagittal": (0, (0.0, 1.0, 0.0), (0.0, 0.0, -1.0), ("A", "P", "H", "F")),
}


@dataclass(frozen=True)
class Slice:
    """A rectangle of an anatomical plane and its pixel grid.

    Attributes
    ----------
    orientation : "axial", "coronal" or "sagittal".
    centre_mm : (3,) middle of the picture, patient LPS.
    mm_per_px, width_px, height_px : scale and size.
    """

    orientation: str
    centre_mm: tuple[float, float, float]
    mm_per_px: float
    width_px: int
    height_px: int

    @property
    def right(self) -> Float:
        """Direction (3,) of the picture's columns, patient LPS."""
        return np.array(ORIENTATIONS[self.orientation][1])

    @property
    def down(self) -> Float:
        """Direction (3,) of the picture's rows, patient LPS."""
        return np.array(ORIENTATIONS[self.orientation][2])

    @property
    def normal(self) -> Float:
        """Unit normal (3,) of the plane: the patient axis it cuts."""
        return np.asarray(np.eye(3)[ORIENTATIONS[self.orientation][0]])

    @property
    def markers(self) -> tuple[str, str, str, str]:
        """Letters for the left, right, top and bottom edge."""
        return ORIENTATIONS[self.orientation][3]

    @property
    def position_mm(self) -> float:
        """Where the plane lies along the patient axis it cuts."""
        return float(self.centre_mm[ORIENTATIONS[self.orientation][0]])

    def to_px(self, points_mm: ArrayLike) -> Float:
        """(..., 3) points, patient LPS -> (..., 2) column and row in pixels."""
        local = np.asarray(points_mm, dtype=np.float64) - np.asarray(self.centre_mm)
        middle = np.array([(self.width_px - 1) / 2.0, (self.height_px - 1) / 2.0])
        return np.asarray(
            np.stack([local @ self.right, local @ self.down], axis=-1) / self.mm_per_px + middle
        )

    @property
    def corner_mm(self) -> Float:
        """Place (3,) of the upper left pixel, patient LPS."""
        half = np.array([(self.width_px - 1) / 2.0, (self.height_px - 1) / 2.0]) * self.mm_per_px
        return np.asarray(np.asarray(self.centre_mm) - half[0] * self.right - half[1] * self.down)

    def grid_mm(self) -> Float:
        """(H * W, 3) places of the pixels, patient LPS."""
        columns = (np.arange(self.width_px) - (self.width_px - 1) / 2.0) * self.mm_per_px
        rows = (np.arange(self.height_px) - (self.height_px - 1) / 2.0) * self.mm_per_px
        grid = (
            np.asarray(self.centre_mm) + rows[:, None, None] * self.down + columns[None, :, None] * self.right
        )
        return np.asarray(grid.reshape(-1, 3))

    def segments_px(self, mesh: Mesh) -> Float:
        """(S, 2, 2) outline of ``mesh`` on this plane, in pixels."""
        return self.to_px(section(mesh, self.centre_mm, self.normal))

    def mask_of(self, mesh: Mesh) -> NDArray[np.bool_]:
        """(H, W) True where a pixel lies inside the closed ``mesh``."""
        inside = np.zeros((self.height_px, self.width_px), np.uint8)
        raster.fill_even_odd(np.ascontiguousarray(self.segments_px(mesh).reshape(-1, 4)), inside)
        return inside.astype(bool)


def three_planes(centre_mm: ArrayLike, width_mm: float, height_mm: float, mm_per_px: float) -> list[Slice]:
    """Axial, coronal and sagittal slices of one size through one point."""
    c = np.asarray(centre_mm, dtype=np.float64)
    centre = (float(c[0]), float(c[1]), float(c[2]))
    size = (round(width_mm / mm_per_px), round(height_mm / mm_per_px))
    return [Slice(name, centre, mm_per_px, *size) for name in ORIENTATIONS]


def sample(volume: Volume, plane: Slice, *, outside: float = np.nan) -> Float:
    """Values of ``volume`` on the pixels of ``plane``, trilinear.

    Returns
    -------
    (H, W) float64; ``outside`` where the volume does not reach.
    """
    from scipy.ndimage import map_coordinates

    index = _indices(volume, plane)
    low = np.floor(index.min(axis=1)).astype(int) - 1
    high = np.ceil(index.max(axis=1)).astype(int) + 2
    low = np.clip(low, 0, np.array(volume.array.shape) - 1)
    high = np.clip(high, low + 1, volume.array.shape)
    part = volume.array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].astype(np.float32)
    values = map_coordinates(part, index - low[:, None], order=1, mode="nearest", output=np.float64)
    inside = ((index >= -0.5) & (index <= np.array(volume.array.shape)[:, None] - 0.5)).all(axis=0)
    return np.asarray(np.where(inside, values, outside).reshape(plane.height_px, plane.width_px))


def _indices(volume: Volume, plane: Slice) -> Float:
    """(3, H * W) continuous indices k, j, i of the pixels: straight lines in both grids, so sums of three terms."""
    matrix = np.linalg.inv(volume.affine_lps)
    first = plane.corner_mm
    start = matrix[:3, :3] @ first + matrix[:3, 3]
    along_row = matrix[:3, :3] @ plane.right * plane.mm_per_px
    along_column = matrix[:3, :3] @ plane.down * plane.mm_per_px
    index = (
        start[:, None, None]
        + along_column[:, None, None] * np.arange(plane.height_px)[None, :, None]
        + along_row[:, None, None] * np.arange(plane.width_px)[None, None, :]
    )
    return np.asarray(index.reshape(3, -1)[::-1])


def windowed(values: Float, level: float, width: float) -> NDArray[np.uint8]:
    """Grey picture (H, W, 3): ``level`` in the middle, ``width`` from black to white; outside is dark grey."""
    grey = np.clip((values - (level - width / 2.0)) / width, 0.0, 1.0) * 255.0
    grey = np.where(np.isfinite(values), np.nan_to_num(grey), 32.0)
    return np.repeat(np.rint(grey).astype(np.uint8)[:, :, None], 3, axis=2)
