"""Faces and lattice of one scan, alone or against its baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.config.followup import FollowupJob
from implantflow.followup import bloom, hardening, ingrowth, struts
from implantflow.followup.attenuation import Sensitivity
from implantflow.followup.faces import Face, Lines, contact_faces, free_surface, gap_to_bone
from implantflow.followup.grade import face_figures, unplanned
from implantflow.followup.hardware import near_hardware
from implantflow.followup.inputs import Inputs
from implantflow.followup.interval import Doubts, Shown
from implantflow.followup.lucency import Host, Reading, host_level, read_patches
from implantflow.followup.motion import Displacement, Place
from implantflow.followup.profile import Profiles, Scan, read_profiles
from implantflow.followup.sampling import Smooth, crop_around, smooth
from implantflow.followup.table import inward_rows, outward_rows
from implantflow.followup.tissue import read_grid
from implantflow.geometry import FloatArray, transform_points, unit

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


@dataclass(frozen=True)
class LatticeRead:
    """What was read in the lattice: keys for followup.json."""

    figures: dict[str, Any]

    def rows(self, faces: list[Face]) -> list[dict[str, Any]]:
        """Inward rows of faces.csv."""
        bands: Mapping[str, Any] = self.figures.get("bands", {})
        return [row for face in faces if face.name in bands for row in inward_rows(face, bands[face.name])]


def read_faces(
    inputs: Inputs, now: Scan, baseline: Baseline | None, settings: FollowupJob, since: Displacement | None
) -> FacesRead:
    """Read every contact face of the implant."""
    rules = settings.faces
    faces = contact_faces(inputs.implant, inputs.regions, inputs.depths, rules.patch_mm)
    free = _free_lines(inputs, rules.patch_mm)
    planning = smooth(crop_around(inputs.planning, inputs.implant.vertices[::50], 12.0))
    base = _calibrating(baseline, rules.baseline_months_max)
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


def _calibrating(baseline: Baseline | None, months_max: float) -> Scan | None:
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


def read_lattice(
    inputs: Inputs,
    now: Scan,
    baseline: Baseline | None,
    settings: FollowupJob,
    place: Place,
    faces: list[Face],
) -> LatticeRead:
    """Change in the lattice against the baseline: whole porous part, its core, and bands below the faces."""
    rules = settings.lattice
    doubts = Doubts(
        rules.fluid_hu,
        rules.blood_hu,
        rules.fat_hu,
        rules.drift_hu,
        rules.stray_drift,
        rules.metal_share_error,
    )
    places = ingrowth.porous_places(inputs.depths, inputs.implant.bounds_mm)
    region = ingrowth.porous_region(
        places,
        inputs.depths,
        faces,
        near_hardware(places, inputs.regions, rules.hardware_margin_mm),
        (rules.dense_margin_mm, rules.surface_margin_mm),
    )
    sampled = ingrowth.Sampled.of(region, now, None if baseline is None else baseline.scan)
    gauge = ingrowth.gauge_of(sampled, region, doubts)
    reason = _incomparable(baseline)
    levels = {
        "core_mean_hu": float(np.nanmean(sampled.now[region.core])),
        "core_metal_share": float(sampled.share[region.core].mean()),
    }
    if reason or baseline is None or baseline.kvp is None:
        return LatticeRead({**ingrowth.not_determinable(reason), **levels})
    rays = _rays(inputs, baseline.scan, region.places[region.core])
    gauge = hardening.calibrated(gauge, rays, baseline.kvp, doubts.fluid_hu, doubts.metal_share_error)
    parts = _Parts(inputs, baseline.scan, baseline.kvp, region, faces, rays, gauge)
    covariance = place.covariance + baseline.place.covariance
    drift = now.offset_hu - baseline.scan.offset_hu
    usual = ingrowth.usual_unevenness_hu(region, sampled, gauge.read_share_max)
    shift = struts.strut_shift_mm(region, sampled, now.model, gauge.read_share_max)

    def make(chosen: NDArray[np.bool_], shown: Shown) -> dict[str, Any]:
        if not chosen.any():
            return ingrowth.not_determinable("no porous metal at this depth far enough from dense metal")
        read = chosen & (sampled.share <= gauge.read_share_max)
        if not read.any():
            return ingrowth.not_determinable("no place at this depth with little metal")
        error = ingrowth.pose_error_hu(region.places[read], now, covariance, gauge.metal_hu)
        off = struts.shift_error_hu(region.places[read], now.model, shift, gauge.metal_hu)
        return ingrowth.change(region, sampled, chosen, doubts, gauge, shown, usual, error, drift, off)

    core = make(region.core, parts.core)
    return LatticeRead(
        {
            **make(np.ones(len(region.places), dtype=bool), parts.core),
            "region": "the porous part, but for 1 mm below the surface, 2 mm beside dense metal, screws and "
            "cables; share of the pore space",
            "core": core,
            "bands": ingrowth.bands(
                region, faces, inputs.bones, lambda chosen, face: make(chosen, parts.below(face, core))
            ),
            "sensitivity": gauge.as_json(),
            "struts_off_pose_mm": float(np.linalg.norm(shift)),
            **levels,
        }
    )


@dataclass(frozen=True)
class _Parts:
    """How the parts of the lattice show bone in the baseline's beam; ``rays`` through the core."""

    inputs: Inputs
    scan: Scan
    kvp: float
    region: ingrowth.Region
    faces: list[Face]
    rays: hardening.Rays
    gauge: Sensitivity

    @cached_property
    def core(self) -> Shown:
        """The core, and the whole that it stands for."""
        return Shown(self._local(self.rays, None))

    def below(self, face: int, core: Mapping[str, Any]) -> Shown:
        """What lies below the face of this number; ``core`` as it was read."""
        if core["status"] != "determined":
            return self.core
        return Shown(self._faces[face], core["delta_bone_fraction"], core["error_fraction"])

    @cached_property
    def _faces(self) -> list[hardening.Local]:
        found = []
        for number, face in enumerate(self.faces):
            below = (self.region.face == number) & (self.region.depth_mm < ingrowth.LAYERS_MM)
            places = self.region.places[below]
            if not len(places):
                found.append(self.core.local)
                continue
            normal = unit(face.lines.patch_areas @ face.lines.outward)
            found.append(self._local(_rays(self.inputs, self.scan, places), normal))
        return found

    def _local(self, part: hardening.Rays, normal: FloatArray | None) -> hardening.Local:
        return hardening.local(self.rays, part, normal, self.kvp, self.gauge.stray_share or 0.0)


def _rays(inputs: Inputs, scan: Scan, places: FloatArray) -> hardening.Rays:
    """Rays through places of the lattice as it lies in ``scan`` and the body of the planning CT; air beyond it."""
    above_air = inputs.planning.like(np.maximum(inputs.planning.array, -1000) + np.int16(1000))

    def water(at: FloatArray) -> FloatArray:
        return read_grid(above_air, transform_points(scan.planning_from_design, at)) / 1000.0

    return hardening.rays_through(
        places, scan.model.values, lambda at: inputs.depths.near_surface(at) < 0.0, water
    )


def _incomparable(baseline: Baseline | None) -> str:
    """Why the lattice cannot be compared; empty when it can."""
    if baseline is None:
        return (
            "no baseline scan: one per cent of titanium more or less shows as ten of bone, so an absolute share "
            "of bone cannot be had"
        )
    if baseline.differences:
        return "the scans differ: " + "; ".join(baseline.differences)
    return ""
