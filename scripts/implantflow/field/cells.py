"""The periodic cells a porous region can be filled with, as signed fields in mm, negative inside metal.

``diamond``
    Strut cell: round struts of diameter ``strut_mm`` along the bonds of the diamond cubic crystal, cube edge
    ``cell_mm``. The value is the exact distance to the union of strut axes minus the radius.
``gyroid``
    Skeletal (one labyrinth solid) gyroid, G > iso. ``strut_mm`` is the diameter of the largest sphere that
    fits inside the metal at the thinnest place of a strut (the midpoint of an edge of the srs net, where
    G = sqrt 2). The value is the first-order distance (G - iso)/|grad G|.
``gyroid_sheet``
    Wall about the gyroid surface, |G| < iso, with two labyrinths of void. ``strut_mm`` is the diameter of the largest
    sphere that fits the wall where it is thinnest (the flat points of the surface, where G is steepest).
``rhombic_dodecahedron``
    Strut cell: round struts along the edges of the rhombic dodecahedra that fill space, one dodecahedron inscribed in
    the cube of edge ``cell_mm`` (its four-edged corners in the middles of the cube's faces), 32 struts a cube.

All have the period ``cell_mm`` along x, y and z with the origin at (0, 0, 0) of the frame they are used in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from implantflow.errors import GeometryError

if TYPE_CHECKING:
    from implantflow.field.lattice import Lattice

FloatArray = NDArray[np.float64]

#: Cells that exist; strut cells can also be exported as beams.
CELLS = ("diamond", "rhombic_dodecahedron", "gyroid", "gyroid_sheet")
STRUT_CELLS = ("diamond", "rhombic_dodecahedron")

#: Bins along each edge of the cell for finding the nearest strut.
_BINS = 8
#: Smallest slope used in the gyroid's first-order distance; on its surface the slope is above 0.5.
GYROID_SLOPE_FLOOR = 0.4
#: G at the middle of an edge of the srs net; a sheet up to this level has closed its pores.
GYROID_SADDLE = math.sqrt(2.0)


def check_cell(cell: str, cell_mm: float, strut_mm: float) -> None:
    """Refuse an unknown cell and a strut that closes it."""
    if cell not in CELLS:
        raise GeometryError(f"no such lattice cell: {cell!r}", fix=f"use one of {', '.join(CELLS)}")
    if not (0.0 < strut_mm < 0.5 * cell_mm):
        raise GeometryError(
            f"a strut of {strut_mm} mm does not fit a {cell} cell of {cell_mm} mm",
            fix="the strut must be thinner than half the cell",
        )
    if cell == "gyroid_sheet" and gyroid_sheet_iso(cell_mm, strut_mm) >= GYROID_SADDLE:
        raise GeometryError(
            f"walls of {strut_mm} mm close the pores of a gyroid sheet of {cell_mm} mm",
            fix="the wall must be thinner than a third of the cell",
        )


def fits(cell: str, cell_mm: float, strut_mm: float) -> bool:
    """Does a strut leave the cell open?"""
    if cell == "gyroid_sheet":
        return gyroid_sheet_iso(cell_mm, strut_mm) < GYROID_SADDLE
    return 0.0 < strut_mm < 0.5 * cell_mm


def strut_axes(cell: str) -> FloatArray:
    """Strut axes of one cell in units of the cell edge.

    Returns
    -------
    (S, 2, 3) float array
        Start and end of each strut; starts lie in [0, 1), every strut of the crystal is a translate of
        exactly one of them.
    """
    if cell not in STRUT_CELLS:
        raise GeometryError(f"the {cell} cell is not made of struts")
    if cell == "rhombic_dodecahedron":
        # Every corner where three rhombs meet (tetrahedral hole of the cubic packing) has four edges to corners where
        # four meet (octahedral holes), one for each sign pattern of an even number of steps back.
        three = np.stack(np.meshgrid(*[[0.25, 0.75]] * 3, indexing="ij"), -1).reshape(-1, 3)
        steps = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 4.0
        # Octahedral holes have an odd number of half steps from a lattice point of the packing.
        sign = np.where(np.round((three.sum(1) + 0.75) * 2.0) % 2 == 1, 1.0, -1.0)
        foot = np.repeat(three, 4, axis=0)
        return np.stack([foot, foot + np.repeat(sign, 4)[:, None] * np.tile(steps, (8, 1))], axis=1)
    corners = np.array([[0, 0, 0], [0, 2, 2], [2, 0, 2], [2, 2, 0]]) / 4.0
    bonds = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 4.0
    starts = np.repeat(corners, 4, axis=0)
    return np.stack([starts, starts + np.tile(bonds, (4, 1))], axis=1)


def _segment_distance(points: FloatArray, segments: FloatArray) -> FloatArray:
    """(P, S) distances of points to segments (S, 7: start, direction, 1/length^2)."""
    # Axis by axis: arrays (P, S, 3) would take three times as long.
    rel = [points[:, axis, None] - segments[None, :, axis] for axis in range(3)]
    t = (rel[0] * segments[:, 3] + rel[1] * segments[:, 4] + rel[2] * segments[:, 5]) * segments[:, 6]
    t = np.clip(t, 0.0, 1.0)
    off = [np.square(rel[axis] - t * segments[:, 3 + axis]) for axis in range(3)]
    return np.asarray(np.sqrt(off[0] + off[1] + off[2]))


@lru_cache(maxsize=8)
def strut_table(cell: str) -> tuple[FloatArray, NDArray[np.int64], NDArray[np.int64], int]:
    """Struts around one cell, and per bin those that can be the nearest: ``segments, starts, members, bins``.

    For the compiled kernels, which cannot search themselves. Units of the cell edge.
    """
    axes = strut_axes(cell)
    shifts = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), -1).reshape(-1, 1, 1, 3)
    copies = (axes[None] + shifts).reshape(-1, 2, 3)
    direction = copies[:, 1] - copies[:, 0]
    segments = np.column_stack([copies[:, 0], direction, 1.0 / (direction**2).sum(1)])
    middle = (np.arange(_BINS) + 0.5) / _BINS
    k, j, i = np.meshgrid(middle, middle, middle, indexing="ij")
    distance = _segment_distance(np.column_stack([i.ravel(), j.ravel(), k.ravel()]), segments)
    # No point of a bin is further from its middle than half the diagonal.
    reach = distance.min(1, keepdims=True) + math.sqrt(3.0) / _BINS + 1e-9
    rows, members = np.nonzero(distance <= reach)
    starts = np.searchsorted(rows, np.arange(_BINS**3 + 1))
    return segments, starts.astype(np.int64), members.astype(np.int64), _BINS


def _sphere_about(middle: FloatArray, cell_mm: float, strut_mm: float) -> FloatArray:
    """Values of G (20 000,) on a sphere of diameter ``strut_mm`` about a point in radians of the cell."""
    n = 20_000
    height = 1.0 - (2.0 * np.arange(n) + 1.0) / n
    turn = math.pi * (3.0 - math.sqrt(5.0)) * np.arange(n)
    ring = np.sqrt(1.0 - height**2)
    sphere = np.column_stack([ring * np.cos(turn), ring * np.sin(turn), height])
    x, y, z = (middle + math.pi * strut_mm / cell_mm * sphere).T
    return np.asarray(np.sin(x) * np.cos(y) + np.sin(y) * np.cos(z) + np.sin(z) * np.cos(x))


@lru_cache(maxsize=256)
def gyroid_sheet_iso(cell_mm: float, strut_mm: float) -> float:
    """Level of |G| at which the wall's thinnest place, the flat point at the origin, holds a sphere of ``strut_mm``."""
    return float(_sphere_about(np.zeros(3), cell_mm, strut_mm).max())


@lru_cache(maxsize=256)
def gyroid_iso(cell_mm: float, strut_mm: float) -> float:
    """Level of the gyroid function at which the strut's thinnest place holds a sphere of ``strut_mm``.

    A sphere about the midpoint m lies in G > iso as long as iso is at most the least G on it.
    """
    middle = np.array([0.0, math.pi / 2.0, math.pi / 4.0])  # a saddle of G: value sqrt 2, no slope
    return float(_sphere_about(middle, cell_mm, strut_mm).min())


def level_of(cell: str, cell_mm: float, strut_mm: float) -> float:
    """What the kernels compare with: strut radius in mm, or the level of the gyroid's G."""
    if cell == "gyroid":
        return gyroid_iso(cell_mm, strut_mm)
    if cell == "gyroid_sheet":
        return gyroid_sheet_iso(cell_mm, strut_mm)
    return strut_mm / 2.0


def cell_value(cell: str, cell_mm: float, strut_mm: float, points_mm: ArrayLike) -> FloatArray:
    """Value of a lattice cell at points.

    Parameters
    ----------
    cell : one of :data:`CELLS`.
    cell_mm, strut_mm : edge of the cubic cell, strut thickness (mm; see the module's text).
    points_mm : (N, 3) array, mm, in the frame whose axes and origin the lattice follows.

    Returns
    -------
    (N,) float array
        Signed distance (strut cells) or first-order distance (gyroids) in mm, negative inside metal.

    Raises
    ------
    GeometryError
        Unknown cell, or a strut that does not fit it.
    """
    return _uniform(cell, cell_mm, strut_mm).value(points_mm)


@lru_cache(maxsize=8)
def _uniform(cell: str, cell_mm: float, strut_mm: float) -> Lattice:
    """The lattice of one strut, with its arrays for the kernels."""
    from implantflow.field.lattice import Lattice

    return Lattice(cell, cell_mm, strut_mm)


def occupancy(cell: str, cell_mm: float, strut_mm: float, n: int) -> FloatArray:
    """Metal fraction of every voxel of one cell divided into ``n`` voxels along each edge.

    Of a Voronoi lattice it is the periodic sample of :meth:`implantflow.field.lattice.Lattice.sample`.

    Each voxel is sampled at least four times along each edge (160 times along the cell), and every sample
    counts with the share of its own little cube that its signed value leaves inside.

    Returns
    -------
    (n, n, n) float64 array
        In [0, 1], axes (k, j, i) = (z, y, x); the mean is the relative density.
    """
    from implantflow.field.lattice import Lattice

    lattice, edge = Lattice.sample(cell, cell_mm, strut_mm)
    sub = max(4, -(-160 // n))
    step = edge / (n * sub)
    line = (np.arange(n * sub) + 0.5) * step
    out = np.empty((n, n, n))

    def fill(k: int) -> None:
        z, y, x = np.meshgrid(line[k * sub : (k + 1) * sub], line, line, indexing="ij")
        value = lattice.value(np.column_stack([x.ravel(), y.ravel(), z.ravel()]))
        share = np.clip(0.5 - value / step, 0.0, 1.0).reshape(sub, n, sub, n, sub)
        out[k] = share.mean(axis=(0, 2, 4))

    from numba import get_num_threads

    _ = lattice.arrays  # made once, before the threads
    # Each layer of voxels is its own sum, so the threads change nothing but the time.
    with ThreadPoolExecutor(get_num_threads()) as pool:
        list(pool.map(fill, range(n)))
    return out


def solved_strut_mm(cell: str, cell_mm: float, porosity: float) -> float:
    """Strut (mm, to a micrometre) at which the lattice has a porosity.

    Raises
    ------
    GeometryError
        No strut that fits the cell gives it.
    """
    from implantflow.field.lattice import Lattice

    n = 64
    least = low = 0.02 * cell_mm
    high = 0.499 * cell_mm
    thinnest, edge = Lattice.sample(cell, cell_mm, low)
    line = (np.arange(n) + 0.5) * (edge / n)
    z, y, x = np.meshgrid(line, line, line, indexing="ij")
    points = np.column_stack([x.ravel(), y.ravel(), z.ravel()])

    thin = thinnest.value(points)

    def share(strut: float) -> float:
        # Of round struts only the radius changes; the way to the nearest axis stays.
        value = (
            thin - 0.5 * (strut - least)
            if thinnest.is_struts
            else Lattice(cell, cell_mm, strut).value(points)
        )
        return float(np.clip(0.5 - value / (edge / n), 0.0, 1.0).mean())

    if cell == "gyroid_sheet":
        high = 0.33 * cell_mm
    if not share(low) < 1.0 - porosity < share(high):
        raise GeometryError(
            f"no strut of a {cell} cell of {cell_mm} mm leaves a porosity of {porosity}",
            where="lattice.porosity",
            fix="ask for another porosity, or give lattice.strut_mm",
        )
    while high - low > 2e-4:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if share(middle) < 1.0 - porosity else (low, middle)
    return round(0.5 * (low + high), 3)


def with_strut(lattice: Mapping[str, Any]) -> dict[str, Any]:
    """The lattice settings of a case with the strut that its porosity asks for, where none is given."""
    if lattice.get("strut_mm") is not None:
        return dict(lattice)
    strut = solved_strut_mm(lattice["cell"], lattice["cell_mm"], lattice["porosity"])
    return {**lattice, "strut_mm": strut}
