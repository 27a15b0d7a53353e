"""One screw in one scan: the straight line through its metal where it stands free of other metal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.followup.found import Found
from implantflow.geometry import FloatArray, perpendiculars, transform_points, unit
from implantflow.volumes import Volume

#: Screws that hold the implant move with it; the others stand in the pelvis.
_WITH_IMPLANT, OF_THE_SPINE = "implant_s1", "pedicle"
#: Planes across the axis: how far apart, how far beyond the planned ends, their half width and grid, mm.
STEP_MM, _BEYOND_MM, _HALF_MM, _PIXEL_MM = 0.5, 12.0, 12.0, 0.4
#: A screw is looked for this near its planned axis, mm.
_REACH_MM = 8.0
#: Area of a plane's piece of metal against the screw's own that passes for the screw (bloom makes it larger).
_AREA = (0.4, 2.2)
#: Pieces further from the line than this are other metal, mm, however the rest scatters.
_OFF_LINE_MM = 1.0
#: Less of a screw than this says nothing of its axis, mm.
LEAST_MM = 10.0
#: Each part of a screw must be this long for an offset between them, mm.
_PART_MM = 6.0
#: Rings around the metal's edge: where a lucent rim would be, and bone beyond it, mm.
_RINGS_MM = ((1.0, 2.0), (4.0, 6.0))
#: Neighbouring planes say the same thing: the point spread joins about this much of them, mm.
_JOINED_MM = 2.0


NO_METAL = "no metal of its size near its planned place, which lies in the scan"


@dataclass(frozen=True)
class Planned:
    """A screw of the plan; ends in patient LPS of the planning CT, mm."""

    name: str
    kind: str
    start_lps: FloatArray
    end_lps: FloatArray
    diameter_mm: float

    @property
    def held_by(self) -> str:
        """``implant``, ``pelvis`` or ``spine``: what it moves with while it is firm."""
        return {_WITH_IMPLANT: "implant", OF_THE_SPINE: "spine"}.get(self.kind, "pelvis")

    def pose(self, found: Found) -> FloatArray:
        """(4, 4) from its planned place to the scan while it is firm."""
        return found.scan_from_design if self.held_by == "implant" else found.scan_from_planning


@dataclass(frozen=True)
class Shank:
    """A screw as seen, in the frame in which it was planned (mm).

    Attributes
    ----------
    along : (N,) distances from the planned start of the planes in which it stands free.
    centres : (N, 2) its centre there, across the planned axis.
    area_mm2 : (N,) of its metal there.
    tip_mm : distance of its far end from the planned start, None where other metal or the scan's edge hides it.
    gap_mm : longest stretch without metal between parts of it; 0 where there is none.
    rim_hu : (N,) HU of the ring 1 to 2 mm off its metal less that of the ring 4 to 6 mm off, in each of these planes.
    """

    along: FloatArray
    centres: FloatArray
    area_mm2: FloatArray
    tip_mm: float | None
    gap_mm: float
    rim_hu: FloatArray

    def line(self, part: slice = slice(None)) -> FloatArray:
        """(2, 2) straight line through the centres of a part: offset at the planned start, and slope."""
        return np.asarray(np.polyfit(self.along[part], self.centres[part], 1)[::-1])

    def at(self, along_mm: float) -> tuple[FloatArray, FloatArray]:
        """Centre (2,) of the line at a distance from the planned start, and its standard error (2,)."""
        offset, slope = self.line()
        rest = self.centres - offset - self.along[:, None] * slope
        lever = self.along - self.along.mean()
        independent = max(1.0, _JOINED_MM / STEP_MM)
        spread = np.sqrt((rest**2).sum(axis=0) / max(len(rest) - 2, 1))
        share = 1.0 / len(rest) + (along_mm - self.along.mean()) ** 2 / float(lever @ lever)
        return offset + along_mm * slope, spread * np.sqrt(share * independent)

    def step_mm(self) -> float | None:
        """Largest offset between the lines of its two parts where they meet; None where it is too short to tell."""
        found = []
        for cut in range(1, len(self.along)):
            before, after = self.along[cut - 1] - self.along[0], self.along[-1] - self.along[cut]
            if min(before, after) < _PART_MM:
                continue
            (a, b), (c, d) = self.line(slice(0, cut)), self.line(slice(cut, None))
            where = (self.along[cut - 1] + self.along[cut]) / 2.0
            found.append(float(np.linalg.norm(a + b * where - c - d * where)))
        return max(found) if found else None


def planned_screws(plan: Mapping[str, Any]) -> list[Planned]:
    """The plan's screws, those of the spine too."""
    return [
        Planned(
            str(c["name"]),
            str(c["kind"]),
            np.asarray(c["start_lps_mm"], dtype=np.float64),
            np.asarray(c["end_lps_mm"], dtype=np.float64),
            float(c["diameter_mm"]),
        )
        for c in plan["corridors"]
    ]


def look_for(
    screw: Planned, volume: Volume, scan_from_plan: FloatArray, metal_hu: float
) -> tuple[Shank | None, str | None]:
    """The screw in a scan, or None and why not."""
    along, hu = _unrolled(screw, volume, scan_from_plan)
    planned = (along >= 0.0) & (along <= float(np.linalg.norm(screw.end_lps - screw.start_lps)))
    seen = np.asarray(np.isfinite(hu).all(axis=(1, 2)))
    if (seen & planned).sum() * STEP_MM < LEAST_MM:
        return None, "its planned place lies outside the scan"
    pieces = _pieces(hu, seen, metal_hu, screw.diameter_mm)
    if not len(pieces):
        bare = np.array([not (plane >= metal_hu).any() for plane in hu[seen & planned]])
        return None, NO_METAL if bare.mean() > 0.5 else "it stands nowhere free of other metal"
    line = _straight(along, pieces)
    if len(line) * STEP_MM < LEAST_MM:
        return None, f"less than {LEAST_MM:g} mm of it stands free of other metal"
    station = line[:, 0].astype(int)
    rim = np.array([_rim(hu[n], centre, line[:, 3]) for n, centre in zip(station, line[:, 1:3], strict=True)])
    seen_part = Shank(along[station], line[:, 1:3], line[:, 3], None, 0.0, rim)
    core = _core(hu, along, seen_part, screw.diameter_mm)
    tip = _tip(along, core, station, metal_hu)
    return replace(seen_part, tip_mm=tip, gap_mm=_gap(core, station, metal_hu)), None


def _unrolled(screw: Planned, volume: Volume, scan_from_plan: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Distances (S,) from the planned start, and HU (S, M, M) in planes across the planned axis; NaN outside."""
    from scipy import ndimage

    axis = unit(screw.end_lps - screw.start_lps)
    u, v = perpendiculars(axis)
    length = float(np.linalg.norm(screw.end_lps - screw.start_lps))
    along = np.arange(-_BEYOND_MM, length + _BEYOND_MM + STEP_MM / 2, STEP_MM)
    grid = _grid()
    plane = grid[:, None, None] * u + grid[None, :, None] * v
    places = screw.start_lps + along[:, None, None, None] * axis + plane[None]
    index = volume.lps_to_index(transform_points(scan_from_plan, places.reshape(-1, 3)))
    values = ndimage.map_coordinates(
        volume.array, index[:, ::-1].T, output=np.float32, order=1, mode="constant", cval=np.nan
    )
    return along, values.reshape(len(along), len(grid), len(grid))


def _grid() -> FloatArray:
    half = round(_HALF_MM / _PIXEL_MM)
    return np.arange(-half, half + 1, dtype=np.float64) * _PIXEL_MM


def _pieces(hu: FloatArray, seen: NDArray[np.bool_], metal_hu: float, diameter_mm: float) -> FloatArray:
    """(N, 4) station, centre (u, v; mm) and area (mm2) of every piece of metal that may be the screw."""
    from scipy import ndimage

    grid, nominal = _grid(), np.pi * diameter_mm**2 / 4.0
    found = []
    for station in np.flatnonzero(seen):
        labels, count = ndimage.label(hu[station] >= metal_hu)
        if not count:
            continue
        names = np.arange(1, count + 1)
        areas = ndimage.sum_labels(labels > 0, labels, names) * _PIXEL_MM**2
        centres = np.array(ndimage.center_of_mass(labels > 0, labels, names)) * _PIXEL_MM + grid[0]
        right = (areas > _AREA[0] * nominal) & (areas < _AREA[1] * nominal)
        right &= np.linalg.norm(centres, axis=1) < _REACH_MM
        found += [(station, *centres[n], areas[n]) for n in np.flatnonzero(right)]
    return np.array(found, dtype=np.float64).reshape(-1, 4)


def _straight(along: FloatArray, pieces: FloatArray) -> FloatArray:
    """The pieces (N, 4) on the line that most of them lie on, one a station."""
    at = along[pieces[:, 0].astype(int)]
    best = np.zeros(len(pieces), dtype=bool)
    # Pairs of pieces far apart name the lines that are tried; a fixed choice, so that the answer is.
    chosen = np.unique(np.linspace(0, len(pieces) - 1, min(len(pieces), 40)).astype(int))
    for i in chosen:
        for j in chosen:
            if at[j] - at[i] < LEAST_MM / 2:
                continue
            slope = (pieces[j, 1:3] - pieces[i, 1:3]) / (at[j] - at[i])
            way = np.linalg.norm(pieces[:, 1:3] - pieces[i, 1:3] - (at - at[i])[:, None] * slope, axis=1)
            if (way < _OFF_LINE_MM).sum() > best.sum():
                best = way < _OFF_LINE_MM
    if not best.any():
        return pieces[:0]
    line = pieces[best]
    # Bloom of a neighbour enlarges a piece and shifts its centre: such planes are not the screw alone.
    usual = float(np.median(line[:, 3]))
    line = line[np.abs(line[:, 3] - usual) < 0.25 * usual]
    return line[np.unique(line[:, 0], return_index=True)[1]]


def _core(hu: FloatArray, along: FloatArray, shank: Shank, diameter_mm: float) -> FloatArray:
    """(S,) mean HU of the screw's core along its line; NaN outside the scan."""
    offset, slope = shank.line()
    grid = _grid()
    core = np.full(len(along), np.nan)
    for n, s in enumerate(along):
        centre = offset + s * slope
        near = np.hypot(grid[:, None] - centre[0], grid[None, :] - centre[1]) < max(diameter_mm / 4.0, 1.0)
        if near.any():
            core[n] = float(hu[n][near].mean())
    return core


def _rim(plane: FloatArray, centre: FloatArray, area_mm2: FloatArray) -> float:
    """HU of the ring next to the metal's bloom less that of a ring in the bone further off."""
    grid, radius = _grid(), float(np.sqrt(np.median(area_mm2) / np.pi))
    way = np.hypot(grid[:, None] - centre[0], grid[None, :] - centre[1]) - radius
    inner, outer = ((way >= low) & (way < high) for low, high in _RINGS_MM)
    return float(plane[inner].mean() - plane[outer].mean())


def _tip(along: FloatArray, core: FloatArray, station: NDArray[np.int64], metal_hu: float) -> float | None:
    """Where the core's HU falls below metal for good beyond the last free plane, mm from the planned start."""
    metal = np.flatnonzero(core >= metal_hu)
    last = int(metal.max()) if len(metal) else -1
    if last < station[-1] or last + 1 >= len(core) or not np.isfinite(core[last + 1]):
        return None
    # Other metal at the end of the screw: what ends there is not the screw.
    if last - station[-1] > 4.0 / STEP_MM:
        return None
    share = (core[last] - metal_hu) / (core[last] - core[last + 1])
    return float(along[last] + share * STEP_MM)


def _gap(core: FloatArray, station: NDArray[np.int64], metal_hu: float) -> float:
    """Longest run of planes without metal in the core between the first and the last free plane, mm."""
    bare = core[station[0] : station[-1] + 1] < metal_hu
    longest = run = 0
    for one in bare:
        run = run + 1 if one else 0
        longest = max(longest, run)
    return longest * STEP_MM
