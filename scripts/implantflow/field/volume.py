"""How much metal the field holds, and its classes on a voxel grid, by exact lines through the solid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError
from implantflow.field.columns import Columns
from implantflow.field.lattice import Lattice
from implantflow.field.material import Material
from implantflow.geometry import FloatArray

VOID, LATTICE_METAL, DENSE_METAL = 1, 2, 3

#: Samples that a volume is judged on: the lattice's share is then known to about 0.02 %.
SAMPLES = 8_000_000
#: Least distance of samples (mm).
FINEST_MM = 0.02
#: Boxes along the cell whose middles tell most samples' side of the lattice.
_BOXES = 64
#: Turn of the sampling columns about z (rad): no face of an implant runs along them.
TURN_RAD = 0.5537

#: Grid (K, J, I) of distances, of which the sign counts; place of node (0, 0, 0); spacing along x, y, z.
DenseData = tuple[NDArray[np.int16], FloatArray, FloatArray]
#: A uniform periodic lattice: cell, cell_mm, strut_mm.
Uniform = tuple[str, float, float]


@dataclass(frozen=True)
class Volumes:
    """Volumes in mm3: the whole solid, its dense part, its porous part and the metal in that."""

    solid_mm3: float
    dense_mm3: float
    porous_mm3: float
    lattice_mm3: float

    @property
    def material_mm3(self) -> float:
        """All metal."""
        return self.dense_mm3 + self.lattice_mm3

    @property
    def relative_density(self) -> float:
        """Metal share of the porous part."""
        return self.lattice_mm3 / self.porous_mm3 if self.porous_mm3 > 0 else 1.0


class Planes:
    """The bare lattice on the planes of a grid of nodes; what repeats from plane to plane is worked out once."""

    def __init__(self, lattice: Lattice, origin_mm: FloatArray, step_mm: float) -> None:
        from implantflow.field import cell_kernels

        self._lattice, self._step = lattice, step_mm
        self._x, self._y, self._z = (float(c) for c in origin_mm)
        self._repeat = (
            cell_kernels.repeat_nodes(lattice.arrays.period, step_mm) if lattice.graph is None else 0
        )
        self._kept: dict[int, tuple[FloatArray, FloatArray]] = {}

    def fill(self, k: int, spans: NDArray[np.int64], out: FloatArray) -> None:
        """Values in mm on the nodes (J, I) of plane ``k``, within ``spans`` (J, 2) of each row."""
        from implantflow.field import cell_kernels

        arrays, n, z = self._lattice.arrays, self._repeat, self._z + k * self._step
        if n == 0:
            self._lattice.layer(z, (self._x, self._y), self._step, out.shape, spans, out)
            return
        if k % n not in self._kept:
            base, slope = np.empty((n, n)), np.empty((n, n))
            cell_kernels.base_plane(arrays, self._x, self._y, self._step, z, base, slope)
            self._kept[k % n] = base, slope
        cell_kernels.repeat_plane(arrays, *self._kept[k % n], self._x, self._y, self._step, z, spans, out)


def _material(dense: DenseData | Material | None, lattice: Lattice | Uniform | None) -> Material:
    if isinstance(dense, Material):
        return dense
    if lattice is None:
        raise GeometryError("volumes need a lattice")
    grid, origin, spacing = dense or (None, np.zeros(3), np.ones(3))
    return Material(Lattice.of(lattice), origin, spacing, grid)


def volumes_of(
    vertices_mm: FloatArray,
    faces: NDArray[np.int64],
    solid_mm3: float,
    dense: DenseData | Material | None,
    lattice: Lattice | Uniform | None = None,
) -> Volumes:
    """Volumes of the field's parts by about eight million samples inside the exact solid.

    Parameters
    ----------
    vertices_mm, faces : closed solid in build_xyz. solid_mm3 : its exact volume, which the samples share out.
    dense : the whole material; or the dense region alone, None where nothing is dense, with
    lattice : what fills the rest.
    """
    from implantflow.field import volume_kernels

    material = _material(dense, lattice)
    step = max(float(np.cbrt(solid_mm3 / SAMPLES)), FINEST_MM)
    cosine, sine = float(np.cos(TURN_RAD)), float(np.sin(TURN_RAD))
    turned = vertices_mm @ np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    low, high = turned.min(0), turned.max(0)
    shape = tuple(int(n) for n in (np.ceil((high - low) / step).astype(int) + 1)[1::-1])
    columns = Columns.of(turned, faces, low[:2] + 0.37 * step, step, (shape[0], shape[1]))
    counts = np.zeros(4, dtype=np.int64)
    boxes, spread = np.zeros((0, 1, 1)), 0.0
    if material.by_signs and material.lattice.graph is None:
        boxes = np.empty((_BOXES,) * 3)
        spread = volume_kernels.box_bases(material.lattice.arrays, boxes)
    volume_kernels.count_columns(
        columns.starts,
        columns.heights_mm,
        columns.shape,
        columns.origin_mm,
        step,
        cosine,
        sine,
        counts,
        material.lattice.arrays,
        material.arrays,
        boxes,
        spread,
    )
    share = counts * (solid_mm3 / max(int(counts.sum()), 1))
    return Volumes(solid_mm3, float(share[3]), float(share[1] + share[2]), float(share[2]))


def label_grid(
    vertices_mm: FloatArray,
    faces: NDArray[np.int64],
    dense: DenseData | Material | None,
    lattice: Lattice | Uniform | None,
    step_mm: float,
) -> tuple[NDArray[np.uint8], FloatArray]:
    """:func:`roomy_grid` without the room."""
    labels, _, origin = roomy_grid(vertices_mm, faces, _material(dense, lattice), step_mm, 0.0)
    return labels, origin


def roomy_grid(
    vertices_mm: FloatArray, faces: NDArray[np.int64], material: Material, step_mm: float, clearance_mm: float
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], FloatArray]:
    """Class of every node of a grid over the solid: 0 outside, 1 void, 2 lattice metal, 3 dense.

    Returns
    -------
    labels (K, J, I), room (K, J, I) bool : is it outside, or void with no metal within ``clearance_mm``?,
    origin (3,) of node (0, 0, 0) in mm; the outermost nodes are outside.
    """
    from implantflow.field import volume_kernels

    low, high = vertices_mm.min(0), vertices_mm.max(0)
    origin = low - 1.5 * step_mm
    nk, nj, ni = (int(n) for n in np.ceil((high - origin) / step_mm).astype(int)[::-1] + 2)
    # Rows along x: neighbours in memory are neighbours in space.
    rows = Columns.of(vertices_mm[:, [1, 2, 0]], faces, origin[1:], step_mm, (nk, nj))
    labels = np.zeros((nk, nj, ni), dtype=np.uint8)
    room = np.ones(labels.shape, dtype=np.bool_)
    spans, values = np.zeros((nj, 2), dtype=np.int64), np.zeros((nj, ni))
    planes = Planes(material.lattice, origin, step_mm)
    for k in range(nk):
        place = rows.starts, rows.heights_mm, k * nj
        volume_kernels.row_spans(*place, float(origin[0]), step_mm, spans)
        np.minimum(spans, ni, out=spans)
        z = float(origin[2]) + k * step_mm
        planes.fill(k, spans, values)
        volume_kernels.label_plane(
            *place, origin, step_mm, z, spans, values, labels[k], room[k], clearance_mm, material.arrays
        )
    return labels, room, origin


def mesh_volume_mm3(vertices_mm: FloatArray, faces: NDArray[Any]) -> float:
    """Signed volume of a closed mesh by the divergence theorem, about its own middle to keep digits."""
    from implantflow.field import volume_kernels

    v = np.ascontiguousarray(vertices_mm, dtype=np.float64)
    middle = np.array([column.mean() for column in v.T])
    return float(volume_kernels.enclosed(v, np.ascontiguousarray(faces, dtype=np.int32), middle))
