"""A made-up case on disk for tests of the report: every file a stage would leave, small, in seconds."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from implantflow.artifacts import write_json, write_stl
from implantflow.volumes import Volume, write_volume

#: Ellipsoids in patient LPS: centre, radii in mm.
BONES = {
    "sacrum": ((0.0, 30.0, -40.0), (52.0, 30.0, 55.0)),
    "hip_left": ((85.0, 25.0, -40.0), (33.0, 55.0, 70.0)),
    "hip_right": ((-85.0, 25.0, -40.0), (33.0, 55.0, 70.0)),
    "l5": ((0.0, 10.0, 35.0), (30.0, 25.0, 15.0)),
}
TUMOUR = ((28.0, 15.0, -25.0), (16.0, 22.0, 24.0))

CONFIG: dict[str, Any] = {
    "case": "made_up",
    "purpose": "demo",
    "side": "left",
    "simulated": {"seed": 1},
    "ingest": {"series": {"ct_planning": {}, "mr_diagnosis": {}}},
    "segment": {"ct": "ct_planning", "threshold_hu": 226},
    "plan": {"revisions": [{"id": "p1", "osteotomy_margin_min_mm": 10.0}]},
    "prototype": {"approved": "rp2", "iterations": [{"id": "rp1"}, {"id": "rp2"}]},
    "build": {"revisions": [{"id": "r1"}]},
    "inspect": None,
    "release": None,
    "followup": None,
}

DIGEST = "5d2c" * 16


def ellipsoid(centre: Any, radii: Any, rings: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Closed surface of an ellipsoid with poles along z."""
    polar = np.pi * np.arange(1, rings) / rings
    turn = 2 * np.pi * np.arange(2 * rings) / (2 * rings)
    ring = np.stack(
        [
            np.sin(polar)[:, None] * np.cos(turn),
            np.sin(polar)[:, None] * np.sin(turn),
            np.cos(polar)[:, None] * np.ones_like(turn),
        ],
        axis=-1,
    ).reshape(-1, 3)
    vertices = np.vstack([ring, [[0, 0, 1], [0, 0, -1]]]) * np.asarray(radii) + np.asarray(centre)
    n, top, bottom = 2 * rings, len(ring), len(ring) + 1
    faces = []
    for j in range(n):
        k = (j + 1) % n
        faces += [(top, j, k), (bottom, (rings - 2) * n + k, (rings - 2) * n + j)]
        for i in range(rings - 2):
            a, b, c, d = i * n + j, i * n + k, (i + 1) * n + j, (i + 1) * n + k
            faces += [(a, c, b), (b, c, d)]
    return vertices, np.array(faces)


def half(mesh: tuple[np.ndarray, np.ndarray], *, left: bool) -> tuple[np.ndarray, np.ndarray]:
    """One half of a mesh: the other half flattened onto the mid-plane."""
    vertices, faces = mesh
    moved = vertices.copy()
    moved[:, 0] = np.maximum(moved[:, 0], 0.5) if left else np.minimum(moved[:, 0], -0.5)
    return moved, faces


def _volumes(root: Path) -> None:
    affine = np.diag([5.0, 5.0, 5.0, 1.0])
    affine[:3, 3] = (-130.0, -80.0, -120.0)
    k, j, i = np.meshgrid(np.arange(40), np.arange(34), np.arange(53), indexing="ij")
    place = np.stack([i, j, k], axis=-1) * 5.0 + affine[:3, 3]

    def inside(centre: Any, radii: Any) -> np.ndarray:
        return (((place - np.asarray(centre)) / np.asarray(radii)) ** 2).sum(axis=-1) < 1

    hu = np.where(inside((0, 0, -20), (125, 80, 400)), 40, -1000).astype(np.int16)
    labels = np.zeros(hu.shape, np.uint8)
    for code, (centre, radii) in enumerate(BONES.values(), 1):
        hu[inside(centre, radii)] = 600
        labels[inside(centre, radii)] = code
    tumour = inside(*TUMOUR)
    hu[tumour] = 60
    write_volume(root / "ingest/ct_planning/volume.nii.gz", Volume(hu, affine))
    mr = np.where(tumour, 900, np.where(hu > 0, 300, 20)).astype(np.int16)
    write_volume(root / "ingest/mr_diagnosis/volume.nii.gz", Volume(mr, affine))
    write_volume(root / "segment/labels.nii.gz", Volume(labels, affine))
    write_volume(root / "tumour/diagnosis_mask.nii.gz", Volume(tumour.astype(np.uint8), affine))


def _cli(path: Path, layers: int = 4) -> None:
    """A binary CLI file of squares with hatches, written field by field from the format's description."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = b"$$HEADERSTART\n$$BINARY\n$$UNITS/0.005\n$$VERSION/200\n$$LAYERS/%d\n$$HEADEREND" % layers
    body = b""
    for number in range(layers):
        body += struct.pack("<Hf", 127, 10.0 * (number + 1))
        square = [1000, 1000, 5000, 1000, 5000, 4000, 1000, 4000, 1000, 1000]
        body += struct.pack("<HHHH", 129, 1, 1, 5) + struct.pack("<10H", *square)
        body += struct.pack("<HHH", 131, 1, 2) + struct.pack(
            "<8H", 1100, 2000, 4900, 2000, 4900, 3000, 1100, 3000
        )
    path.write_bytes(header + body)


def stage_files() -> dict[str, dict[str, Any]]:
    """The JSON of every stage, with the keys of the contract."""
    plane = {"point_lps_mm": [0.0, 30.0, -40.0], "normal_lps": [1.0, 0.0, 0.0]}
    labels = {n: {"volume_mm3": 2.1e5, "watertight": True, "shells": 1} for n in BONES}
    strength = {
        "load_cases": [{"name": "stance", "max_von_mises_mpa": 180.0}],
        "max_von_mises_mpa": 180.0,
        "safety_factor": 4.8,
        "stiffness_n_per_mm": 21000.0,
        "elements": 120000,
        "solver_agreement_pct": 0.4,
    }
    prototype = {
        "plan": "p1",
        "parent": None,
        "hausdorff_to_parent_mm": None,
        "corrections": [],
        "subject_sha256": DIGEST,
    }
    corrected = {**prototype, "parent": "rp1", "hausdorff_to_parent_mm": 1.9}
    corrected["corrections"] = [{"kind": "offset_region"}]
    gate = {"gate": "review", "decision": "approved", "reviewers": ["surgeon A"], "subject_sha256": DIGEST}
    return {
        "ingest/ingest.json": {
            "series": [
                {
                    "name": "ct_planning",
                    "modality": "CT",
                    "series_uid": "2.25.1",
                    "n_slices": 40,
                    "spacing_mm": [5.0, 5.0, 5.0],
                    "tilt_deg": 0.0,
                    "max_residual_mm": 0.0,
                    "resampled": False,
                    "verdict": "ok",
                }
            ]
        },
        "segment/segment.json": {"threshold_hu": 226, "coverage": {}, "disputed_pct": 0.7, "labels": labels},
        "segment/gate.json": {**gate, "gate": "labels"},
        "tumour/tumour.json": {
            "timepoints": [
                {
                    "name": "diagnosis",
                    "series": "mr_diagnosis",
                    "registration": {
                        "ct_from_series": np.eye(4).tolist(),
                        "residual_mm": 0.31,
                        "agreement_mm": 0.02,
                    },
                    "volume_mm3": 41800.0,
                    "axes_mm": [50, 47, 34],
                    "ellipsoid_mm3": 41834.0,
                }
            ],
            "response": {
                "volume_change_pct": -26.0,
                "recist_change_pct": -12.0,
                "recist": "stable disease",
                "who_change_pct": -21.0,
                "who": "stable disease",
                "flags": ["reported volume is reproduced by 4/3*pi*abc, eight times too large"],
            },
        },
        "plan/p1/plan.json": {
            "side": "left",
            "midline_plane": plane,
            "resection_planes": [{"name": "midline", **plane}],
            "osteotomy_margin_min_mm": 11.2,
            "soft_tissue_margin_min_mm": 2.0,
            "specimen_volume_mm3": 1.2e5,
            "corridors": [
                {
                    "name": "s1_implant",
                    "length_mm": 42.0,
                    "min_clearance_mm": 3.1,
                    "start_lps_mm": [60.0, 60.0, -20.0],
                    "end_lps_mm": [20.0, 10.0, -15.0],
                    "diameter_mm": 7.0,
                }
            ],
        },
        "prototype/rp1/prototype.json": prototype,
        "prototype/rp1/gate.json": {**gate, "decision": "rejected"},
        "prototype/rp2/prototype.json": corrected,
        "prototype/rp2/gate.json": gate,
        "implant/implant.json": {
            "volume_mm3": 1.1e5,
            "watertight": True,
            "gap_p50_mm": 0.5,
            "gap_p95_mm": 0.8,
            "contact_area_mm2": 3100.0,
            "interpenetration_mm3": 0.0,
            "vs_specimen_dice": 0.97,
            "vs_approved_mm": 0.01,
        },
        "implant/regions.json": {
            "frame": "patient_lps",
            "contact_faces": [
                {
                    "name": "midline",
                    "triangles": list(range(40)),
                    "thickness_mm": 2.0,
                    "point_lps_mm": [0.5, 30.0, -40.0],
                    "normal_lps": [-1.0, 0.0, 0.0],
                    "area_mm2": 900.0,
                    "mates_with": "remaining_bone",
                }
            ],
            "strut": {
                "segments": [
                    {"start_lps_mm": [5.0, 30.0, -80.0], "end_lps_mm": [5.0, 30.0, 0.0], "radius_mm": 4.0}
                ]
            },
            "screw_holes": [
                {
                    "name": "s1",
                    "start_lps_mm": [40.0, 50.0, -20.0],
                    "end_lps_mm": [15.0, 15.0, -15.0],
                    "diameter_mm": 7.0,
                    "boss_diameter_mm": 11.0,
                }
            ],
            "cable_passages": [],
            "shell": {"thickness_mm": 0},
        },
        "strength/solid/strength.json": strength,
        "strength/final/strength.json": strength,
        "lattice/lattice.json": {
            "cell": "diamond",
            "cell_mm": 2.5,
            "strut_mm": 0.67,
            "relative_density": 0.3,
            "porosity": 0.7,
            "pore_um": 1340.0,
            "throat_um": 1040.0,
            "dense_fraction": 0.12,
            "closed_pores": 0,
            "modulus_gpa": 3.1,
        },
        "design/gate.json": {**gate, "gate": "design"},
        "build/r1/build.json": {
            "layers": 4,
            "layer_mm": 0.05,
            "open_loops": 0,
            "winding_errors": 0,
            "unsupported_islands": 3,
            "contour_m": 12.0,
            "hatch_m": 30.0,
            "solid_volume_mm3": 5.1e4,
            "time_h": 21.0,
            "energy_kwh": 30.0,
            "within_envelope": True,
        },
        "build/r1/checks.json": {"passed": True},
        "audit/verify.json": {"entries": 17, "verified": True, "unsigned_gates": [], "head_sha256": DIGEST},
    }


def write_case(root: Path, config: dict[str, Any] | None = None) -> Path:
    """Write the whole made-up case below ``root`` and return the case folder."""
    case_dir = root / "results" / "made_up"
    case_dir.mkdir(parents=True)
    (case_dir / "config.resolved.yaml").write_text(yaml.safe_dump(config or CONFIG), encoding="utf-8")
    for name, content in stage_files().items():
        write_json(case_dir / name, content)
    surfaces = {f"segment/{name}.stl": ellipsoid(*shape, 50) for name, shape in BONES.items()}
    sacrum = surfaces["segment/sacrum.stl"]
    small = ellipsoid(BONES["sacrum"][0], np.array(BONES["sacrum"][1]) - 0.5, 50)
    surfaces |= {
        "tumour/tumour.stl": ellipsoid(*TUMOUR),
        "plan/p1/specimen.stl": half(sacrum, left=True),
        "plan/p1/remaining_bone.stl": half(sacrum, left=False),
        "prototype/rp1/implant.stl": half(sacrum, left=True),
        "prototype/rp2/implant.stl": half(small, left=True),
        "implant/implant.stl": half(small, left=True),
        "lattice/preview.stl": half(small, left=True),
    }
    for name, (vertices, faces) in surfaces.items():
        (case_dir / name).parent.mkdir(parents=True, exist_ok=True)
        write_stl(case_dir / name, vertices, faces, "made up, patient LPS mm")
    _volumes(case_dir)
    _cli(case_dir / "build/r1/build.cli")
    return case_dir


def fail(
    case_dir: Path, rule: str, reason: str, *, status: str = "failed", fix: str = "do this", **wildcards: str
) -> None:
    """Leave the status file of a job that did not finish."""
    key = ".".join([rule, *wildcards.values()])
    write_json(
        case_dir / "logs" / f"{key}.status.json",
        {
            "rule": rule,
            "wildcards": wildcards,
            "status": status,
            "error": "QualityGateError",
            "reason": reason,
            "where": str(case_dir.resolve() / "plan"),
            "next": fix,
        },
    )


def case_json(case_dir: Path) -> dict[str, Any]:
    """The summary that was rendered."""
    data: dict[str, Any] = json.loads((case_dir / "report" / "case.json").read_text(encoding="utf-8"))
    return data
