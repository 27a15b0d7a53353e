"""An implant small enough to be scanned in a second: a porous block with one dense face between two bones.

Planning frame, mm: the sacrum that stays lies at x < 0, the hip of the operated side at x > 24.5, the other hip far
to the right. The implant fills 0.3 < x < 24 with a dense wall of 2 mm towards the sacrum. The scans are made from
analytic shapes on a fine grid in the scanner's frame; nothing of the analysis is used but the field's own value.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from implantflow.artifacts import read_json, sha256_file, write_json, write_stl
from implantflow.field.field import DISTANCE_STEP_MM, Field
from implantflow.followup.stage import read_followup
from implantflow.geometry import invert_rigid, transform_points
from implantflow.jobs import Job
from implantflow.volumes import Volume, write_volume

LOW, HIGH = np.array([0.3, -10.0, -12.0]), np.array([24.0, 10.0, 12.0])
CENTRE = (LOW + HIGH) / 2.0
METAL_HU, BONE_HU, SOFT_HU = 7000.0, 450.0, 40.0
#: Cortical bone in the pores behind as much titanium: polychromatic scans whose lattice shows its metal as 7000 HU show
#: bone there 860 HU above fluid, not the 1500 HU of an insert in water.
GROWN_HU = 900.0
BLUR_MM = 0.45


def rigid(
    turns_deg: tuple[float, float, float], shift_mm: tuple[float, float, float], about: np.ndarray
) -> np.ndarray:
    """Turns about x, y, z through ``about``, then a shift."""
    turn = np.eye(3)
    for axis, angle in enumerate(np.radians(turns_deg)):
        step = np.eye(3)
        i, j = (axis + 1) % 3, (axis + 2) % 3
        step[[i, j], [i, j]] = np.cos(angle)
        step[i, j], step[j, i] = -np.sin(angle), np.sin(angle)
        turn = step @ turn
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    matrix[:3, 3] = np.array(shift_mm) + about - turn @ about
    return matrix


def box_mesh(low: np.ndarray, high: np.ndarray, edge_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Triangles of a box with edges of about ``edge_mm``, outward."""
    corners, faces = [], []
    for axis in range(3):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        n = [max(1, round((high[a] - low[a]) / edge_mm)) for a in (i, j)]
        grids = [np.linspace(low[a], high[a], m + 1) for a, m in zip((i, j), n, strict=True)]
        for level, outward in ((low[axis], False), (high[axis], True)):
            start = len(corners)
            for u in grids[0]:
                for v in grids[1]:
                    point = np.empty(3)
                    point[axis], point[i], point[j] = level, u, v
                    corners.append(point)
            for a in range(n[0]):
                for b in range(n[1]):
                    p = start + a * (n[1] + 1) + b
                    q = p + n[1] + 1
                    for t in ((p, q, q + 1), (p, q + 1, p + 1)):
                        faces.append(t if outward else t[::-1])
    return np.array(corners), np.array(faces)


def box_distance(points: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Signed distance to a box, negative inside."""
    away = np.abs(points - (low + high) / 2) - (high - low) / 2
    return np.linalg.norm(np.maximum(away, 0), axis=1) + np.minimum(away.max(axis=1), 0)


@dataclass(frozen=True)
class Truth:
    """One scan: pose of the patient, of the implant in the pelvis, and what is at the faces and in the pores."""

    patient: np.ndarray
    implant: np.ndarray
    midline_gap_mm: float | None
    hip_filled: bool
    bone_fraction: float
    seed: int


class World:
    """Files of the case and its scans."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        rng = np.random.default_rng(5)
        self.texture = ndimage.gaussian_filter(rng.normal(0, 1, (60, 60, 90)), 2.0)
        self.texture *= 60.0 / self.texture.std()

    @classmethod
    def made(cls, folder: Path) -> World:
        """Write everything."""
        world = cls(folder)
        world._write_design()
        world._write_planning()
        world.write_manifest("planning", 120.0, "SOFT")
        placed = rigid((0.4, -0.3, 0.5), (0.1, -0.2, 0.2), CENTRE)
        moved = rigid((-0.3, 0.4, 0.3), (0.1, 0.4, -0.5), CENTRE) @ placed
        world.truth = {
            "m0": Truth(rigid((2, -1, 3), (5, -8, 12), CENTRE), placed, 0.0, False, 0.0, 1),
            "m12": Truth(rigid((-2, 2, -1), (-7, 4, -9), CENTRE), moved, 2.0, True, 0.2, 2),
        }
        for name, truth in world.truth.items():
            world._write_scan(name, truth)
        return world

    @cached_property
    def field(self) -> Field:
        """The implant's field, its build frame turned against the patient's."""
        build = rigid((90, 0, 30), (70, 60, 40), CENTRE)
        vertices, faces = box_mesh(LOW, HIGH, 1.3)
        placed = transform_points(build, vertices)
        spacing = 0.5
        origin = np.floor(placed.min(0)) - 2.0
        count = (np.ceil((placed.max(0) - origin) / spacing) + 5).astype(int)
        k, j, i = np.indices(count[::-1])
        nodes = transform_points(
            invert_rigid(build), np.stack([i, j, k], -1).reshape(-1, 3) * spacing + origin
        )
        solid = np.clip(box_distance(nodes, LOW, HIGH), -1.5, 1.5)
        dense = np.clip(nodes[:, 0] - (LOW[0] + 2.0), -1.0, 1.0)
        return Field(
            "diamond",
            2.5,
            0.67,
            build,
            placed,
            faces,
            origin,
            spacing,
            np.rint(solid / DISTANCE_STEP_MM).reshape(k.shape).astype(np.int16),
            np.rint(dense / DISTANCE_STEP_MM).reshape(k.shape).astype(np.int16),
        )

    def _write_design(self) -> None:
        vertices, faces = box_mesh(LOW, HIGH, 1.3)
        write_stl(self.folder / "implant.stl", vertices, faces, "implant")
        self.field.save(self.folder / "field.json", self.folder / "field.npz", {})
        centre = vertices[faces].mean(axis=1)

        def face(name: str, mate: str, thickness: float, chosen: np.ndarray) -> dict[str, Any]:
            return {
                "name": name,
                "mates_with": mate,
                "thickness_mm": thickness,
                "triangles": np.flatnonzero(chosen),
                "area_mm2": 720.0,
            }

        write_json(
            self.folder / "regions.json",
            {
                "implant_stl_sha256": sha256_file(self.folder / "implant.stl"),
                "contact_faces": [
                    face("midline", "remaining_bone", 2.0, np.isclose(centre[:, 0], LOW[0])),
                    face("si_joint", "hip", 0.0, np.isclose(centre[:, 0], HIGH[0])),
                    face("l5s1", "l5", 0.0, np.isclose(centre[:, 2], HIGH[2])),
                ],
                "strut": {"segments": []},
            },
        )
        plane = {"name": "midline", "point_lps_mm": [0.0, 0.0, 0.0], "normal_lps": [1.0, 0.0, 0.0]}
        write_json(self.folder / "plan.json", {"corridors": [], "resection_planes": [plane]})
        for name, low, high in (
            ("bone", (-22, -12, -14), (0, 12, 14)),
            ("hip", (24.5, -12, -14), (36, 12, 14)),
        ):
            write_stl(self.folder / f"{name}.stl", *box_mesh(np.array(low), np.array(high), 3.0), name)

    def tissue(self, places: np.ndarray, gap_mm: float, hip_filled: bool, operated: bool) -> np.ndarray:
        """(N,) HU of the patient without the implant."""
        x, y, z = places.T
        index = np.clip((places - np.array([-85, -30, -30])).T[::-1], 0, np.array([[59], [59], [89]]))
        bone = BONE_HU + ndimage.map_coordinates(self.texture, index, order=1, mode="nearest")
        value = np.full(len(places), SOFT_HU)
        block = (np.abs(y) < 12) & (np.abs(z) < 14)
        left = -gap_mm if operated else 24.2
        value[block & (x > -22) & (x < left)] = bone[block & (x > -22) & (x < left)]
        hip = block & (x > (23.5 if hip_filled else 24.5)) & (x < 36)
        value[hip] = bone[hip]
        # The other hip: a bumpy shell of cortex around marrow.
        arm = (places - np.array([-45.0, 0.0, 0.0])) / np.array([14.0, 18.0, 18.0])
        radius = (
            np.linalg.norm(arm, axis=1)
            + 0.12 * np.sin(y / 3.0) * np.cos(z / 4.0)
            + 0.1 * np.sin(z / 4.0 + x / 5.0)
        )
        value[radius < 1.0] = 900.0
        value[radius < 0.86] = 120.0
        return value

    def _write_planning(self) -> None:
        affine = np.eye(4)
        affine[:3, 3] = [-66, -24, -24]
        shape = (49, 49, 108)
        k, j, i = np.indices(shape)
        places = transform_points(affine, np.stack([i, j, k], -1).reshape(-1, 3))
        hu = ndimage.gaussian_filter(self.tissue(places, 0.0, False, False).reshape(shape), 0.5)
        rng = np.random.default_rng(3)
        write_volume(
            self.folder / "planning.nii.gz",
            Volume(np.rint(hu + rng.normal(0, 8, shape)).astype(np.int16), affine),
        )
        x, y, z = places.T
        labels = np.zeros(len(places), np.uint8)
        block = (np.abs(y) < 12) & (np.abs(z) < 14)
        labels[block & (x > -22) & (x < 24.2)] = 1
        labels[block & (x > 24.5) & (x < 36)] = 2
        arm = (places - np.array([-45.0, 0.0, 0.0])) / np.array([14.0, 18.0, 18.0])
        labels[np.linalg.norm(arm, axis=1) < 1.0] = 3
        write_volume(self.folder / "labels.nii.gz", Volume(labels.reshape(shape), affine))

    def _write_scan(self, name: str, truth: Truth) -> None:
        """Fine analytic grid in the scanner's frame, blurred, averaged to 1 mm voxels, noise, ceiling."""
        ends = transform_points(truth.patient, [[-61, -20, -20], [37, 20, 20]])
        low = np.floor(ends.min(0)) - 2.0
        count = (np.ceil(ends.max(0) - low) + 2).astype(int)
        hu = np.empty(tuple(2 * count[::-1]), np.float32)
        back = invert_rigid(truth.patient)
        design = invert_rigid(truth.implant) @ back
        j, i = np.indices(hu.shape[1:])
        for k in range(hu.shape[0]):
            places = np.stack([i.ravel(), j.ravel(), np.full(i.size, k)], axis=1) * 0.5 + low - 0.25
            plane = self.tissue(
                transform_points(back, places), truth.midline_gap_mm or 0.0, truth.hip_filled, True
            )
            inner = transform_points(design, places)
            solid = box_distance(inner, LOW, HIGH)
            near = solid < 0.5
            build = transform_points(self.field.build_from_patient, inner[near])
            lattice = np.minimum(inner[near][:, 0] - (LOW[0] + 2.0), self.field.lattice_value(build))
            inside = np.clip(0.5 - solid[near] / 0.5, 0, 1)
            metal = np.minimum(np.clip(0.5 - lattice / 0.5, 0, 1), inside)
            fill = SOFT_HU + truth.bone_fraction * (GROWN_HU - SOFT_HU)
            plane[near] = (1 - inside) * plane[near] + (inside - metal) * fill + metal * METAL_HU
            hu[k] = plane.reshape(i.shape)
        hu = ndimage.gaussian_filter(hu, BLUR_MM / 0.5)
        nk, nj, ni = count[::-1]
        voxels = hu.reshape(nk, 2, nj, 2, ni, 2).mean(axis=(1, 3, 5))
        voxels += np.random.default_rng(truth.seed).normal(0, 15, voxels.shape)
        affine = np.eye(4)
        affine[:3, 3] = low
        write_volume(
            self.folder / f"{name}.nii.gz",
            Volume(np.clip(np.rint(voxels), -1024, 3071).astype(np.int16), affine),
        )
        self.write_manifest(name, 120.0, "SOFT")

    def write_manifest(self, name: str, kvp: float | None, kernel: str | None) -> None:
        """A manifest as ingest writes it, as far as it is read."""
        header = {key: value for key, value in (("kvp", kvp), ("kernel", kernel)) if value is not None}
        root = f"2.25.{1 + ['planning', 'm0', 'm12'].index(name)}"
        uids = {
            "modality": "CT", "series_uid": f"{root}1", "study_uid": f"{root}2",
            "frame_of_reference_uid": f"{root}3", "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2",
            "sop_instance_uids": [f"{root}00{k}" for k in range(3)],
        }  # fmt: skip
        manifest = {"spacing_mm": [1.0, 1.0, 1.0], "header": header, **uids}
        write_json(self.folder / f"{name}.manifest.json", manifest)

    def job(self, name: str, baseline: str | None, out: str, outcomes: Path | None = None) -> Job:
        """A job of the stage."""
        folder = self.folder / out
        folder.mkdir(exist_ok=True)
        inputs: dict[str, Any] = {
            "ct": self.folder / f"{name}.nii.gz",
            "manifest": self.folder / f"{name}.manifest.json",
            "planning_ct": self.folder / "planning.nii.gz",
            "planning_manifest": self.folder / "planning.manifest.json",
            "remaining_bone": self.folder / "bone.stl",
            "labels": self.folder / "labels.nii.gz",
            **{key: self.folder / f"{key}.stl" for key in ("implant", "hip")},
            **{key: self.folder / f"{key}.json" for key in ("regions", "plan", "field")},
            "field_data": self.folder / "field.npz",
        }
        if baseline is not None:
            inputs["baseline"] = self.folder / baseline / "followup.json"
            inputs["baseline_ct"] = self.folder / f"{baseline}.nii.gz"
            inputs["baseline_manifest"] = self.folder / f"{baseline}.manifest.json"
        if outcomes is not None:
            inputs["outcomes"] = outcomes
        months = {"m0": 0.0, "m12": 12.0}[name]
        timepoint = {"name": name, "series": f"ct_{name}", "months": months, "baseline": baseline}
        timepoint["artefact_reduction"] = "none"
        names = {"registration": "registration.tfm", "implant_pose": "implant.tfm", "faces": "faces.csv"}
        names |= {"followup": "followup.json", "axial": "axial.png", "coronal": "coronal.png"}
        names["sagittal"] = "sagittal.png"
        names |= {"face_map": "faces.png", "dicom": "dicom"}
        return Job(
            rule="read_followup",
            case_dir=folder,
            wildcards={"case": "small", "timepoint": name},
            inputs=inputs,
            outputs={key: folder / value for key, value in names.items()},
            settings={
                "followup": settings() | {"timepoint": timepoint},
                "case": "small",
                "side": "left",
                "scan_date": "2026-06-08" if name == "m12" else None,
                "purpose": "demo",
                "simulated": True,
            },
            function="implantflow.followup.stage:read_followup",
            code_digest="x",
        )

    def read(self, name: str, baseline: str | None, out: str, outcomes: Path | None = None) -> dict[str, Any]:
        """Run the stage and return followup.json."""
        job = self.job(name, baseline, out, outcomes)
        read_followup(job)
        found: dict[str, Any] = read_json(job.outputs["followup"])
        return found


def settings() -> dict[str, Any]:
    """The followup section as a job gets it, without the time point."""
    return json.loads(
        """{"agreement_max_mm": 0.5, "outcomes": null,
        "metal": {"threshold_hu": 2200, "margin_mm": 6, "source": "tests"},
        "faces": {"patch_mm": 6, "reach_mm": 4, "soft_hu": 40, "bone_hu": 226, "evidence": 6.63,
                  "baseline_months_max": 1.5, "source": "tests"},
        "grade": {"earliest_months": 6, "bridged_min_pct": 30, "bridged_full_pct": 70, "lucency_min_mm": 1,
                  "subsidence_max_mm": 2, "readable_min_pct": 20, "patches_min": 3, "limit_max_mm": 1.8,
                  "source": "tests"},
        "lattice": {"dense_margin_mm": 3, "surface_margin_mm": 2.5, "hardware_margin_mm": 6, "fluid_hu": 40,
                    "blood_hu": 70, "fat_hu": -90, "drift_hu": 10, "stray_drift": 0.15, "metal_share_error": 0.01,
                    "source": "tests"}}"""
    )
