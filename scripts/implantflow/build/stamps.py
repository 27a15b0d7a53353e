"""The lattice's contours at every layer phase, made once from the field and stamped everywhere.

A periodic cell whose edge is a whole number of layers has only that many different layers. For each the
contours of one period are found on a fine table of the cell's own values, thinned to a few micrometres, given
back the area that thinning took, and rounded to the file's units with the area kept. Curves that close stay
islands (or holes); curves that run on for ever, where struts join up in the plane, keep their period.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError
from implantflow.field.cells import cell_value
from implantflow.geometry import FloatArray

#: Spacing of the table the contours are found on (mm): linear interpolation errs by h^2/8r < 0.1 um.
TABLE_MM = 0.0125
#: A dropped point of a contour lies at most this far from the chord (mm).
CHORD_MM = 0.003
#: Contours may differ from the table's metal area by this share before it counts as lost metal.
AREA_TOLERANCE = 0.001
#: The table kept for inside/outside questions has every n-th node.
_COARSE = 4

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Stamps:
    """Contours of one period for each phase, in units of the file, metal on the left.

    Attributes
    ----------
    cell_units : edge of the cell in units; phases : number of different layers.
    loop_phase (phases + 1,), loop_start (L + 1,), loop_x, loop_y : closed curves, phase by phase.
    line_phase (phases + 1,), line_start (M + 1,), line_shift (M, 2) cells, line_x, line_y : endless curves.
    inside : (phases, n, n) float32 values of the cell in mm on a coarse table, for points off every curve.
    area_mm2 : (phases,) metal area of one period.
    """

    cell_units: int
    phases: int
    loop_phase: IntArray
    loop_start: IntArray
    loop_x: IntArray
    loop_y: IntArray
    line_phase: IntArray
    line_start: IntArray
    line_shift: IntArray
    line_x: IntArray
    line_y: IntArray
    inside: NDArray[np.float32]
    area_mm2: FloatArray


def phase_table(cell: str, cell_mm: float, strut_mm: float, z_mm: float, n: int) -> FloatArray:
    """(n, n) values in mm of one period of the cell at height ``z_mm``, rows y, columns x."""
    line = np.arange(n) * (cell_mm / n)
    y, x = np.meshgrid(line, line, indexing="ij")
    points = np.column_stack([x.ravel(), y.ravel(), np.full(n * n, z_mm)])
    return cell_value(cell, cell_mm, strut_mm, points).reshape(n, n)


def metal_area(table: FloatArray, step: float) -> float:
    """Area where a periodic table of distances is negative, each node's square counted by its own value."""
    return float(np.clip(0.5 - table / step, 0.0, 1.0).sum() * step**2)


def _curves(table: FloatArray, step: float) -> list[tuple[FloatArray, FloatArray]]:
    from implantflow.build import stamp_kernels

    follow = np.full(2 * table.size, -1, dtype=np.int64)
    heads = stamp_kernels.next_crossing(table, follow)
    points, starts, shift = stamp_kernels.trace_periodic(table, follow, heads, step)
    return [(points[a:b], s) for a, b, s in zip(starts[:-1], starts[1:], shift, strict=True)]


def _thin(points: FloatArray, shift: FloatArray, unit_mm: float) -> tuple[IntArray, float]:
    """Few integer points of the same area: (P, 2) units, and the swept area reached (mm2)."""
    from implantflow.build import stamp_kernels

    area = stamp_kernels.swept_area(points, shift)
    few = points[stamp_kernels.simplify(points, shift, CHORD_MM)].copy()
    distinct = np.linalg.norm(np.diff(few, axis=0, append=few[:1] + shift), axis=1) > 1e-9
    few = few[distinct]
    if len(few) < (2 if shift.any() else 3):
        return np.empty((0, 2), dtype=np.int64), 0.0
    stamp_kernels.equal_area(few, shift, area)
    scaled = few / unit_mm
    stamp_kernels.settle(scaled, shift / unit_mm, area / unit_mm**2)
    return scaled.astype(np.int64), stamp_kernels.swept_area(scaled, shift / unit_mm) * unit_mm**2


def _centred(points: IntArray, cell_units: int) -> IntArray:
    """Shift a curve by whole periods so that the middle of its box lies in the period at the origin."""
    middle = (points.min(0) + points.max(0)) // 2
    return np.asarray(points - (middle // cell_units) * cell_units)


def make_stamps(
    cell: str, cell_mm: float, strut_mm: float, layer_mm: float, unit_mm: float, area_min_mm2: float
) -> Stamps:
    """Contours of every phase; layer l of the build (plane at (l + 0.5) * layer_mm) has phase l % phases.

    Raises
    ------
    GeometryError
        The cell is no whole even number of layers or no whole number of units, or contours lost metal.
    """
    phases, units = round(cell_mm / layer_mm), round(cell_mm / unit_mm)
    if abs(phases * layer_mm - cell_mm) > 1e-9 or phases % 2 or abs(units * unit_mm - cell_mm) > 1e-9:
        raise GeometryError(
            f"a cell of {cell_mm} mm is no even number of layers of {layer_mm} mm and whole number of "
            f"{unit_mm} mm units",
            where="lattice.cell_mm",
            fix=f"use a multiple of {2 * layer_mm:g} mm",
        )
    n = _COARSE * max(round(cell_mm / TABLE_MM / _COARSE), 25)
    step = cell_mm / n
    loops: list[IntArray] = []
    lines: list[IntArray] = []
    shifts: list[FloatArray] = []
    loop_phase, line_phase = [0], [0]
    inside = np.empty((phases, n // _COARSE, n // _COARSE), dtype=np.float32)
    areas = np.empty(phases)
    for phase in range(phases):
        table = phase_table(cell, cell_mm, strut_mm, (phase + 0.5) * layer_mm, n)
        inside[phase] = table[::_COARSE, ::_COARSE]
        areas[phase] = metal_area(table, step)
        reached = 0.0
        for points, shift in _curves(table, step):
            small, area = _thin(points, shift, unit_mm)
            reached += area
            if len(small) == 0 or (not shift.any() and abs(area) < area_min_mm2):
                continue
            if shift.any():
                lines.append(small)
                shifts.append(np.round(shift / cell_mm))
            else:
                loops.append(_centred(small, units))
        # Areas of endless curves are known up to whole periods only.
        lost = (reached - areas[phase] + cell_mm**2 / 2) % cell_mm**2 - cell_mm**2 / 2
        if abs(lost) > AREA_TOLERANCE * cell_mm**2:
            raise GeometryError(
                f"contours of the {cell} lattice lost {-lost:.4f} mm2 of {areas[phase]:.4f} mm2 per period",
                where=f"phase {phase} of {phases}",
                fix="this is a defect of the slicer: please report cell, cell_mm, strut_mm and layer_mm",
            )
        loop_phase.append(len(loops))
        line_phase.append(len(lines))
    return Stamps(
        units,
        phases,
        *_packed(loop_phase, loops),
        *_packed_lines(line_phase, lines, shifts),
        inside,
        areas,
    )


def _packed(phase: list[int], curves: list[IntArray]) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    starts = np.cumsum([0, *(len(c) for c in curves)]).astype(np.int64)
    joined = np.concatenate(curves) if curves else np.empty((0, 2), dtype=np.int64)
    return np.array(phase), starts, np.ascontiguousarray(joined[:, 0]), np.ascontiguousarray(joined[:, 1])


def _packed_lines(
    phase: list[int], curves: list[IntArray], shifts: list[FloatArray]
) -> tuple[IntArray, IntArray, IntArray, IntArray, IntArray]:
    index, starts, x, y = _packed(phase, curves)
    shift = np.array(shifts, dtype=np.int64).reshape(-1, 2)
    return index, starts, shift, x, y
