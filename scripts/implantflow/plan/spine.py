"""Vertebrae above L5, taken from the bone labels: level by level, and what the scan does not hold of them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, Plane, unit
from implantflow.solids.booleans import merged, shells
from implantflow.solids.mesh import Solid
from implantflow.solids.offset import isosurface
from implantflow.volumes import Volume

#: The column is followed within this radius; bodies are this high; a disc shows less than this share of bone.
_RADIUS_MM = 13.0
_BODY_MIN_MM, _BODY_MAX_MM = 18.0, 42.0
_DISC_SHARE = 0.6
#: Fewer voxels, or less volume, are no vertebra.
_FEWEST, _CRUMB_MM3 = 1000, 200.0


@dataclass(frozen=True)
class Vertebra:
    """One vertebra above L5.

    Attributes
    ----------
    solid : Solid or None
        Closed surface (from the label map: good to about half a voxel), None when it is not whole in the scan.
    why : str
        What is missing of it.
    """

    solid: Solid | None
    why: str


def vertebrae_above(
    labels: Volume, code: int, l5: Solid, up: FloatArray, front: FloatArray
) -> dict[str, Vertebra]:
    """L4 and L3 by name.

    The column of bodies is followed upwards from L5: where less than 0.6 of its usual share of a disc of 13 mm radius
    is bone, there is a disc.

    Parameters
    ----------
    labels, code : Volume, int
        Bone labels and the number of the bone above L5.
    up, front : (3,) arrays
        Unit vectors of L5: cranial and anterior.
    """
    outside = {name: Vertebra(None, f"{name} lies outside the scan") for name in ("L4", "L3")}
    index = np.argwhere(labels.array == code)
    if len(index) < _FEWEST:
        return outside
    points = labels.index_to_lps(index[:, ::-1])
    body = l5.centres_mm[l5.centres_mm @ front > np.quantile(l5.centres_mm @ front, 0.4)].mean(axis=0)
    levels, axis = _column(points, labels, body, up, front)
    if len(levels) == 0:
        return outside
    discs = _discs(levels)
    found = {}
    for name, low, high in zip(("L4", "L3"), discs[:-1], discs[1:], strict=False):
        at = (points - body) @ axis
        mine = index[(at >= low) & (at < high)]
        complete = bool(np.isfinite(high)) or _ends_below_scan(labels, mine)
        height = min(float(high), float(at.max())) - max(float(low), float(at.min()))
        if not complete or height < _BODY_MIN_MM:
            found[name] = Vertebra(None, f"{name} is cut off by the scan's upper end")
        else:
            found[name] = Vertebra(_surfaces(labels, mine)[0], "")
    return outside | found


def _column(
    points: FloatArray, labels: Volume, body: FloatArray, up: FloatArray, front: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Share of bone (T,) about the bodies' axis per mm above ``body``, and the axis' direction."""
    above = (points - body) @ up
    ahead = (points - body) @ front
    # Bodies only: no farther back than 12 mm behind the middle of L5's body, bent by no more than 0.5.
    front_part = points[(ahead > -12.0 - 0.5 * np.abs(above)) & (above > 10.0)]
    if len(front_part) < 500:
        return np.empty(0), up
    axis = up
    for _ in range(5):
        rel = front_part - body
        off = rel - np.outer(rel @ axis, axis)
        near = np.linalg.norm(off, axis=1) < 28.0
        axis = unit(np.round((rel[near]).mean(axis=0), 9))
    rel = points - body
    along = rel @ axis
    near = np.linalg.norm(rel - np.outer(along, axis), axis=1) < _RADIUS_MM
    top = int(np.ceil(along.max())) + 1
    counts = np.bincount(np.clip(along[near], 0, top).astype(np.int64), minlength=top + 1)
    share = counts * labels.voxel_volume_mm3 / (np.pi * _RADIUS_MM**2)
    return share.astype(np.float64), axis


def _discs(share: FloatArray) -> list[float]:
    """Heights of the discs: where bone begins, each gap between bodies, and infinity for an open upper end."""
    from scipy.ndimage import gaussian_filter1d

    smooth = gaussian_filter1d(share, 1.5)
    usual = float(np.quantile(smooth[smooth > 0.05], 0.6)) if (smooth > 0.05).any() else 1.0
    bone = smooth > _DISC_SHARE * usual
    edges = np.flatnonzero(np.diff(np.concatenate([[0], bone.astype(int), [0]])))
    runs = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a > 6]
    # Two end plates of one body are one run or two with marrow between; a body is 18 to 42 mm high.
    bodies: list[list[int]] = []
    for a, b in runs:
        if bodies and b - bodies[-1][0] <= _BODY_MAX_MM:
            bodies[-1][1] = int(b)
        else:
            bodies.append([int(a), int(b)])
    if not bodies:
        return []
    out = [0.0]
    out += [(below[1] + above[0]) / 2.0 for below, above in itertools.pairwise(bodies)]
    return [*out, np.inf]


def _ends_below_scan(labels: Volume, index: NDArray[np.int64]) -> bool:
    """True when none of the voxels (N, 3: k, j, i) lies in the uppermost slice."""
    place = labels.index_to_lps(np.array([[0, 0, 0], [0, 0, labels.array.shape[0] - 1]]))[:, 2]
    last, k = labels.array.shape[0] - 1, index[:, 0]
    return bool((k < last).all() if place[1] > place[0] else (k > 0).all())


def above_l5(labels: Volume, code: int) -> Solid | None:
    """All bone above L5 that the scan holds as closed surfaces in one solid; None when there is none."""
    index = np.argwhere(labels.array == code)
    if len(index) < _FEWEST:
        return None
    return merged([piece for piece in _surfaces(labels, index) if piece.volume_mm3 > _CRUMB_MM3])


def _surfaces(labels: Volume, index: NDArray[np.int64]) -> list[Solid]:
    """Closed surfaces about the voxels, largest first, at half of a mask blurred by 0.7 voxels, in even steps."""
    from scipy.ndimage import gaussian_filter, map_coordinates

    low, high = index.min(axis=0) - 4, index.max(axis=0) + 5
    mask = np.zeros(high - low, dtype=np.float64)
    mask[tuple((index - low).T)] = 1.0
    smooth = gaussian_filter(mask, 0.7)
    corners = np.array(
        [
            [(low, high)[a][2], (low, high)[b][1], (low, high)[c][0]]
            for a in (0, 1)
            for b in (0, 1)
            for c in (0, 1)
        ]
    )
    places = labels.index_to_lps(corners)
    step = float(np.min(labels.spacing_mm))
    start = places.min(axis=0)
    n = np.ceil((places.max(axis=0) - start) / step).astype(int) + 1
    nodes = start + step * np.stack(np.meshgrid(*[np.arange(m) for m in n], indexing="ij"), -1).reshape(-1, 3)
    ijk = labels.lps_to_index(nodes)[:, ::-1] - low
    value = map_coordinates(smooth, ijk.T, order=1, mode="constant", cval=0.0).reshape(tuple(n))
    pieces = shells(isosurface(0.5 - value, start, step, 0.0))
    if not pieces:
        raise GeometryError("a vertebra has no surface", where="segment/labels")
    return pieces


def vertebral_frame(midplane: Plane, disc: Plane) -> tuple[FloatArray, FloatArray]:
    """Front and up of L5: square to the mid-plane's normal (to the left) and the disc's."""
    left = np.asarray(midplane.normal)
    up = np.asarray(disc.normal)
    up = unit(up - (up @ left) * left)
    # +x left, +z up, +y back: up x left looks backwards.
    return -np.cross(up, left), up
