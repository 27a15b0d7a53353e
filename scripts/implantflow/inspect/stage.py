"""The inspection stage: the scan of a printed revision against the design."""

from __future__ import annotations

from typing import Any

from implantflow.artifacts import SLICER_LPS, read_json, sha256_file, write_json
from implantflow.config.inspect import InspectSettings
from implantflow.config.site import NOT_CLINICAL
from implantflow.errors import InputError, ProvenanceError
from implantflow.field.field import Field
from implantflow.geometry import FloatArray, invert_rigid, transform_points
from implantflow.inspect import verdict
from implantflow.inspect.align import coarse_pose
from implantflow.inspect.coverage import Coverage, coverage_of, unseen_patches
from implantflow.inspect.deviation import INSIDE, STRUTS, Deviations, deviations, statistics
from implantflow.inspect.picture import PICTURE_DEPTH_MM, painted_scan, write_against_design
from implantflow.inspect.ply import write_ply
from implantflow.inspect.reference import Reference
from implantflow.inspect.regions import HOLES, Regions, regions_of
from implantflow.inspect.scan import Scan, read_surface, thinned
from implantflow.inspect.shape import Fit, fit_shape
from implantflow.inspect.volume_surface import read_print_ct
from implantflow.jobs import Job, progress

#: Distance of the points that the shape is fitted to (mm).
_FIT_POINTS_MM = 0.6
#: More points do not make the fit better; a CT shows every strut of the inside.
_FIT_POINTS_MAX = 25_000
#: Deeper in the pores the map shows nothing (mm); everything is judged.
_MAP_DEPTH_MM = 1.0
#: As far from the outer surface a scanned point still tells that a place was seen (mm).
SEEN_DEPTH_MM = 3.0


def inspect_print(job: Job) -> None:
    """Lay the scan of a print on the design, measure it, judge it, propose the next scale.

    Inputs: ``scan`` (STL or the folder that holds it) or ``volume`` (ingested CT of the print), ``field``,
    ``field_data``, ``build``, ``regions``, ``implant``. Outputs: ``deviation``, ``map``, ``picture``. Settings:
    ``inspect`` (limits and the one ``revision``), ``purpose``, ``simulated`` (is the print simulated?).

    Raises
    ------
    InputError
        The scan cannot be read, or has no part's size.
    GeometryError
        The scan's pose cannot be determined, or it is no scan of this part.
    ProvenanceError
        Field, regions and implant do not belong together, or the build is another revision's.
    """
    config = InspectSettings.model_validate(job.settings["inspect"])
    simulated = bool(job.settings["simulated"])
    field = Field.load(job.input("field"), job.input("field_data"))
    build, regions_json = read_json(job.input("build")), read_json(job.input("regions"))
    belong_together(job, build, config.revision.id)
    reference = Reference.of(field, build)
    progress("inspect: reading the scan")
    scan, how_read = read_scan(job, config.revision.kind)
    progress("inspect: finding its pose", done=0.2)
    pose, how_posed = coarse_pose(scan, reference)
    progress("inspect: size and shape", done=0.4)
    fit = fit_shape(*fit_points(scan), pose, reference)
    regions = regions_of(field, regions_json)
    progress("inspect: deviations", done=0.6)
    found = deviations(scan.vertices_mm, fit, reference, regions)
    coverage = coverage_of(found.placed_mm[found.depth_mm > -SEEN_DEPTH_MM], reference)
    progress("inspect: verdict and pictures", done=0.8)
    result = _figures(config, scan, fit, found, coverage, reference, regions)
    head = {
        "id": config.revision.id,
        "kind": config.revision.kind,
        "simulated": simulated,
        "compared_with": "the implant as built, machining stock on it"
        if field.stock
        else "the implant as built",
        "purpose": str(job.settings["purpose"]),
        "build_file_sha256": build["cli_sha256"],
    }
    tail = {"scan": how_read}
    write_json(
        job.outputs["deviation"],
        {**head, **result, "alignment": {**_pose(found, field), **how_posed}, **tail},
    )
    _draw(job, config, scan, found, coverage, reference, {**head, **result})


def fit_points(scan: Scan) -> tuple[FloatArray, FloatArray]:
    """Points (N, 3) and normals that the shape is fitted to."""
    pick = thinned(scan.vertices_mm, _FIT_POINTS_MM)
    pick = pick[:: -(-len(pick) // _FIT_POINTS_MAX)]
    return scan.vertices_mm[pick], scan.normals[pick]


def belong_together(job: Job, build: dict[str, Any], revision: str) -> None:
    """Refuse files of different designs, or a build of another revision."""
    implant = sha256_file(job.input("implant"))
    for name in ("field", "regions"):
        if read_json(job.input(name)).get("implant_stl_sha256") != implant:
            raise ProvenanceError(
                f"{name}.json was made from another implant.stl",
                where=str(job.input(name)),
                fix="run its stage again",
            )
    if build["id"] != revision:
        raise ProvenanceError(
            f"build.json is of revision {build['id']}, the scan of {revision}", where=str(job.input("build"))
        )


def read_scan(job: Job, kind: str) -> tuple[Scan, dict[str, Any]]:
    """The scan in its own frame, from the input ``volume`` (kind ct) or ``scan``, and how it was read.

    Raises
    ------
    InputError
        It cannot be read, has no part's size, or there is none of this kind.
    """
    wanted = "volume" if kind == "ct" else "scan"
    if wanted not in job.inputs:
        raise InputError(f"a scan of kind {kind} is expected and none was given", where="inspect.revisions")
    path = job.input(wanted)
    scan, how_read = read_print_ct(path) if kind == "ct" else (read_surface(path), {})
    return scan, {**how_read, "points": len(scan.vertices_mm), "triangles": len(scan.faces)}


def _pose(found: Deviations, field: Field) -> dict[str, Any]:
    """Poses to their last digit (JSON figures are rounded to 1e-6)."""
    to_patient = invert_rigid(field.build_from_patient) @ found.build_from_scan
    return {
        name: [[repr(round(float(x), 9)) for x in row] for row in matrix]
        for name, matrix in (
            ("build_from_scan", found.build_from_scan),
            ("patient_lps_from_scan", to_patient),
        )
    }


def _figures(
    config: InspectSettings,
    scan: Scan,
    fit: Fit,
    found: Deviations,
    coverage: Coverage,
    reference: Reference,
    regions: Regions,
) -> dict[str, Any]:
    area = scan.areas_mm2
    per_region = {}
    for number, name in enumerate(found.names):
        mine = found.region == number
        per_region[name] = statistics(found.deviation_mm[mine], area[mine], config.tolerance_mm)
        if name in regions.names:
            per_region[name]["coverage_pct"] = coverage.share_pct(regions.triangles(name))
    outside = ~regions.triangles(HOLES)
    seen = {"outer surface": coverage.share_pct(outside)}
    seen |= {name: per_region[name]["coverage_pct"] for name in regions.names[: regions.faces]}
    # The walls of holes are measured with cylinders and gauges; the little that a scanner sees of them proves nothing.
    counted = found.on_outer & (found.region != found.names.index(HOLES))
    outer = statistics(found.deviation_mm[counted], area[counted], config.tolerance_mm)
    sizes = verdict.size_figures(fit, reference.factors)
    judgement, reasons = verdict.judged(config, outer, sizes, seen)
    return {
        "verdict": judgement,
        "decision": "accepted" if judgement == verdict.WITHIN else "rejected",
        "reasons": reasons,
        **{key: outer[key] for key in ("rms_mm", "p95_mm", "within_tolerance_pct", "mean_mm")},
        **sizes,
        "compensation": verdict.compensation(fit, judgement),
        "bow": fit.bow(),
        "judged_on": "outer surface without the walls of holes and passages, against the design, after a rigid "
        "alignment; too much metal is positive",
        "limits": {key: value for key, value in config.model_dump(mode="json").items() if key != "revision"},
        "coverage_pct": seen["outer surface"],
        "coverage_resolves_mm": 2.0 * coverage.reach_mm,
        "unseen_patches": unseen_patches(coverage, reference, regions),
        "regions": per_region,
        "regions_note": f"{STRUTS} and {INSIDE} are measured where the build file draws them, carried over by the "
        f"fitted shape; {HOLES} are seen in part only and need a gauge",
        "shape_fit": {
            "points": fit.rows,
            "rms_mm": fit.rms_mm,
            "on": "outer surface, dense metal and struts" if fit.struts_used else "outer surface only",
            "struts_found_share": fit.struts_found,
            "thicker_than_drawn_mm": dict(
                zip(
                    ("dense_outer", "strut_flanks", "strut_ends", "dense_inside"),
                    fit.shape.thicker_mm,
                    strict=True,
                )
            ),
        },
    }


def _draw(
    job: Job,
    config: InspectSettings,
    scan: Scan,
    found: Deviations,
    coverage: Coverage,
    reference: Reference,
    result: dict[str, Any],
) -> None:
    to_patient = invert_rigid(reference.field.build_from_patient)
    placed, tolerance_mm = transform_points(to_patient, found.placed_mm), config.tolerance_mm
    simulated = "SIMULATED print: " if result["simulated"] else ""
    comments = [
        f"{simulated}revision {result['id']}, deviation from the design in mm, patient LPS",
        f"decision: {result['decision']}",
        SLICER_LPS,
        *([] if result["purpose"] == "clinical" else [NOT_CLINICAL]),
    ]
    near = found.depth_mm > -_MAP_DEPTH_MM
    write_ply(
        job.outputs["map"],
        *painted_scan(placed, scan.faces, found.deviation_mm, near, tolerance_mm),
        comments,
    )
    near = found.depth_mm > -PICTURE_DEPTH_MM
    shown, _ = painted_scan(placed, scan.faces, found.deviation_mm, near, tolerance_mm)
    solid = reference.design_surface.solid
    designed = transform_points(to_patient, solid.vertices), solid.faces
    picture = job.outputs["picture"]
    write_against_design(picture, shown, designed, coverage.seen, tolerance_mm, result, "", _notes(result))


def _notes(result: dict[str, Any]) -> list[str]:
    def shown(value: float | None, form: str) -> str:
        return "not determinable" if value is None else format(value, form)

    errors, doubts = result["scale_error_xyz_pct"], result["scale_error_se_xyz_pct"]
    notes = [
        f"{result['decision'].upper()} ({result['verdict'].replace('_', ' ')})",
        f"within tolerance: {shown(result['within_tolerance_pct'], '.1f')} % of what was scanned",
        f"rms {shown(result['rms_mm'], '.3f')} mm",
        f"95 % of the surface within {shown(result['p95_mm'], '.3f')} mm",
        f"outer surface scanned: {shown(result['coverage_pct'], '.1f')} %",
        "size against the design:",
        *(
            f"   build {axis}: {e:+.3f} % ± {d:.3f} %"
            for axis, e, d in zip("xyz", errors, doubts, strict=True)
        ),
        f"bow: {result['bow']['mm']:+.2f} mm towards {result['bow']['towards']} along {result['bow']['along']}",
    ]
    for patch in result["unseen_patches"][:2]:
        notes.append(f"not scanned: {patch['area_mm2']:.0f} mm² on {patch['region'].replace('_', ' ')}")
    return notes
