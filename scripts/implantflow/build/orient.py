"""What other orientations of the part would cost: height, time, surface that needs supports. A person chooses."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.build.overhang import Overhang, overhang
from implantflow.build.part import Part
from implantflow.build.themes import effort
from implantflow.config.build import Machine, Orientation
from implantflow.field.field import Field
from implantflow.geometry import FloatArray, unit

#: Columns of the search are coarser than those of the report (mm): it compares, it does not judge.
SEARCH_COLUMN_MM = 1.0
#: Turns about the vertical that are tried for the part to fit the plate (deg).
_TURNS_DEG = np.arange(0.0, 90.0, 5.0)


def directions(count: int) -> FloatArray:
    """(count, 3) unit vectors spread evenly over the sphere (golden spiral), the same every time."""
    n = np.arange(count) + 0.5
    z = 1.0 - 2.0 * n / count
    turn = np.pi * (1.0 + 5.0**0.5) * n
    across = np.sqrt(1.0 - z**2)
    return np.column_stack([across * np.cos(turn), across * np.sin(turn), z])


def _standing(up: FloatArray) -> FloatArray:
    """(3, 3) rotation whose third row is ``up``."""
    helper = np.eye(3)[int(np.argmin(np.abs(up)))]
    x = unit(helper - np.dot(helper, up) * up)
    return np.array([x, np.cross(up, x), up])


def _fitting_turn(flat_mm: FloatArray, plate_mm: FloatArray) -> tuple[bool, float]:
    """Does the footprint fit the plate, and in which turn about the vertical with most room."""
    best, turn = -np.inf, 0.0
    for degrees in _TURNS_DEG:
        a = np.radians(degrees)
        turned = flat_mm @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
        room = float((plate_mm - np.ptp(turned, axis=0)).min())
        if room > best + 1e-9:
            best, turn = room, float(degrees)
    return best >= 0.0, turn


def _row(
    up: FloatArray,
    vertices_mm: FloatArray,
    faces: NDArray[np.int64],
    dense: NDArray[np.bool_],
    gap_mm: float,
    overhang_deg: float,
    machine: Machine,
    melt_s: float,
    hull: NDArray[np.int64],
) -> dict[str, Any]:
    turned = vertices_mm @ _standing(up).T
    low, high = turned.min(0), turned.max(0)
    middle = (low + high) / 2.0
    plate = np.asarray(machine.envelope_mm[:2])
    fits, _ = _fitting_turn(turned[hull, :2], plate)
    height = float(high[2] - low[2])
    layers = int(np.ceil(height / machine.layer_mm - 0.5))
    shifted = turned - [middle[0] - plate[0] / 2, middle[1] - plate[1] / 2, low[2] - gap_mm]
    none = np.zeros(layers)
    cost = effort(machine, np.array([shifted.min(0), shifted.max(0)]), none, none, none)
    hangs = overhang(shifted, faces, dense, overhang_deg, SEARCH_COLUMN_MM)
    return {
        "up": up,
        "height_mm": height,
        "layers": layers,
        "time_h": (float(cost.time_s.sum()) + melt_s) / 3600.0,
        "dense_area_mm2": hangs.area_mm2(True),
        "lattice_area_mm2": hangs.area_mm2(False),
        "support_room_mm3": hangs.room_mm3(),
        "support_standing_on_part_mm3": hangs.room_mm3(hangs.dense & ~hangs.on_plate),
        "fits": bool(fits and height + gap_mm <= machine.envelope_mm[2]),
    }


#: What the front weighs against each other; less is better.
WEIGHED = ("time_h", "dense_area_mm2", "support_room_mm3")


def unbeaten(rows: list[dict[str, Any]]) -> list[bool]:
    """For each row: does it fit, and is no other fitting one as good in everything and better in something?"""
    values = np.array([[row[name] for name in WEIGHED] for row in rows])
    fits = np.array([row["fits"] for row in rows])
    found = []
    for n in range(len(rows)):
        others = fits & (values <= values[n]).all(axis=1) & (values < values[n]).any(axis=1)
        found.append(bool(fits[n] and not others.any()))
    return found


def compare(
    vertices_mm: FloatArray,
    faces: NDArray[np.int64],
    dense: NDArray[np.bool_],
    build_from_patient: FloatArray,
    gap_mm: float,
    overhang_deg: float,
    machine: Machine,
    melt_s: float,
    count: int,
) -> dict[str, Any]:
    """The chosen orientation beside ``count`` others.

    Parameters
    ----------
    vertices_mm, faces : the part in build_xyz as chosen. dense : (faces,) is the surface full metal?
    build_from_patient : (4, 4), to name directions in patient LPS. gap_mm : room under the part.
    melt_s : time of melting, which does not depend on the orientation as long as the metal is the same.
    """
    hull = _hull(vertices_mm)
    rows = []
    for number, up in enumerate([np.array([0.0, 0.0, 1.0]), *directions(count)]):
        row = _row(up, vertices_mm, faces, dense, gap_mm, overhang_deg, machine, melt_s, hull)
        row["up_lps"] = row.pop("up") @ build_from_patient[:3, :3]
        rows.append({"chosen": number == 0, **row})
    for row, front in zip(rows, unbeaten(rows), strict=True):
        row["unbeaten"] = front
    return {
        "overhang_deg": overhang_deg,
        "column_mm": SEARCH_COLUMN_MM,
        "directions": count,
        "weighed": list(WEIGHED),
        "note": "melting time is taken as the same in every orientation; the lattice follows the machine's axes, so "
        "another orientation is another lattice in the part. The case's build.orientation decides, not this table.",
        "orientations": rows,
    }


def hanging(part: Part, field: Field, stance: Orientation) -> Overhang:
    """The part's down-facing surface as it stands."""
    return overhang(
        part.vertices_mm, part.faces.astype(np.int64), part.dense_faces(field), stance.overhang_deg
    )


def search(part: Part, field: Field, stance: Orientation, machine: Machine, melt_s: float) -> dict[str, Any]:
    """:func:`compare` with what the case asks for."""
    return compare(
        part.vertices_mm,
        part.faces.astype(np.int64),
        part.dense_faces(field),
        field.build_from_patient,
        stance.support_gap_mm,
        stance.overhang_deg,
        machine,
        melt_s,
        stance.search_directions,
    )


def worth_a_look(table: dict[str, Any]) -> list[dict[str, Any]]:
    """The chosen orientation and those that no other beats, quickest first."""
    rows = [row for row in table["orientations"] if row["chosen"] or row["unbeaten"]]
    return sorted(rows, key=lambda row: (not row["chosen"], row["time_h"]))


def _hull(vertices_mm: FloatArray) -> NDArray[np.int64]:
    """Vertices on the convex hull: enough for any box round the part."""
    from scipy.spatial import ConvexHull

    return np.sort(ConvexHull(vertices_mm).vertices).astype(np.int64)
