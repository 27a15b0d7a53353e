"""Door of the stage implant: the approved model becomes the final solid with its named regions."""

from __future__ import annotations

from typing import Any

import numpy as np

from implantflow import artifacts
from implantflow.config.implant import S1_HOLE, ImplantConfig
from implantflow.errors import GeometryError, QualityGateError
from implantflow.geometry import FloatArray
from implantflow.implant.approved import deviation_mm, require_same, require_signed
from implantflow.implant.strut import plan_strut
from implantflow.implant.thread import thread_figures
from implantflow.jobs import Job, progress
from implantflow.solids.booleans import difference, shells, to_manifold
from implantflow.solids.distance import Surface
from implantflow.solids.faces import MATES, Neighbours, contact_faces, fit_figures
from implantflow.solids.mesh import EDGE_MM, IntArray, Solid, read_solid, write_solid
from implantflow.solids.shapes import cylinder, tube
from implantflow.solids.stock import with_stock

#: Arcam A1 envelope (config/machines/arcam-a1.yaml); the build stage checks it again in the chosen orientation.
ENVELOPE_MM = (200.0, 200.0, 180.0)
_CHIP_MM3 = 5.0


def design_implant(job: Job) -> None:
    """Make the final implant from the approved iteration (rule ``design_implant``).

    Inputs ``approved`` (implant.stl of the approved iteration), ``prototype`` and ``gate`` (its JSONs), ``plan``,
    ``specimen``, ``remaining_bone``, ``hip``, ``l5``. Outputs ``implant`` (STL), ``regions``, ``implant_json``.
    Settings ``implant``, ``side``, ``purpose``.

    Raises
    ------
    ReviewError
        The gate is about another file.
    GeometryError
        The side is wrong, or a cut breaks the implant apart.
    QualityGateError
        Fit or envelope is outside the case's limits, the implant is not the approved one, or its thread cannot be cut.
    """
    config = ImplantConfig.model_validate(job.settings["implant"])
    prototype, gate, plan = (artifacts.read_json(job.input(n)) for n in ("prototype", "gate", "plan"))
    require_signed(job.input("approved"), prototype, gate, job.settings["purpose"])
    if not prototype["side"] == plan["side"] == job.settings["side"]:
        raise GeometryError(
            f"sides differ: config {job.settings['side']}, plan {plan['side']}, prototype {prototype['side']}",
            where="side",
        )
    approved = read_solid(job.input("approved"), "the approved model")
    bones = {n: read_solid(job.input(n), n) for n in ("specimen", "remaining_bone", "hip", "l5")}
    neighbours = Neighbours.around(bones["specimen"], bones["remaining_bone"], bones["hip"], bones["l5"])

    progress("holes and passages", done=0.2)
    listed = prototype["listed_regions"]
    implant = write_solid(
        job.outputs["implant"],
        _cut(approved, listed),
        f"implantflow implant {plan['side']} patient LPS mm",
        edge_mm=EDGE_MM,
    )
    deviation = deviation_mm(implant, approved, _listed_lines(listed))
    require_same(deviation)

    progress("contact faces and fit", done=0.5)
    faces = contact_faces(implant, plan, neighbours, config.joint_space_max_mm, config.disc_space_max_mm)
    fit = fit_figures(implant, faces, neighbours)
    _require_limits(fit, implant, config)

    progress("dense regions", done=0.8)
    strut = plan_strut(Surface(implant), faces, config.strut_radius_mm)
    holes = _screw_holes(prototype, config)
    regions = {
        "frame": "patient_lps",
        "implant_stl_sha256": artifacts.sha256_file(job.outputs["implant"]),
        "contact_faces": _face_regions(faces, fit, config),
        "strut": {"segments": strut["segments"]},
        "screw_holes": holes,
        "cable_passages": [
            {key: p[key] for key in ("name", "polyline_lps_mm", "diameter_mm", "wall_mm")}
            for p in listed["cable_passages"]
        ],
        "shell": {"thickness_mm": config.shell_mm},
        "machining": _machining(config),
    }
    stock = with_stock(implant, regions)[1] if config.machining else None
    thread = _thread(implant, holes, config)
    artifacts.write_json(job.outputs["regions"], regions)
    artifacts.write_json(
        job.outputs["implant_json"],
        {
            "approved_iteration": prototype["id"],
            "plan": plan["revision"],
            "side": plan["side"],
            "purpose": job.settings["purpose"],
            "volume_mm3": implant.volume_mm3,
            "watertight": True,
            "shells": len(shells(implant)),
            "triangles": len(implant.faces),
            **fit,
            "vs_specimen_dice": dice(implant, bones["specimen"]),
            "vs_approved_mm": deviation,
            "listed_regions": listed,
            "outer_shape": prototype["outer_shape"],
            "size_mm": implant.bounds_mm[1] - implant.bounds_mm[0],
            "envelope_mm": list(ENVELOPE_MM),
            "limits": config.limits.model_dump(mode="json"),
            "machining_stock": stock,
            "thread": thread,
            "strut_depth_min_mm": {s["to_face"]: s["depth_min_mm"] for s in strut["segments"]},
        },
    )


def _thread(implant: Solid, holes: list[dict[str, Any]], config: ImplantConfig) -> dict[str, Any] | None:
    """Figures of the S1 hole's thread; None where it stays plain."""
    asked = config.screw_hole.thread
    if asked is None:
        return None
    return thread_figures(implant, next(h for h in holes if h["name"] == S1_HOLE), asked)


def _machining(config: ImplantConfig) -> dict[str, Any] | None:
    """Stock by face and in the bores, mm; None where nothing is machined."""
    if config.machining is None:
        return None
    return {"faces": config.machining.faces, "bores_mm": config.machining.bores_mm}


def _cut(approved: Solid, listed: dict[str, Any]) -> Solid:
    """``approved`` with the listed holes and passages, chips dropped."""
    tools = [cylinder(h["start_lps_mm"], h["end_lps_mm"], h["diameter_mm"]) for h in listed["screw_holes"]]
    tools += [tube(p["polyline_lps_mm"], p["diameter_mm"]) for p in listed["cable_passages"]]
    largest, *rest = shells(difference(approved, *tools))
    lost = sum(piece.volume_mm3 for piece in rest)
    if lost > _CHIP_MM3:
        raise GeometryError(
            f"the holes cut {lost:.0f} mm3 off the implant",
            where="implant.screw_hole, implant.cable_passages",
            fix="move the hole or passage away from the surface",
        )
    return largest


def _listed_lines(listed: dict[str, Any]) -> list[tuple[FloatArray, float]]:
    lines = [
        (np.array([h["start_lps_mm"], h["end_lps_mm"]]), h["diameter_mm"] / 2.0)
        for h in listed["screw_holes"]
    ]
    return lines + [
        (np.array(p["polyline_lps_mm"]), p["diameter_mm"] / 2.0) for p in listed["cable_passages"]
    ]


def _require_limits(fit: dict[str, Any], implant: Solid, config: ImplantConfig) -> None:
    limits = config.limits
    problems = []
    if fit["interpenetration_mm3"] > limits.interpenetration_mm3:
        problems.append(
            f"interpenetration {fit['interpenetration_mm3']:.2f} mm3 > {limits.interpenetration_mm3:g}"
        )
    if fit["gap_p95_mm"] > limits.gap_p95_mm:
        problems.append(f"gap p95 {fit['gap_p95_mm']:.2f} mm > {limits.gap_p95_mm:g}")
    if fit["contact_area_mm2"] < limits.contact_area_min_mm2:
        problems.append(f"contact area {fit['contact_area_mm2']:.0f} mm2 < {limits.contact_area_min_mm2:g}")
    size = np.sort(implant.bounds_mm[1] - implant.bounds_mm[0])
    if (size > np.sort(ENVELOPE_MM)).any():
        problems.append(f"size {size.round(1).tolist()} mm does not fit the machine's {list(ENVELOPE_MM)} mm")
    if problems:
        raise QualityGateError(
            "the implant is outside its limits: " + "; ".join(problems),
            where="implant.limits",
            fix="correct the fit in a new prototype iteration (offset_face, clearance), or decide on other limits",
        )


def _face_regions(
    faces: dict[str, IntArray], fit: dict[str, Any], config: ImplantConfig
) -> list[dict[str, Any]]:
    thickness = config.face_thickness
    return [
        {
            "name": name,
            "triangles": triangles,
            "thickness_mm": getattr(thickness, f"{name}_mm"),
            "point_lps_mm": fit["faces"][name]["point_lps_mm"],
            "normal_lps": fit["faces"][name]["normal_lps"],
            "area_mm2": fit["faces"][name]["area_mm2"],
            "mates_with": MATES[name],
        }
        for name, triangles in faces.items()
    ]


def _screw_holes(prototype: dict[str, Any], config: ImplantConfig) -> list[dict[str, Any]]:
    """Holes of the approved model and those listed, each with its boss; every boss has the wall of the S1 hole."""
    wall = config.screw_hole.boss_diameter_mm - config.screw_hole.diameter_mm
    holes = [*prototype["holes"], *prototype["listed_regions"]["screw_holes"]]
    return [{**hole, "boss_diameter_mm": hole["diameter_mm"] + wall} for hole in holes]


def dice(a: Solid, b: Solid) -> float:
    """Overlap 2|A and B| / (|A| + |B|) of two solids, from an exact boolean."""
    common = float((to_manifold(a) ^ to_manifold(b)).volume())
    return 2.0 * common / (a.volume_mm3 + b.volume_mm3)
