"""The lattice of one scan against its baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.config.followup import FollowupJob
from implantflow.followup import hardening, ingrowth, struts
from implantflow.followup.attenuation import Sensitivity
from implantflow.followup.compare import Baseline
from implantflow.followup.faces import Face
from implantflow.followup.hardware import near_hardware
from implantflow.followup.inputs import Inputs
from implantflow.followup.interval import Doubts, Shown
from implantflow.followup.motion import Place
from implantflow.followup.profile import Scan
from implantflow.followup.table import inward_rows
from implantflow.followup.tissue import read_grid
from implantflow.geometry import FloatArray, transform_points, unit


@dataclass(frozen=True)
class LatticeRead:
    """What was read in the lattice: keys for followup.json."""

    figures: dict[str, Any]

    def rows(self, faces: list[Face]) -> list[dict[str, Any]]:
        """Inward rows of faces.csv."""
        bands: Mapping[str, Any] = self.figures.get("bands", {})
        return [row for face in faces if face.name in bands for row in inward_rows(face, bands[face.name])]


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
