"""Contact faces of one scan, alone or against its baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.config.followup import FollowupJob
from implantflow.followup import bloom
from implantflow.followup.faces import Face, Lines, contact_faces, free_surface, gap_to_bone
from implantflow.followup.grade import face_figures, unplanned
from implantflow.followup.hardware import near_hardware
from implantflow.followup.inputs import Inputs
from implantflow.followup.lucency import Host, Reading, host_level, read_patches
from implantflow.followup.motion import Displacement, Place
from implantflow.followup.profile import Profiles, Scan, read_profiles
from implantflow.followup.sampling import Smooth, crop_around, smooth
from implantflow.followup.table import outward_rows
from implantflow.geometry import transform_points

#: Surfaces at least this far from bone show what metal alone does, mm.
_FREE_MM = 6.0
_SCREW_MM = 8.0
_DEEPEST_MM = -1.5


@dataclass(frozen=True)
class Baseline:
    """An earlier scan: its name, months, the implant's place, the scan, and why its HU may not be compared.

    ``kvp`` is that of its header, None where it does not say.
    """

    name: str
    months: float
    place: Place
    scan: Scan
    differences: list[str]
    kvp: float | None


@dataclass(frozen=True)
class FacesRead:
    """What was read at the faces.

    Attributes
    ----------
    faces : all contact faces. figures : name -> keys for followup.json.
    readings, hosts, profiles, base : by name, of the faces that mate with bone.
    """

    faces: list[Face]
    figures: dict[str, dict[str, Any]]
    readings: dict[str, Reading]
    hosts: dict[str, Host]
    profiles: dict[str, Profiles]
    base: dict[str, Profiles]

    def rows(self) -> list[dict[str, Any]]:
        """Outward rows of faces.csv."""
        rows = []
        for face in self.faces:
            if face.name in self.profiles:
                rows += outward_rows(face, self.profiles[face.name], self.base.get(face.name))
        return rows


def read_faces(
    inputs: Inputs, now: Scan, baseline: Baseline | None, settings: FollowupJob, since: Displacement | None
) -> FacesRead:
    """Read every contact face of the implant."""
    rules = settings.faces
    faces = contact_faces(inputs.implant, inputs.regions, inputs.depths, rules.patch_mm)
    free = _free_lines(inputs, rules.patch_mm)
    planning = smooth(crop_around(inputs.planning, inputs.implant.vertices[::50], 12.0))
    base = calibrating(baseline, rules.baseline_months_max)
    reference = _Reference.of(inputs, free, now, base, planning)
    result = FacesRead(faces, {}, {}, {}, {}, {})
    for face in faces:
        if face.mates_with not in inputs.bones:
            result.figures[face.name] = unplanned(face, f"it faces {face.mates_with} across a disc space")
            continue
        learnt = bloom.learn(reference.now, reference.base, reference.good, free.dense, face.thickness_mm > 0)
        profiles, host = _at_face(inputs, face, now, planning, rules.reach_mm)
        if learnt is None:
            result.figures[face.name] = unplanned(
                face, "no free surface of the implant shows what its metal alone does"
            ) | {"grade": "not readable"}
            continue
        old, old_host = (
            (None, None) if base is None else _at_face(inputs, face, base, planning, rules.reach_mm)
        )
        reading = read_patches(
            profiles,
            host,
            old,
            old_host,
            learnt,
            0.0 if since is None else since.norm_mm,
            rules.soft_hu,
            rules.bone_hu,
            rules.evidence,
        )
        figures = face_figures(
            face,
            host,
            reading,
            rules,
            settings.grade,
            settings.timepoint.months,
            None if since is None else since.norm_mm,
        )
        figures["read_against"] = "this scan alone" if base is None or baseline is None else baseline.name
        figures["doubt_learnt_from"] = {
            "walls": learnt.kind,
            "patches": learnt.patches,
            "scaled_by": reading.misfit,
        }
        result.figures[face.name] = figures
        result.readings[face.name], result.hosts[face.name] = reading, host
        result.profiles[face.name] = profiles
        if old is not None:
            result.base[face.name] = old
    return result


def calibrating(baseline: Baseline | None, months_max: float) -> Scan | None:
    """The baseline's scan where it shows the faces before anything grew or was resorbed, in the same HU."""
    if baseline is None or baseline.differences or baseline.months > months_max:
        return None
    return baseline.scan


def _free_lines(inputs: Inputs, patch_mm: float) -> Lines:
    """Lines on surfaces away from screws that were not planned to touch bone."""
    free = free_surface(inputs.implant, inputs.regions, set(inputs.bones), inputs.depths, patch_mm)
    return free.only(~near_hardware(free.centres, inputs.regions, _SCREW_MM))


@dataclass(frozen=True)
class _Reference:
    """Profiles of the free surface and which patches are fit to learn from."""

    now: Profiles
    base: Profiles | None
    good: NDArray[np.bool_]

    @classmethod
    def of(cls, inputs: Inputs, free: Lines, now: Scan, base: Scan | None, planning: Smooth) -> _Reference:
        first = read_profiles(free, now, planning)
        good = bloom.usable(first, _far_from_bone(inputs, free, now))
        second = None
        if base is not None:
            second = read_profiles(free, base, planning)
            good &= bloom.usable(second, _far_from_bone(inputs, free, base))
        return cls(first, second, good)


def _far_from_bone(inputs: Inputs, lines: Lines, scan: Scan) -> NDArray[np.bool_]:
    places = transform_points(scan.planning_from_design, lines.centres)
    far = np.ones(lines.count, dtype=bool)
    for bone in inputs.bones.values():
        far &= bone.nearest(places, _FREE_MM + 1.0, signed=False).distance_mm > _FREE_MM
    return far


def _at_face(
    inputs: Inputs, face: Face, scan: Scan, planning: Smooth, reach_mm: float
) -> tuple[Profiles, Host]:
    """Profiles of a face as found in ``scan``, and the bone opposite."""
    profiles = read_profiles(face.lines, scan, planning)
    matrix = scan.planning_from_design
    gap = gap_to_bone(
        transform_points(matrix, face.lines.centres),
        face.lines.outward @ matrix[:3, :3].T,
        inputs.bones[face.mates_with],
        _DEEPEST_MM,
        reach_mm,
    )
    level = host_level(profiles.before, gap, profiles.sigma_mm, face.mates_with == "remaining_bone")
    return profiles, Host(gap, level)
