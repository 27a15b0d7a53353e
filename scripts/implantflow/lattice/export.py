"""What leaves the lattice stage for other programs: meshes to look at and to test, and beams as 3MF."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.artifacts import write_stl, write_zip
from implantflow.config.site import NOT_CLINICAL
from implantflow.field.cells import occupancy
from implantflow.field.field import DISTANCE_STEP_MM, Field
from implantflow.field.lattice import VORONOI, Lattice
from implantflow.geometry import FloatArray, invert_rigid, transform_points
from implantflow.solids.level import level_surface

_CORE = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
_BEAMS = "http://schemas.microsoft.com/3dmanufacturing/beamlattice/2017/02"
_TYPES = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="model" ContentType="application/vnd.ms-package.3dmanufacturing-3dmodel+xml"/>'
    "</Types>"
)
_RELATIONS = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Target="/3D/3dmodel.model" Id="rel0" '
    'Type="http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"/></Relationships>'
)
#: Samples along a strut when it is clipped to the porous region.
_SAMPLES = 9

Evaluate = Callable[[FloatArray], FloatArray]


def surface_of(
    evaluate: Evaluate, low: FloatArray, high: FloatArray, step: float
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Closed surface where ``evaluate`` is zero inside a box, whose walls close it: vertices mm, faces.

    Parameters
    ----------
    evaluate : (N, 3) points mm -> (N,) values, negative inside.
    """
    count = np.ceil((high - low) / step).astype(int) + 3
    origin = low - step
    axes = [origin[a] + step * np.arange(count[a]) for a in range(3)]
    values = np.empty((count[2], count[1], count[0]), dtype=np.float32)
    y, x = np.meshgrid(axes[1], axes[0], indexing="ij")
    for k, z in enumerate(axes[2]):
        points = np.column_stack([x.ravel(), y.ravel(), np.full(x.size, z)])
        box = np.maximum(low - points, points - high).max(1)
        values[k] = np.maximum(evaluate(points), box).reshape(x.shape)
    vertices, faces = level_surface(values, 0.0, (float(origin[0]), float(origin[1]), float(origin[2])), step)
    if enclosed_mm3(vertices, faces) < 0:
        faces = faces[:, ::-1]
    return vertices, faces


def write_coupon(
    path: Path, cell: str, cell_mm: float, strut_mm: float, cells: int, pore_mm: float
) -> dict[str, Any]:
    """Block of whole cells as a mesh, one and a half times as high as wide, for compression tests beside the part.

    ISO 13314 (by title and general knowledge, not verified here) wants a height of one to two edges, and an edge of at
    least ten pores and 10 mm; whether the block has them is written down. Of a Voronoi lattice it is the sample.

    Flat triangles cut the corners of round struts. The struts are therefore drawn by the one small offset
    thicker that gives the mesh the metal of the cell.
    """
    if cell == VORONOI:
        cells = 4
    high = cells + cells // 2
    edge, height, step = cells * cell_mm, high * cell_mm, cell_mm / 16.0
    lattice, period = Lattice.sample(cell, cell_mm, strut_mm)

    def mesh(offset_mm: float) -> tuple[FloatArray, NDArray[np.int64]]:
        return surface_of(
            lambda p: lattice.value(p % period) - offset_mm, np.zeros(3), np.array([edge, edge, height]), step
        )

    metal = float(occupancy(cell, cell_mm, strut_mm, 40).mean()) * edge**2 * height
    vertices, faces = mesh(0.0)
    offset = (metal - enclosed_mm3(vertices, faces)) / surface_mm2(vertices, faces)
    vertices, faces = mesh(offset)
    write_stl(path, vertices, faces, f"lattice coupon {cell} {cell_mm:g} mm strut {strut_mm:g} mm")
    return {
        "edge_mm": edge,
        "height_mm": height,
        "cells": [cells, cells, high],
        "edge_in_pores": edge / pore_mm,
        "iso_13314_proportions": edge >= max(10.0 * pore_mm, 10.0) and edge <= height <= 2.0 * edge,
        "triangles": len(faces),
        "mesh_step_mm": step,
        "mesh_offset_mm": offset,
        "volume_mm3": enclosed_mm3(vertices, faces),
    }


def enclosed_mm3(vertices: FloatArray, faces: NDArray[np.int64]) -> float:
    """Signed volume of a closed mesh."""
    a, b, c = (vertices[faces[:, n]] for n in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6.0)


def surface_mm2(vertices: FloatArray, faces: NDArray[np.int64]) -> float:
    """Area of a mesh."""
    a, b, c = (vertices[faces[:, n]] for n in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2.0)


def write_preview(path: Path, field: Field, step_mm: float, slab_mm: float) -> dict[str, Any]:
    """A slab through the middle of the part (normal: build y) as a mesh in patient LPS, to look at."""
    low, high = field.bounds_mm
    middle = (low[1] + high[1]) / 2.0
    low, high = low.copy(), high.copy()
    low[1], high[1] = middle - slab_mm / 2.0, middle + slab_mm / 2.0
    vertices, faces = surface_of(field.value, low, high, step_mm)
    if len(vertices):
        vertices = transform_points(invert_rigid(field.build_from_patient), vertices)
    write_stl(path, vertices, faces, "lattice preview slab, patient LPS mm, for looking at only")
    return {"slab_mm": slab_mm, "triangles": len(faces), "mesh_step_mm": step_mm}


def clipped_beams(field: Field) -> tuple[FloatArray, NDArray[np.int64]]:
    """Struts of the porous region: end points (N, 3) mm in build_xyz and beams (B, 2).

    A strut is cut where its axis leaves the solid or enters the dense region, by linear interpolation of the
    field's distances between nine samples.
    """
    struts = field.lattice.struts_in(*field.bounds_mm)
    starts, ends = struts[:, 0], struts[:, 1]
    along = np.linspace(0.0, 1.0, _SAMPLES)
    depth = np.empty((len(starts), _SAMPLES))
    for n, t in enumerate(along):
        points = starts + t * (ends - starts)
        depth[:, n] = np.maximum(field.solid_value(points), -field.dense_value(points))
    whole = (depth < 0).all(1)
    cut = (depth < 0).any(1) & ~whole
    rows, begins, stops = _stretches(depth[cut], along)
    foot, span = starts[cut][rows], (ends - starts)[cut][rows]
    clipped = np.stack([foot + begins[:, None] * span, foot + stops[:, None] * span], axis=1)
    joined = np.concatenate([np.stack([starts[whole], ends[whole]], axis=1), clipped]).reshape(-1, 3)
    # Ends that meet in a node are the same to well under a micrometre.
    keys = np.round(joined * 1e4).astype(np.int64)
    _, index, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    beams = inverse.reshape(-1, 2).astype(np.int64)
    return keys[index] / 1e4, beams[beams[:, 0] != beams[:, 1]]


def _stretches(depth: FloatArray, along: FloatArray) -> tuple[NDArray[np.int64], FloatArray, FloatArray]:
    """Where the linear interpolation of each row of ``depth`` (R, S) at ``along`` (S,) is negative.

    Returns
    -------
    rows (P,), begins (P,), ends (P,) : of every stretch, row by row and in order along it
    """
    inside = np.pad(depth < 0, ((0, 0), (1, 1))).astype(np.int8)
    turns = np.diff(inside, axis=1)

    def places(rows: NDArray[np.int64], column: NDArray[np.int64]) -> FloatArray:
        n = np.clip(column, 1, len(along) - 1)
        before, here = depth[rows, n - 1], depth[rows, n]
        drop = np.where(before == here, 1.0, before - here)
        crossing = along[n - 1] + (along[n] - along[n - 1]) * before / drop
        return np.where(column == 0, 0.0, np.where(column == len(along), 1.0, crossing))

    rows, begin = np.nonzero(turns > 0)
    _, end = np.nonzero(turns < 0)
    return rows, places(rows, begin), places(rows, end)


def write_beams(path: Path, field: Field, purpose: str) -> dict[str, Any]:
    """3MF with the struts of the porous region as beams; bytes depend on the content only.

    A cell without struts has no beams: the file then holds one cell of it as a mesh, and says so.
    """
    note = "" if purpose == "clinical" else f"{NOT_CLINICAL}. "
    text = (
        f"{note}{field.cell} lattice, cell {field.cell_mm:g} mm, strut {field.strut_mm:g} mm, frame build_xyz"
    )
    struts = field.lattice.is_struts
    if struts:
        vertices, beams = clipped_beams(field)
        body = _beam_lattice(beams, field.strut_mm / 2.0, _radii(field, vertices))
        facts = {"beams": len(beams), "nodes": len(vertices), "frame": "build_xyz"}
    else:
        vertices, faces = surface_of(
            field.lattice_value, np.zeros(3), np.full(3, field.cell_mm), field.cell_mm / 20.0
        )
        body = _triangles(faces)
        text += "; this cell has no struts: one cell as a mesh"
        facts = {
            "beams": 0,
            "reason": f"the {field.cell} cell has no struts; the file holds one cell as a mesh",
        }
    model = "".join(
        [
            '<?xml version="1.0" encoding="UTF-8"?>\n',
            f'<model unit="millimeter" xml:lang="en-US" xmlns="{_CORE}" xmlns:b="{_BEAMS}"',
            ' requiredextensions="b">' if struts else ">",
            f'<metadata name="Description">{text}</metadata>',
            '<resources><object id="1" type="model"><mesh><vertices>',
            "".join(f'<vertex x="{x:.4f}" y="{y:.4f}" z="{z:.4f}"/>' for x, y, z in vertices.tolist()),
            "</vertices>",
            body,
            '</mesh></object></resources><build><item objectid="1"/></build></model>\n',
        ]
    )
    write_zip(
        path,
        {
            "[Content_Types].xml": _TYPES.encode(),
            "_rels/.rels": _RELATIONS.encode(),
            "3D/3dmodel.model": model.encode(),
        },
    )
    return facts


def _radii(field: Field, nodes_mm: FloatArray) -> FloatArray | None:
    """Radius (N,) in mm of graded struts at their ends; None where all are alike."""
    from implantflow.field import grid_kernels

    if field.grade is None:
        return None
    out = np.empty(len(nodes_mm))
    grid_kernels.trilinear(
        field.grade, field.origin_mm, field.spacing_mm, DISTANCE_STEP_MM / 2.0, nodes_mm, out
    )
    return out


def _beam_lattice(beams: NDArray[np.int64], radius_mm: float, radii_mm: FloatArray | None) -> str:
    if radii_mm is None:
        inside = "".join(f'<b:beam v1="{a}" v2="{b}"/>' for a, b in beams.tolist())
    else:
        inside = "".join(
            f'<b:beam v1="{a}" v2="{b}" r1="{radii_mm[a]:.4f}" r2="{radii_mm[b]:.4f}"/>'
            for a, b in beams.tolist()
        )
    return (
        f'<triangles/><b:beamlattice radius="{radius_mm:.4f}" minlength="0.0001" cap="sphere">'
        f"<b:beams>{inside}</b:beams></b:beamlattice>"
    )


def _triangles(faces: NDArray[np.int64]) -> str:
    inside = "".join(f'<triangle v1="{a}" v2="{b}" v3="{c}"/>' for a, b, c in faces.tolist())
    return f"<triangles>{inside}</triangles>"
