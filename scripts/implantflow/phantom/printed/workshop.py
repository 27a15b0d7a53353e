"""The simulated workshop: milled faces and bored holes cut out of the printed metal, with known errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.config.simulated_print import Workshop
from implantflow.geometry import FloatArray, invert_rigid, transform_points, unit
from implantflow.phantom.printed.material import Material
from implantflow.phantom.printed.process import Process

#: The mill sweeps this far beyond the face to the sides, and this far above the stock (mm).
_BESIDE_MM, _ABOVE_MM = 2.0, 2.0
#: The boring tool comes from this far outside the hole's start (mm).
_RUN_IN_MM = 5.0
#: Slices worked on at a time.
_SLAB = 16


@dataclass(frozen=True)
class Mill:
    """A plane: all above it is cut away.

    Attributes
    ----------
    point, normal, across : (3,), (3,) and (2, 3), design in build_xyz. footprint : (N, 2) places of the face along
    ``across``. reach_mm : height above the plane that the mill clears.
    """

    point: FloatArray
    normal: FloatArray
    across: FloatArray
    footprint: FloatArray
    reach_mm: float

    @property
    def corners(self) -> FloatArray:
        """(8, 3) corners of a box around what is cut."""
        low, high = self.footprint.min(0) - _BESIDE_MM, self.footprint.max(0) + _BESIDE_MM
        sides = [
            (u, v, h) for u in (low[0], high[0]) for v in (low[1], high[1]) for h in (-1.0, self.reach_mm)
        ]
        return np.asarray(self.point + np.array(sides) @ np.vstack([self.across, self.normal]))

    def left_mm(self, points: FloatArray) -> FloatArray:
        """(N,) depth below the cut surface; positive stays, negative goes."""
        from scipy.spatial import cKDTree

        rel = points - self.point
        height = rel @ self.normal
        depth = -height
        beyond = (height > self.reach_mm) | (height < -1.0)
        depth[beyond] = np.inf
        near = np.flatnonzero(~beyond)
        away, _ = cKDTree(self.footprint).query(rel[near] @ self.across.T, distance_upper_bound=_BESIDE_MM)
        depth[near[~np.isfinite(away)]] = np.inf
        return np.asarray(depth)


@dataclass(frozen=True)
class Bore:
    """A cylinder that is cut away: start, end (3,) mm in build_xyz of the design, radius."""

    start: FloatArray
    end: FloatArray
    radius_mm: float

    @property
    def corners(self) -> FloatArray:
        """(8, 3) corners of a box around what is cut."""
        ends = np.array([self.start, self.end])
        low, high = ends.min(0) - self.radius_mm - _RUN_IN_MM, ends.max(0) + self.radius_mm + _RUN_IN_MM
        return np.array(
            [[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])]
        )

    def left_mm(self, points: FloatArray) -> FloatArray:
        """(N,) distance from the cut wall; positive stays, negative goes."""
        along = unit(self.end - self.start)
        rel = points - self.start
        height = rel @ along
        wall = np.linalg.norm(rel - height[:, None] * along, axis=1) - self.radius_mm
        outside = (height < -_RUN_IN_MM) | (height > np.linalg.norm(self.end - self.start))
        return np.asarray(np.where(outside, np.inf, wall))


def tools_of(
    workshop: Workshop,
    regions: Mapping[str, Any],
    surface_mm: tuple[FloatArray, NDArray[np.int64]],
    build_from_patient: FloatArray,
    rng: np.random.Generator,
) -> tuple[list[Mill | Bore], dict[str, Any]]:
    """What is cut, with the workshop's errors, and the truth about it.

    Parameters
    ----------
    surface_mm : vertices (N, 3) and faces of the finished implant, build_xyz, whose triangles ``regions`` names.
    """
    vertices, triangles = surface_mm
    tools: list[Mill | Bore] = []
    truth: dict[str, Any] = {"faces": {}, "bores": {}}
    machining = regions["machining"]
    for face in regions["contact_faces"]:
        stock = float(machining["faces"].get(face["name"], 0.0))
        if stock <= 0:
            continue
        corners = vertices[triangles[np.asarray(face["triangles"], dtype=np.int64)]]
        cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normal, area = unit(cross.sum(axis=0)), np.linalg.norm(cross, axis=1)
        middle = np.average(corners.mean(axis=1), axis=0, weights=area)
        axis = unit(np.cross(normal, rng.standard_normal(3)))
        turn = np.radians(workshop.face_tilt_deg)
        tilted = unit(np.cos(turn) * normal + np.sin(turn) * np.cross(axis, normal))
        across = np.array([axis, np.cross(tilted, axis)])
        point = middle + workshop.face_error_mm * normal
        places = np.concatenate([corners.reshape(-1, 3), corners.mean(axis=1)])
        tools.append(Mill(point, tilted, across, (places - point) @ across.T, stock + _ABOVE_MM))
        truth["faces"][face["name"]] = {
            "left_mm": workshop.face_error_mm,
            "tilt_deg": workshop.face_tilt_deg,
        }
    if machining["bores_mm"] > 0:
        for hole in regions["screw_holes"]:
            ends = transform_points(build_from_patient, np.array([hole["start_lps_mm"], hole["end_lps_mm"]]))
            diameter = float(hole["diameter_mm"]) + workshop.bore_error_mm
            tools.append(Bore(ends[0], ends[1], diameter / 2.0))
            truth["bores"][hole["name"]] = {"diameter_mm": diameter}
    return tools, truth


def clamped(designed_mm: FloatArray, cold_mm: FloatArray) -> FloatArray:
    """Rigid (4, 4), design to the cold part, as a workshop sets its zero: the part laid on its drawing as best it fits.

    ``designed_mm`` and ``cold_mm`` are the same (N, 3) places before and after print.
    """
    middle = designed_mm.mean(0), cold_mm.mean(0)
    u, _, vt = np.linalg.svd((designed_mm - middle[0]).T @ (cold_mm - middle[1]))
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    out = np.eye(4)
    out[:3, :3] = (u @ sign @ vt).T
    out[:3, 3] = middle[1] - out[:3, :3] @ middle[0]
    return out


def machined(
    material: Material, process: Process, tools: list[Mill | Bore], cold_from_design: FloatArray
) -> Material:
    """The printed metal without what the tools cut; they work on the cold part."""
    share, back = material.share.copy(), invert_rigid(cold_from_design)
    for tool in tools:
        hot = process.hot(transform_points(cold_from_design, tool.corners))
        index = (hot - material.origin_mm) / material.voxel_mm
        low = np.clip(np.floor(index.min(0)).astype(int) - 1, 0, share.shape[::-1])
        high = np.clip(np.ceil(index.max(0)).astype(int) + 2, 0, share.shape[::-1])
        for box in _slabs(low, high):
            grid = np.stack(np.meshgrid(*(np.arange(s.start, s.stop) for s in box), indexing="ij"), axis=-1)
            points = material.origin_mm + material.voxel_mm * grid.reshape(-1, 3)[:, ::-1]
            left = tool.left_mm(transform_points(back, process.cold(points))).reshape(grid.shape[:3])
            # A voxel that the cut surface divides keeps its share of the metal.
            kept = np.clip(0.5 + left / material.voxel_mm, 0.0, 1.0)
            share[box] = np.round(share[box] * kept).astype(np.uint8)
    return replace(material, share=share)


def _slabs(low: NDArray[np.int64], high: NDArray[np.int64]) -> Iterator[tuple[slice, slice, slice]]:
    for k in range(low[2], high[2], _SLAB):
        yield slice(k, min(k + _SLAB, high[2])), slice(low[1], high[1]), slice(low[0], high[0])
