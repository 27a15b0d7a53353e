"""Figures of the implant's field: volumes, closed pores, loose pieces, and windows of its porous region."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.field.field import POROUS, Field
from implantflow.field.volume import VOID, Volumes, mesh_volume_mm3, roomy_grid, volumes_of
from implantflow.geometry import FloatArray, invert_rigid, transform_points
from implantflow.lattice.pieces import Pieces, pieces_of

#: Spacing on which a suspected closed pore is looked at again (mm), and how far around it.
_FINE_MM, _AROUND_MM = 0.06, 1.2
#: A void that would need more fine nodes than this in each direction is no notch.
_MOST_FINE = 60
#: Edge of a window in cells, and spacing of its samples (mm).
_WINDOW_CELLS, _WINDOW_MM = 2, 0.1
#: Half width of the layer about the surface that is counted for the specific surface (mm).
_SURFACE_BAND_MM = 0.03


@dataclass(frozen=True)
class Spot:
    """Something found in the voxels: size in mm3, a point of it in build_xyz (mm), and a closed pore's reach (mm)."""

    volume_mm3: float
    place_mm: tuple[float, float, float]
    reach_mm: float = 0.0

    def as_json(self, field: Field) -> dict[str, Any]:
        """Volume and place in both frames."""
        lps = transform_points(invert_rigid(field.build_from_patient), [self.place_mm])[0]
        return {"volume_mm3": self.volume_mm3, "build_xyz_mm": list(self.place_mm), "patient_lps_mm": lps}


@dataclass(frozen=True)
class PartFigures:
    """What the voxels of the implant show.

    ``pockets`` hold a sphere of the powder's throat that finds no way out as wide as itself.
    """

    volumes: Volumes
    closed_pores: list[Spot]
    closed_notches: list[Spot]
    loose: list[Spot]
    step_mm: float
    pockets: list[Spot]


def measure_part(
    field: Field, step_mm: float, notch_mm: float, throat_mm: float, threads: int = 1
) -> PartFigures:
    """Sample the field over the implant and look for enclosed void and unconnected metal.

    A void that has no way out on the voxels is examined again on a grid of 0.06 mm, because a channel narrower
    than a voxel is open all the same. One that stays closed but holds no sphere of ``notch_mm`` is a notch
    between a strut and a dense face, not a pore. Powder gets out of a place where a sphere of ``throat_mm`` fits
    and can roll to the outside; in strut lattices the distance to metal is exact, in gyroids of first order.
    """
    material = field.material
    solid_mm3 = mesh_volume_mm3(field.vertices_mm, field.faces)
    volumes = volumes_of(field.vertices_mm, field.faces, solid_mm3, material)
    labels, room, origin = roomy_grid(field.vertices_mm, field.faces, material, step_mm, throat_mm / 2.0)
    # The first node lies outside, and so does the piece that it belongs to.
    pockets = _spots(pieces_of(room, corners=False), 0, origin, step_mm)
    del room
    closed: list[Spot] = []
    notches: list[Spot] = []
    suspects = _spots(pieces_of(labels <= VOID, corners=False), 0, origin, step_mm)
    with ThreadPoolExecutor(threads) as pool:
        widths = list(
            pool.map(lambda s: _closed_width_mm(field, np.array(s.place_mm), s.volume_mm3), suspects)
        )
    for spot, (width, reach_mm) in zip(suspects, widths, strict=True):
        if width >= notch_mm:
            closed.append(replace(spot, reach_mm=reach_mm))
        elif width > 0:
            notches.append(spot)
    metal = pieces_of(labels > VOID, corners=True)
    body = int(metal.sizes.argmax()) if len(metal.sizes) else 0
    return PartFigures(volumes, closed, notches, _spots(metal, body, origin, step_mm), step_mm, pockets)


def _spots(pieces: Pieces, main: int, origin: FloatArray, step: float) -> list[Spot]:
    """Pieces other than ``main``, largest first."""
    found = []
    for number, (size, (k, j, i)) in enumerate(zip(pieces.sizes, pieces.places, strict=True)):
        if number != main:
            x, y, z = (float(c) for c in origin + step * np.array([i, j, k]))
            found.append(Spot(float(size) * step**3, (x, y, z)))
    return sorted(found, key=lambda spot: (-spot.volume_mm3, spot.place_mm))


def _closed_width_mm(field: Field, place: FloatArray, volume_mm3: float) -> tuple[float, float]:
    """Diameter of the largest sphere in the closed void at ``place`` on a fine grid, 0 when it is open; and its reach.

    The reach is how far (mm) the void's farthest node lies from ``place``; infinite where it is too large for this.
    """
    from scipy import ndimage

    half = int((_AROUND_MM + float(np.cbrt(volume_mm3))) / _FINE_MM)
    if half > _MOST_FINE:
        return float(np.cbrt(volume_mm3)), np.inf
    line = np.arange(-half, half + 1) * _FINE_MM
    z, y, x = np.meshgrid(line, line, line, indexing="ij")
    points = place + np.column_stack([x.ravel(), y.ravel(), z.ravel()])
    void = (field.value(points) > 0).reshape(z.shape)
    components, _ = ndimage.label(void)
    middle = components[half - 2 : half + 3, half - 2 : half + 3, half - 2 : half + 3]
    border = np.ones(void.shape, dtype=bool)
    border[1:-1, 1:-1, 1:-1] = False
    enclosed = np.setdiff1d(middle[middle > 0], components[border])
    if len(enclosed) == 0:
        return 0.0, 0.0
    void = np.isin(components, enclosed)
    reach_mm = float(np.linalg.norm(points[void.ravel()] - place, axis=1).max())
    return 2.0 * float(_depth_mm(void, _FINE_MM).max()), reach_mm


def _depth_mm(void: NDArray[np.bool_], step_mm: float) -> FloatArray:
    """Distance of every node of ``void`` to metal; 0 in metal."""
    from scipy import ndimage

    # It is counted to the middle of the next metal voxel, half a voxel too far.
    depth = ndimage.distance_transform_edt(void, sampling=step_mm) - step_mm / 2.0
    return np.asarray(np.maximum(depth, 0.0), dtype=np.float64)


def porous_windows(field: Field, most: int = 3) -> list[FloatArray]:
    """Corners of up to ``most`` cubes of two cells that lie wholly in the porous region, spread along z."""
    edge = _WINDOW_CELLS * field.cell_mm
    low, high = field.bounds_mm
    axes = [np.arange(a, b - edge, field.cell_mm) for a, b in zip(low, high, strict=True)]
    if any(len(a) == 0 for a in axes):
        return []
    z, y, x = np.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
    corners = np.column_stack([x.ravel(), y.ravel(), z.ravel()])
    probe = np.stack(np.meshgrid(*[np.linspace(0, edge, 6)] * 3, indexing="ij"), -1).reshape(-1, 3)
    # The eight corners first: they rule out nearly every cube.
    for places in (probe[[0, 5, 30, 35, 180, 185, 210, 215]], probe):
        points = (corners[:, None] + places).reshape(-1, 3)
        corners = corners[(field.region(points) == POROUS).reshape(-1, len(places)).all(1)]
        if not len(corners):
            return []
    chosen = np.unique(np.linspace(0, len(corners) - 1, most).round().astype(int))
    return list(corners[chosen])


def measure_window(field: Field, corner: FloatArray) -> dict[str, Any]:
    """Figures of one window at two spacings, which shows how far they have converged."""
    return {**_window(field, corner, _WINDOW_MM / 2.0), "coarser": _window(field, corner, _WINDOW_MM)}


def _window(field: Field, corner: FloatArray, step_mm: float) -> dict[str, Any]:
    """Porosity, largest inscribed sphere and specific surface of one window, measured on the field itself.

    The sphere is read off the field's own distance beside struts, where it is exact; a gyroid's grows without bound in
    the middle of its pores, so there it is counted in nodes.
    """
    edge = _WINDOW_CELLS * field.cell_mm
    count = round(edge / step_mm)
    line = (np.arange(count) + 0.5) * (edge / count)
    z, y, x = np.meshgrid(line, line, line, indexing="ij")
    value = field.value(corner + np.column_stack([x.ravel(), y.ravel(), z.ravel()])).reshape(z.shape)
    depth = value if not field.cell.startswith("gyroid") else _depth_mm(value > 0.0, edge / count)
    # Beyond the window nothing is known, so only spheres that lie in it count.
    wall = np.minimum(line, edge - line)
    inside = depth <= np.minimum(np.minimum(wall[:, None, None], wall[:, None]), wall)
    share = np.clip(0.5 - value / (edge / count), 0.0, 1.0)
    return {
        "corner_build_xyz_mm": corner,
        "edge_mm": edge,
        "porosity": 1.0 - float(share.mean()),
        "pore_um": 2000.0 * max(float(depth[inside].max(initial=0.0)), 0.0),
        "surface_per_mm": float((np.abs(value) < _SURFACE_BAND_MM).mean()) / (2.0 * _SURFACE_BAND_MM),
        "resolution_um": 1000.0 * edge / count,
    }
