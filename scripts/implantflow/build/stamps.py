"""The lattice's contours at every layer phase, made once from the field and stamped everywhere.

A periodic cell whose edge is a whole number of layers has only that many different layers. For each the
contours of one period are found on a fine table of the cell's own values, thinned to a few micrometres, given
back the area that thinning took, and rounded to the file's units with the area kept. Curves that close stay
islands (or holes); curves that run on for ever, where struts join up in the plane, keep their period.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError
from implantflow.field.cells import cell_value
from implantflow.geometry import FloatArray

#: Spacing of the table the contours are found on (mm): linear interpolation errs by h^2/8r < 0.1 um.
TABLE_MM = 0.0125
#: A dropped point of a contour lies at most this far from the chord (mm). Keeping the area halves the error, rounding
#: to units of 5 um adds 3.5 um at most: contours lie within 10 um of the cell's.
CHORD_MM = 0.006
#: Contours may differ from the table's metal area by this share before it counts as lost metal.
AREA_TOLERANCE = 0.001
#: The table kept for inside/outside questions has every n-th node.
_COARSE = 4
#: How many times finer a phase's area is measured where its curves do not agree with it.
_FINER = 4

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
    """(n, n) values in mm of one period of the cell at height ``z_mm``, rows y, columns x; n a multiple of 4.

    Exact about the surface; elsewhere the value of the coarse node near by, which has the same sign.
    """
    step = cell_mm / n
    line = np.arange(0, n, _COARSE) * step
    y, x = np.meshgrid(line, line, indexing="ij")
    points = np.column_stack([x.ravel(), y.ravel(), np.full(x.size, z_mm)])
    coarse = cell_value(cell, cell_mm, strut_mm, points).reshape(x.shape)
    near = np.roll(np.repeat(np.repeat(coarse, _COARSE, 0), _COARSE, 1), (-(_COARSE // 2),) * 2, (0, 1))
    # The values are distances, or nearly so: twice the way to the coarse node leaves room for the "nearly".
    j, i = np.nonzero(np.abs(near) < 2.0 * np.sqrt(0.5) * _COARSE * step)
    near[j, i] = cell_value(
        cell, cell_mm, strut_mm, np.column_stack([i * step, j * step, np.full(len(i), z_mm)])
    )
    return np.ascontiguousarray(near)


def half_shift(cell: str, cell_mm: float, strut_mm: float) -> tuple[int, int] | None:
    """How many half cells along x and y the cell moves when it moves up by half a cell; None when it does neither."""
    points = np.random.default_rng(0).uniform(0.0, cell_mm, (400, 3))
    here = cell_value(cell, cell_mm, strut_mm, points)
    for sx, sy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        moved = points + 0.5 * cell_mm * np.array([sx, sy, 1.0])
        if np.abs(cell_value(cell, cell_mm, strut_mm, moved) - here).max() < 1e-9:
            return sx, sy
    return None


def metal_area(table: FloatArray, step: float) -> float:
    """Area where a periodic table of distances is negative, each node's square counted by its own value."""
    return float(np.clip(0.5 - table / step, 0.0, 1.0).sum() * step**2)


def _curves(table: FloatArray, step: float) -> list[tuple[FloatArray, FloatArray]]:
    from implantflow.build import stamp_kernels

    follow = np.full(2 * table.size, -1, dtype=np.int64)
    heads = stamp_kernels.next_crossing(table, stamp_kernels.all_cells(table), follow)
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
    stamp_kernels.equal_area(few, shift, area, 6)
    scaled = few / unit_mm
    stamp_kernels.settle(scaled, shift / unit_mm, area / unit_mm**2)
    return scaled.astype(np.int64), stamp_kernels.swept_area(scaled, shift / unit_mm) * unit_mm**2


class _Curves(NamedTuple):
    """Curves of one phase in units: closed ones, endless ones with their period in cells, and their area (mm2)."""

    loops: list[IntArray]
    lines: list[tuple[IntArray, FloatArray]]
    area_mm2: float


def _phase_curves(table: FloatArray, cell_mm: float, unit_mm: float, area_min_mm2: float) -> _Curves:
    found = _Curves([], [], 0.0)
    reached = 0.0
    for points, shift in _curves(table, cell_mm / len(table)):
        small, area = _thin(points, shift, unit_mm)
        reached += area
        if len(small) and shift.any():
            found.lines.append((small, np.round(shift / cell_mm)))
        elif len(small) and abs(area) >= area_min_mm2:
            found.loops.append(small)
    return found._replace(area_mm2=reached)


def _lost(found: _Curves, area_mm2: float, cell_mm: float) -> float:
    """Area (mm2) by which curves miss that of a phase; of endless ones it is known up to whole periods only."""
    return (found.area_mm2 - area_mm2 + cell_mm**2 / 2) % cell_mm**2 - cell_mm**2 / 2


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
    loops: list[list[IntArray]] = []
    lines: list[list[tuple[IntArray, FloatArray]]] = []
    inside = np.empty((phases, n // _COARSE, n // _COARSE), dtype=np.float32)
    areas = np.empty(phases)
    shift = half_shift(cell, cell_mm, strut_mm) if units % 2 == 0 and n % (2 * _COARSE) == 0 else None
    for phase in range(phases if shift is None else phases // 2):
        table = phase_table(cell, cell_mm, strut_mm, (phase + 0.5) * layer_mm, n)
        inside[phase] = table[::_COARSE, ::_COARSE]
        found = _phase_curves(table, cell_mm, unit_mm, area_min_mm2)
        areas[phase] = metal_area(table, cell_mm / n)
        if abs(_lost(found, areas[phase], cell_mm)) > AREA_TOLERANCE * cell_mm**2:
            # Where the surface lies almost in the plane, or has an edge, the nodes' own values miss some of it.
            finer = phase_table(cell, cell_mm, strut_mm, (phase + 0.5) * layer_mm, _FINER * n)
            areas[phase] = metal_area(finer, cell_mm / (_FINER * n))
        lost = _lost(found, areas[phase], cell_mm)
        if abs(lost) > AREA_TOLERANCE * cell_mm**2:
            raise GeometryError(
                f"contours of the {cell} lattice lost {-lost:.4f} mm2 of {areas[phase]:.4f} mm2 per period",
                where=f"phase {phase} of {phases}",
                fix="this is a defect of the slicer: please report cell, cell_mm, strut_mm and layer_mm",
            )
        loops.append([_centred(loop, units) for loop in found.loops])
        lines.append(found.lines)
    if shift is not None:
        half = np.array(shift) * (units // 2)
        inside[phases // 2 :] = np.roll(
            inside[: phases // 2], np.array(shift)[::-1] * inside.shape[1] // 2, (1, 2)
        )
        areas[phases // 2 :] = areas[: phases // 2]
        loops += [[_centred(loop + half, units) for loop in phase_loops] for phase_loops in loops]
        lines += [[(line + half, period) for line, period in phase_lines] for phase_lines in lines]
    return Stamps(
        units,
        phases,
        *_packed(loops),
        *_packed_lines(lines),
        inside,
        areas,
    )


def _packed(phases: list[list[IntArray]]) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    curves = [curve for phase in phases for curve in phase]
    index = np.cumsum([0, *(len(phase) for phase in phases)]).astype(np.int64)
    starts = np.cumsum([0, *(len(c) for c in curves)]).astype(np.int64)
    joined = np.concatenate(curves) if curves else np.empty((0, 2), dtype=np.int64)
    return index, starts, np.ascontiguousarray(joined[:, 0]), np.ascontiguousarray(joined[:, 1])


def _packed_lines(
    phases: list[list[tuple[IntArray, FloatArray]]],
) -> tuple[IntArray, IntArray, IntArray, IntArray, IntArray]:
    index, starts, x, y = _packed([[line for line, _ in phase] for phase in phases])
    shift = np.array([period for phase in phases for _, period in phase], dtype=np.int64).reshape(-1, 2)
    return index, starts, shift, x, y
