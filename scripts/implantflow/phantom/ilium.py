"""Hip bone as a silhouette times a height field, cut by the shared joint surface; femoral head and shaft.

The blade is a slab around a middle surface x = m(y, z) with half thickness h(y, z), inside an outline drawn in
(y, z). Both come from thin-plate splines through the tables.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import inner, kernel
from implantflow.phantom import ilium_tables as tables
from implantflow.phantom.parameters import Shape, jitter
from implantflow.phantom.primitives import (
    BLOCK,
    REACH_MM,
    Parts,
    clipped,
    lookup_2d,
    noise_at,
    smooth_max,
    smooth_min,
    with_parts,
)
from implantflow.phantom.si_joint import joint_coefficients, joint_gap, joint_x

FloatArray = NDArray[np.float64]

#: Box (|x|, y, z) that holds hip bone and proximal femur.
ILIUM_BOUNDS_MM = ((30.0, -98.0, -175.0), (168.0, 88.0, 64.0))
_FROM_Y, _FROM_Z, _STEP = -98.0, -175.0, 1.0
_MIDDLE, _HALF, _OUTLINE, _COSINE, _BLEND = range(5)
#: Half thickness below which the blade would tear at the scale of a voxel (fossa: 2.7 mm thick).
_LEAST_HALF_THICKNESS = 1.35


class IliumModel(NamedTuple):
    """Maps (5, NY, NZ) of middle |x|, half thickness, outline distance, slope cosine, blend; parts; joint; noise."""

    side: float
    maps: FloatArray
    solid: FloatArray
    femur: FloatArray
    joint: FloatArray
    noise: NDArray[np.float32]
    shift: float


def _spline_map(rows: FloatArray, y: FloatArray, z: FloatArray, smoothing: float) -> FloatArray:
    """Thin-plate spline through (y, z, value) ``rows``, evaluated on the grid (coarsely, then interpolated)."""
    from scipy.interpolate import RBFInterpolator, RegularGridInterpolator

    coarse_y, coarse_z = np.linspace(y[0], y[-1], len(y) // 4), np.linspace(z[0], z[-1], len(z) // 4)
    spline = RBFInterpolator(rows[:, :2], rows[:, 2], smoothing=smoothing)
    grid = np.stack(np.meshgrid(coarse_y, coarse_z, indexing="ij"), -1)
    values = spline(grid.reshape(-1, 2)).reshape(len(coarse_y), len(coarse_z))
    fine = np.stack(np.meshgrid(y, z, indexing="ij"), -1)
    return np.asarray(RegularGridInterpolator((coarse_y, coarse_z), values)(fine))


def outline_curve(lift_mm: float = 0.0) -> FloatArray:
    """The silhouette as a closed smooth curve, (5000, 2) points (y, z)."""
    from scipy.interpolate import CubicSpline

    closed = np.vstack([tables.OUTLINE, tables.OUTLINE[:1]])
    # Centripetal parameter: no loops where points are unevenly spaced.
    t = np.r_[0, np.cumsum(np.hypot(*np.diff(closed, axis=0).T) ** 0.5)]
    curve = CubicSpline(t, closed, bc_type="periodic")(np.linspace(0, t[-1], 5000, endpoint=False))
    curve[:, 1] += lift_mm
    return np.asarray(curve)


def _outline_distance(curve: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
    """Signed distance to the closed ``curve`` on the grid, negative inside.

    The curve is smooth and finely sampled, so the side of its tangent at the nearest sample tells inside.
    """
    from scipy.spatial import cKDTree

    grid = np.stack(np.meshgrid(y, z, indexing="ij"), -1).reshape(-1, 2)
    distance, nearest = cKDTree(curve).query(grid)
    tangent = np.roll(curve, -1, axis=0) - np.roll(curve, 1, axis=0)
    area = np.sum(curve[:, 0] * tangent[:, 1] - curve[:, 1] * tangent[:, 0])
    offset = grid - curve[nearest]
    left = tangent[nearest, 0] * offset[:, 1] - tangent[nearest, 1] * offset[:, 0]
    signed = np.where(left * np.sign(area) > 0, -distance, distance)
    return np.asarray(signed.reshape(len(y), len(z)))


def _lip(outline: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
    """Thickening of the crest's rim, with tubercle and spines."""
    lip = np.exp(-np.square(np.maximum(-outline, 0) / 6.5)) * np.clip((z[None] + 30) / 30, 0, 1)
    for (y0, z0), width, share in tables.RIM_SWELLINGS:
        lip = lip + share * np.exp(-((y[:, None] - y0) ** 2 + (z[None] - z0) ** 2) / width)
    return np.asarray(lip)


def ilium_model(shape: Shape, side: int, noise: NDArray[np.float32]) -> IliumModel:
    """The hip bone of one ``side`` (+1 left, -1 right)."""
    from scipy.ndimage import gaussian_filter

    shift, lift = jitter(shape, f"hip{side}", 2, 0.8)
    (_, y0, z0), (_, y1, z1) = ILIUM_BOUNDS_MM
    y, z = np.arange(y0, y1, _STEP), np.arange(z0, z1, _STEP)
    inner = _spline_map(tables.INNER, y, z, 3.0)
    thickness = _spline_map(tables.THICKNESS, y, z, 2.0) * shape.wing_thickness
    flare = (shape.asis_half_distance_mm - 120.0) / 70.0
    inner = gaussian_filter(inner + flare * np.clip(inner - 50, 0, 80) + 0.6 * shift, 2.4)
    thickness = gaussian_filter(np.maximum(thickness, 2.8), 2.0)
    outline = _outline_distance(outline_curve(float(lift)), y, z)
    middle = inner + thickness / 2
    slope = np.gradient(middle, _STEP)
    cosine = gaussian_filter(1 / np.sqrt(1 + slope[0] ** 2 + slope[1] ** 2), 3.2)
    half = gaussian_filter(thickness / 2 + 2.2 * _lip(outline, y, z), 1.6)
    half = np.maximum(half, _LEAST_HALF_THICKNESS / cosine)
    blend = np.clip(half * cosine * 1.3, 2.2, 11)
    return IliumModel(
        side=float(side),
        maps=np.stack([middle, half, outline, cosine, blend]),
        solid=_solid_parts(),
        femur=_femur_parts(),
        joint=joint_coefficients(shape)[1 if side > 0 else 0],
        noise=noise,
        shift=500.0 * side,
    )


def _solid_parts() -> FloatArray:
    """Superior pubic ramus, ischium and ischial spine, with x outward."""
    parts = Parts()
    parts.capsule((78, -45, -100), (34, -72, -130), 12, 8.5, weights=(1, 1, 0.9), blend=8)
    parts.capsule((34, -72, -130), (8, -80, -148), 8.5, 9.5, weights=(1, 1, 0.8), blend=6)
    parts.capsule((72, 5, -105), (62, 14, -165), 13, 15, blend=6)
    parts.capsule((66, 10, -112), (55, 21, -117), 5.5, 2.6, weights=(1.1, 1, 0.8), blend=6)
    return parts.table()


def _femur_parts() -> FloatArray:
    """Neck, trochanter and shaft of the femur, with x outward."""
    parts = Parts()
    x, y, z = tables.HIP_CENTRE
    parts.capsule((x, y, z), (132, -14, -126), 15, 15, weights=(1, 1.1, 0.9), blend=8)
    parts.capsule((139, -8, -122), (135, -10, -178), 16, 16.5, blend=8)
    parts.capsule((141, -2, -108), (140, -4, -122), 8, 12, blend=6)
    return parts.table()


@inner
def blade(x: float, y: float, z: float, m: IliumModel) -> tuple[float, float, float]:
    """Signed offset from the middle surface (outward positive), half thickness, outline distance; all mm."""
    a, b = (y - _FROM_Y) / _STEP, (z - _FROM_Z) / _STEP
    cosine = lookup_2d(m.maps[_COSINE], a, b)
    offset = (x - lookup_2d(m.maps[_MIDDLE], a, b)) * cosine
    return offset, lookup_2d(m.maps[_HALF], a, b) * cosine, lookup_2d(m.maps[_OUTLINE], a, b)


@inner
def ilium_field(x: float, y: float, z: float, m: IliumModel) -> tuple[float, float]:
    """Raw fields of hip bone and femur at (outward x, y, z) in the anatomy frame."""
    no_facets = m.joint.reshape(1, -1)
    offset, half, outline = blade(x, y, z, m)
    a, b = (y - _FROM_Y) / _STEP, (z - _FROM_Z) / _STEP
    f = smooth_max(abs(offset) - half, outline * 0.97, lookup_2d(m.maps[_BLEND], a, b))
    f = with_parts(f, x, y, z, m.solid, no_facets, 0.0)
    hx, hy, hz = x - tables.HIP_CENTRE[0], y - tables.HIP_CENTRE[1], z - tables.HIP_CENTRE[2]
    radius = math.sqrt(hx * hx + hy * hy + hz * hz)
    # The rim opens outward, forward and downward; the notch is left out at the bottom.
    rim = smooth_max(radius - 33.0, 0.80 * hx + 0.30 * -hy + 0.45 * -hz - 13.0, 4.0)
    f = smooth_min(f, rim, 7.0)
    f = smooth_max(f, tables.SOCKET_RADIUS - radius, 2.0)
    head = with_parts(radius - tables.HEAD_RADIUS, x, y, z, m.femur, no_facets, 0.0)
    if f < 2.0 * REACH_MM:
        rough = 0.45 * noise_at(m.noise, x + m.shift, y, z, 4.0)
        rough += 0.5 * noise_at(m.noise, x + m.shift, y + 13.0, z + 7.0, 10.0)
        f += rough * min(max(half / 7.0, 0.2), 1.0)
        limit = joint_x(y, z, m.joint) + 0.5 * joint_gap(y, z, m.joint)
        f = smooth_max(f, limit - x, 2.0)
        f = smooth_max(f, 2.4 - head, 1.5)
    return f, head


@kernel
def fill_ilium(
    hip: NDArray[np.float32],
    femur: NDArray[np.float32],
    m: IliumModel,
    matrix: FloatArray,
    blocks: NDArray[np.float32],
    limit: float,
    first: int,
    last: int,
) -> None:
    """Fill slices ``first`` to ``last`` of both (K, J, I) arrays, clipped at ``limit``.

    ``matrix`` maps (i, j, k, 1) to anatomy mm; voxels of a block whose values in ``blocks`` are not zero take them.
    """
    for k in range(first, last):
        for j in range(hip.shape[1]):
            for i in range(hip.shape[2]):
                known = blocks[:, k // BLOCK, j // BLOCK, i // BLOCK]
                if known[0] != 0.0:
                    hip[k, j, i], femur[k, j, i] = known[0], known[1]
                    continue
                x = matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 2] * k + matrix[0, 3]
                y = matrix[1, 0] * i + matrix[1, 1] * j + matrix[1, 2] * k + matrix[1, 3]
                z = matrix[2, 0] * i + matrix[2, 1] * j + matrix[2, 2] * k + matrix[2, 3]
                f, c = ilium_field(x * m.side, y, z, m)
                hip[k, j, i] = clipped(f, limit)
                femur[k, j, i] = clipped(c, limit)
