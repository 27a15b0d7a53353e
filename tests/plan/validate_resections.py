"""Hemisacrectomies on real pelves of the atlas with INVENTED tumours; writes docs/validation/resections.md.

Run with ``python tests/plan/validate_resections.py [results/CASE/segment ...]``. The atlas' sacra end within S3: so
does the resection, and a plan that needs more is refused. Each folder given holds the bones of a finished case: the
body of its L5, half of it and its whole sacrum are resected too, for invented tumours.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

sys.path.insert(0, str(Path(__file__).parent))

import atlas

from implantflow.config.plan import PlanRevision
from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, Plane
from implantflow.plan import sacrum, vertebra
from implantflow.plan.axis import find_axis, find_foramina
from implantflow.plan.margin import require_margin
from implantflow.plan.midplane import find_midplane
from implantflow.plan.resection import Case
from implantflow.solids.booleans import overlap_mm3, refined
from implantflow.solids.mesh import Solid, read_solid
from implantflow.solids.shapes import frame_of, sphere

PAGE = Path(__file__).parents[2] / "docs" / "validation" / "resections.md"
SUBJECTS = (2, 8, 14, 17, 24)
#: The invented tumour: half axes to the left, to the front and along the sacrum, and where its middle lies, mm.
HALF_MM, LATERAL_MM, BEHIND_MM = np.array([11.0, 12.0, 14.0]), 32.0, 12.0
REVISION = {
    "id": "p1",
    "margin_mm": 10.0,
    "kerf_mm": 1.0,
    "osteotomy_tolerance_mm": 1.5,
    "osteotomy_tolerance_deg": 3.0,
    "caudal_level": "S2",
    "corridors": [],
}


def tumour_in(bone: Solid) -> Solid:
    """An ellipsoid in the left ala at the level of the S1 foramen."""
    even = refined(bone, 3.0)
    axis = find_axis(even, find_midplane(even).plane)
    foramina = find_foramina(even, axis, 1.0, complete=False)
    point, caudal, front = axis.at(foramina.s_mm[0])
    centre = point + LATERAL_MM * axis.left_lps - BEHIND_MM * front
    ball = sphere([0.0, 0.0, 0.0], 1.0, 48)
    frame = np.column_stack([axis.left_lps, front, caudal])
    placed = Solid.of(ball.vertices * HALF_MM @ frame.T + centre, ball.faces)
    return placed if placed.volume_mm3 > 0 else Solid.of(placed.vertices, placed.faces[:, ::-1])


def brute_force_mm(tumour: Solid, plane: Plane) -> float:
    """Least distance of points strewn over the tumour to points strewn over the plane, 0.25 mm apart."""
    places = refined(tumour, 0.5).vertices
    axes = frame_of(plane.normal)
    flat = (places - np.asarray(plane.point)) @ axes[:, :2]
    steps = [
        np.arange(low - 1.0, high + 1.0, 0.25) for low, high in zip(flat.min(0), flat.max(0), strict=True)
    ]
    grid: FloatArray = np.stack(np.meshgrid(*steps), -1).reshape(-1, 2)
    return float(cKDTree(np.asarray(plane.point) + grid @ axes[:, :2].T).query(places)[0].min())


def measure(subject: int) -> dict[str, Any]:
    """One row."""
    bones = atlas.bones(subject)
    tumour = tumour_in(bones["sacrum"])
    hips = {side: bones[f"hip_{side}"] for side in ("left", "right")}
    revision = PlanRevision.model_validate(REVISION)
    case = Case(revision, "left", bones["sacrum"], None, hips, tumour, sacrum_cut_off=True)
    begun = _cpu_s()
    planned, _ = sacrum.plan(case)
    margins = require_margin(planned.cuts, tumour.vertices, revision)
    spent = _cpu_s() - begun
    assert planned.remaining is not None
    return {
        "subject": subject,
        "cuts": {cut.name: (margins[cut.name], brute_force_mm(tumour, cut.plane)) for cut in planned.cuts},
        "volume_error_pct": planned.volumes["volume_error_pct"],
        "overlap_mm3": overlap_mm3(planned.specimen, planned.remaining),
        "specimen_cm3": planned.specimen.volume_mm3 / 1000.0,
        "soft_mm": min(planned.room.values()),
        "cpu_s": spent,
        "refused": _refuses(case, {"caudal_level": "S4"}),
    }


#: Other resections, on the bones of finished cases: what changes in the plan.
OTHERS: dict[str, dict[str, Any]] = {
    "half of the body of L5": {
        "procedure": "spondylectomy",
        "vertebral_body": "half",
        "margin_mm": 4.0,
        "caudal_level": None,
    },
    "body of L5": {"procedure": "spondylectomy", "margin_mm": 4.0, "caudal_level": None},
    "total sacrectomy to S4": {"procedure": "total_sacrectomy", "caudal_level": "S4"},
}


def measure_other(folder: Path, name: str) -> dict[str, Any]:
    """One of the other resections on the bones of a finished case."""
    bones = {
        bone: read_solid(folder / f"{bone}.stl", bone) for bone in ("sacrum", "hip_left", "hip_right", "l5")
    }
    l5, revision = bones["l5"], PlanRevision.model_validate(REVISION | OTHERS[name])
    spine = revision.procedure == "spondylectomy"
    front = l5.vertices[l5.vertices[:, 1] < np.median(l5.vertices[:, 1])].mean(axis=0)
    tumour = sphere(front + np.array([14.0, 0.0, 0.0]), 6.0, 48) if spine else tumour_in(bones["sacrum"])
    hips = {side: bones[f"hip_{side}"] for side in ("left", "right")}
    begun = _cpu_s()
    planned, _ = (vertebra if spine else sacrum).plan(
        Case(revision, "left", bones["sacrum"], l5, hips, tumour)
    )
    margins = require_margin(planned.cuts, tumour.vertices, revision)
    spent = _cpu_s() - begun
    assert planned.remaining is not None
    return {
        "case": folder.parent.name,
        "name": name,
        "cuts": {cut.name: (margins[cut.name], brute_force_mm(tumour, cut.plane)) for cut in planned.cuts},
        "volume_error_pct": planned.volumes["volume_error_pct"],
        "overlap_mm3": overlap_mm3(planned.specimen, planned.remaining),
        "specimen_cm3": planned.specimen.volume_mm3 / 1000.0,
        "cpu_s": spent,
    }


def _refuses(case: Case, changes: dict[str, Any]) -> str:
    revision = PlanRevision.model_validate(REVISION | changes)
    try:
        sacrum.plan(Case(revision, case.side, case.sacrum, None, case.hips, case.tumour, sacrum_cut_off=True))
    except GeometryError as error:
        return error.what
    raise AssertionError("a plan below the scan was not refused")


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def page(rows: list[dict[str, Any]], others: list[dict[str, Any]]) -> str:
    """The page's text; raises when a row breaks what is promised."""
    worst = max(abs(kept - brute) for row in [*rows, *others] for kept, brute in row["cuts"].values())
    assert worst <= 0.1, worst
    assert all(abs(row["volume_error_pct"]) <= 0.1 and row["overlap_mm3"] == 0.0 for row in [*rows, *others])
    lines = [
        "# Hemisacrectomies on pelves of the atlas",
        "",
        "Made by `python tests/plan/validate_resections.py` (needs the atlas). Real bones of five people, holes "
        "closed; the tumours are INVENTED: an ellipsoid of 22 x 24 x 28 mm in the left ala at the level of the S1 "
        "foramen. The atlas' sacra end within S3, so the left half is cut off caudally below S2; margin 10 mm, kerf "
        "1 mm. No disc (the atlas has no L5), no screws.",
        "",
        f"- Margin of the plan against points strewn over tumour and plane: at most {worst:.3f} mm apart (0.1 asked).",
        f"- Specimen, remaining bone and kerf against the bone: at most "
        f"{max(abs(r['volume_error_pct']) for r in rows):.4f} % (0.1 asked); specimen and remaining bone share "
        f"{max(r['overlap_mm3'] for r in rows):.0f} mm3.",
        f"- CPU time of a plan: at most {max(r['cpu_s'] for r in rows):.1f} s (10 asked).",
        f'- The same with `caudal_level: S4` is refused on all five: "{rows[0]["refused"]}".',
        "",
        "| subject | midline, mm | brute force | caudal, mm | brute force | specimen, cm3 | volumes off, % "
        "| shared, mm3 | tumour to bone that stays across joints, mm | CPU-s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        (a, b), (c, d) = row["cuts"]["midline"], row["cuts"]["caudal"]
        lines.append(
            f"| {row['subject']} | {a:.3f} | {b:.3f} | {c:.3f} | {d:.3f} | {row['specimen_cm3']:.1f} | "
            f"{row['volume_error_pct']:.4f} | {row['overlap_mm3']:.1f} | {row['soft_mm']:.1f} | {row['cpu_s']:.1f} |"
        )
    lines += [
        "",
        "## Other resections",
        "",
        "Bones of the cases named, as segmented. L5: cut through the pedicles, the half also in its mid-plane, for an "
        "INVENTED ball of 12 mm in the left half of its body; margin 4 mm. Total sacrectomy: both sides, joints taken "
        "apart, the tip left below S4, for the same ellipsoid as above; margin 10 mm. Kerf 1 mm.",
        "",
        "| case | resection | cuts: margin, mm (brute force) | specimen, cm3 | volumes off, % | shared, mm3 | CPU-s |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in others:
        cuts = ", ".join(f"{name} {kept:.3f} ({brute:.3f})" for name, (kept, brute) in row["cuts"].items())
        lines.append(
            f"| {row['case']} | {row['name']} | {cuts} | {row['specimen_cm3']:.1f} | "
            f"{row['volume_error_pct']:.4f} | {row['overlap_mm3']:.1f} | {row['cpu_s']:.1f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    # Compiled functions are loaded before the clock runs.
    measure(SUBJECTS[0])
    found = [measure(subject) for subject in SUBJECTS]
    more = [measure_other(Path(folder), name) for folder in sys.argv[1:] for name in OTHERS]
    PAGE.write_text(page(found, more), encoding="utf-8")
