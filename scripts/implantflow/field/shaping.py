"""Where a strut is thick or thin, and where a surface is rugged, on the nodes of the field's grids."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError, InputError
from implantflow.field.field import DISTANCE_STEP_MM
from implantflow.field.material import Texture
from implantflow.geometry import FloatArray, segment_distance, transform_points

Float32Array = NDArray[np.float32]

#: The texture fades over this distance towards smooth surfaces (mm).
_FADE_MM = 1.0


@dataclass(frozen=True)
class Grading:
    """Strut diameter by distance: ``near_mm`` at the surface (or the named faces), ``far_mm`` beyond ``over_mm``.

    With ``stored`` (values (K, J, I) of the strut in mm, origin, spacing in mm along x, y, z) the strut is read there,
    and the other figures are not used. ``stored_from_build``: (4, 4) into the frame of ``stored``, None for build_xyz.
    """

    near_mm: float
    far_mm: float
    over_mm: float
    faces: tuple[str, ...] = ()
    stored: tuple[FloatArray, FloatArray, FloatArray] | None = None
    stored_from_build: FloatArray | None = None


@dataclass(frozen=True)
class Filling:
    """The lattice that fills a part and what rounds and roughens it; lengths in mm.

    ``seed`` and ``irregularity`` belong to a Voronoi lattice. ``texture`` lies on contact faces and dense strut.
    """

    cell: str
    cell_mm: float
    strut_mm: float
    seed: int = 0
    irregularity: float = 0.8
    grading: Grading | None = None
    fillet_mm: float = 0.0
    texture: Texture | None = None


def distance_from(near: NDArray[np.bool_], spacing: float) -> FloatArray:
    """Distance (K, J, I) in mm of every node to the nearest node of ``near``."""
    from scipy import ndimage

    if not near.any():
        raise GeometryError("there is no surface to grade the lattice from", where="lattice.grading")
    return np.asarray(ndimage.distance_transform_edt(~near, sampling=spacing))


def grade_grid(
    grading: Grading,
    solid: Float32Array,
    faces: Mapping[str, Float32Array],
    origin: FloatArray,
    spacing: float,
) -> NDArray[np.int16]:
    """Strut diameter on the nodes, in steps of the field.

    Parameters
    ----------
    solid : signed distance to the outer surface near it. faces : per contact face, the distance to it near it.

    Raises
    ------
    InputError
        A face that the implant does not have.
    """
    if grading.stored is not None:
        from scipy import ndimage

        values, place, step = grading.stored
        nodes = [origin[a] + spacing * np.arange(solid.shape[2 - a]) for a in (2, 1, 0)]
        points = np.stack(np.meshgrid(*nodes, indexing="ij")[::-1], axis=-1).reshape(-1, 3)
        if grading.stored_from_build is not None:
            points = transform_points(grading.stored_from_build, points)
        index = ((points - place) / step).T[::-1]
        strut = ndimage.map_coordinates(values, index, order=1, mode="nearest").reshape(solid.shape)
    else:
        missing = sorted(set(grading.faces) - set(faces))
        if missing:
            raise InputError(
                f"the implant has no contact face {', '.join(missing)}",
                where="lattice.grading.faces",
                fix=f"name some of {', '.join(sorted(faces))}",
            )
        sources = [faces[name] for name in grading.faces] or [np.abs(solid)]
        near = np.logical_or.reduce([s <= spacing for s in sources])
        share = np.clip(distance_from(near, spacing) / grading.over_mm, 0.0, 1.0)
        strut = grading.near_mm + share * (grading.far_mm - grading.near_mm)
    return np.asarray(np.round(strut / (10 * DISTANCE_STEP_MM)) * 10).astype(np.int16)


def rough_grid(
    solid: Float32Array,
    faces: Mapping[str, Float32Array],
    strut: Float32Array | None,
    smooth: list[tuple[FloatArray, FloatArray, float]],
    origin: FloatArray,
    spacing: float,
) -> NDArray[np.int16]:
    """Share of the texture on the nodes: 1 on contact faces and the strut inside, 0 on other skin, holes and passages.

    Parameters
    ----------
    strut : signed distance to the dense strut. smooth : rods (start, end, radius) in build_xyz that stay smooth.
    """
    share = np.zeros(solid.shape, dtype=np.float32)
    for face in faces.values():
        np.maximum(share, np.clip(1.0 - (face - spacing) / _FADE_MM, 0.0, 1.0), out=share)
    if strut is not None:
        deep = np.clip(-solid / _FADE_MM, 0.0, 1.0)
        np.maximum(share, deep * np.clip(2.0 - np.abs(strut) / _FADE_MM, 0.0, 1.0), out=share)
    axes = [origin[2 - a] + spacing * np.arange(n) for a, n in enumerate(solid.shape)]
    places = np.argwhere(share > 0)
    points = np.column_stack([axes[2][places[:, 2]], axes[1][places[:, 1]], axes[0][places[:, 0]]])
    for start, end, radius in smooth:
        away = segment_distance(points, start, end) - radius
        fade = np.clip((away - _FADE_MM) / _FADE_MM, 0.0, 1.0).astype(np.float32)
        share[tuple(places.T)] *= fade
    return np.round(share * 1e4).astype(np.int16)


def smooth_rods(
    regions: Mapping[str, Any], build_from_patient: FloatArray
) -> list[tuple[FloatArray, FloatArray, float]]:
    """Screw holes and cable passages of ``regions.json`` with their walls, as rods in build_xyz."""
    rods = [
        (h["start_lps_mm"], h["end_lps_mm"], h["boss_diameter_mm"] / 2.0)
        for h in regions.get("screw_holes", [])
    ]
    for passage in regions.get("cable_passages", []):
        radius = passage["diameter_mm"] / 2.0 + passage["wall_mm"]
        rods += [(a, b, radius) for a, b in itertools.pairwise(passage["polyline_lps_mm"])]
    moved = []
    for start, end, radius in rods:
        ends = transform_points(build_from_patient, np.array([start, end], dtype=float))
        moved.append((ends[0], ends[1], float(radius)))
    return moved
