"""Distances to a solid: signed, exact to the triangles; Hausdorff distance between two solids."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from implantflow.geometry import FloatArray
from implantflow.solids.booleans import refined
from implantflow.solids.mesh import IntArray, Solid

#: Triangles lower than this are not trusted to know where outside is.
_SLIVER_HEIGHT_MM = 1e-3
_SAME_PLACE_MM = 1e-6
#: Triangles per leaf of the box tree.
_LEAF = 4
#: Fewer points than this are answered sooner than threads are started.
_WORTH_SHARING = 2000
#: A face's normal has length 1, a flat edge's 2, a flat corner's 2 pi: below this the sides cancel.
_WEAK_NORMAL = 0.6


@dataclass(frozen=True)
class Nearest:
    """Answer of :meth:`Surface.nearest`, one row per point.

    Attributes
    ----------
    distance_mm : (N,) signed distance, negative inside; +-limit when nothing is nearer than the limit.
    triangle : (N,) number of the nearest triangle, -1 beyond the limit.
    foot_mm : (N, 3) nearest point on the surface.
    """

    distance_mm: FloatArray
    triangle: IntArray
    foot_mm: FloatArray


class Surface:
    """A triangle surface prepared for many distance queries.

    The sign uses angle-weighted pseudo-normals (Baerentzen and Aanaes 2005, DOI 10.1109/TVCG.2005.49): right for
    every closed surface, also when the nearest feature is an edge or a corner.
    """

    def __init__(self, solid: Solid) -> None:
        self.solid = solid
        self._corners = np.ascontiguousarray(solid.triangles_mm)
        self._order, self._boxes = _box_tree(self._corners)

    @cached_property
    def _pseudo_normals(self) -> FloatArray:
        return _pseudo_normals(self.solid)

    @cached_property
    def _folded(self) -> NDArray[np.bool_]:
        """(M,) True for triangles with a corner or edge whose pseudo-normal all but vanishes."""
        return np.asarray((np.linalg.norm(self._pseudo_normals, axis=2) < _WEAK_NORMAL).any(axis=1))

    def nearest(self, points_mm: ArrayLike, limit_mm: float = 1000.0, signed: bool = True) -> Nearest:
        """Signed distance, triangle and foot point of each of ``points_mm`` (N, 3).

        Beyond ``limit_mm`` the sign is not determined and the distance is ``+limit_mm``. With ``signed`` False all
        distances are positive: quicker, and the surface need not be closed.
        """
        points = np.ascontiguousarray(points_mm, dtype=np.float64)
        distance, triangle, feature, foot = self._search(points, float(limit_mm))
        if not signed:
            return Nearest(distance, triangle, foot)
        feature = _settled(feature, foot, self._corners[triangle])
        normal = self._pseudo_normals[triangle, feature]
        inside = (np.einsum("ij,ij->i", points - foot, normal) < 0.0) & (triangle >= 0)
        # Where the surface folds back on itself (a razor-thin fin) the normals cancel and say nothing.
        doubtful = np.flatnonzero(self._folded[triangle] & (triangle >= 0))
        inside[doubtful] = winding_number(points[doubtful], self._corners) > 0.5
        return Nearest(np.where(inside, -distance, distance), triangle, foot)

    def _search(
        self, points: FloatArray, limit_mm: float
    ) -> tuple[FloatArray, IntArray, IntArray, FloatArray]:
        """The kernel's answer; many points are shared between the threads that the job may use."""
        from numba import get_num_threads

        from implantflow.solids import kernels

        def ask(part: FloatArray) -> tuple[FloatArray, IntArray, IntArray, FloatArray]:
            return kernels.nearest(part, self._corners, self._order, self._boxes, _LEAF, limit_mm)

        threads = get_num_threads()
        if threads == 1 or len(points) < _WORTH_SHARING:
            return ask(points)
        with ThreadPoolExecutor(threads) as pool:
            distance, triangle, feature, foot = zip(
                *pool.map(ask, np.array_split(points, threads)), strict=True
            )
        return (
            np.concatenate(distance),
            np.concatenate(triangle),
            np.concatenate(feature),
            np.concatenate(foot),
        )

    def signed_distance_mm(self, points_mm: ArrayLike, limit_mm: float = 1000.0) -> FloatArray:
        """Signed distance (N,) in mm, negative inside."""
        return self.nearest(points_mm, limit_mm).distance_mm


def winding_number(points_mm: FloatArray, corners_mm: FloatArray) -> FloatArray:
    """How often the surface goes around each point: 1 inside a closed solid, 0 outside.

    Solid angles of all triangles added up (van Oosterom and Strackee 1983, DOI 10.1109/TBME.1983.325207); exact for
    any closed surface, but its cost is points times triangles.

    Parameters
    ----------
    points_mm : (N, 3)
    corners_mm : (M, 3, 3)

    Returns
    -------
    (N,) winding numbers
    """
    from implantflow.solids import kernels

    points = np.ascontiguousarray(points_mm, dtype=np.float64)
    return np.asarray(kernels.winding_numbers(points, np.ascontiguousarray(corners_mm, dtype=np.float64)))


def _box_tree(corners: FloatArray) -> tuple[IntArray, FloatArray]:
    """Triangle order (M,) and box heap (2 L, 6) for the kernel: leaves of four triangles along a Morton curve."""
    low, high = corners.min(axis=1), corners.max(axis=1)
    middle = corners.mean(axis=1)
    span = np.maximum(np.ptp(middle, axis=0).max(), 1e-9)
    cell = ((middle - middle.min(axis=0)) / span * 1023.0).astype(np.int64)
    code = np.zeros(len(corners), dtype=np.int64)
    for bit in range(10):
        for axis in range(3):
            code |= ((cell[:, axis] >> bit) & 1) << (3 * bit + axis)
    order = np.argsort(code, kind="stable")
    count = -(-len(corners) // _LEAF)
    leaves = 1 << max(0, (count - 1).bit_length())
    boxes = np.empty((2 * leaves, 6))
    boxes[:, :3], boxes[:, 3:] = np.inf, -np.inf
    starts = np.arange(0, len(corners), _LEAF)
    boxes[leaves : leaves + count, :3] = np.minimum.reduceat(low[order], starts, axis=0)
    boxes[leaves : leaves + count, 3:] = np.maximum.reduceat(high[order], starts, axis=0)
    while leaves > 1:
        pairs = boxes[leaves : 2 * leaves].reshape(-1, 2, 6)
        leaves //= 2
        boxes[leaves : 2 * leaves, :3] = pairs[:, :, :3].min(axis=1)
        boxes[leaves : 2 * leaves, 3:] = pairs[:, :, 3:].max(axis=1)
    return order, boxes


def _settled(feature: IntArray, foot: FloatArray, corners: FloatArray) -> IntArray:
    """Feature codes with every foot on an edge or corner called so.

    Several triangles meet at an edge or corner; the last digits decide which of them is "nearest", and one may
    report its face or edge although the foot is the common corner.
    """
    settled = feature.copy()
    edge = np.roll(corners, -1, axis=1) - corners
    arm = foot[:, None] - corners
    length = np.linalg.norm(edge, axis=2)
    off = np.linalg.norm(np.cross(arm, edge), axis=2) / np.maximum(length, 1e-12)
    nearest_edge = off.argmin(axis=1)
    rows = np.arange(len(feature))
    on_edge = (feature == 6) & (off[rows, nearest_edge] < _SAME_PLACE_MM)
    settled[on_edge] = 3 + nearest_edge[on_edge]
    to_corner = np.linalg.norm(arm, axis=2)
    nearest_corner = to_corner.argmin(axis=1)
    at_corner = to_corner[rows, nearest_corner] < _SAME_PLACE_MM
    settled[at_corner] = nearest_corner[at_corner]
    return settled


def _pseudo_normals(solid: Solid) -> FloatArray:
    """Normals (M, 7, 3) of every triangle's three corners, three edges and face, in the kernels' order."""
    partner = _across_edges(solid.faces)
    face = _steady_normals(solid, partner)
    corners = solid.triangles_mm
    out = np.empty((len(face), 7, 3))
    at_vertex = np.zeros_like(solid.vertices)
    for c in range(3):
        u = corners[:, (c + 1) % 3] - corners[:, c]
        v = corners[:, (c + 2) % 3] - corners[:, c]
        scale = np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1)
        cosine = np.divide(np.einsum("ij,ij->i", u, v), scale, out=np.ones_like(scale), where=scale > 0)
        weighted = np.arccos(np.clip(cosine, -1.0, 1.0))[:, None] * face
        np.add.at(at_vertex, solid.faces[:, c], weighted)
    for c in range(3):
        out[:, c] = at_vertex[solid.faces[:, c]]
        out[:, 3 + c] = face + face[partner[:, c]]
    out[:, 6] = face
    return out


def _steady_normals(solid: Solid, partner: IntArray) -> FloatArray:
    """Triangle normals (M, 3), a sliver's taken from across its longest edge.

    Booleans leave triangles thinner than a coordinate's rounding; their own normal may point anywhere.
    """
    normal = solid.normals
    corners = solid.triangles_mm
    edge = np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=2)
    longest = edge.argmax(axis=1)
    height = 2.0 * solid.areas_mm2 / np.maximum(edge.max(axis=1), 1e-12)
    sliver = np.flatnonzero(height < _SLIVER_HEIGHT_MM)
    lender = partner[sliver, longest[sliver]]
    for _ in range(20):  # slivers may lie beside slivers
        normal[sliver] = normal[lender]
    return normal


def _across_edges(faces: IntArray) -> IntArray:
    """Number (M, 3) of the triangle on the other side of each edge; the triangle itself at an open edge."""
    base = int(faces.max()) + 1
    start, end = faces.T.ravel(), faces[:, [1, 2, 0]].T.ravel()
    key, wanted = start * base + end, end * base + start
    order = np.argsort(key, kind="stable")
    place = np.minimum(np.searchsorted(key[order], wanted), len(key) - 1)
    own = np.tile(np.arange(len(faces)), 3)
    other = np.where(key[order][place] == wanted, own[order][place], own)
    return np.asarray(other.reshape(3, -1).T)


def hausdorff_mm(a: Solid, b: Solid, edge_mm: float = 1.0) -> float:
    """Symmetric Hausdorff distance in mm, sampled at vertices after splitting edges to ``edge_mm``.

    Each sample's distance is exact; between samples the true maximum can be larger by at most ``edge_mm`` / sqrt(3)
    times the sine of the angle between the surfaces there.
    """
    da = Surface(b).signed_distance_mm(refined(a, edge_mm).vertices)
    db = Surface(a).signed_distance_mm(refined(b, edge_mm).vertices)
    return float(max(np.abs(da).max(), np.abs(db).max()))
