"""How the print's shape differs from what the file draws: size along each axis, shear, bow, and thickness.

One least-squares fit of the scan to the drawn surface (outer surface, dense region and struts) with these unknowns:
an affine map (12), a bow along each axis towards the two others (6), and how much thicker than drawn dense metal, the
flanks and the cut ends of struts are (4), which keeps a scanner's blur or the width of the melt pool out of the size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, transform_points
from implantflow.inspect.reference import Reference

IntArray = NDArray[np.int64]

#: Scale of the affine unknowns (mm): they then move points about as far as the others.
_REACH_MM = 50.0
#: Greatest residual that counts, round by round (mm): on the outer surface alone, then with the struts.
_OUTER_ROUNDS_MM = (1.5, 1.2, 1.0, 0.8, 0.6, 0.5, 0.5, 0.4, 0.4)
_ALL_ROUNDS_MM = (0.45, 0.4, 0.35, 0.3, 0.3, 0.25, 0.25)
#: Least cosine between the scan's normal and that of the surface it is matched to.
_COSINE_MIN = 0.8
#: Standard errors come from leaving out cubes of this edge (mm), larger than what a scanner's error hangs together.
_BLOCK_MM = 15.0
#: Struts count when at least this share of their points lies within a quarter of a millimetre of where they are drawn.
_STRUTS_FOUND = 0.7
_MIN_ROWS = 500
#: Points of the rounds on the outer surface, and how far below it they may lie by the first pose (mm).
_OUTER_POINTS, _NEAR_MM = 8000, 2.0

AFFINE, PLACE, BOW, THICK = slice(0, 9), slice(9, 12), slice(12, 18), slice(18, 22)
#: (along, towards) of the six bows.
BOWS = [(a, e) for a in range(3) for e in range(3) if a != e]
_COLUMNS = 22
#: Kinds of surface, each with its own thickness: dense metal to the outside, flanks of struts, cut ends of struts at
#: the outer surface, dense metal towards the pores (where a blurred scanner sees the struts that join it).
OUTER, FLANK, TIP, INNER = 0, 1, 2, 3


@dataclass(frozen=True)
class Shape:
    """Map from the scanner's frame to the frame of the build file.

    ``q = linear (p - pivot) + place``, then ``q_e += bow_ae (1 - u_a^2)`` with u from -1 to 1 over the drawn part.

    Attributes
    ----------
    linear : (3, 3). place_mm, pivot_mm : (3,). bow_mm : (6,) in the order of :data:`BOWS`.
    thicker_mm : (4,) metal outside the drawn surface, by kind of surface.
    box_mm : (2, 3) of the drawn part.
    """

    linear: FloatArray
    place_mm: FloatArray
    pivot_mm: FloatArray
    bow_mm: FloatArray
    thicker_mm: FloatArray
    box_mm: FloatArray

    @classmethod
    def start(cls, pose: FloatArray, points_mm: FloatArray, reference: Reference) -> Shape:
        """The drawn part laid by a rigid pose (scanner to build_xyz of the design)."""
        pivot = points_mm.mean(0)
        place = reference.drawn(transform_points(pose, pivot[None]))[0]
        linear = np.diag(reference.factors) @ pose[:3, :3]
        return cls(linear, place, pivot, np.zeros(6), np.zeros(4), reference.drawn_box_mm)

    def arches(self, straight_mm: FloatArray) -> FloatArray:
        """(N, 3) 1 - u^2 along each axis."""
        middle, half = self.box_mm.mean(0), np.diff(self.box_mm, axis=0)[0] / 2
        return np.asarray(1.0 - ((straight_mm - middle) / half) ** 2)

    def drawn(self, points_mm: FloatArray) -> FloatArray:
        """(N, 3) scanned points -> their place in the build file."""
        out = (points_mm - self.pivot_mm) @ self.linear.T + self.place_mm
        arch = self.arches(out)
        for value, (along, towards) in zip(self.bow_mm, BOWS, strict=True):
            out[:, towards] += value * arch[:, along]
        return np.asarray(out)

    @property
    def rotation(self) -> FloatArray:
        """(3, 3) rotation of the affine map: scanner to build axes."""
        u, _, vt = np.linalg.svd(self.linear)
        return np.asarray(u @ vt)

    @property
    def printed_over_drawn(self) -> FloatArray:
        """(3, 3) symmetric stretch of the print against the file, build axes; the diagonal are the sizes."""
        return np.asarray(np.linalg.inv(self.linear @ self.rotation.T), dtype=np.float64)

    def moved(self, step: FloatArray) -> Shape:
        """The shape after a step of the unknowns."""
        return replace(
            self,
            linear=self.linear + step[AFFINE].reshape(3, 3) / _REACH_MM,
            place_mm=self.place_mm + step[PLACE],
            bow_mm=self.bow_mm + step[BOW],
            thicker_mm=self.thicker_mm + step[THICK],
        )


@dataclass(frozen=True)
class Fit:
    """A fitted shape.

    Attributes
    ----------
    shape : the fit. sizes, sizes_se : (3,) printed over drawn along the build axes, standard errors.
    rows : points used. rms_mm : of the residuals.
    struts_found : share of strut points near a drawn strut. struts_used : did they count?
    """

    shape: Shape
    sizes: FloatArray
    sizes_se: FloatArray
    rows: int
    rms_mm: float
    struts_found: float
    struts_used: bool

    def bow(self) -> dict[str, Any]:
        """The greatest bow of the print: along, towards, and how far the middle is pushed (mm)."""
        # The map goes from the print to the file: the print is bent the other way.
        largest = int(np.abs(self.shape.bow_mm).argmax())
        along, towards = BOWS[largest]
        return {"along": "xyz"[along], "towards": "xyz"[towards], "mm": -float(self.shape.bow_mm[largest])}


def fit_shape(points_mm: FloatArray, normals: FloatArray, pose: FloatArray, reference: Reference) -> Fit:
    """Fit the scan (N, 3) with its outward normals, beginning at a rigid pose.

    Raises
    ------
    GeometryError
        Too few points lie near the drawn surface.
    """
    shape = Shape.start(pose, points_mm, reference)
    free = np.ones(_COLUMNS, dtype=bool)
    free[BOW] = free[THICK.start + FLANK] = free[THICK.start + INNER] = False
    # A CT shows mostly struts of the inside: the first rounds are about the outer surface.
    near = np.flatnonzero(reference.field.solid_value(reference.designed(shape.drawn(points_mm))) > -_NEAR_MM)
    few = near[:: max(len(near) // _OUTER_POINTS, 1)]
    for cutoff in _OUTER_ROUNDS_MM:
        rows = _rows(points_mm[few], normals[few], shape, reference, cutoff, struts=False)
        shape = shape.moved(_step(*_normal_equations(rows), free))
    outer = shape
    free[:] = True
    found = 0.0
    for cutoff in _ALL_ROUNDS_MM:
        # The last rounds settle the result; until then every other point will do.
        step = 1 if cutoff == _ALL_ROUNDS_MM[-1] else 2
        rows = _rows(points_mm[::step], normals[::step], shape, reference, cutoff, struts=True)
        shape = shape.moved(_step(*_normal_equations(rows), free))
        found = rows.struts_found
    used = found >= _STRUTS_FOUND
    if not used:
        shape = outer
        free[THICK.start + FLANK] = free[THICK.start + INNER] = False
        for cutoff in _ALL_ROUNDS_MM:
            rows = _rows(points_mm, normals, shape, reference, cutoff, struts=False)
            shape = shape.moved(_step(*_normal_equations(rows), free))
    rows = _rows(points_mm, normals, shape, reference, _ALL_ROUNDS_MM[-1], struts=used)
    return Fit(
        shape,
        np.diag(shape.printed_over_drawn).copy(),
        _standard_errors(rows, shape, free),
        len(rows.residual),
        float(np.sqrt((rows.residual**2).mean())),
        found,
        used,
    )


@dataclass(frozen=True)
class _Rows:
    """Equations of a round: Jacobian (N, 22), residuals (N,), weights (N,), cube of each (N,)."""

    jacobian: FloatArray
    residual: FloatArray
    weight: FloatArray
    block: IntArray
    struts_found: float


def _rows(
    points: FloatArray, normals: FloatArray, shape: Shape, reference: Reference, cutoff: float, struts: bool
) -> _Rows:
    drawn = shape.drawn(points)
    inner = reference.inner(drawn)
    outer, triangle = reference.outer(drawn, inner if struts else -cutoff)
    # On the outer surface there is metal just below; on a strut's flank the outer surface is further out.
    on_outer = (triangle >= 0) & ((outer >= inner) if struts else (np.abs(outer) < cutoff))
    residual = np.where(on_outer, outer, inner)
    slope = np.zeros_like(drawn)
    slope[on_outer] = reference.drawn_surface.solid.normals[triangle[on_outer]]
    flank = ~on_outer if struts else np.zeros(len(points), dtype=bool)
    slope[flank] = reference.inner_slope(drawn[flank])
    dense = reference.dense(drawn)
    lattice = flank & (dense > residual + 1e-6)
    found = float((np.abs(residual[lattice]) < 0.25).mean()) if lattice.any() else 0.0
    kind = np.where(on_outer, np.where(dense > 0, TIP, OUTER), np.where(lattice, FLANK, INNER))
    residual = residual - shape.thicker_mm[kind]
    facing = np.einsum("ij,ij->i", normals @ shape.rotation.T, slope)
    keep = (on_outer | flank) & (np.abs(residual) < cutoff) & (facing > _COSINE_MIN)
    if keep.sum() < _MIN_ROWS:
        raise GeometryError(
            f"only {int(keep.sum())} points of the scan lie near the drawn surface",
            where="inspect: fit of the shape",
            fix="is it the scan of this build revision?",
        )
    g, r = slope[keep], residual[keep]
    arm = (points[keep] - shape.pivot_mm) / _REACH_MM
    arch = shape.arches(drawn[keep])
    jacobian = np.empty((len(r), _COLUMNS))
    jacobian[:, AFFINE] = (g[:, :, None] * arm[:, None, :]).reshape(-1, 9)
    jacobian[:, PLACE] = g
    for column, (along, towards) in enumerate(BOWS):
        jacobian[:, BOW.start + column] = g[:, towards] * arch[:, along]
    jacobian[:, THICK] = -np.eye(4)[kind[keep]]
    # Tukey's biweight: what lies off by the cutoff does not count at all.
    weight = (1.0 - (r / cutoff) ** 2) ** 2
    cell = np.floor((drawn[keep] - shape.box_mm[0]) / _BLOCK_MM).astype(np.int64)
    cell = np.clip(cell, -1, 98) + 1
    return _Rows(jacobian, r, weight, (cell[:, 2] * 100 + cell[:, 1]) * 100 + cell[:, 0], found)


def _normal_equations(rows: _Rows) -> tuple[FloatArray, FloatArray]:
    weighted = rows.jacobian * rows.weight[:, None]
    return weighted.T @ rows.jacobian, -weighted.T @ rows.residual


def _step(matrix: FloatArray, right: FloatArray, free: NDArray[np.bool_]) -> FloatArray:
    # An unknown that nothing fixes (no strut in sight) stays where it is.
    known = free & (np.diag(matrix) > 1e-9)
    step = np.zeros(_COLUMNS)
    step[known] = np.linalg.solve(matrix[np.ix_(known, known)], right[known])
    return step


def _standard_errors(rows: _Rows, shape: Shape, free: NDArray[np.bool_]) -> FloatArray:
    """Standard errors (3,) of the sizes: the jackknife over cubes of the part."""
    _, number = np.unique(rows.block, return_inverse=True)
    count = int(number.max()) + 1
    matrix, right = _normal_equations(rows)
    order = np.argsort(number, kind="stable")
    ends = np.searchsorted(number[order], np.arange(count + 1))
    sizes = np.empty((count, 3))
    for b in range(count):
        mine = order[ends[b] : ends[b + 1]]
        part = _Rows(rows.jacobian[mine], rows.residual[mine], rows.weight[mine], mine, 0.0)
        less, less_right = _normal_equations(part)
        without = shape.moved(_step(matrix - less, right - less_right, free))
        sizes[b] = np.diag(without.printed_over_drawn)
    spread = sizes - sizes.mean(0)
    return np.asarray(np.sqrt((count - 1) / count * (spread**2).sum(0)))
