"""The screws and rods beside the implant: which share of the load they take, and how they stress it.

The frame of rods and screws meets the finite elements at a few ports: the loaded face and two places along the wall
of each screw hole. The implant answers unit forces at its ports (solved once), the frame is solved exactly, and the
forces between the two follow from both; so no mesh has to join thin rods to voxels, and equilibrium stays exact.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from implantflow.config.strength import Fixation, StrengthConfig
from implantflow.errors import InputError
from implantflow.field.field import Field
from implantflow.geometry import FloatArray, perpendiculars, transform_points, unit
from implantflow.strength import faces
from implantflow.strength.faces import Contact
from implantflow.strength.frame import Frame
from implantflow.strength.mesh import Mesh
from implantflow.strength.rods import Held, Rods

#: Longest beam along a screw, mm.
_STEP_MM = 5.0

#: Length of the load face's bed is the face; a screw in the implant is held at two places, each half of its hole.
_HALVES = 2

#: Angles about a hole at which its wall is touched.
_AROUND = 12


@dataclass(frozen=True)
class Assembly:
    """The frame with what holds it, in the frame of the finite elements.

    Attributes
    ----------
    ports : list of Contact
        The loaded face, then the halves of screw holes.
    frame : Frame
    springs : list of (frame node, holder, N/mm)
        Holder is ``pelvis`` (does not move), ``vertebra`` or the number of a port, as a string.
    vertebra_bed_n_per_mm : float or None
        Spring between vertebra and loaded face; None when no screw sits in the vertebra, which then rests on the
        implant alone.
    """

    ports: list[Contact]
    frame: Frame
    springs: list[tuple[int, str, float]]
    vertebra_bed_n_per_mm: float | None

    def share_out(self, answers: FloatArray, force: FloatArray) -> tuple[FloatArray, dict[str, Any]]:
        """Forces on the implant's ports under ``force`` (3,) on the vertebra.

        Parameters
        ----------
        answers : (3 P, 3 P) array, mm/N
            Mean displacement of each port under unit forces at each port.

        Returns
        -------
        forces : (P, 3) array, N
        facts : dict
            Shares and stresses for the JSON.
        """
        beams = 6 * len(self.frame.points)
        free = 3 if self.vertebra_bed_n_per_mm is not None else 0
        first_port = beams + free
        size = first_port + len(answers)
        k = np.zeros((size, size))
        k[:beams, :beams] = self.frame.matrix()
        stiff = np.linalg.inv(0.5 * (answers + answers.T))
        k[first_port:, first_port:] = stiff
        pelvis = np.zeros(3)
        for node, holder, spring in self.springs:
            _join(k, 6 * node, self._place(holder, beams, first_port), spring)
        if self.vertebra_bed_n_per_mm is not None:
            _join(k, beams, first_port, self.vertebra_bed_n_per_mm)
        load = np.zeros(size)
        load[beams : beams + 3] = force  # the vertebra, or the loaded face where it is the first port
        moved: FloatArray = np.asarray(np.linalg.solve(k, load), dtype=np.float64)
        for node, holder, spring in self.springs:
            if holder == "pelvis":
                pelvis += spring * moved[6 * node : 6 * node + 3]
        forces = (stiff @ moved[first_port:]).reshape(-1, 3)
        size_n = float(np.linalg.norm(force))
        along = force / size_n
        held = float(pelvis @ along)
        facts = {
            "load_face_n": float(np.linalg.norm(forces[0])),
            "share_on_load_face": float(forces[0] @ along) / size_n,
            "share_of_screws_in_pelvis": held / size_n,
            "screws_in_implant_n": [float(np.linalg.norm(f)) for f in forces[1:]],
            "largest_stress_mpa": self.frame.largest_stress(moved[:beams]),
        }
        return forces, facts

    def _place(self, holder: str, beams: int, first_port: int) -> int | None:
        if holder == "pelvis":
            return None
        return beams if holder == "vertebra" else first_port + 3 * int(holder)


def _join(k: FloatArray, one: int, other: int | None, spring: float) -> None:
    """Add a spring, equal along every axis, between two triples of unknowns (or one and the ground)."""
    for axis in range(3):
        k[one + axis, one + axis] += spring
        if other is not None:
            k[other + axis, other + axis] += spring
            k[one + axis, other + axis] -= spring
            k[other + axis, one + axis] -= spring


def assemble(
    field: Field, regions: Mapping[str, Any], rods: Rods, mesh: Mesh, load: Contact, config: StrengthConfig
) -> Assembly:
    """Put rods and screws together as a frame, with what holds it.

    Raises
    ------
    InputError
        A screw in the implant has no hole there.
    """
    wanted = config.fixation
    assert wanted is not None
    made = _Made(Frame(), [load], [])
    paths = []
    for rod in rods.rods:
        nodes = [made.frame.node(_in_field(field, place)) for place in rod.path_mm]
        for one, other in itertools.pairwise(nodes):
            made.frame.beam(rod.name, one, other, rod.diameter_mm, 1000.0 * rod.modulus_gpa)
        for screw in rod.screws:
            _put_screw(made, field, regions, screw, nodes[screw.at], mesh, wanted)
        paths.append(nodes)
    for link in rods.links:
        one, other = (paths[rod][place] for rod, place in link.ends)
        made.frame.beam(link.name, one, other, link.diameter_mm, 1000.0 * rods.rods[0].modulus_gpa)
    in_vertebra = any(holder == "vertebra" for _, holder, _ in made.springs)
    bed = wanted.vertebra_bed_n_per_mm3 * float(load.areas.sum()) if in_vertebra else None
    return Assembly(made.ports, made.frame, made.springs, bed)


@dataclass(frozen=True)
class _Made:
    """An assembly as far as it is put together; attributes as in :class:`Assembly`."""

    frame: Frame
    ports: list[Contact]
    springs: list[tuple[int, str, float]]


def _put_screw(
    made: _Made,
    field: Field,
    regions: Mapping[str, Any],
    screw: Held,
    head: int,
    mesh: Mesh,
    wanted: Fixation,
) -> None:
    """Beams of one screw from the rod's node ``head`` down, and the springs of what its thread sits in."""
    metal = 1000.0 * wanted.screw_modulus_gpa
    start, end = _in_field(field, screw.start_mm), _in_field(field, screw.end_mm)
    above = [_in_field(field, place) for place in screw.above_mm]
    if screw.held_by == "implant":
        held = _hole(field, regions, screw.name, start, end)
        middles = [held[0] + (n + 0.5) / _HALVES * (held[1] - held[0]) for n in range(_HALVES)]
        below = [*middles, held[1]]
    else:
        count = max(2, round(float(np.linalg.norm(end - start)) / _STEP_MM))
        below = [start + (n + 0.5) / count * (end - start) for n in range(count)]
    nodes = [head, *(made.frame.node(place) for place in (*above, *below))]
    for one, other in itertools.pairwise(nodes):
        made.frame.beam(screw.name, one, other, screw.diameter_mm, metal)
    inside = nodes[1 + len(above) :]
    if screw.held_by != "implant":
        length = float(np.linalg.norm(end - start)) / len(inside)
        made.springs.extend((n, screw.held_by, wanted.bone_bed_n_per_mm2 * length) for n in inside)
        return
    length = float(np.linalg.norm(held[1] - held[0])) / _HALVES
    for n, node in enumerate(inside[:_HALVES]):
        made.springs.append((node, str(len(made.ports)), metal * length))
        half = (held[0] + n / _HALVES * (held[1] - held[0]), middles[n])
        made.ports.append(_wall(mesh, f"{screw.name}_{n + 1}", half, held[2]))


def _in_field(field: Field, point_lps_mm: Any) -> FloatArray:
    point = np.asarray(point_lps_mm, dtype=np.float64)[None]
    return np.asarray(transform_points(field.build_from_patient, point)[0])


def _hole(
    field: Field, regions: Mapping[str, Any], name: str, start: FloatArray, end: FloatArray
) -> tuple[FloatArray, FloatArray, float]:
    """Entry, end and radius of the implant's hole on the screw's axis."""
    for hole in regions.get("screw_holes", []):
        a, b = _in_field(field, hole["start_lps_mm"]), _in_field(field, hole["end_lps_mm"])
        away = np.linalg.norm(np.cross(np.stack([a, b]) - start, unit(end - start)), axis=1).max()
        if away < 1.0:
            return start, end, float(hole["diameter_mm"]) / 2.0
    raise InputError(
        f"the implant has no hole for the screw '{name}'",
        where="regions.json; strength.fixation",
        fix="give implant.screw_hole this corridor, or say which bone holds the screw",
    )


def _wall(mesh: Mesh, name: str, half: tuple[FloatArray, FloatArray], radius_mm: float) -> Contact:
    """Metal about half a hole: rings of points symmetric to ``half[1]``, its middle, so that no moment is added."""
    start, middle = half
    reach = float(np.linalg.norm(middle - start))
    along = unit(middle - start)
    one, other = perpendiculars(along)
    angle = 2 * np.pi * np.arange(_AROUND) / _AROUND
    ring = (radius_mm + 0.5 * mesh.grid.voxel_mm) * (
        np.outer(np.cos(angle), one) + np.outer(np.sin(angle), other)
    )
    count = max(2, round(2 * reach / mesh.grid.voxel_mm))
    places = middle + np.outer(((np.arange(count) + 0.5) / count * 2 - 1) * reach, along)
    points = (places[:, None, :] + ring[None]).reshape(-1, 3)
    areas = np.full(len(points), 4 * np.pi * radius_mm * reach / len(points))
    return faces.attach(mesh, name, points, areas)
