"""Rods and their screws, in patient LPS: those of the planned construct, or straight ones of the config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implantflow.config.strength import Fixation
from implantflow.errors import InputError
from implantflow.geometry import FloatArray, unit

#: What holds the thread of a planned screw. The vertebra is the one that rests on the implant.
_HOLDERS = {"implant_s1": "implant", "s2_alar_iliac": "pelvis", "iliac": "pelvis", "iliosacral": "pelvis"}
_RESTING = "L5"
#: Nodes of the frame lie this far apart along a planned path, or more where it has fewer points, mm.
_STEP_MM = 5.0


@dataclass(frozen=True)
class Held:
    """A screw on a rod.

    Attributes
    ----------
    held_by : ``implant``, ``pelvis`` or ``vertebra``
    start_mm, end_mm : (3,) arrays
        Entry and tip of its corridor.
    above_mm : list of (3,) arrays
        What the shank passes between the rod and its entry, from the rod down.
    at : place on the rod's path that its head holds.
    """

    name: str
    held_by: str
    diameter_mm: float
    start_mm: FloatArray
    end_mm: FloatArray
    above_mm: list[FloatArray]
    at: int


@dataclass(frozen=True)
class Rod:
    """A rod along ``path_mm`` (N, 3) with its screws."""

    name: str
    path_mm: FloatArray
    diameter_mm: float
    modulus_gpa: float
    screws: list[Held]


@dataclass(frozen=True)
class Link:
    """A connector from a place on one rod to a place on another: (number of the rod, place on its path) each."""

    name: str
    ends: tuple[tuple[int, int], tuple[int, int]]
    diameter_mm: float


@dataclass(frozen=True)
class Rods:
    """All rods, and what joins them."""

    rods: list[Rod]
    links: list[Link]
    planned: bool


def drawn(wanted: Fixation, corridors: Sequence[Mapping[str, Any]]) -> Rods:
    """Rods of the config, straight between heads that stand off the bone by a given distance.

    Raises
    ------
    InputError
        A rod names a screw that the plan does not have, or that does not fit.
    """
    assert wanted.rods is not None and wanted.stand_off_mm is not None
    known = {str(c["name"]): c for c in corridors}
    rods = []
    for rod in wanted.rods:
        heads, screws = [], []
        for number, screw in enumerate(rod.screws):
            entry = _fitting(known, screw.name, rod.name)
            start, end = _ends(entry)
            heads.append(start - wanted.stand_off_mm * unit(end - start))
            screws.append(
                Held(screw.name, screw.held_by, float(entry["diameter_mm"]), start, end, [], number)
            )
        rods.append(Rod(rod.name, np.array(heads), rod.diameter_mm, rod.modulus_gpa, screws))
    return Rods(rods, [], False)


def planned(wanted: Fixation, corridors: Sequence[Mapping[str, Any]], construct: Mapping[str, Any]) -> Rods:
    """Rods as bent and heads as tilted in ``construct.json``.

    A screw above the vertebra that rests on the implant is left out: how the discs pass load on to it is not known, and
    without it the implant carries more.
    """
    assert wanted.rod_modulus_gpa is not None
    known = {str(c["name"]): c for c in corridors}
    heads = {str(h["name"]): h for h in construct["screws"]}
    rods = []
    for entry in construct["rods"]:
        names = [str(name) for name in entry["screws"]]
        path, places = _thinned(entry["path_lps_mm"], [heads[name]["saddle_lps_mm"] for name in names])
        screws = []
        for name, at in zip(names, places, strict=True):
            corridor = _fitting(known, name, entry["name"])
            holder = _HOLDERS.get(corridor["kind"], "vertebra" if corridor["level"] == _RESTING else "")
            if holder:
                foot = np.asarray(heads[name]["head_foot_lps_mm"], dtype=np.float64)
                diameter = float(corridor["diameter_mm"])
                screws.append(Held(name, holder, diameter, *_ends(corridor), [foot], at))
        rods.append(Rod(entry["name"], path, float(entry["diameter_mm"]), wanted.rod_modulus_gpa, screws))
    return Rods(rods, _links(rods, construct["connectors"]), True)


def _thinned(path_mm: Any, saddles_mm: Sequence[Any]) -> tuple[FloatArray, list[int]]:
    """Points of a path (N, 3), 5 mm apart where it has more, and the saddles exactly; rows of the saddles."""
    path = np.array(path_mm, dtype=np.float64)
    at = [int(np.linalg.norm(path - saddle, axis=1).argmin()) for saddle in np.asarray(saddles_mm)]
    path[at] = saddles_mm
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    first = np.unique(np.floor(along / _STEP_MM), return_index=True)[1]
    kept = sorted({*first.tolist(), len(path) - 1, *at})
    return path[kept], [kept.index(row) for row in at]


def _links(rods: Sequence[Rod], connectors: Sequence[Mapping[str, Any]]) -> list[Link]:
    """Connectors between the nearest places of the rods they join, as stout as they are thick."""
    numbers = {rod.name: n for n, rod in enumerate(rods)}
    found = []
    for connector in connectors:
        centre = np.asarray(connector["centre_lps_mm"], dtype=np.float64)
        one, other = (numbers[name] for name in connector["joins"])
        places = [int(np.linalg.norm(rods[n].path_mm - centre, axis=1).argmin()) for n in (one, other)]
        found.append(
            Link(
                "connector " + "+".join(connector["joins"]),
                ((one, places[0]), (other, places[1])),
                float(min(connector["size_mm"])),
            )
        )
    return found


def _fitting(known: Mapping[str, Mapping[str, Any]], name: str, rod: str) -> Mapping[str, Any]:
    if name not in known:
        raise InputError(
            f"rod '{rod}' names the screw '{name}', which the plan does not have; it has: "
            f"{', '.join(known) or 'none'}",
            where="strength.fixation",
            fix="name a corridor of the plan, or plan it under plan.revisions[].corridors",
        )
    entry = known[name]
    if not entry["fits"]:
        raise InputError(
            f"rod '{rod}' rests on the screw '{name}', which does not fit: {entry['reason']}",
            where="strength.fixation",
            fix="leave the screw out, or change its corridor under plan.revisions[].corridors",
        )
    return entry


def _ends(entry: Mapping[str, Any]) -> tuple[FloatArray, FloatArray]:
    return (
        np.asarray(entry["start_lps_mm"], dtype=np.float64),
        np.asarray(entry["end_lps_mm"], dtype=np.float64),
    )


def limitation(fixation: Fixation | None) -> str:
    """What the model says about rods and screws, for the list of limitations."""
    if fixation is None:
        return "rods and screws carry nothing: strength.fixation is not given"
    shape = (
        "rods are beams along their planned bends and connectors stout ones; screws above the vertebra that rests on "
        "the implant carry nothing"
        if fixation.rods is None
        else "rods and screws are straight beams; connectors are rigid"
    )
    return f"{shape}; the vertebra moves without turning, screws sit in an elastic bed of bone"
