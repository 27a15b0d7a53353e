"""Rods and screws as a frame of straight round beams (Timoshenko), a few hundred unknowns solved directly."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from implantflow.geometry import FloatArray, perpendiculars, unit

POISSON = 0.34


def beam_matrix(
    start_mm: FloatArray, end_mm: FloatArray, diameter_mm: float, modulus_mpa: float
) -> FloatArray:
    """Stiffness (12, 12) of a round beam: three displacements and three rotations of start, then of end."""
    axis = np.asarray(end_mm) - np.asarray(start_mm)
    length = float(np.linalg.norm(axis))
    area, inertia = np.pi * diameter_mm**2 / 4, np.pi * diameter_mm**4 / 64
    shear = modulus_mpa / (2 * (1 + POISSON))
    bending = modulus_mpa * inertia
    phi = 12 * bending / (shear * 0.9 * area * length**2)
    a = 12 * bending / ((1 + phi) * length**3)
    b = 6 * bending / ((1 + phi) * length**2)
    c = (4 + phi) * bending / ((1 + phi) * length)
    d = (2 - phi) * bending / ((1 + phi) * length)
    k = np.zeros((12, 12))
    for dof, value in ((0, modulus_mpa * area / length), (3, 2 * shear * inertia / length)):
        k[dof, dof] = k[dof + 6, dof + 6] = value
        k[dof, dof + 6] = k[dof + 6, dof] = -value
    for across, turn, sign in ((1, 5, 1.0), (2, 4, -1.0)):
        places = [across, turn, across + 6, turn + 6]
        s = sign * b
        k[np.ix_(places, places)] = [[a, s, -a, s], [s, c, -s, d], [-a, -s, a, -s], [s, d, -s, c]]
    turned = np.kron(np.eye(4), _axes(axis))
    return np.asarray(turned.T @ k @ turned)


def _axes(axis: FloatArray) -> FloatArray:
    """(3, 3) rows: along the beam and two directions across it."""
    along = unit(axis)
    return np.stack([along, *perpendiculars(along)])


@dataclass
class Frame:
    """Nodes and beams, built up piece by piece.

    Attributes
    ----------
    points : list of (3,) arrays, mm
    beams : list of (name, start node, end node, diameter mm, modulus MPa)
    """

    points: list[FloatArray] = field(default_factory=list)
    beams: list[tuple[str, int, int, float, float]] = field(default_factory=list)

    def node(self, point_mm: FloatArray) -> int:
        """Add a node."""
        self.points.append(np.asarray(point_mm, dtype=np.float64))
        return len(self.points) - 1

    def beam(self, name: str, start: int, end: int, diameter_mm: float, modulus_mpa: float) -> None:
        """Add a beam between two nodes."""
        self.beams.append((name, start, end, diameter_mm, modulus_mpa))

    def matrix(self) -> FloatArray:
        """Stiffness (6 n, 6 n) of all beams, six unknowns a node."""
        k = np.zeros((6 * len(self.points),) * 2)
        for _, start, end, diameter, modulus in self.beams:
            places = [*range(6 * start, 6 * start + 6), *range(6 * end, 6 * end + 6)]
            k[np.ix_(places, places)] += beam_matrix(self.points[start], self.points[end], diameter, modulus)
        return k

    def largest_stress(self, moved: FloatArray) -> dict[str, float]:
        """Largest normal stress at the surface of each named member, MPa, from displacements (6 n,)."""
        found: dict[str, float] = {}
        for name, start, end, diameter, modulus in self.beams:
            k = beam_matrix(self.points[start], self.points[end], diameter, modulus)
            forces = k @ np.concatenate([moved[6 * start : 6 * start + 6], moved[6 * end : 6 * end + 6]])
            along = unit(self.points[end] - self.points[start])
            for side in (forces[:6], forces[6:]):
                bending = np.linalg.norm(side[3:] - (side[3:] @ along) * along)
                stress = abs(side[:3] @ along) * 4 / (np.pi * diameter**2) + bending * 32 / (
                    np.pi * diameter**3
                )
                found[name] = max(found.get(name, 0.0), float(stress))
        return found
