"""A pelvis of flat faces whose planes, margins and gaps are known exactly, and the jobs that run on it.

Sacrum: a wedge, front at y = 0, back at y = 40, upper end plate at z = 0, 100 mm high, 100 mm wide above and 40 mm
below, mid-plane x = 1 (not 0, so that a forgotten offset shows), four foramina a side. L5: a block 8 mm above.
Ilia: blocks 2 mm beside the slanting side faces.
"""

from __future__ import annotations

import copy
import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from implantflow.artifacts import read_json, sha256_file, write_json
from implantflow.geometry import Plane
from implantflow.jobs import Job
from implantflow.solids.booleans import difference, refined, trim
from implantflow.solids.mesh import Solid, write_solid
from implantflow.solids.shapes import box, cylinder, sphere

MID_X = 1.0
JOINT_MM = 2.0
DISC_MM = 8.0
#: Position of the foramina below the promontory and beside the mid-plane.
FORAMINA = ((26.0, 20.0, 9.0), (48.0, 17.0, 8.0), (66.0, 14.0, 7.0), (82.0, 12.0, 6.0))
TUMOUR_CENTRE = np.array([MID_X + 30.0, 12.0, -34.0])
TUMOUR_RADIUS = 9.0
_SLOPE = 30.0 / 100.0


def side_plane(sign: float, out_mm: float = 0.0) -> Plane:
    """Slanting side face of the sacrum, moved outwards by ``out_mm``; normal pointing outwards."""
    normal = np.array([sign, 0.0, -_SLOPE])
    normal /= np.linalg.norm(normal)
    return Plane.of(np.array([MID_X + sign * 50.0, 0.0, 0.0]) + out_mm * normal, normal)


def sacrum() -> Solid:
    block = box([MID_X - 60, 0, -100], [MID_X + 60, 40, 0])
    wedge = trim(block, [Plane.of(p.point, -np.array(p.normal)) for p in (side_plane(1), side_plane(-1))])
    holes = [
        cylinder([MID_X + sign * w, -5, -s], [MID_X + sign * w, 45, -s], d)
        for s, w, d in FORAMINA
        for sign in (1, -1)
    ]
    return refined(difference(wedge, *holes), 3.0)


def hip(sign: float) -> Solid:
    low, high = sorted((MID_X + sign * 15.0, MID_X + sign * 95.0))
    block = box([low, -35, -110], [high, 45, 20])
    return refined(trim(block, [side_plane(sign, JOINT_MM)]), 3.0)


def l5() -> Solid:
    return refined(box([MID_X - 25, 0, DISC_MM], [MID_X + 25, 32, DISC_MM + 25]), 3.0)


def tumour() -> Solid:
    return sphere(TUMOUR_CENTRE, TUMOUR_RADIUS, 64)


PLAN: dict[str, Any] = {
    "id": "p1",
    "margin_mm": 10.0,
    "kerf_mm": 1.0,
    "osteotomy_tolerance_mm": 1.0,
    "osteotomy_tolerance_deg": 2.0,
    "caudal_level": "S3",
    "corridors": [
        {
            "name": "s1_implant",
            "kind": "implant_s1",
            "side": "implant",
            "diameter_mm": 6.0,
            "length_min_mm": 25.0,
            "length_max_mm": 30.0,
            "wall_mm": 2.0,
        }
    ],
}

IMPLANT: dict[str, Any] = {
    "clearance": {"midline_mm": 0.3, "caudal_mm": 0.4, "hip_mm": 0.5, "l5_mm": 1.0},
    "joint_space_max_mm": 4.0,
    "disc_space_max_mm": 12.0,
    "face_thickness": {"midline_mm": 2.0, "caudal_mm": 2.0, "si_joint_mm": 0.0, "l5s1_mm": 1.5},
    "strut_radius_mm": 4.0,
    "shell_mm": 0.0,
    "screw_hole": {"corridor": "s1_implant", "diameter_mm": 6.0, "boss_diameter_mm": 11.0},
    "cable_passages": [
        {"name": "cable", "height_fraction": 0.25, "diameter_mm": 3.0, "wall_mm": 1.5, "bend_radius_mm": 60.0}
    ],
    "limits": {"interpenetration_mm3": 0.5, "gap_p95_mm": 2.5, "contact_area_min_mm2": 1500.0},
}

RP1: dict[str, Any] = {
    "id": "rp1",
    "parent": None,
    "plan": "p1",
    "corrections": [],
    "questions": ["Does it fit?"],
}
RP2: dict[str, Any] = {
    "id": "rp2",
    "parent": "rp1",
    "plan": "p1",
    "corrections": [
        {
            "kind": "offset_face",
            "face": "si_joint",
            "distance_mm": 1.0,
            "blend_mm": 0.0,
            "reason": "gap too wide",
        },
        {
            "kind": "add_hole",
            "name": "s1",
            "corridor": "s1_implant",
            "diameter_mm": 6.0,
            "reason": "the screw",
        },
    ],
    "questions": ["Is the gap right?"],
}


def changed(base: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A deep copy of ``base`` with some keys replaced."""
    return {**copy.deepcopy(base), **changes}


def write_bones(folder: Path, side: str = "left") -> None:
    """The five input surfaces; ``side`` is where the tumour lies."""
    folder.mkdir(parents=True, exist_ok=True)
    growth = tumour()
    if side == "right":
        mirrored = growth.vertices * [-1, 1, 1] + [2 * MID_X, 0, 0]
        growth = Solid.of(mirrored, growth.faces[:, ::-1])
    solids = {"sacrum": sacrum(), "hip_left": hip(1), "hip_right": hip(-1), "l5": l5(), "tumour": growth}
    for name, solid in solids.items():
        write_solid(folder / f"{name}.stl", solid, f"synthetic {name}")
    timepoint = {"name": "final", "series": "mr_final", "acquired": "2025-04-22", "registration": None}
    write_json(folder / "tumour.json", {"timepoints": [timepoint]})


def _job(
    rule: str, inputs: dict[str, Any], folder: Path, names: dict[str, str], settings: dict[str, Any]
) -> Job:
    folder.mkdir(parents=True, exist_ok=True)
    outputs = {key: folder / name for key, name in names.items()}
    return Job(rule, folder, {}, inputs, outputs, settings, function="test", code_digest="test")


def plan_job(bones: Path, folder: Path, plan: dict[str, Any] | None = None, side: str = "left") -> Job:
    inputs: dict[str, Any] = {n: bones / f"{n}.stl" for n in ("sacrum", "hip_left", "hip_right", "l5")}
    inputs |= {"tumour_stl": bones / "tumour.stl", "tumour": bones / "tumour.json", "masks": []}
    names = {"plan": "plan.json", "specimen": "specimen.stl", "remaining_bone": "remaining_bone.stl"}
    settings = {"plan": plan or PLAN, "missing_levels": "refuse", "side": side, "purpose": "demo"}
    return _job("plan_resection", inputs, folder, names, settings)


def prototype_job(
    bones: Path, plan: Path, folder: Path, iteration: dict[str, Any], parent: Path | None = None
) -> Job:
    inputs: dict[str, Any] = {
        "plan": plan / "plan.json",
        "specimen": plan / "specimen.stl",
        "remaining_bone": plan / "remaining_bone.stl",
        "sacrum": bones / "sacrum.stl",
        "hip": bones / "hip_left.stl",
        "l5": bones / "l5.stl",
    }
    if parent is not None:
        inputs |= {"parent": parent / "implant.stl", "parent_json": parent / "prototype.json"}
        inputs |= {"parent_shape": parent / "shape.npz"}
    names = {
        "implant": "implant.stl",
        "bone": "bone.stl",
        "model": "model.3mf",
        "sheet": "sheet.html",
        "shape": "shape.npz",
        "prototype": "prototype.json",
    }
    settings = {
        "prototype": iteration,
        "implant": IMPLANT,
        "side": "left",
        "purpose": "demo",
        "simulated": True,
        "case": "synthetic",
    }
    return _job("make_prototype", inputs, folder, names, settings)


def implant_job(
    bones: Path, plan: Path, approved: Path, folder: Path, implant: dict[str, Any] | None = None
) -> Job:
    """Job of the final implant; writes a gate record that approves the iteration if there is none."""
    gate = approved / "gate.json"
    if not gate.exists():
        write_json(gate, {"decision": "approved", "subject_sha256": sha256_file(approved / "implant.stl")})
    inputs: dict[str, Any] = {
        "approved": approved / "implant.stl",
        "prototype": approved / "prototype.json",
        "gate": gate,
        "plan": plan / "plan.json",
        "specimen": plan / "specimen.stl",
        "remaining_bone": plan / "remaining_bone.stl",
        "hip": bones / "hip_left.stl",
        "l5": bones / "l5.stl",
    }
    names = {"implant": "implant.stl", "regions": "regions.json", "implant_json": "implant.json"}
    settings = {"implant": implant or IMPLANT, "side": "left", "purpose": "demo"}
    return _job("design_implant", inputs, folder, names, settings)


@functools.cache
def _kept_folder() -> tempfile.TemporaryDirectory[str]:
    """One folder per test process: three test packages share the same bones, plan and iterations."""
    return tempfile.TemporaryDirectory(prefix="synthetic-pelvis-")


@functools.cache
def made(what: str) -> Path:
    """Folder of ``bones``, ``plan``, ``rp1`` or ``rp2``, made on the first request. Tests must not change it."""
    from implantflow.plan.stage import plan_resection
    from implantflow.prototype.stage import make_prototype

    folder = Path(_kept_folder().name) / what
    if what == "bones":
        write_bones(folder)
    elif what == "plan":
        plan_resection(plan_job(made("bones"), folder))
    elif what == "rp1":
        make_prototype(prototype_job(made("bones"), made("plan"), folder, RP1))
    elif what == "rp2":
        make_prototype(prototype_job(made("bones"), made("plan"), folder, RP2, made("rp1")))
    else:
        raise ValueError(what)
    return folder


def plane_named(plan_json: Path, name: str) -> dict[str, Any]:
    """Entry of one resection plane."""
    found: dict[str, Any] = next(p for p in read_json(plan_json)["resection_planes"] if p["name"] == name)
    return found
