"""Door of the inspection of the machined part: stock gone, milled faces and bores where the design has them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.artifacts import read_json, write_json
from implantflow.config.inspect import InspectSettings, MachinedScan
from implantflow.errors import InputError
from implantflow.field.field import Field
from implantflow.geometry import invert_rigid, transform_points, unit
from implantflow.inspect.align import coarse_pose
from implantflow.inspect.coverage import Coverage, coverage_of
from implantflow.inspect.deviation import Deviations, deviations, rigid_pose, statistics
from implantflow.inspect.machined import Placed, bore_figures, face_figures, judged
from implantflow.inspect.picture import PICTURE_DEPTH_MM, painted_scan, write_against_design
from implantflow.inspect.reference import FAR_MM, Reference
from implantflow.inspect.regions import HOLES, Hole, Regions, holes_of, regions_of
from implantflow.inspect.scan import Scan
from implantflow.inspect.shape import Fit, fit_shape
from implantflow.inspect.stage import SEEN_DEPTH_MM, belong_together, fit_points, read_scan
from implantflow.inspect.verdict import WITHIN
from implantflow.jobs import Job, progress


def inspect_machined(job: Job) -> None:
    """Lay the scan of the machined part on the finished design and measure what was milled and bored.

    The part is laid by the surfaces that are as built: what the workshop cut does not pull at its own zero. Inputs:
    ``scan`` (STL or the folder that holds it) or ``volume`` (ingested CT of the part), ``field``, ``field_data``,
    ``build``, ``regions``, ``implant``. Outputs: ``machined``, ``picture``. Settings: ``inspect``
    (limits and the one ``revision`` with its ``machined``), ``purpose``, ``simulated``.

    Raises
    ------
    InputError
        The scan cannot be read, has no part's size, or the design has no stock to machine away.
    GeometryError
        The scan's pose cannot be determined, or it is no scan of this part.
    ProvenanceError
        Field, regions and implant do not belong together, or the build is another revision's.
    """
    config = InspectSettings.model_validate(job.settings["inspect"])
    asked, simulated = config.revision.machined, bool(job.settings["simulated"])
    printed = Field.load(job.input("field"), job.input("field_data"))
    build, regions_json = read_json(job.input("build")), read_json(job.input("regions"))
    belong_together(job, build, config.revision.id)
    if asked is None or printed.stock is None:
        raise InputError(
            "a machined part is to be inspected, and the design has no machining stock",
            where=f"inspect.revisions.{config.revision.id}.machined",
            fix="leave it out, or give implant.machining",
        )
    reference = Reference.of(replace(printed, stock=None), build)
    regions = regions_of(reference.field, regions_json)
    progress("machined part: finding its pose", done=0.1)
    scan, how_read = read_scan(job, asked.kind)
    pose, how_posed = coarse_pose(scan, reference)
    fit = fit_shape(*fit_points(scan), pose, reference)
    found = deviations(scan.vertices_mm, fit, reference, regions)
    progress("machined part: faces and bores", done=0.7)
    machining = regions_json["machining"]
    milled = {name: float(stock) for name, stock in machining["faces"].items() if stock > 0}
    found, as_built = _laid_by_what_is_as_built(scan, fit, found, reference, set(milled))
    coverage = coverage_of(found.placed_mm[found.on_outer], reference)
    placed = Placed(found.placed_mm, scan.normals @ found.build_from_scan[:3, :3].T, scan.areas_mm2)
    faces = _faces(milled, placed, found, reference, regions, coverage, asked)
    bores = _bores(machining["bores_mm"], placed, reference, regions, regions_json)
    verdict, reasons, to_gauge = judged(config, asked, faces, bores)
    result = {
        "id": config.revision.id,
        "kind": asked.kind,
        "simulated": simulated,
        "compared_with": "the finished implant, machining stock gone",
        "purpose": str(job.settings["purpose"]),
        "build_file_sha256": build["cli_sha256"],
        "verdict": verdict,
        "decision": "accepted" if verdict == WITHIN else "rejected",
        "reasons": reasons,
        "faces": faces,
        "bores": bores,
        "bores_to_gauge": to_gauge,
        "limits": asked.model_dump(mode="json", include={"face_tolerance_mm", "bore_tolerance_mm"}),
        "as_built": statistics(found.deviation_mm[as_built], scan.areas_mm2[as_built], config.tolerance_mm),
        "alignment": {**how_posed, "by": "outer surface that is as built, without milled faces and holes"},
        "scan": how_read,
    }
    write_json(job.outputs["machined"], result)
    # Strut ends that a CT blurs away are below the surface and yet were scanned: the picture must not deny it.
    seen = coverage_of(found.placed_mm[found.depth_mm > -SEEN_DEPTH_MM], reference)
    _draw(job, asked, scan, found, seen, reference, result)


def _laid_by_what_is_as_built(
    scan: Scan, fit: Fit, found: Deviations, reference: Reference, milled: set[str]
) -> tuple[Deviations, NDArray[np.bool_]]:
    """The deviations with the scan laid by the unmachined outer surface, and which points (N,) are of it."""
    outer = found.on_outer
    cut = [number for number, name in enumerate(found.names) if name in milled or name == HOLES]
    as_built = outer & ~np.isin(found.region, cut)
    points = scan.vertices_mm[as_built]
    pose = rigid_pose(points, fit, reference, reference.dense(fit.shape.drawn(points)) > 0)
    placed = transform_points(pose, scan.vertices_mm)
    deviation = found.deviation_mm.copy()
    deviation[outer] = reference.design_surface.signed_distance_mm(placed[outer], FAR_MM)
    return replace(found, build_from_scan=pose, placed_mm=placed, deviation_mm=deviation), as_built


def _faces(
    milled: dict[str, float],
    placed: Placed,
    found: Deviations,
    reference: Reference,
    regions: Regions,
    coverage: Coverage,
    asked: MachinedScan,
) -> dict[str, Any]:
    """Figures of every milled face, with its stock and how much of it was seen."""
    solid, figures = reference.design_surface.solid, {}
    for name, stock in milled.items():
        own = regions.triangles(name)
        normal = unit((solid.normals[own] * solid.areas_mm2[own, None]).sum(axis=0))
        mine = found.region == found.names.index(name)
        figures[name] = {
            "stock_mm": stock,
            "coverage_pct": coverage.share_pct(own),
            **face_figures(placed, mine, found.deviation_mm, normal, asked.face_tolerance_mm),
        }
    return figures


def _bores(
    stock_mm: float, placed: Placed, reference: Reference, regions: Regions, regions_json: dict[str, Any]
) -> dict[str, Any]:
    """Figures of every bored screw hole."""
    if stock_mm <= 0:
        return {}
    walls = reference.design_surface.solid.centres_mm[regions.triangles(HOLES)]
    holes: list[Hole] = holes_of(reference.field, regions_json)[: len(regions_json["screw_holes"])]
    return {
        hole.name: {"stock_mm": float(stock_mm), **bore_figures(placed, hole, walls[hole.wall(walls)])}
        for hole in holes
    }


def _draw(
    job: Job,
    asked: MachinedScan,
    scan: Scan,
    found: Deviations,
    coverage: Coverage,
    reference: Reference,
    result: dict[str, Any],
) -> None:
    to_patient = invert_rigid(reference.field.build_from_patient)
    placed, near = transform_points(to_patient, found.placed_mm), found.depth_mm > -PICTURE_DEPTH_MM
    shown, _ = painted_scan(placed, scan.faces, found.deviation_mm, near, asked.face_tolerance_mm)
    solid = reference.design_surface.solid
    designed = transform_points(to_patient, solid.vertices), solid.faces
    write_against_design(
        job.outputs["picture"],
        shown,
        designed,
        coverage.seen,
        asked.face_tolerance_mm,
        result,
        ", machined,",
        _notes(result),
    )


def _notes(result: dict[str, Any]) -> list[str]:
    notes = [f"{result['decision'].upper()} ({result['verdict'].replace('_', ' ')})"]
    for name, face in result["faces"].items():
        if face["shift_mm"] is not None:
            notes += [
                f"{name.replace('_', ' ')}: {face['within_tolerance_pct']:.1f} % within tolerance,",
                f"   plane {face['shift_mm']:+.3f} mm off, tilt {face['tilt_deg']:.2f}°",
            ]
    for name, bore in result["bores"].items():
        notes += (
            [f"bore {name}: {bore['seen_pct']:.0f} % of its wall seen,", "   too little: gauge it"]
            if bore["diameter_mm"] is None
            else [f"bore {name}: Ø {bore['diameter_mm']:.3f} mm, design {bore['design_diameter_mm']:g} mm"]
        )
    return notes
