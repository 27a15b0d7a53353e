"""Sacrum and coccyx as signed fields: bodies, lateral masses, crest, S1 facets, canal, foramina, joint faces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import inner, kernel
from implantflow.phantom import sacrum_tables as tables
from implantflow.phantom.parameters import Shape, jitter
from implantflow.phantom.primitives import (
    BLOCK,
    REACH_MM,
    SUBTRACT,
    Parts,
    clipped,
    lookup,
    lookup_2d,
    noise_at,
    smooth_max,
    smooth_min,
    smooth_step,
    with_parts,
)
from implantflow.phantom.sacral_line import MAP_FROM_MM, MAP_STEP_MM, SacralLine
from implantflow.phantom.si_joint import joint_coefficients, joint_gap, joint_x

FloatArray = NDArray[np.float64]

#: Width of the facet joints, mm.
FACET_GAP_MM = 2.2
#: Anatomy-frame box that holds sacrum and coccyx.
SACRUM_BOUNDS_MM = ((-74.0, -36.0, -140.0), (74.0, 102.0, 36.0))
#: Profiles along s are tabulated from here in this step.
_PROFILE_FROM, _PROFILE_STEP = -30.0, 0.5
_END_OF_S5 = 112.0
_Y0, _Z0 = MAP_FROM_MM
_DEPTH, _WIDTH, _CANAL_U, _CANAL_H, _CANAL_W, _SIDE = range(6)


class SacrumModel(NamedTuple):
    """What the compiled field needs: coordinate maps, profiles along s, relief tables, parts, joint, noise."""

    maps: FloatArray
    profiles: FloatArray
    front: FloatArray
    back: FloatArray
    solid: FloatArray
    hollow: FloatArray
    coccyx: FloatArray
    facets: FloatArray
    joint: FloatArray
    noise: NDArray[np.float32]


def _profile(stations: Sequence[float], values: Sequence[float], factor: float = 1.0) -> FloatArray:
    from scipy.interpolate import PchipInterpolator

    s = np.arange(_PROFILE_FROM, 160.0, _PROFILE_STEP)
    curve = PchipInterpolator(stations, np.asarray(values, float) * factor)
    return np.asarray(curve(np.clip(s, stations[0], stations[-1])), float)


def _relief(values: FloatArray) -> FloatArray:
    """A height field resampled to 1 mm steps in (s + 5, |x|) and smoothed."""
    from scipy.interpolate import RegularGridInterpolator
    from scipy.ndimage import gaussian_filter

    surface = RegularGridInterpolator(
        (np.array(tables.MASS_S, float), np.array(tables.MASS_X, float)), values, method="cubic"
    )
    grid = np.stack(np.meshgrid(np.arange(-5.0, 113.5), np.arange(0.0, 62.5), indexing="ij"), -1)
    return np.asarray(gaussian_filter(surface(grid), 1.5, mode="nearest"))


def _solid_parts(shape: Shape) -> FloatArray:
    """Crest and superior articular processes, in (x, u, s)."""
    parts = Parts()
    sway = jitter(shape, "crest", 4, 0.8)
    for (s, foot, tip, length, radius), dx in zip(tables.TUBERCLES, sway, strict=True):
        parts.capsule(
            (0.4 * dx, foot, s - length),
            (dx, tip, s + 0.7 * length),
            1.1 * radius,
            0.85 * radius,
            weights=(1.3, 1, 0.75),
            blend=8,
        )
    for (u0, s0), (u1, s1) in zip(tables.CREST_LINE[:-1], tables.CREST_LINE[1:], strict=True):
        parts.capsule((0, u0, s0), (0, u1, s1), 2.6, blend=5)
    for facet, side in enumerate((-1, 1)):
        parts.capsule((side * 23, -23, 10), (side * 25, -25, 2), 8.5, 7.5, weights=(0.9, 1.2, 0.9), blend=8)
        parts.capsule(
            (side * 24, -26, 5),
            (side * 25, -28.5, -5.5),
            8.5,
            7.2,
            weights=(0.85, 1.15, 0.9),
            blend=5,
            facet=(facet, -1),
        )
    return parts.table()


def _hollow_parts(shape: Shape) -> FloatArray:
    """Foramina: from the canal to a hub, from there a funnel forward and a tube backward, in (x, u, s)."""
    parts = Parts()
    f = shape.foramina
    wobble = jitter(shape, "foramina", 32, 0.7).reshape(4, 2, 4)
    for n, (s, x, front, back, u_back, u_canal, u_hub) in enumerate(tables.FORAMINA):
        for m, side in enumerate((-1, 1)):
            dx, ds, d1, d2 = wobble[n, m]
            x_hub = x + dx
            hub = (side * x_hub, u_hub, s + ds)
            mouth = (side * (x_hub + 4), u_hub + 10, s + 1.5 + d1)
            far = (side * (x_hub + 11), u_hub + 32, s + 5)
            rear = (side * (x_hub + 1.5), u_back, s + 2 + d2)
            common = {"blend": 3.0, "operation": SUBTRACT}
            parts.capsule((side * 8, u_canal, s - 4), hub, 3.4 * f, 0.72 * front * f, **common)  # type: ignore[arg-type]
            parts.capsule(hub, mouth, 0.72 * front * f, front * f, **common)  # type: ignore[arg-type]
            parts.capsule(mouth, far, front * f, 1.5 * front * f, **common)  # type: ignore[arg-type]
            parts.capsule(hub, rear, back * f, 1.25 * back * f, **common)  # type: ignore[arg-type]
    return parts.table()


def _coccyx_parts(shape: Shape) -> FloatArray:
    parts = Parts()
    for (s, half_x, half_u, half_s), dx in zip(tables.COCCYX, jitter(shape, "coccyx", 4, 0.5), strict=True):
        weights = (half_s / half_x, half_s / half_u, 1.0)
        parts.capsule(
            (dx, 0, s - 0.1),
            (dx, 0, s + 0.1),
            half_s,
            weights=weights,
            blend=4.5,
        )
    for side in (-1, 1):
        parts.capsule((side * 5, -3, 117), (side * 6, -7, 110.5), 2.2, 1.6, blend=2)
    return parts.table()


def sacrum_model(
    shape: Shape, line: SacralLine, facets: FloatArray, noise: NDArray[np.float32]
) -> SacrumModel:
    """Gather everything :func:`sacrum_field` needs; ``facets`` are the L5/S1 joints in (x, u, s)."""
    profiles = np.stack(
        [
            _profile(tables.BODY_S, tables.BODY_DEPTH, shape.endplate_half_depth_mm / 16),
            _profile(tables.BODY_S, tables.BODY_WIDTH, shape.endplate_half_width_mm / 25),
            _profile(*tables.CANAL_AXIS),
            _profile(*tables.CANAL_HEIGHT, factor=shape.canal),
            _profile(*tables.CANAL_WIDTH, factor=shape.canal),
            _profile(tables.SIDE_S, tables.SIDE_X, shape.si_half_width_mm / 55),
        ]
    )
    s = np.arange(_PROFILE_FROM, 160.0, _PROFILE_STEP)
    for station, height in tables.RIDGES:
        profiles[_DEPTH] += height * np.exp(-(((s - station) / 2.6) ** 2))
    middle = 0.5 * (tables.MASS_FRONT + tables.MASS_BACK)
    grown = shape.ala_volume
    return SacrumModel(
        maps=line.maps(),
        profiles=profiles,
        front=_relief(middle + (tables.MASS_FRONT - middle) * grown),
        back=_relief(middle + (tables.MASS_BACK - middle) * grown),
        solid=_solid_parts(shape),
        hollow=_hollow_parts(shape),
        coccyx=_coccyx_parts(shape),
        facets=facets,
        joint=joint_coefficients(shape),
        noise=noise,
    )


@inner
def _body(x: float, u: float, s: float, depth: float, width: float) -> float:
    """The fused vertebral bodies: a superellipse with a hollow back, a dished endplate and an end at S5."""
    back = 0.004 * x * x if u < 0 else 0.0
    ratio_x, ratio_u = abs(x) / width, abs(u + back) / depth
    q = (ratio_x**2.3 + ratio_u**2.3) ** (1 / 2.3)
    dish = 1.6 * (1.0 - min((x / width) ** 2 + (u / depth) ** 2, 1.0))
    f = smooth_max((q - 1.0) * min(depth, width), dish - s, 2.2)
    return smooth_max(f, s - _END_OF_S5, 3.0)


@inner
def _lateral_mass(x: float, u: float, s: float, side: float, m: SacrumModel) -> float:
    """Alae and lateral parts: between a front and a back height field, with segmental relief on the back."""
    front, back = lookup_2d(m.front, s + 5.0, x), lookup_2d(m.back, s + 5.0, x)
    wave = math.cos((s - 16.0) * 2.0 * math.pi / 24.0)
    back -= 1.1 * wave * math.exp(-(((x - 22.0) / 5.0) ** 2))
    if s > 20.0:
        back -= 1.8 * wave * math.exp(-(((x - 40.0) / 5.0) ** 2)) * smooth_step((s - 20.0) / 6.0)
    # The top of the ala falls away laterally and behind; it is convex and stays deep at the joint.
    top = 1.0 + 0.24 * max(x - 20.0, 0.0) - 0.009 * max(x - 38.0, 0.0) ** 2
    top += 0.14 * max(u + 4.0, 0.0) + 0.25 * max(-u - 18.0, 0.0)
    f = smooth_max(u - front, back - u, 7.0)
    f = smooth_max(f, x - side, 6.0)
    f = smooth_max(f, top - s, 6.0)
    return smooth_max(f, s - _END_OF_S5 + 1.0, 5.0)


@inner
def canal_field(x: float, u: float, s: float, m: SacrumModel) -> float:
    """The sacral canal (negative inside): a rounded triangle, open behind below s = 93 (hiatus)."""
    t = (s - _PROFILE_FROM) / _PROFILE_STEP
    axis, height, width = (
        lookup(m.profiles[_CANAL_U], t),
        lookup(m.profiles[_CANAL_H], t),
        lookup(m.profiles[_CANAL_W], t),
    )
    narrow = 1.0 - 0.38 * min(max((axis - u) / height, -0.6), 1.0)
    q = ((abs(x) / (width * narrow)) ** 2.2 + (abs(u - axis) / height) ** 2.2) ** (1 / 2.2)
    canal = max((q - 1.0) * height, s - 101.0)
    hiatus = smooth_max(abs(x) - 4.2, smooth_max(93.0 - s, u + 8.5, 2.0), 2.0)
    return smooth_min(canal, hiatus, 3.0)


@inner
def curved(y: float, z: float, m: SacrumModel) -> tuple[float, float]:
    """Curved coordinates (s, u) of an anatomy-frame point."""
    a, b = (y - _Y0) / MAP_STEP_MM, (z - _Z0) / MAP_STEP_MM
    return lookup_2d(m.maps[0], a, b), lookup_2d(m.maps[1], a, b)


@inner
def sacrum_field(x: float, y: float, z: float, m: SacrumModel) -> tuple[float, float]:
    """Raw fields of sacrum and coccyx at an anatomy-frame point (not yet distances)."""
    s, u = curved(y, z, m)
    ax = abs(x)
    t = (s - _PROFILE_FROM) / _PROFILE_STEP
    body = _body(x, u, s, lookup(m.profiles[_DEPTH], t), lookup(m.profiles[_WIDTH], t))
    mass = _lateral_mass(ax, u, s, lookup(m.profiles[_SIDE], t), m)
    f = smooth_min(body, mass, 5.0)
    f = with_parts(f, x, u, s, m.solid, m.facets, FACET_GAP_MM)
    if f < 2.0 * REACH_MM:
        f = smooth_max(f, -canal_field(x, u, s, m), 2.0)
        f = with_parts(f, x, u, s, m.hollow, m.facets, FACET_GAP_MM)
        rough = 0.45 * noise_at(m.noise, x, y, z, 4.0)
        rough += (
            0.7
            * noise_at(m.noise, x + 37.0, y + 11.0, z + 5.0, 9.0)
            * (0.25 + 0.75 * smooth_step((-u - 12.0) / 12.0))
        )
        f += rough
        c = m.joint[1 if x > 0 else 0]
        # Behind the joint proper the ligaments' cleft widens.
        cleft = 6.0 * smooth_step((-u - 16.0) / 15.0) ** 2
        limit = joint_x(y, z, c) - 0.5 * joint_gap(y, z, c) - cleft
        f = smooth_max(f, (ax - limit) * 0.97, 2.5)
    coccyx = with_parts(30.0, x, u, s, m.coccyx, m.facets, FACET_GAP_MM)
    coccyx += 0.25 * noise_at(m.noise, x, y, z, 4.0)
    coccyx = max(coccyx, 0.5 * (coccyx - f) + 0.75)
    return f, coccyx


@kernel
def fill_sacrum(
    sacrum: NDArray[np.float32],
    coccyx: NDArray[np.float32],
    m: SacrumModel,
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
        for j in range(sacrum.shape[1]):
            for i in range(sacrum.shape[2]):
                known = blocks[:, k // BLOCK, j // BLOCK, i // BLOCK]
                if known[0] != 0.0:
                    sacrum[k, j, i], coccyx[k, j, i] = known[0], known[1]
                    continue
                x = matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 2] * k + matrix[0, 3]
                y = matrix[1, 0] * i + matrix[1, 1] * j + matrix[1, 2] * k + matrix[1, 3]
                z = matrix[2, 0] * i + matrix[2, 1] * j + matrix[2, 2] * k + matrix[2, 3]
                f, c = sacrum_field(x, y, z, m)
                sacrum[k, j, i] = clipped(f, limit)
                coccyx[k, j, i] = clipped(c, limit)
