"""A small made-up case for the tests of the simulated follow-up: a lattice block between bones in a round body."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from implantflow import artifacts
from implantflow.jobs import Job
from implantflow.volumes import Volume, write_volume

#: Half the size of the implant, its centre in planning LPS, and where the build frame's origin lies in it.
HALF = np.array([11.0, 9.0, 8.0])
CENTRE = np.array([5.0, -3.0, -600.0])
BUILD_SHIFT = np.array([40.0, 45.0, 640.0])
#: Body's half axes (mm), host bone's HU, the saw's kerf (mm), and a marker ball.
BODY = np.array([60.0, 45.0])
BONE_HU, KERF = 700, 1.0
SPHERE = np.array([-30.0, 14.0, -598.0])
SPHERE_RADIUS = 5.0


@dataclass(frozen=True)
class Case:
    """Input files of the job."""

    inputs: dict[str, Path]


def settings(**changes: Any) -> dict[str, Any]:
    """A coarse scanner and two scans; ``changes`` replace top-level keys."""
    still = {"turns_deg": [0, 0, 0], "shift_mm": [0, 0, 0]}
    pores = {"fill_hu": 20, "core_fraction": 0.0, "ingrowth": {}}
    scan = {"study_date": "2025-06-05", "migration": still, "soft_hu": 30, "faces": {}, "pores": pores}
    base: dict[str, Any] = {
        "seed": 3,
        "kvp": 120,
        "kernel": "soft",
        "spacing_mm": [0.8, 0.8, 2.0],
        "views": 240,
        "cell_mm": 0.7,
        "box_mm": 0.25,
        "anatomy_mm": 1.0,
        "field_mm": [96, 72],
        "field_offset_mm": [-8, 0],
        "cranial_mm": 3,
        "caudal_mm": 9,
        "photons": 4e6,
        "scatter_residual": 0.0,
        "screw_head_mm": [8.0, 4.0],
        "median_pixels": 1,
        "placement": still,
        "scans": {
            "ct_m0": {**scan, "pose": still},
            "ct_m12": {
                **scan,
                "study_date": "2026-06-08",
                "pose": {"turns_deg": [3.0, -2.0, 4.0], "shift_mm": [3.0, -2.0, 5.0]},
                "migration": {"turns_deg": [0.5, 0.0, -0.5], "shift_mm": [0.6, -0.4, 0.8]},
                "faces": {
                    "midline": {"state": "fused", "width_mm": 3.0, "bone_fraction": 0.4},
                    "caudal": {"state": "lucent", "width_mm": 3.0},
                },
                "pores": {
                    **pores,
                    "core_fraction": 0.05,
                    "ingrowth": {"si_joint": {"at_face_fraction": 0.4, "decay_mm": 5.0}},
                },
            },
        },
    }
    return base | changes


def make_case(folder: Path) -> Case:
    """Write every input of the job into ``folder``."""
    files = {
        name: folder / file
        for name, file in {
            "anatomy": "ct.nii.gz",
            "field": "field.json",
            "field_data": "field.npz",
            "plan": "plan.json",
            "specimen": "specimen.stl",
            "regions": "regions.json",
            "implant": "implant.stl",
        }.items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    _write_anatomy(files["anatomy"])
    vertices, faces = _block(HALF)
    artifacts.write_stl(files["implant"], vertices + CENTRE, faces, "test implant, patient LPS mm")
    whole, triangles = _block(HALF + np.array([0.0, 0.3, 0.3]))
    artifacts.write_stl(files["specimen"], whole + CENTRE, triangles, "test specimen, patient LPS mm")
    _write_regions(files["regions"], files["implant"])
    _write_field(files["field"], files["field_data"])
    artifacts.write_json(files["plan"], _plan())
    return Case(files)


def job_of(case: Case, out: Path, series: str, cfg: dict[str, Any], threads: int = 2, **more: Any) -> Job:
    """The job of one scan."""
    return Job(
        rule="simulate_followup",
        case_dir=out,
        wildcards={"case": "tiny", "series": series},
        inputs=case.inputs | more.get("inputs", {}),
        outputs={"dicom": out / series},
        settings={
            "simulated_followup": cfg,
            "series": series,
            "simulated": more.get("simulated"),
        },
        function="implantflow.phantom.followup_scan:simulate_followup",
        code_digest="",
        threads=threads,
        side_outputs={"truth": out / f"truth_{series}.json"},
    )


def _write_anatomy(path: Path) -> None:
    """Water-like body, bone on both sides of the block and below it, a dense sphere as a marker."""
    spacing = 1.0
    low = CENTRE - [BODY[0] + 6, BODY[1] + 6, 28.0]
    shape = (52, int(2 * BODY[1] + 13), int(2 * BODY[0] + 13))
    k, j, i = np.indices(shape)
    x, y, z = (low[n] + spacing * index for n, index in enumerate((i, j, k)))
    u, v, w = x - CENTRE[0], y - CENTRE[1], z - CENTRE[2]
    hu = np.full(shape, -1000.0)
    hu[(u / BODY[0]) ** 2 + (v / BODY[1]) ** 2 < 1] = 40.0
    beside = (np.abs(u) < 24) & (np.abs(v) < 14) & (w < 10) & (w > -18)
    hu[beside] = BONE_HU
    # The joint: two millimetres of cartilage between the block and the hip.
    hu[beside & (u > 11.0) & (u < 13.0)] = 60.0
    ball = np.linalg.norm(np.stack([x, y, z], -1) - SPHERE, axis=-1)
    share = np.clip(0.5 - (ball - SPHERE_RADIUS), 0, 1)
    hu += share * (1200 - hu)
    affine = np.eye(4)
    affine[:3, 3] = low
    write_volume(path, Volume(np.rint(hu).astype(np.int16), affine))


def _block(half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    import trimesh

    mesh = trimesh.creation.box(extents=2 * half)
    vertices, faces = trimesh.remesh.subdivide_to_size(mesh.vertices, mesh.faces, 1.2)
    merged = trimesh.Trimesh(vertices, faces, process=True)
    return np.asarray(merged.vertices), np.asarray(merged.faces)


def _write_regions(path: Path, implant: Path) -> None:
    vertices, faces = artifacts.read_stl(implant)
    corners = vertices[faces].astype(float)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    wanted = {"midline": [-1, 0, 0], "caudal": [0, 0, -1], "si_joint": [1, 0, 0]}
    contact = [
        {"name": name, "triangles": np.flatnonzero(normal @ np.array(axis) > 0.9).tolist()}
        for name, axis in wanted.items()
    ]
    digest = artifacts.sha256_file(implant)
    artifacts.write_json(
        path, {"frame": "patient_lps", "implant_stl_sha256": digest, "contact_faces": contact}
    )


def _write_field(json_path: Path, npz_path: Path) -> None:
    """A diamond lattice with a dense plate of 2 mm at the midline face."""
    low, high = CENTRE - HALF + BUILD_SHIFT, CENTRE + HALF + BUILD_SHIFT
    origin, spacing = low - 2.5, 0.5
    shape = tuple(int(n) for n in np.ceil((high + 2.5 - origin) / spacing) + 1)[::-1]
    k, j, i = np.indices(shape)
    point = origin + spacing * np.stack([i, j, k], -1)
    solid = np.max(np.maximum(low - point, point - high), axis=-1)
    dense = point[..., 0] - (low[0] + 2.0)
    step = 1e-4
    arrays = {
        "solid": np.rint(np.clip(solid, -1.5, 1.5) / step).astype(np.int16),
        "dense": np.rint(np.clip(dense, -3.0, 1.0) / step).astype(np.int16),
    }
    artifacts.write_npz(npz_path, arrays)
    matrix = np.eye(4)
    matrix[:3, 3] = BUILD_SHIFT
    artifacts.write_json(
        json_path,
        {
            "cell": "diamond",
            "cell_mm": 2.5,
            "strut_mm": 0.67,
            "lattice_origin_mm": [0.0, 0.0, 0.0],
            "build_from_patient": [[repr(float(x)) for x in row] for row in matrix],
            "bounds_mm": [low, high],
            "grid_origin_mm": origin,
            "grid_spacing_mm": spacing,
            "grid_step_mm": repr(step),
            "field_npz_sha256": artifacts.sha256_file(npz_path),
        },
    )


def _plan() -> dict[str, Any]:
    left = CENTRE - [HALF[0], 0.0, 0.0]
    below = CENTRE - [0.0, 0.0, HALF[2]]
    return {
        "kerf_mm": KERF,
        "midline_plane": {"point_lps_mm": left, "normal_lps": [1.0, 0.0, 0.0]},
        "resection_planes": [
            {"kind": "osteotomy", "name": "midline", "point_lps_mm": left, "normal_lps": [1.0, 0, 0]},
            {"kind": "osteotomy", "name": "caudal", "point_lps_mm": below, "normal_lps": [0, 0, 1.0]},
        ],
        "corridors": [
            {
                "name": "s1_implant",
                "kind": "implant_s1",
                "start_lps_mm": CENTRE + np.array([4.0, 8.0, 2.0]),
                "end_lps_mm": CENTRE + np.array([4.0, -8.0, 2.0]),
                "diameter_mm": 4.0,
            },
            {
                "name": "iliac_left",
                "kind": "iliac",
                "start_lps_mm": CENTRE + np.array([-40.0, -4.0, -6.0]),
                "end_lps_mm": CENTRE + np.array([-40.0, -26.0, -6.0]),
                "diameter_mm": 6.0,
            },
        ],
    }
