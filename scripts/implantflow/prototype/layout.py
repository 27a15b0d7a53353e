"""Parts on a printer's bed: split with pegs where too large, and shared out over plates."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from implantflow.config.prototype import Printer
from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, Plane
from implantflow.solids.booleans import difference, shells, trim
from implantflow.solids.distance import Surface
from implantflow.solids.mesh import Solid
from implantflow.solids.shapes import cylinder

_GAP_MM = 6.0
_PEG_LENGTH_MM = 16.0
_PEG_END_PLAY_MM = 1.0
_PEG_WALL_MM = 1.5
_PEG_GRID_MM = 2.0
#: Cuts tried beside the middle when there is no room for pegs there.
_CUT_SHIFTS_MM = (0.0, 5.0, -5.0, 10.0, -10.0, 15.0, -15.0)
#: A piece smaller than this is a crumb of the cut.
_CRUMB_MM3 = 20.0
_MAX_CUTS = 6


@dataclass(frozen=True)
class Part:
    """One piece that lies on the bed by itself."""

    name: str
    solid: Solid


@dataclass(frozen=True)
class Placed:
    """A part in the bed's frame: x and y from the bed's corner, z up from the bed, mm."""

    part: Part
    plate: int
    turned: bool
    shift_mm: tuple[float, float, float]

    @property
    def solid(self) -> Solid:
        """The part where it lies."""
        vertices = self.part.solid.vertices
        if self.turned:
            vertices = vertices[:, [1, 0, 2]] * np.array([-1.0, 1.0, 1.0])
        return Solid.of(vertices + np.asarray(self.shift_mm), self.part.solid.faces)


def pieces(name: str, solid: Solid) -> list[Part]:
    """The separate pieces of ``solid``, largest first, numbered where there are several."""
    found = [piece for piece in shells(solid) if piece.volume_mm3 > _CRUMB_MM3]
    if len(found) == 1:
        return [Part(name, found[0])]
    return [Part(f"{name}_{number}", piece) for number, piece in enumerate(found, 1)]


def fitted(parts: list[Part], printer: Printer) -> tuple[list[Part], list[dict[str, object]]]:
    """``parts`` with those too large for the bed cut and pegged, and what was cut.

    Raises
    ------
    GeometryError
        A cut has no room for two pegs, or a part needs too many cuts.
    """
    todo, done = list(parts), []
    cuts: list[dict[str, object]] = []
    while todo:
        part = todo.pop(0)
        over = _excess_mm(part.solid, printer)
        if (over <= 0.0).all():
            done.append(part)
            continue
        if len(cuts) >= _MAX_CUTS:
            raise GeometryError(
                f"{part.name} does not fit the bed of {printer.name} after {_MAX_CUTS} cuts",
                where="prototype.printer",
                fix="choose a larger printer",
            )
        halves, pegs, cut = _split(part, int(np.argmax(over)), printer)
        cuts.append(cut)
        todo = [*halves, *todo]
        done += pegs
    return done, cuts


def _room_mm(printer: Printer) -> FloatArray:
    return np.asarray(printer.bed_mm) - [2.0 * printer.margin_mm, 2.0 * printer.margin_mm, 0.0]


def _excess_mm(solid: Solid, printer: Printer) -> FloatArray:
    """How much (3,) the part is too long along x, y, z, in the better of two turns about z."""
    size = solid.bounds_mm[1] - solid.bounds_mm[0]
    straight = size - _room_mm(printer)
    turned = (size[[1, 0, 2]] - _room_mm(printer))[[1, 0, 2]]
    return min((straight, turned), key=lambda over: float(np.clip(over, 0.0, None).sum()))


def _split(part: Part, axis: int, printer: Printer) -> tuple[list[Part], list[Part], dict[str, object]]:
    low, high = part.solid.bounds_mm
    normal = np.eye(3)[axis]
    surface = Surface(part.solid)
    for shift in _CUT_SHIFTS_MM:
        point = (low + high) / 2.0 + shift * normal
        feet = _peg_places(surface, point, axis, printer)
        if len(feet) < 2:
            continue
        reach = _PEG_LENGTH_MM / 2.0 * normal
        drills = [cylinder(f - reach, f + reach, printer.peg_mm + printer.peg_play_mm) for f in feet]
        drilled = difference(part.solid, *drills)
        halves = [
            replace(piece, name=f"{part.name}_{letter}{piece.name.removeprefix(part.name)}")
            for letter, sign in (("a", -1.0), ("b", 1.0))
            for piece in pieces(part.name, trim(drilled, [Plane.of(point, sign * normal)]))
        ]
        length = _PEG_LENGTH_MM - _PEG_END_PLAY_MM
        pegs = [
            Part(f"{part.name}_peg_{n}", cylinder([0, 0, 0], [0, 0, length], printer.peg_mm))
            for n in range(1, len(feet) + 1)
        ]
        facts = {"part": part.name, "axis": "xyz"[axis], "at_mm": float(point[axis]), "pegs": len(feet)}
        return halves, pegs, facts
    raise GeometryError(
        f"{part.name} is too large for the bed of {printer.name} and has no room for two pegs near its middle",
        where="prototype.printer",
        fix="choose a larger printer or a thinner peg (peg_mm)",
    )


def _peg_places(surface: Surface, point: FloatArray, axis: int, printer: Printer) -> list[FloatArray]:
    """The deepest place on the cut with room for a peg, and the one furthest from it."""
    low, high = surface.solid.bounds_mm
    others = [i for i in range(3) if i != axis]
    lines = [np.arange(low[i] + _PEG_GRID_MM, high[i], _PEG_GRID_MM) for i in others]
    grid = np.stack(np.meshgrid(*lines, indexing="ij"), -1).reshape(-1, 2)
    feet = np.empty((len(grid), 3))
    feet[:, others], feet[:, axis] = grid, point[axis]
    needed = (printer.peg_mm + printer.peg_play_mm) / 2.0 + _PEG_WALL_MM
    depth = -surface.signed_distance_mm(feet, 40.0)
    feet, depth = feet[depth >= needed], depth[depth >= needed]
    for along in (-0.5, 0.5, -0.25, 0.25):
        if len(feet) == 0:
            return []
        beside = feet + along * _PEG_LENGTH_MM * np.eye(3)[axis]
        kept = -surface.signed_distance_mm(beside, 40.0) >= needed
        feet, depth = feet[kept], depth[kept]
    if len(feet) == 0:
        return []
    first = feet[int(np.argmax(depth))]
    away = np.linalg.norm(feet - first, axis=1)
    second = feet[int(np.argmax(away))]
    return [first, second] if away.max() >= 2.0 * printer.peg_mm else [first]


def plates(parts: list[Part], printer: Printer) -> list[Placed]:
    """Every part on a plate, in rows, largest footprint first; parts must fit the bed one by one."""
    width, depth, _ = _room_mm(printer)
    order = sorted(parts, key=lambda p: (-_footprint(p.solid), p.name))
    placed: list[Placed] = []
    plate, x, y, row = 1, 0.0, 0.0, 0.0
    for part in order:
        size = part.solid.bounds_mm[1] - part.solid.bounds_mm[0]
        turned = bool(size[0] > width or size[1] > depth)
        w, d = (size[1], size[0]) if turned else (size[0], size[1])
        if x > 0.0 and x + w > width:
            x, y, row = 0.0, y + row + _GAP_MM, 0.0
        if y > 0.0 and y + d > depth:
            plate, x, y, row = plate + 1, 0.0, 0.0, 0.0
        lying = Placed(part, plate, turned, (0.0, 0.0, 0.0)).solid.bounds_mm[0]
        shift = np.array([x + printer.margin_mm, y + printer.margin_mm, 0.0]) - lying
        placed.append(Placed(part, plate, turned, (float(shift[0]), float(shift[1]), float(shift[2]))))
        x, row = x + w + _GAP_MM, max(row, d)
    return placed


def _footprint(solid: Solid) -> float:
    size = solid.bounds_mm[1] - solid.bounds_mm[0]
    return round(float(size[0] * size[1]), 6)
