"""Domino connectors: where on a rod one fits, and the rod that runs from it to a screw beside."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implantflow.config.fixation import ConnectorSet, ConstructConfig
from implantflow.errors import QualityGateError
from implantflow.geometry import FloatArray, segment_distance, unit
from implantflow.plan.heads import Screw
from implantflow.plan.rods import LOW_MM, Rod, Search
from implantflow.plan.room import Room
from implantflow.solids.mesh import Solid
from implantflow.solids.shapes import oriented_box

#: Places tried along the rod, and angles about it (0: towards the screw, 90: to the back), the best few searched.
_EVERY_MM, _ANGLES_DEG, _SEARCHED = 4.0, (0.0, 30.0, 60.0, 90.0, -30.0), 4


@dataclass(frozen=True)
class Connector:
    """A block about two parallel rods.

    Attributes
    ----------
    joins : names of the rods, the one it sits on first
    middle_mm : (3,) array
    axes : (3, 3) array
        Columns: from the first rod to the second, along the rods downwards, square to both.
    """

    joins: tuple[str, str]
    middle_mm: FloatArray
    axes: FloatArray
    sizes: ConnectorSet
    rod_diameter_mm: float

    @property
    def size_mm(self) -> FloatArray:
        """Edges (3,) along the axes."""
        thick = self.rod_diameter_mm + 2.0 * self.sizes.wall_mm
        return np.array([self.sizes.spacing_mm + thick, self.sizes.length_mm, thick])

    def solid(self) -> Solid:
        """The block without its bores."""
        return oriented_box(self.middle_mm, self.axes, self.size_mm)

    def skin_mm(self) -> FloatArray:
        """Places (N, 3) on the block's six sides."""
        steps = np.linspace(-0.5, 0.5, 5)
        grid = np.array([p for p in itertools.product(steps, repeat=3) if np.abs(p).max() == 0.5])
        return np.asarray(self.middle_mm + (grid * self.size_mm) @ self.axes.T)

    def beside_mm(self) -> FloatArray:
        """The second bore's axis (2, 3), from above down, a little longer than the block."""
        centre = self.middle_mm + self.sizes.spacing_mm / 2.0 * self.axes[:, 0]
        half = (self.sizes.length_mm / 2.0 + 1.0) * self.axes[:, 1]
        return np.array([centre - half, centre + half])

    def as_json(self) -> dict[str, Any]:
        """Entry of ``construct.json``."""
        return {
            "joins": list(self.joins),
            "centre_lps_mm": self.middle_mm,
            "along_lps": self.axes[:, 1],
            "size_mm": self.size_mm,
        }


def too_near_mm(points: FloatArray, rods: Sequence[Rod], sizes: ConstructConfig) -> FloatArray:
    """How much of a rod at ``points`` (N, 3) lies in earlier rods and their heads, mm; negative where free."""
    half = sizes.rod.diameter_mm / 2.0
    worst = np.full(len(points), -np.inf)
    for rod in rods:
        for head in rod.heads:
            gap = segment_distance(points, head.foot_mm, head.top_mm) - sizes.head.diameter_mm / 2.0
            worst = np.maximum(worst, half - gap)
        apart = np.linalg.norm(points[:, None] - rod.path_mm[None], axis=2).min(axis=1)
        worst = np.maximum(worst, 2.0 * half - apart)
    return worst


def join(
    name: str,
    main: Rod,
    screws: Sequence[Screw],
    earlier: Sequence[Rod],
    sizes: ConstructConfig,
    room: Room,
    back: FloatArray,
) -> tuple[Rod, Connector]:
    """A rod that begins in a connector on ``main`` and runs through ``screws``.

    Raises
    ------
    QualityGateError
        There is no place for a connector on the rod.
    """
    assert sizes.connector is not None
    tried: list[tuple[float, int, Search, Connector]] = []
    for connector in _places(name, main, screws[0], sizes, room, back):
        search = Search(
            screws, connector.beside_mm(), sizes, room, back, lambda p: too_near_mm(p, earlier, sizes)
        )
        tried.append((search.price(search.start(LOW_MM)), len(tried), search, connector))
    if not tried:
        raise QualityGateError(
            f"rod {main.name} has no place for the connector to rod {name}: heads or bone stand in its way",
            where="plan.revisions[].fixation.rod.rods",
            fix="leave out a screw of that rod, use a shorter connector, or allow prouder heads (head.proud_max_mm)",
        )
    tried.sort(key=lambda entry: entry[:2])
    found = []
    for _, number, search, connector in tried[:_SEARCHED]:
        values, price = search.best()
        found.append((price, number, search.rod(name, values), connector))
    _, _, rod, connector = min(found, key=lambda entry: entry[:2])
    return rod, connector


def _places(
    name: str, main: Rod, screw: Screw, sizes: ConstructConfig, room: Room, back: FloatArray
) -> list[Connector]:
    """Connectors that lie between heads of ``main`` and are free of bone."""
    assert sizes.connector is not None
    run = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(main.path_mm, axis=0), axis=1))])
    heads = np.array(
        [run[int(np.argmin(np.linalg.norm(main.path_mm - h.saddle_mm, axis=1)))] for h in main.heads]
    )
    apart = (sizes.head.diameter_mm + sizes.connector.length_mm) / 2.0 + 0.5
    half = sizes.connector.length_mm / 2.0
    found = []
    for s in np.arange(half, run[-1] - half, _EVERY_MM):
        if (np.abs(heads - s) < apart).any():
            continue
        place = np.array([np.interp(s, run, main.path_mm[:, c]) for c in range(3)])
        along = main.along(place)
        towards = unit((screw.entry_mm - place) - ((screw.entry_mm - place) @ along) * along)
        square = np.cross(along, towards)
        square = square if square @ back > 0 else -square
        for angle in np.radians(_ANGLES_DEG):
            side = np.cos(angle) * towards + np.sin(angle) * square
            axes = np.column_stack([side, along, np.cross(side, along)])
            middle = place + sizes.connector.spacing_mm / 2.0 * side
            connector = Connector((main.name, name), middle, axes, sizes.connector, sizes.rod.diameter_mm)
            if room.about_mm(connector.skin_mm()).min() >= sizes.rod.bone_clearance_mm + 0.3:
                found.append(connector)
    return found
