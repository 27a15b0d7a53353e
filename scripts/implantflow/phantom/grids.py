"""Sampling grids, boxes inside them, and fields turned into distances."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from implantflow.compiled import inner, kernel
from implantflow.geometry import FloatArray, transform_points
from implantflow.phantom.primitives import REACH_MM
from implantflow.phantom.slabs import over_slabs

Field = NDArray[np.float32]
Slices = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Grid:
    """A voxel grid: shape (K, J, I) and the affine from (i, j, k) to mm (patient LPS or anatomy)."""

    shape: tuple[int, int, int]
    affine: FloatArray

    @classmethod
    def spanning(cls, low: ArrayLike, high: ArrayLike, spacing_mm: ArrayLike) -> Grid:
        """The axis-aligned grid of ``spacing_mm`` (x, y, z) whose voxels fill the box from ``low`` to ``high``."""
        spacing, a, b = (np.broadcast_to(np.asarray(v, float), 3) for v in (spacing_mm, low, high))
        size = np.maximum(np.rint((b - a) / spacing).astype(int), 1)
        affine = np.diag([*spacing, 1.0])
        affine[:3, 3] = a + spacing / 2
        return cls((int(size[2]), int(size[1]), int(size[0])), affine)

    @property
    def spacing_mm(self) -> FloatArray:
        """Voxel size along i, j, k."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel."""
        return float(np.prod(self.spacing_mm))

    def box(self, low: ArrayLike, high: ArrayLike, from_points: FloatArray) -> Slices:
        """Slices (k, j, i) that hold a box given in another frame; ``from_points`` maps that frame to this one."""
        corners = np.array(list(itertools.product(*zip(low, high, strict=True))))  # type: ignore[arg-type]
        index = transform_points(np.linalg.inv(self.affine) @ from_points, corners)
        first = np.clip(np.floor(index.min(0)).astype(int) - 1, 0, None)
        last = np.minimum(np.ceil(index.max(0)).astype(int) + 2, self.shape[::-1])
        last = np.maximum(last, first)
        i, j, k = (slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
        return k, j, i

    def part(self, box: Slices) -> Grid:
        """The grid of a box of this one."""
        affine = self.affine.copy()
        start = np.array([box[2].start, box[1].start, box[0].start], float)
        affine[:3, 3] = transform_points(self.affine, start[None])[0]
        shape = tuple(s.stop - s.start for s in box)
        return Grid((shape[0], shape[1], shape[2]), affine)


@dataclass(frozen=True)
class BoxField:
    """A signed distance (mm, negative inside, clipped at the reach) on a box of a grid; far outside elsewhere."""

    box: Slices
    values: Field

    def common(self, other: BoxField) -> tuple[Slices, Slices] | None:
        """Where the two boxes overlap, as slices into each of them; None when they do not."""
        first = [max(a.start, b.start) for a, b in zip(self.box, other.box, strict=True)]
        last = [min(a.stop, b.stop) for a, b in zip(self.box, other.box, strict=True)]
        if any(b <= a for a, b in zip(first, last, strict=True)):
            return None
        mine = [slice(a - s.start, b - s.start) for a, b, s in zip(first, last, self.box, strict=True)]
        theirs = [slice(a - s.start, b - s.start) for a, b, s in zip(first, last, other.box, strict=True)]
        return (mine[0], mine[1], mine[2]), (theirs[0], theirs[1], theirs[2])


@inner
def _steeper(before: float, here: float, after: float, spacing: float) -> float:
    """The larger one-sided difference: a central one would vanish in the middle of a thin plate."""
    return max(abs(after - here), abs(here - before)) / spacing


@kernel
def _divide_by_slope(
    field: Field, out: Field, spacing: FloatArray, scale: float, reach: float, first: int, last: int
) -> None:
    n_k, n_j, n_i = field.shape
    for k in range(first, last):
        below, above = max(k - 1, 0), min(k + 1, n_k - 1)
        for j in range(n_j):
            front, back = max(j - 1, 0), min(j + 1, n_j - 1)
            for i in range(n_i):
                value = field[k, j, i]
                if abs(value) >= reach:
                    out[k, j, i] = value * scale
                    continue
                left, right = max(i - 1, 0), min(i + 1, n_i - 1)
                gx = _steeper(field[k, j, left], value, field[k, j, right], spacing[0])
                gy = _steeper(field[k, front, i], value, field[k, back, i], spacing[1])
                gz = _steeper(field[below, j, i], value, field[above, j, i], spacing[2])
                slope = (gx * gx + gy * gy + gz * gz) ** 0.5
                out[k, j, i] = value / min(max(slope, 0.45), 3.0) * scale


def as_distance(field: Field, spacing_mm: FloatArray, scale: float, threads: int) -> Field:
    """First-order distance f/|grad f|: close to the surface a composed field becomes a distance in mm.

    ``spacing_mm`` and ``field`` are in anatomy units; ``scale`` turns these into the patient's mm.
    """
    out = np.empty_like(field)
    spacing = np.asarray(spacing_mm, float)
    over_slabs(
        lambda a, b: _divide_by_slope(field, out, spacing, scale, REACH_MM, a, b), field.shape[0], threads
    )
    return out


def keep_apart(a: BoxField, b: BoxField, gap_mm: float) -> None:
    """Carve both bones, in place, so that ``gap_mm`` stays free around the surface halfway between them."""
    overlap = a.common(b)
    if overlap is None:
        return
    first, second = a.values[overlap[0]], b.values[overlap[1]]
    half = np.float32(gap_mm / 2)
    carved = np.maximum(first, (first - second) / 2 + half)
    second[...] = np.maximum(second, (second - first) / 2 + half)
    first[...] = carved


def occupancy(values: Field, spacing_mm: FloatArray) -> Field:
    """Share of each voxel inside the surface, from a distance field: a ramp one voxel wide."""
    width = np.float32(np.cbrt(np.prod(spacing_mm)))
    return np.asarray(np.clip(np.float32(0.5) - values / width, 0, 1), dtype=np.float32)


def largest_piece(field: BoxField) -> BoxField:
    """The same field with every piece but the largest one moved out of reach (specks of roughness, cut-offs)."""
    from scipy import ndimage

    inside = field.values < 0
    pieces, count = ndimage.label(inside)
    if count <= 1:
        return field
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    keep = pieces == int(np.argmax(sizes))
    return BoxField(field.box, np.where(inside & ~keep, np.float32(0.3), field.values))


def surface_points(values: Field) -> FloatArray:
    """Index-space points (N, 3), (i, j, k), where the field changes sign between neighbouring voxels."""
    found = []
    for axis in range(3):
        first = np.moveaxis(values, axis, 0)[:-1]
        second = np.moveaxis(values, axis, 0)[1:]
        crossing = np.nonzero((first < 0) != (second < 0))
        a, b = first[crossing].astype(float), second[crossing].astype(float)
        index = np.stack(crossing, 1).astype(float)
        index[:, 0] += a / (a - b)
        found.append(_back(index, axis)[:, ::-1])
    return np.concatenate(found)


def _back(index: FloatArray, axis: int) -> FloatArray:
    """Undo ``moveaxis(axis, 0)`` for columns of indices."""
    columns = [1, 2]
    columns.insert(axis, 0)
    return index[:, columns]
