"""Lumbar vertebrae L5, L4, L3, their discs, and the facet joints between them and the sacrum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from implantflow.compiled import inner, kernel
from implantflow.phantom.parameters import Shape, jitter
from implantflow.phantom.primitives import (
    BLOCK,
    REACH_MM,
    Parts,
    clipped,
    noise_at,
    smooth_max,
    smooth_step,
    with_parts,
)
from implantflow.phantom.sacral_line import SacralLine
from implantflow.phantom.sacrum import FACET_GAP_MM

FloatArray = NDArray[np.float64]

LEVELS = ("l5", "l4", "l3")
#: Wedge of the disc below and of the body, degrees, L5 to L3: together the lumbar lordosis.
_DISC_WEDGE, _BODY_WEDGE = (13.0, 8.0, 6.0), (9.0, 4.0, 2.0)
_WIDTH, _DEPTH = (1.04, 1.0, 0.96), (1.08, 1.07, 1.06)
_PEDICLE_X, _PEDICLE_R = (20.0, 17.5, 16.0), (7.0, 6.0, 5.5)
#: Facet joints open forward-medially; the angle of their normal to the sagittal plane grows towards L5/S1.
_FACET_ANGLE_DEG = (48.0, 45.0, 40.0)
_FACET_CURVE = 1 / 32.0


@dataclass(frozen=True)
class Level:
    """Where a vertebra sits: centre of its body (anatomy frame), tilt about x, height, wedges; disc below it."""

    index: int
    centre: FloatArray
    tilt_deg: float
    height_mm: float
    wedge_deg: float
    disc_centre: FloatArray
    disc_tilt_deg: float
    disc_height_mm: float
    disc_wedge_deg: float

    @property
    def axes(self) -> FloatArray:
        """Rows: left, back and up of the vertebra in the anatomy frame."""
        return _axes(self.tilt_deg)

    def to_anatomy(self, local: ArrayLike) -> FloatArray:
        """Local (x, back, up) point -> anatomy frame."""
        return np.asarray(self.centre + np.asarray(local, float) @ self.axes)


def _axes(tilt_deg: float) -> FloatArray:
    c, s = np.cos(np.radians(tilt_deg)), np.sin(np.radians(tilt_deg))
    return np.array([[1.0, 0.0, 0.0], [0.0, c, s], [0.0, -s, c]])


def stack(shape: Shape) -> list[Level]:
    """Stack L5, L4 and L3 upon the S1 endplate, disc by disc."""
    levels, top, tilt = [], np.zeros(3), shape.sacral_slope_deg
    for n in range(3):
        disc_height = shape.disc_l5s1_mm if n == 0 else shape.disc_mm
        disc_tilt = tilt - _DISC_WEDGE[n] / 2
        up = _axes(disc_tilt)[2]
        disc_centre, bottom = top + up * disc_height / 2, top + up * disc_height
        body_tilt = tilt - _DISC_WEDGE[n] - _BODY_WEDGE[n] / 2
        height = shape.vertebral_height_mm - (0.8 if n == 0 else 0.0)
        up = _axes(body_tilt)[2]
        levels.append(
            Level(
                n,
                bottom + up * height / 2,
                body_tilt,
                height,
                _BODY_WEDGE[n],
                disc_centre,
                disc_tilt,
                disc_height,
                _DISC_WEDGE[n],
            )
        )
        top, tilt = bottom + up * height, tilt - _DISC_WEDGE[n] - _BODY_WEDGE[n]
    return levels


class VertebraModel(NamedTuple):
    """Sizes of the body, its tables of parts, the facet joints (local frame) and the noise."""

    half_width: float
    half_depth: float
    height: float
    wedge: float
    waist: float
    canal_depth: float
    canal_width: float
    parts: FloatArray
    facets: FloatArray
    noise: NDArray[np.float32]
    shift: float


def _facet(centre: FloatArray, side: int, angle_deg: float) -> list[float]:
    """Row of a facet joint in the frame of the lower bone: centre, normal (back and medial), tangent, curve."""
    angle = np.radians(angle_deg)
    normal = np.array([-side * np.sin(angle), np.cos(angle), 0.12])
    normal /= np.linalg.norm(normal)
    tangent = np.cross(normal, [0.0, 0.0, 1.0])
    return [*centre, *normal, *(tangent / np.linalg.norm(tangent)), _FACET_CURVE]


def _turned(rows: FloatArray, origin: FloatArray, axes: FloatArray, inverse: bool) -> FloatArray:
    """Facet rows from local to anatomy axes (``inverse`` False) or back."""
    out = rows.copy()
    turn = axes.T if inverse else axes
    out[:, 0:3] = (rows[:, 0:3] - origin) @ turn if inverse else origin + rows[:, 0:3] @ turn
    out[:, 3:6], out[:, 6:9] = rows[:, 3:6] @ turn, rows[:, 6:9] @ turn
    return out


def facet_joints(shape: Shape, line: SacralLine, levels: list[Level]) -> list[FloatArray]:
    """Facet joints S1/L5, L5/L4, L4/L3 and the upper ones of L3 in the anatomy frame, right then left."""
    behind, up = line.direction(0, -1, 0), line.direction(0, 0, -1)
    axes = np.array([[1.0, 0.0, 0.0], behind, up])
    sacral = np.array([_facet(np.array([s * 20.5, 31.0, 3.5]), s, _FACET_ANGLE_DEG[0]) for s in (-1, 1)])
    joints = [_turned(sacral, np.zeros(3), axes, False)]
    for level in levels:
        n = level.index
        x, back = _PEDICLE_X[n] - 0.5, shape.endplate_half_depth_mm * _DEPTH[n] + 18.0
        rows = np.array([_facet(np.array([s * x, back, 15.0]), s, _FACET_ANGLE_DEG[n]) for s in (-1, 1)])
        joints.append(_turned(rows, level.centre, level.axes, False))
    return joints


def sacral_facets(line: SacralLine, joints: list[FloatArray]) -> FloatArray:
    """The L5/S1 joints in the sacrum's (x, u, s), linearised at S1."""
    axes = np.array([[1.0, 0.0, 0.0], line.direction(0, 1, 0), line.direction(0, 0, 1)])
    return _turned(joints[0], np.zeros(3), axes, True)


def vertebra_model(
    shape: Shape, level: Level, joints: list[FloatArray], noise: NDArray[np.float32]
) -> VertebraModel:
    """The vertebra of ``level``; facets 0-1 are its lower joints, 2-3 its upper ones."""
    n = level.index
    facets = np.vstack([_turned(joints[n + k], level.centre, level.axes, True) for k in (0, 1)])
    depth = shape.endplate_half_depth_mm * _DEPTH[n]
    return VertebraModel(
        half_width=shape.endplate_half_width_mm * _WIDTH[n],
        half_depth=depth,
        height=level.height_mm,
        wedge=float(np.tan(np.radians(level.wedge_deg / 2))),
        waist=0.11,
        canal_depth=9.0 * shape.canal,
        canal_width=(14.0, 12.5, 12.0)[n] * shape.canal,
        parts=_parts(shape, n, depth, facets),
        facets=facets,
        noise=noise,
        shift=211.0 * (n + 1),
    )


def _parts(shape: Shape, n: int, depth: float, facets: FloatArray) -> FloatArray:
    parts = Parts()
    px, pr = _PEDICLE_X[n], _PEDICLE_R[n] * shape.pedicle
    for m, side in enumerate((-1, 1)):
        d = jitter(shape, f"l{n}{side}", 4, 0.7)
        parts.capsule(
            (side * (px - 1), depth - 6, 5), (side * px, depth + 9, 5), pr, weights=(1, 1, 0.8), blend=4
        )
        _transverse_process(parts, shape, n, side, depth, d)
        lower, upper = facets[m], facets[2 + m]
        base = np.array([side * (px + 0.5), depth + 10.5, 5.0])
        tip = upper[:3] - 3.6 * upper[3:6] + [0, 0, 4.5]
        parts.capsule(base, tip, 6.6, 6.0, weights=(1, 1, 0.9), blend=4, facet=(2 + m, -1))
        root = np.array([side * (px - 4.0), depth + 19.0, -4.0])
        tip = lower[:3] + 3.6 * lower[3:6] + [0, 0, -4.0]
        parts.capsule(root, tip, 6.0, 5.8, weights=(1, 1, 0.9), blend=4, facet=(m, 1))
        # Pars interarticularis, then the lamina: a plate that leans back towards its lower edge.
        parts.capsule(base, root, 5.0, 4.8, weights=(1, 1.1, 0.9), blend=4)
        reach = np.array([-side * (px - 1.0), 11.0, -4.0])
        centre = np.array([side * (px - 2.5), depth + 15.0, -1.0]) + 0.5 * reach
        parts.plate(
            centre,
            reach,
            (0, -0.32, 1),
            (float(np.linalg.norm(reach)) / 2 + 2.0, (8.5, 9.5, 10)[n], 3.0),
            rounding=2.6,
            blend=4,
        )
    _spinous_process(parts, shape, n, depth)
    return parts.table()


def _transverse_process(parts: Parts, shape: Shape, n: int, side: int, depth: float, d: FloatArray) -> None:
    reach = shape.transverse_process_mm + (-3.0, 0.0, 2.0)[n] + d[0]
    if n == 0:
        # L5: stout, from body and pedicle, aimed up and back.
        parts.capsule(
            (side * 19, depth + 3, 4),
            (side * reach, depth + 14, 9 + d[1]),
            8.0,
            4.8,
            weights=(1, 1.2, 1),
            blend=5,
        )
        return
    parts.capsule(
        (side * 17, depth + 8, 4),
        (side * reach, depth + 15 + d[2], 7 + d[1]),
        5.2,
        3.6,
        weights=(1, 1.5, 0.85),
        blend=4,
    )


def _spinous_process(parts: Parts, shape: Shape, n: int, depth: float) -> None:
    length = shape.spinous_process_mm * (0.74, 1.0, 1.05)[n]
    sway = jitter(shape, f"spine{n}", 2, 0.9)
    along = np.array([sway[0] / length, 1.0, -0.16])
    centre = np.array([0, depth + 22, -8.0]) + along * (length / 2)
    height = (6.5, 9.5, 10.0)[n]
    parts.plate(centre, along, (0, 0, 1), (length / 2 + 1.5, height, 3.1), rounding=2.9, blend=5)
    tip = np.array([0, depth + 22, -8.0]) + along * (length - 2.5)
    upright = np.array([0.0, 0.0, height])
    parts.capsule(tip - 0.65 * upright, tip + 0.5 * upright, 4.2, 3.4, blend=4)


@inner
def vertebra_field(x: float, q: float, h: float, m: VertebraModel) -> float:
    """Raw field at local (x, q back, h up)."""
    waist = 1.0 - m.waist * (1.0 - min((2 * h / m.height) ** 2, 1.2))
    back = q + (0.0055 * x * x if q > 0 else 0.0)
    r = ((abs(x) / (m.half_width * waist)) ** 2.2 + (abs(back) / (m.half_depth * waist)) ** 2.3) ** (1 / 2.25)
    dish = 1.8 * max(1.0 - (r / 0.86) ** 2, 0.0)
    f = smooth_max((r - 1.0) * m.half_depth, abs(h) - (0.5 * m.height - m.wedge * q - dish), 2.4)
    f = with_parts(f, x, q, h, m.parts, m.facets, FACET_GAP_MM)
    if f < 2.0 * REACH_MM:
        centre = m.half_depth + m.canal_depth + 0.3
        canal = ((x / m.canal_width) ** 2 + ((q - centre) / m.canal_depth) ** 2) ** 0.5 - 1.0
        f = smooth_max(f, -canal * m.canal_depth, 2.0)
        f += 0.4 * noise_at(m.noise, x + m.shift, q, h, 4.0)
        ragged = 0.1 + 0.5 * smooth_step((q - 14.0) / 10.0)
        f += ragged * noise_at(m.noise, x + m.shift, q + 17.0, h + 3.0, 9.0)
    return f


@kernel
def fill_vertebra(
    out: NDArray[np.float32],
    m: VertebraModel,
    matrix: FloatArray,
    blocks: NDArray[np.float32],
    limit: float,
    first: int,
    last: int,
) -> None:
    """Fill slices ``first`` to ``last`` of (K, J, I) ``out``, clipped at ``limit``.

    ``matrix`` maps (i, j, k, 1) to local mm; voxels of a block whose value in ``blocks`` is not zero take it.
    """
    for k in range(first, last):
        for j in range(out.shape[1]):
            for i in range(out.shape[2]):
                known = blocks[0, k // BLOCK, j // BLOCK, i // BLOCK]
                if known != 0.0:
                    out[k, j, i] = known
                    continue
                x = matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 2] * k + matrix[0, 3]
                q = matrix[1, 0] * i + matrix[1, 1] * j + matrix[1, 2] * k + matrix[1, 3]
                h = matrix[2, 0] * i + matrix[2, 1] * j + matrix[2, 2] * k + matrix[2, 3]
                out[k, j, i] = clipped(vertebra_field(x, q, h, m), limit)
