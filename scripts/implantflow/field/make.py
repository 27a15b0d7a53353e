"""Making the field: distance grids of the solid and of everything that must be dense."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from implantflow.errors import GeometryError, InputError
from implantflow.field.columns import Columns
from implantflow.field.field import DISTANCE_STEP_MM, Field
from implantflow.field.lattice import VORONOI, Graph
from implantflow.field.shaping import Filling, grade_grid, rough_grid, smooth_rods
from implantflow.field.voronoi import voronoi_struts
from implantflow.geometry import FloatArray, transform_points

#: Distances further out than this are not needed by anybody and are clamped.
BAND_MM = 3.0


def nodes(
    low: ArrayLike, high: ArrayLike, spacing_mm: float, margin_mm: float
) -> tuple[FloatArray, tuple[int, int, int]]:
    """Origin (3,) and shape (K, J, I) of a grid that covers a box with ``margin_mm`` to spare.

    The origin is a multiple of the spacing, so the same part at another place gets the same nodes.
    """
    start = np.floor((np.asarray(low) - margin_mm) / spacing_mm)
    stop = np.ceil((np.asarray(high) + margin_mm) / spacing_mm)
    count = (stop - start).astype(int) + 1
    return start * spacing_mm, (int(count[2]), int(count[1]), int(count[0]))


def _banded(
    vertices: FloatArray,
    faces: NDArray[np.int64],
    origin: FloatArray,
    spacing: float,
    shape: tuple[int, int, int],
    band: float,
) -> NDArray[np.float32]:
    from implantflow.field import grid_kernels

    out = np.full(shape, band, dtype=np.float32)
    grid_kernels.triangle_distance_band(
        np.ascontiguousarray(vertices), np.ascontiguousarray(faces), origin, spacing, band, out
    )
    return out


def _box(
    origin: FloatArray, spacing: float, shape: tuple[int, int, int], low: FloatArray, high: FloatArray
) -> tuple[slice, ...]:
    """Slices (k, j, i) of the nodes inside a box of build_xyz."""
    first = np.maximum(np.ceil((low - origin) / spacing).astype(int), 0)[::-1]
    last = np.minimum(np.floor((high - origin) / spacing).astype(int), np.array(shape[::-1]) - 1)[::-1]
    return tuple(slice(int(a), int(b) + 1) for a, b in zip(first, last, strict=True))


def _add_capsule(
    dense: NDArray[np.float32],
    origin: FloatArray,
    spacing: float,
    start: FloatArray,
    end: FloatArray,
    radius: float,
) -> None:
    """Lower ``dense`` to the signed distance of a capsule (segment with round ends), within the band."""
    reach = radius + BAND_MM
    window = _box(
        origin, spacing, dense.shape, np.minimum(start, end) - reach, np.maximum(start, end) + reach
    )
    if any(s.stop <= s.start for s in window):
        return
    axes = [origin[2 - a] + spacing * np.arange(s.start, s.stop) for a, s in enumerate(window)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    rel = np.stack([x - start[0], y - start[1], z - start[2]], axis=-1)
    along = end - start
    length2 = float(along @ along)
    t = np.clip(rel @ along / length2, 0.0, 1.0) if length2 > 0 else np.zeros(rel.shape[:-1])
    value = np.linalg.norm(rel - t[..., None] * along, axis=-1) - radius
    dense[window] = np.minimum(dense[window], value.astype(np.float32))


def _capsules(regions: Mapping[str, Any]) -> list[tuple[FloatArray, FloatArray, float]]:
    """Dense rods of the regions file in patient LPS: strut, bosses of screws, walls of cable passages."""
    found: list[tuple[FloatArray, FloatArray, float]] = []

    def add(start: Any, end: Any, radius: float) -> None:
        found.append((np.asarray(start, dtype=float), np.asarray(end, dtype=float), float(radius)))

    for segment in (regions.get("strut") or {}).get("segments", []):
        add(segment["start_lps_mm"], segment["end_lps_mm"], segment["radius_mm"])
    for hole in regions.get("screw_holes", []):
        add(hole["start_lps_mm"], hole["end_lps_mm"], hole["boss_diameter_mm"] / 2.0)
    for passage in regions.get("cable_passages", []):
        radius = passage["diameter_mm"] / 2.0 + passage["wall_mm"]
        line = passage["polyline_lps_mm"]
        for start, end in itertools.pairwise(line):
            add(start, end, radius)
    return found


def _dense_grid(
    vertices: FloatArray,
    faces: NDArray[np.int64],
    regions: Mapping[str, Any],
    matrix: FloatArray,
    solid: NDArray[np.float32],
    origin: FloatArray,
    spacing: float,
) -> NDArray[np.float32]:
    shape = solid.shape
    dense = np.full(shape, BAND_MM, dtype=np.float32)
    shell = float((regions.get("shell") or {}).get("thickness_mm", 0.0))
    if shell >= BAND_MM - spacing:
        raise GeometryError(
            f"a shell of {shell} mm is thicker than the field's band allows ({BAND_MM - spacing} mm)",
            where="regions.json: shell.thickness_mm",
            fix="choose a thinner shell",
        )
    if shell > 0:
        dense = np.minimum(dense, np.abs(solid) - np.float32(shell))
    for face in regions.get("contact_faces", []):
        ids = np.asarray(face["triangles"], dtype=np.int64)
        thickness = float(face["thickness_mm"])
        if len(ids) == 0 or ids.min() < 0 or ids.max() >= len(faces):
            raise InputError(
                f"contact face {face.get('name')!r} names triangles that the implant does not have",
                where="regions.json",
                fix="run the implant stage again: implant.stl and regions.json belong together",
            )
        if thickness > 0:
            layer = _banded(vertices, faces[ids], origin, spacing, shape, thickness + 1.0)
            np.minimum(dense, layer - np.float32(thickness), out=dense)
    for start, end, radius in _capsules(regions):
        ends = transform_points(matrix, np.array([start, end]))
        _add_capsule(dense, origin, spacing, ends[0], ends[1], radius)
    return dense


def _solid_band(regions: Mapping[str, Any], spacing: float) -> float:
    """How far from the surface distances of the solid are needed: 1.5 mm, or the shell and two nodes."""
    shell = float((regions.get("shell") or {}).get("thickness_mm", 0.0))
    return float(min(max(1.5, shell + 2.0 * spacing), BAND_MM))


def _stored(distance: NDArray[np.float32]) -> NDArray[np.int16]:
    """Steps of 0.1 um in int16, rounded to 1 um so that the archive packs well."""
    return (np.round(np.clip(distance, -BAND_MM, BAND_MM) * 1000.0) * (0.001 / DISTANCE_STEP_MM)).astype(
        np.int16
    )


def make_field(
    vertices_lps: ArrayLike,
    faces: NDArray[np.int64],
    regions: Mapping[str, Any],
    build_from_patient: FloatArray,
    cell: str | Filling,
    cell_mm: float,
    strut_mm: float,
    grid_mm: float,
    printed_lps: tuple[FloatArray, NDArray[np.int64]] | None = None,
) -> Field:
    """Make the field of an implant.

    Parameters
    ----------
    vertices_lps, faces : the outer solid with all holes cut, (N, 3) mm in patient LPS and (M, 3).
    regions : content of ``regions.json`` (patient LPS, mm): what must be dense.
    build_from_patient : (4, 4) rigid matrix into build_xyz.
    cell, cell_mm, strut_mm : the lattice that fills the rest; ``cell`` may be the whole :class:`Filling`.
    grid_mm : spacing of the stored distances.
    printed_lps : vertices (mm, patient LPS) and faces of the part with machining stock; the grids cover it. What lies
        beyond the solid is dense as deep as the face below it is, and the boss of a hole is dense in the hole.

    Raises
    ------
    GeometryError
        The solid is not closed, or a shell is thicker than the band.
    InputError
        The regions do not belong to this solid.
    """
    # Coordinates in whole nanometres: the same bytes after any way of computing the transform.
    vertices = np.round(transform_points(build_from_patient, vertices_lps), 6)
    stock = None
    if printed_lps is not None:
        stock = np.round(transform_points(build_from_patient, printed_lps[0]), 6), printed_lps[1]
    whole = vertices if stock is None else np.concatenate([vertices, stock[0]])
    origin, shape = nodes(whole.min(0), whole.max(0), grid_mm, 2.0 * grid_mm)
    distance = _banded(vertices, faces, origin, grid_mm, shape, _solid_band(regions, grid_mm))
    columns = Columns.of(vertices, faces, origin[:2], grid_mm, shape[1:])
    solid = np.where(columns.inside(float(origin[2]), shape[0]), -distance, distance)
    dense = _dense_grid(vertices, faces, regions, build_from_patient, solid, origin, grid_mm)
    filling = cell if isinstance(cell, Filling) else Filling(cell, cell_mm, strut_mm)
    grade = rough = None
    if filling.grading is not None or filling.texture is not None:
        near = _face_distances(vertices, faces, regions, origin, grid_mm, shape)
        if filling.grading is not None:
            grade = grade_grid(filling.grading, solid, near, origin, grid_mm)
        if filling.texture is not None:
            strut = np.full(shape, BAND_MM, dtype=np.float32)
            for start, end, radius in _capsules({"strut": regions.get("strut")}):
                ends = transform_points(build_from_patient, np.array([start, end]))
                _add_capsule(strut, origin, grid_mm, ends[0], ends[1], radius)
            rods = smooth_rods(regions, build_from_patient)
            rough = rough_grid(solid, near, strut, rods, origin, grid_mm)
    return Field(
        cell=filling.cell,
        cell_mm=filling.cell_mm,
        strut_mm=filling.strut_mm,
        build_from_patient=np.asarray(build_from_patient, dtype=np.float64),
        vertices_mm=vertices,
        faces=np.asarray(faces, dtype=np.int64),
        origin_mm=origin,
        spacing_mm=grid_mm,
        solid=_stored(solid),
        dense=_stored(dense),
        grade=grade,
        graph=_graph(filling, vertices, solid, origin, grid_mm) if filling.cell == VORONOI else None,
        fillet_mm=filling.fillet_mm,
        texture=filling.texture,
        rough=rough,
        stock=stock,
    )


def _face_distances(
    vertices: FloatArray,
    faces: NDArray[np.int64],
    regions: Mapping[str, Any],
    origin: FloatArray,
    spacing: float,
    shape: tuple[int, int, int],
) -> dict[str, NDArray[np.float32]]:
    """Distance to each contact face, exact within 2 mm of it."""
    found = {}
    for face in regions.get("contact_faces", []):
        ids = np.asarray(face["triangles"], dtype=np.int64)
        found[str(face["name"])] = _banded(vertices, faces[ids], origin, spacing, shape, 2.0)
    return found


def _graph(
    filling: Filling, vertices: FloatArray, solid: NDArray[np.float32], origin: FloatArray, spacing: float
) -> Graph:
    """Struts of a Voronoi lattice that come near the solid."""
    nodes_mm, beams = voronoi_struts(
        vertices.min(0), vertices.max(0), filling.cell_mm, filling.seed, filling.irregularity
    )
    # The solid's distances end at 1.5 mm or more: a strut is dropped when its samples all lie so far out.
    ends = nodes_mm[beams]
    inside = np.zeros(len(beams), dtype=bool)
    top = np.array(solid.shape[::-1]) - 1
    for t in np.linspace(0.0, 1.0, 9):
        at = np.clip(np.round((ends[:, 0] + t * (ends[:, 1] - ends[:, 0]) - origin) / spacing), 0, top)
        i, j, k = at.astype(int).T
        inside |= solid[k, j, i] < 1.5 - spacing
    beams = beams[inside]
    used, index = np.unique(beams, return_inverse=True)
    return Graph(nodes_mm[used], index.reshape(-1, 2).astype(np.int64))
