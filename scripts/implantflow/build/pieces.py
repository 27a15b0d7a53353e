"""A graded strut cell taken apart for stamping: pieces of each layer phase, with their contours by radius.

In a plane a strut cell is a union of struts' sections. Where the radius changes from place to place, sections that are
apart here may have joined there. The struts of a phase are therefore grouped into pieces: what hangs together at the
smallest radius there is. A piece's outline only grows with the radius, so one table of outlines by radius, each point
with the way it moves, gives its contour anywhere. Pieces that meet within the range of radii know from which radius
on; there they are united exactly when the layer is put together.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from implantflow.build.stamps import CHORD_MM, TABLE_MM, half_shift
from implantflow.field.cells import strut_axes
from implantflow.geometry import FloatArray

#: Radii of the outlines lie so far apart (mm): what lies between them is linear to well under a micrometre.
RADIUS_STEP_MM = 0.005
#: Edges of an outline are longer than points that move by half a step towards each other can take back (mm).
SHORTEST_MM = 0.015
#: Drawn contours lie within this of the field's (mm): pieces nearer than that to each other are united.
NEAR_MM = 0.015
#: A strut's section reaches this many radii from its axis: struts of the cells lean 55 degrees from the build axis.
_REACH = 2.0

IntArray = NDArray[np.int64]


class Pieces(NamedTuple):
    """Pieces of every phase and their outlines, in units of the file, as the kernels take them.

    Attributes
    ----------
    cell_units : edge of the cell; phases : number of different layers.
    phase (phases + 1,) : first piece of each phase.
    anchors (3 K,) x and y : a point inside each piece and the corners of the box that it stays in.
    meets (K,) : radius from which on a piece meets another one.
    low, step, bins : smallest radius of the outlines, distance and number of their radii.
    curves (K * bins + 1,) : first curve of each piece at each radius. start (C + 1,) : first point of each curve.
    outline (P, 4) : x and y of each point, and how far it moves along x and y for each unit of radius.
    """

    cell_units: int
    phases: int
    phase: IntArray
    anchor_x: IntArray
    anchor_y: IntArray
    meets: FloatArray
    low: float
    step: float
    bins: int
    curves: IntArray
    start: IntArray
    outline: FloatArray


class _Piece(NamedTuple):
    """Struts (M, 7) in mm of one piece, a point inside it, the radius at which it meets another."""

    struts: FloatArray
    anchor: FloatArray
    meets: float


def _struts_of_plane(cell: str, cell_mm: float, z_mm: float, most_mm: float) -> tuple[FloatArray, FloatArray]:
    """Struts (S, 7) of one period within ``most_mm`` of a plane, and their places (S, 2) in it, in the period."""
    axes = strut_axes(cell) * cell_mm
    copies = np.concatenate([axes + np.array([0.0, 0.0, k * cell_mm]) for k in (-1, 0, 1)])
    low, high = copies[:, :, 2].min(1), copies[:, :, 2].max(1)
    copies = copies[(low - most_mm < z_mm) & (high + most_mm > z_mm)]
    start, along = copies[:, 0], copies[:, 1] - copies[:, 0]
    share = np.clip((z_mm - start[:, 2]) / along[:, 2], 0.0, 1.0)
    places = (start + share[:, None] * along)[:, :2]
    # A place on the border of the period must fall on the same side whatever its last digit says.
    shift = np.floor(places / cell_mm + 1e-9) * cell_mm
    start = start - np.column_stack([shift, np.zeros(len(shift))])
    return np.column_stack([start, along, 1.0 / (along**2).sum(1)]), places - shift


def _grouped(
    struts: FloatArray, z_mm: float, pairs: IntArray, radius: FloatArray, low_mm: float
) -> tuple[IntArray, IntArray]:
    """Root of each strut's group and by how many periods (x, y) it is moved against it.

    Pairs that meet below ``low_mm`` hang together; a strut that only bulges into the plane, from above or below, goes
    with the first that it meets. A pair that would make a group endless stays apart.
    """
    ends = np.stack([struts[:, 2], struts[:, 2] + struts[:, 5]])
    bulges = (ends.min(0) >= z_mm) | (ends.max(0) <= z_mm)
    root, move = np.arange(len(struts)), np.zeros((len(struts), 2), dtype=np.int64)
    for (a, b, i, j), meet in zip(pairs.tolist(), radius.tolist(), strict=True):
        if root[a] == root[b] or not (meet < low_mm or bulges[a] or bulges[b]):
            continue
        if bulges[a] and bulges[b] and meet >= low_mm:
            continue
        members = root == root[b]
        move[members] += move[a] + np.array([i, j]) - move[b]
        root[members] = root[a]
        bulges[a] = bulges[b] = False
    return root, move


def phase_pieces(
    cell: str, cell_mm: float, z_mm: float, low_mm: float, high_mm: float
) -> list[_Piece] | None:
    """Pieces of the plane at ``z_mm`` for radii from ``low_mm`` to ``high_mm``; None where they do not come apart."""
    from implantflow.build import piece_kernels

    most = high_mm + NEAR_MM
    struts, places = _struts_of_plane(cell, cell_mm, z_mm, most)
    pairs, radius = piece_kernels.meetings(struts, places, cell_mm, z_mm, most, _REACH * most)
    root, move = _grouped(struts, z_mm, pairs, radius, low_mm)
    moved = struts.copy()
    moved[:, :2] += move * cell_mm
    inside = places + move * cell_mm
    meets = dict.fromkeys(root.tolist(), np.inf)
    for (a, b, i, j), meet in zip(pairs.tolist(), radius.tolist(), strict=True):
        apart = np.array([i, j]) - (move[b] - move[a])
        if root[a] == root[b] and not apart.any():
            continue
        # One piece inside another has an outline that crosses nothing: these two cannot be united by crossings.
        for mine, other, shift in ((a, b, apart), (b, a, -apart)):
            within = (
                piece_kernels.least_distance(moved[root == root[other]], x, y, z_mm) < most
                for x, y in inside[root == root[mine]] - shift * cell_mm
            )
            if all(within):
                return None
        for one in (a, b):
            meets[root[one]] = min(meets[root[one]], meet)
    return [_Piece(moved[root == r], inside[root == r][0], meets[r]) for r in dict.fromkeys(root.tolist())]


class _Outlines(NamedTuple):
    """What :func:`piece_contours` made of one piece, and the box that it stays in."""

    first: IntArray
    start: IntArray
    points: FloatArray
    moves: FloatArray
    box: FloatArray


def _outlines(
    piece: _Piece, cell_mm: float, z_mm: float, radii: FloatArray, area_min_mm2: float
) -> _Outlines | None:
    """Outlines of a piece at every radius; None where they cannot be stamped."""
    from implantflow.build import piece_kernels

    along = np.clip((z_mm - piece.struts[:, 2]) / piece.struts[:, 5], 0.0, 1.0)
    places = piece.struts[:, :2] + along[:, None] * piece.struts[:, 3:5]
    reach = _REACH * (radii[-1] + NEAR_MM)
    box = np.concatenate([places.min(0) - reach, places.max(0) + reach])
    if (box[2:] - box[:2]).max() > 2.0 * cell_mm:
        return None  # every second copy would reach over one between
    first, start, points, moves = piece_kernels.piece_contours(
        piece.struts, z_mm, box, TABLE_MM, radii, CHORD_MM, SHORTEST_MM, area_min_mm2
    )
    several = np.diff(first) > 1
    if several.any() and (radii[several].max() + NEAR_MM > piece.meets):
        return None  # a hole that another piece might cover
    if len(points):
        box = np.concatenate([points.min(0), points.max(0)]) + np.array([-1.0, -1.0, 1.0, 1.0]) * NEAR_MM
    return _Outlines(first, start, points, moves, box)


def make_pieces(
    cell: str,
    cell_mm: float,
    struts_mm: tuple[float, float],
    layer_mm: float,
    unit_mm: float,
    area_min_mm2: float,
) -> Pieces | None:
    """Pieces of every phase of a strut cell for strut diameters in a range; phases count as those of the stamps.

    None where the cell is no whole number of layers and units, or a phase does not come apart into pieces.
    """
    phases, units = round(cell_mm / layer_mm), round(cell_mm / unit_mm)
    if (
        abs(phases * layer_mm - cell_mm) > 1e-9
        or phases % 2
        or abs(units * unit_mm - cell_mm) > 1e-9
        or units % 2
    ):
        return None
    shift = half_shift(cell, cell_mm, struts_mm[0])
    low, high = 0.5 * struts_mm[0], 0.5 * struts_mm[1]
    count = round((high - low) / RADIUS_STEP_MM + 0.5) + 1
    radii = low + RADIUS_STEP_MM * np.arange(count, dtype=np.float64)
    made: list[list[tuple[_Piece, _Outlines]]] = []
    for phase in range(phases if shift is None else phases // 2):
        z_mm = (phase + 0.5) * layer_mm
        pieces = phase_pieces(cell, cell_mm, z_mm, low, float(radii[-1]))
        if pieces is None:
            return None
        made.append([])
        for piece in pieces:
            outlines = _outlines(piece, cell_mm, z_mm, radii, area_min_mm2)
            if outlines is None:
                return None
            made[-1].append((piece, outlines))
    half = 0.5 * cell_mm * np.array(shift if shift is not None else (0, 0))
    rows = [(entry, np.zeros(2)) for phase in made for entry in phase]
    counts = [len(phase) for phase in made]
    if shift is not None:
        rows += [(entry, half) for phase in made for entry in phase]
        counts += counts
    return _packed(rows, counts, units, unit_mm, radii)


def _packed(
    rows: list[tuple[tuple[_Piece, _Outlines], FloatArray]],
    counts: list[int],
    cell_units: int,
    unit_mm: float,
    radii: FloatArray,
) -> Pieces:
    curves, starts, outline = [0], [np.zeros(1, dtype=np.int64)], []
    total = filled = 0
    anchors = []
    for (piece, made), half in rows:
        curves += (made.first[1:] + total).tolist()
        starts.append(made.start[1:] + filled)
        outline.append(np.column_stack([(made.points + half) / unit_mm, made.moves]))
        total, filled = total + int(made.first[-1]), filled + len(made.points)
        box = np.concatenate(
            [np.floor((made.box[:2] + half) / unit_mm), np.ceil((made.box[2:] + half) / unit_mm)]
        )
        anchors += [np.round((piece.anchor + half) / unit_mm), box[:2], box[2:]]
    place = np.array(anchors).astype(np.int64)
    return Pieces(
        cell_units,
        len(counts),
        np.cumsum([0, *counts]).astype(np.int64),
        np.ascontiguousarray(place[:, 0]),
        np.ascontiguousarray(place[:, 1]),
        np.array([piece.meets for (piece, _), _ in rows]) / unit_mm,
        float(radii[0]) / unit_mm,
        RADIUS_STEP_MM / unit_mm,
        len(radii),
        np.array(curves, dtype=np.int64),
        np.concatenate(starts),
        np.concatenate(outline),
    )
