"""What lies where in the operated region, on a grid fine enough for the struts, as a change against the anatomy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import inner, kernel
from implantflow.geometry import FloatArray
from implantflow.phantom.followup.sampling_kernels import (
    bilinear,
    cylinder_share,
    inside_grid,
    lattice_distance,
    ramp,
    row_of,
    trilinear,
)

Float32Array = NDArray[np.float32]
IntArray = NDArray[np.int64]

#: HU below which a voxel of the anatomy is taken for air and nothing is projected.
_AIR_HU = -950.0
#: Edge of the blocks of which it is known whether the operation changed anything in them, mm.
ACTIVE_MM = 2.0


class Implant(NamedTuple):
    """The implant in its build frame; see ImplantField. ``shift`` calibrates the struts' coverage (mm)."""

    solid: NDArray[np.int16]
    dense: NDArray[np.int16]
    origin: FloatArray
    spacing: float
    step: float
    lattice: Float32Array
    cell: float
    shift: float
    screws: FloatArray


class Beside(NamedTuple):
    """Faces and pores in the build frame; see FaceGrids."""

    origin: FloatArray
    spacing: float
    pore_spacing: float
    heights: Float32Array
    kinds: IntArray
    widths: FloatArray
    bone: FloatArray
    pore_bone: Float32Array


class Bed(NamedTuple):
    """The removed bone in planning LPS; see Removed."""

    mask: NDArray[np.uint8]
    origin: FloatArray
    spacing: float
    planes: FloatArray
    kerf: float


class Materials(NamedTuple):
    """Basis densities: bone, and what fills bed and pores; HU scale of :func:`materials.basis_of_hu`."""

    soft_hu: float
    bone_hu: float
    bone_water: float
    bone_titanium: float
    bed_water: float
    pore_water: float


@inner
def _gone(
    mask: NDArray[np.uint8],
    origin: FloatArray,
    per_mm: float,
    planes: FloatArray,
    kerf: float,
    x: float,
    y: float,
    z: float,
    width: float,
) -> float:
    """Share of the voxel at a place of planning LPS that the surgeons took out.

    The specimen ends at the osteotomy planes; the saw took ``kerf`` more beyond them. A place near a plane is looked
    up a little inside it, so that the cut face is a plane and not the edge of a mask of half a millimetre.
    """
    share = 1.0
    for p in range(planes.shape[0]):
        nx, ny, nz = planes[p, 3], planes[p, 4], planes[p, 5]
        above = (x - planes[p, 0]) * nx + (y - planes[p, 1]) * ny + (z - planes[p, 2]) * nz
        share *= ramp(-kerf - above, width)
        if above < 1.0:
            x, y, z = x + (1.0 - above) * nx, y + (1.0 - above) * ny, z + (1.0 - above) * nz
    i, j, k = (x - origin[0]) * per_mm, (y - origin[1]) * per_mm, (z - origin[2]) * per_mm
    if share == 0.0 or not inside_grid(i, j, k, mask.shape[0], mask.shape[1], mask.shape[2]):
        return 0.0
    return share * trilinear(mask, i, j, k)


@kernel
def fill_plane(
    hu: NDArray[np.int16],
    index_from_scan: FloatArray,
    z_mm: float,
    corner_mm: FloatArray,
    spacing_mm: float,
    screws: FloatArray,
    materials: Materials,
    channel: int,
    out: Float32Array,
    first: int,
    last: int,
) -> None:
    """Basis densities of one plane of the anatomy into channels ``channel`` and the next of ``out`` (J, I, C).

    Screws that stand in the pelvis leave room for their metal, which is projected exactly elsewhere. Slices beyond
    the CT repeat its last one. All in scan LPS; ``index_from_scan`` maps to (i, j, k) of ``hu``.
    """
    nk, nj, ni = hu.shape
    m = index_from_scan
    for j in range(first, last):
        y = corner_mm[1] + spacing_mm * j
        for i in range(out.shape[1]):
            x = corner_mm[0] + spacing_mm * i
            a, b = row_of(m, 0, x, y, z_mm), row_of(m, 1, x, y, z_mm)
            c = min(max(row_of(m, 2, x, y, z_mm), 0.0), nk - 1.002)
            out[j, i, channel] = 0.0
            out[j, i, channel + 1] = 0.0
            if not inside_grid(a, b, c, nk, nj, ni):
                continue
            value = trilinear(hu, a, b, c)
            if value < _AIR_HU:
                continue
            bone = max(value - materials.soft_hu, 0.0) / (materials.bone_hu - materials.soft_hu)
            soft = max(1.0 + min(value, materials.soft_hu) / 1000.0, 0.0) * (1.0 - bone)
            free = 1.0 - cylinder_share(screws, x, y, z_mm, spacing_mm)
            out[j, i, channel] = (soft + bone * materials.bone_water) * free
            out[j, i, channel + 1] = bone * materials.bone_titanium * free


@inner
def _height(heights: Float32Array, f: int, x: float, y: float, z: float) -> float:
    """Height above face ``f`` at index (x, y, z) = (i, j, k)."""
    i, j, k = int(x), int(y), int(z)
    u, v, w = x - i, y - j, z - k
    a = (heights[f, k, j, i] * (1.0 - u) + heights[f, k, j, i + 1] * u) * (1.0 - v)
    a += (heights[f, k, j + 1, i] * (1.0 - u) + heights[f, k, j + 1, i + 1] * u) * v
    b = (heights[f, k + 1, j, i] * (1.0 - u) + heights[f, k + 1, j, i + 1] * u) * (1.0 - v)
    b += (heights[f, k + 1, j + 1, i] * (1.0 - u) + heights[f, k + 1, j + 1, i + 1] * u) * v
    return float(a * (1.0 - w) + b * w)


@kernel
def fill_box(
    plane: Float32Array,
    plane_corner_mm: FloatArray,
    plane_spacing_mm: float,
    first_plane: int,
    z_mm: FloatArray,
    per_plane: int,
    corner_mm: FloatArray,
    width: float,
    active: NDArray[np.bool_],
    build_from_scan: FloatArray,
    planning_from_scan: FloatArray,
    implant: Implant,
    beside: Beside,
    bed: Bed,
    materials: Materials,
    screws: FloatArray,
    out: Float32Array,
    first: int,
    last: int,
) -> None:
    """Change of the basis densities by the operation, on the box grid, for the sub-slices at ``z_mm``.

    ``out`` (J, I, C) has voxels of ``width`` from ``corner_mm`` (3,); sub-slice n is channels 2n and 2n + 1 and lies
    in plane ``first_plane + n // per_plane`` of ``plane``, whose interpolated values are subtracted exactly as the
    projector sees them. Blocks of :data:`ACTIVE_MM` that ``active`` (K, J, I) does not name are left alone.
    """
    # Fields of a tuple are counted references: taken out once here, not for every voxel.
    solid_grid, dense_grid, grid_origin, grid_mm, step = (
        implant.solid, implant.dense, implant.origin, implant.spacing, implant.step
    )  # fmt: skip
    lattice_table, per_mm, shift, own_screws = (
        implant.lattice, 1.0 / implant.cell, implant.shift, implant.screws
    )  # fmt: skip
    heights, kinds, widths, face_bone = beside.heights, beside.kinds, beside.widths, beside.bone
    face_origin, face_mm, pore_mm, pore_grid = (
        beside.origin, beside.spacing, beside.pore_spacing, beside.pore_bone
    )  # fmt: skip
    mask, mask_origin, mask_mm, planes, kerf = bed.mask, bed.origin, bed.spacing, bed.planes, bed.kerf
    per_grid, per_face, per_pore, per_mask = 1.0 / grid_mm, 1.0 / face_mm, 1.0 / pore_mm, 1.0 / mask_mm
    bone_water, bone_titanium = materials.bone_water, materials.bone_titanium
    bed_water, pore_water = materials.bed_water, materials.pore_water
    for j in range(first, last):
        y = corner_mm[1] + width * j
        b = (y - plane_corner_mm[1]) / plane_spacing_mm
        for i in range(out.shape[1]):
            x = corner_mm[0] + width * i
            a = (x - plane_corner_mm[0]) / plane_spacing_mm
            on_plane = 0.0 <= a < plane.shape[1] - 1.001 and 0.0 <= b < plane.shape[0] - 1.001
            for n in range(z_mm.size):
                out[j, i, 2 * n] = 0.0
                out[j, i, 2 * n + 1] = 0.0
                z = z_mm[n]
                block = int((z - corner_mm[2]) / ACTIVE_MM)
                if not on_plane or block < 0 or block >= active.shape[0]:
                    continue
                if not active[block, int(width * j / ACTIVE_MM), int(width * i / ACTIVE_MM)]:
                    continue
                channel = 2 * (first_plane + n // per_plane)
                old_water = bilinear(plane, channel, a, b)
                old_titanium = bilinear(plane, channel + 1, a, b)
                px, py = row_of(planning_from_scan, 0, x, y, z), row_of(planning_from_scan, 1, x, y, z)
                pz = row_of(planning_from_scan, 2, x, y, z)
                gone = _gone(mask, mask_origin, per_mask, planes, kerf, px, py, pz, width)
                water, titanium = old_water + gone * (bed_water - old_water), old_titanium * (1.0 - gone)
                u, v = row_of(build_from_scan, 0, x, y, z), row_of(build_from_scan, 1, x, y, z)
                w = row_of(build_from_scan, 2, x, y, z)
                solid, dense = 1e3, 1e3
                gi, gj, gk = u - grid_origin[0], v - grid_origin[1], w - grid_origin[2]
                gi, gj, gk = gi * per_grid, gj * per_grid, gk * per_grid
                if inside_grid(gi, gj, gk, solid_grid.shape[0], solid_grid.shape[1], solid_grid.shape[2]):
                    solid = trilinear(solid_grid, gi, gj, gk) * step
                inside = ramp(solid, width)
                if inside < 1.0:
                    # The faces' states: resorbed bone, or bone in the gap.
                    gi, gj, gk = u - face_origin[0], v - face_origin[1], w - face_origin[2]
                    gi, gj, gk = gi * per_face, gj * per_face, gk * per_face
                    if inside_grid(gi, gj, gk, heights.shape[1], heights.shape[2], heights.shape[3]):
                        for f in range(kinds.size):
                            height = _height(heights, f, gi, gj, gk)
                            share = ramp(height - widths[f], width)
                            if share == 0.0 or height < -1.0:
                                continue
                            if kinds[f] == 1:
                                # Only mineral goes; fat and muscle beside the face stay what they are.
                                share *= min(titanium / (0.02 * bone_titanium), 1.0)
                                water += share * (bed_water - water)
                                titanium *= 1.0 - share
                            elif titanium < face_bone[f] * bone_titanium:
                                filled = face_bone[f] * bone_water + (1.0 - face_bone[f]) * bed_water
                                water += share * (filled - water)
                                titanium += share * (face_bone[f] * bone_titanium - titanium)
                if inside > 0.0:
                    # Inside the solid its grid holds the place: it was looked up above.
                    gi, gj, gk = u - grid_origin[0], v - grid_origin[1], w - grid_origin[2]
                    gi, gj, gk = gi * per_grid, gj * per_grid, gk * per_grid
                    dense = trilinear(dense_grid, gi, gj, gk) * step
                    if dense > -width:
                        dense = min(dense, lattice_distance(lattice_table, per_mm, u, v, w) + shift)
                    metal = ramp(max(solid, dense), width)
                    pores = max(inside - metal, 0.0)
                    gi, gj, gk = u - face_origin[0], v - face_origin[1], w - face_origin[2]
                    grown = trilinear(pore_grid, gi * per_pore, gj * per_pore, gk * per_pore)
                    filled = grown * bone_water + (1.0 - grown) * pore_water
                    water = (1.0 - inside) * water + pores * filled
                    titanium = (1.0 - inside) * titanium + pores * grown * bone_titanium + metal
                screw = cylinder_share(own_screws, u, v, w, width)
                if screw > 0.0:
                    water, titanium = water * (1.0 - screw), titanium * (1.0 - screw) + screw
                if water == old_water and titanium == old_titanium:
                    continue
                free = 1.0 - cylinder_share(screws, x, y, z, width)
                out[j, i, 2 * n] = water * free - old_water
                out[j, i, 2 * n + 1] = titanium * free - old_titanium


@kernel
def first_bone(
    points: FloatArray,
    normals: FloatArray,
    hu: NDArray[np.int16],
    index_from_planning: FloatArray,
    bed: Bed,
    least_hu: float,
    step: float,
    reach: float,
    out: FloatArray,
) -> None:
    """Way (mm, at most ``reach``) from each point along its normal to the first bone that stayed; planning LPS."""
    m = index_from_planning
    for n in range(points.shape[0]):
        out[n] = reach
        way = 0.0
        while way < reach:
            x, y, z = (
                points[n, 0] + way * normals[n, 0],
                points[n, 1] + way * normals[n, 1],
                points[n, 2] + way * normals[n, 2],
            )
            i, j, k = row_of(m, 0, x, y, z), row_of(m, 1, x, y, z), row_of(m, 2, x, y, z)
            if (
                inside_grid(i, j, k, hu.shape[0], hu.shape[1], hu.shape[2])
                and trilinear(hu, i, j, k) > least_hu
            ):
                gone = _gone(bed.mask, bed.origin, 1.0 / bed.spacing, bed.planes, bed.kerf, x, y, z, step)
                if gone < 0.5:
                    out[n] = way
                    break
            way += step
