"""Compiled stamping of a graded strut cell: every piece drawn with the radius that holds at each of its points."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from implantflow.build.cross_kernels import OVERLAPPING
from implantflow.build.merge_kernels import merge
from implantflow.build.pieces import Pieces
from implantflow.build.place_kernels import borders_over_tiles, bounds
from implantflow.build.search_kernels import BIN_BITS, JOINED_BITS, find_crossings, link_after, make_grid
from implantflow.compiled import kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


#: A unit of distance from where a point belongs weighs as much as this area (units^2).
_STRAY = 10.0


class Radii(NamedTuple):
    """Radius of the struts over one layer, units: (J, I) nodes; x, y of the first and nodes per unit along x, y."""

    grid: FloatArray
    place: tuple[float, float, float, float]


@kernel
def radii_of_layer(
    grade: NDArray[np.int16], origin: FloatArray, spacing: FloatArray, z: float, factor: float
) -> FloatArray:
    """(J, I) radii at height ``z`` (mm) from diameters on a grid; ``factor`` from its steps to units of radius."""
    nk, nj, ni = grade.shape
    f = min(max((z - origin[2]) / spacing[2], 0.0), nk - 1.000001)
    k = int(f)
    w = f - k
    out = np.empty((nj, ni))
    for j in range(nj):
        for i in range(ni):
            out[j, i] = (grade[k, j, i] * (1.0 - w) + grade[k + 1, j, i] * w) * factor
    return out


@kernel
def radius_at(grid: FloatArray, place: tuple[float, float, float, float], x: float, y: float) -> float:
    """Radius at a point of the layer, in units; linear between nodes, clamped at the border of the grid."""
    x0, y0, per_x, per_y = place
    fx, fy = (x - x0) * per_x, (y - y0) * per_y
    i, j = min(max(int(fx), 0), grid.shape[1] - 2), min(max(int(fy), 0), grid.shape[0] - 2)
    u, v = min(max(fx - i, 0.0), 1.0), min(max(fy - j, 0.0), 1.0)
    low = grid[j, i] + (grid[j, i + 1] - grid[j, i]) * u
    high = grid[j + 1, i] + (grid[j + 1, i + 1] - grid[j + 1, i]) * u
    return float(low + (high - low) * v)


@kernel
def draw_curve(
    outline: FloatArray,
    grid: FloatArray,
    place: tuple[float, float, float, float],
    level: float,
    dx: int,
    dy: int,
    xs: IntArray,
    ys: IntArray,
    n: int,
) -> int:
    """Append one outline, made for the radius ``level``, moved to its tile and to the radius there; new length.

    ``outline`` (P, 4) : x, y and how they move with the radius. ``grid``, ``place`` : see :class:`Radii`.
    Points are rounded one after the other so that the area so far stays right: copies that are all alike would
    otherwise all err alike. A point at which moves would make the outline turn back is left out.
    """
    begin = n
    rows, columns = grid.shape[0] - 2, grid.shape[1] - 2
    x0, y0, per_x, per_y = place
    ux, uy, error = 0.0, 0.0, 0.0
    last = outline.shape[0] - 1
    b = last
    for p in range(outline.shape[0]):
        px, py = outline[p, 0] + dx, outline[p, 1] + dy
        # radius_at, written out: a call for every point would cost more than it does.
        fx, fy = (px - x0) * per_x, (py - y0) * per_y
        i, j = min(max(int(fx), 0), columns), min(max(int(fy), 0), rows)
        u, v = min(max(fx - i, 0.0), 1.0), min(max(fy - j, 0.0), 1.0)
        low = grid[j, i] + (grid[j, i + 1] - grid[j, i]) * u
        high = grid[j + 1, i] + (grid[j + 1, i + 1] - grid[j + 1, i]) * u
        move = low + (high - low) * v - level
        wx, wy = px + move * outline[p, 2], py + move * outline[p, 3]
        x, y = math.floor(wx + 0.5), math.floor(wy + 0.5)
        # What moving this point along x or y does to the area: half the way between its neighbours.
        c = p + 1 if p < last else 0
        tx, ty = 0.5 * (outline[c, 1] - outline[b, 1]), 0.5 * (outline[b, 0] - outline[c, 0])
        b = p
        ex, ey = x - wx, y - wy
        error += ex * tx + ey * ty
        # Chosen without branches, half of which would be foretold wrongly: they would take longer than all the rest.
        along_x = abs(tx) > abs(ty)
        turn, off = (tx, ex) if along_x else (ty, ey)
        way = -1.0 if off > 0.0 else 1.0
        better = abs(error + way * turn) + _STRAY * (1.0 - 2.0 * abs(off)) < abs(error)
        way = way if better else 0.0
        error += way * turn
        x += way if along_x else 0.0
        y += 0.0 if along_x else way
        if n > begin and (x - xs[n - 1]) * (px - ux) + (y - ys[n - 1]) * (py - uy) <= 0.0:
            continue
        ux, uy = px, py
        xs[n] = x
        ys[n] = y
        n += 1
    while n > begin and xs[n - 1] == xs[begin] and ys[n - 1] == ys[begin]:
        n -= 1
    return n if n - begin >= 3 else begin


@kernel
def _room(pieces: Pieces, box: IntArray, phase: int) -> tuple[IntArray, int, int]:
    """Tiles (i0, i1, j0, j1) over which each piece of a phase comes, and the most points and curves there are."""
    first, last = pieces.phase[phase], pieces.phase[phase + 1]
    tiles = np.empty((last - first, 4), np.int64)
    points = curves = 0
    for k in range(first, last):
        left, low, right, high = bounds(pieces.anchor_x, pieces.anchor_y, 3 * k, 3 * k + 3)
        t = tiles[k - first]
        t[0], t[1] = -((right - box[0]) // pieces.cell_units), (box[2] - left) // pieces.cell_units
        t[2], t[3] = -((high - box[1]) // pieces.cell_units), (box[3] - low) // pieces.cell_units
        count = max(t[1] - t[0] + 1, 0) * max(t[3] - t[2] + 1, 0)
        most = most_curves = 0
        for b in range(k * pieces.bins, (k + 1) * pieces.bins):
            c, d = pieces.curves[b], pieces.curves[b + 1]
            most = max(most, pieces.start[d] - pieces.start[c])
            most_curves = max(most_curves, d - c)
        points += count * most
        curves += count * most_curves
    return tiles, points, curves


@kernel
def place_pieces(
    bx: IntArray,
    by: IntArray,
    after: IntArray,
    kinds: IntArray,
    pieces: Pieces,
    radii: Radii,
    near: float,
    phase: int,
) -> tuple[IntArray, IntArray, IntArray, IntArray, IntArray, IntArray, IntArray, IntArray, BoolArray]:
    """Draw one phase between the borders.

    ``near`` : a piece whose radius, with this added, reaches the one at which it meets another is merged with it.

    Returns
    -------
    x, y, starts of loops that are whole; x, y, starts, kinds and sides (see :func:`merge`) of those to be merged.
    """
    box = np.array([bx.min(), by.min(), bx.max(), by.max()])
    cell, low, step, bins = pieces.cell_units, pieces.low, pieces.step, pieces.bins
    grid, place = radii.grid, radii.place
    curves, start, outline = pieces.curves, pieces.start, pieces.outline
    tiles, most, most_curves = _room(pieces, box, phase)
    wx, wy, wstart = np.empty(most, np.int64), np.empty(most, np.int64), np.zeros(most_curves + 1, np.int64)
    mx, my, mstart = np.empty(most, np.int64), np.empty(most, np.int64), np.zeros(most_curves + 1, np.int64)
    mkind, mside = np.empty(most_curves, np.int64), np.empty(most_curves, np.int64)
    mjoin = np.empty(most_curves, np.bool_)
    wn = wc = mn = mc = 0
    first = pieces.phase[phase]
    for k in range(first, pieces.phase[phase + 1]):
        i0, i1, j0, j1 = tiles[k - first]
        if i1 < i0 or j1 < j0:
            continue
        ax, ay, meets = pieces.anchor_x[3 * k], pieces.anchor_y[3 * k], pieces.meets[k]
        touched, flips = borders_over_tiles(
            bx, by, after, kinds, tiles[k - first], cell, pieces.anchor_x, pieces.anchor_y, 3 * k, 3 * k + 3
        )
        for j in range(j0, j1 + 1):
            in_solid = False
            in_dense = False
            for i in range(i0, i1 + 1):
                turn = flips[j - j0, i - i0]
                in_solid ^= (turn & 1) != 0
                in_dense ^= (turn & 2) != 0
                cut = touched[j - j0, i - i0] != 0
                if not cut and (in_dense or not in_solid):
                    continue
                dx, dy = i * cell, j * cell
                radius = radius_at(grid, place, float(ax + dx), float(ay + dy))
                level = min(max(int((radius - low) / step + 0.5), 0), bins - 1)
                at = low + level * step
                joined = radius + near > meets
                for c in range(curves[k * bins + level], curves[k * bins + level + 1]):
                    drawn = outline[start[c] : start[c + 1]]
                    if not (cut or joined):
                        n = draw_curve(drawn, grid, place, at, dx, dy, wx, wy, wn)
                        if n > wn:
                            wc += 1
                            wstart[wc] = wn = n
                        continue
                    n = draw_curve(drawn, grid, place, at, dx, dy, mx, my, mn)
                    if n > mn:
                        # Neighbours in overlapping copies are never of one set.
                        mkind[mc] = OVERLAPPING + ((k - first) * 2 + i % 2) * 2 + j % 2
                        mside[mc] = 0 if cut else 1
                        mjoin[mc] = joined
                        mc += 1
                        mstart[mc] = mn = n
    return (
        wx[:wn],
        wy[:wn],
        wstart[: wc + 1],
        mx[:mn],
        my[:mn],
        mstart[: mc + 1],
        mkind[:mc],
        mside[:mc],
        mjoin[:mc],
    )


@kernel
def assemble_pieces(
    border_x: IntArray,
    border_y: IntArray,
    border_start: IntArray,
    border_kind: IntArray,
    pieces: Pieces,
    radii: Radii,
    near: float,
    phase: int,
    area2_min: int,
) -> tuple[IntArray, IntArray, IntArray, int]:
    """One layer's material from loops of S (at least one) and of D, and one phase of the graded lattice.

    Returns
    -------
    x, y, starts of the loops (units, metal on the left), the number of mismatched crossings.
    """
    border_after = link_after(border_start)
    wx, wy, wstart, mx, my, mstart, mkind, mside, mjoin = place_pieces(
        border_x, border_y, border_after, border_kind, pieces, radii, near, phase
    )
    borders, loops = border_x.shape[0], border_start.shape[0] - 1
    xs, ys = np.concatenate((border_x, mx)), np.concatenate((border_y, my))
    start = np.concatenate((border_start, mstart[1:] + borders))
    after = np.concatenate((border_after, link_after(mstart) + borders))
    kinds = np.empty(xs.shape[0], np.int64)
    kinds[:borders] = border_kind
    joined = np.ones(xs.shape[0], np.bool_)
    for c in range(mkind.shape[0]):
        kinds[borders + mstart[c] : borders + mstart[c + 1]] = mkind[c]
        joined[borders + mstart[c] : borders + mstart[c + 1]] = mjoin[c]
    sides = np.zeros(loops + mkind.shape[0], np.int64)
    sides[loops:] = mside
    # All of them, also what is cut and meets no other piece: a border's small loop may lie inside it.
    grid = make_grid(xs, ys, after, JOINED_BITS if mjoin.any() else BIN_BITS)
    capacity = 256 + xs.shape[0]
    crossing = find_crossings(xs, ys, after, kinds, grid, joined, capacity)
    while crossing[0] < 0:
        capacity *= 4
        crossing = find_crossings(xs, ys, after, kinds, grid, joined, capacity)
    none = np.empty((0, 0), np.float32)
    ox, oy, ostart, wrong = merge(xs, ys, after, kinds, start, grid, none, 1, crossing, sides, area2_min)
    return (
        np.concatenate((ox, wx)),
        np.concatenate((oy, wy)),
        np.concatenate((ostart, wstart[1:] + ox.shape[0])),
        wrong,
    )
