"""Iliosacral S1 and S2 corridors of the pelvis atlas against an expert's; writes docs/validation/corridors.md.

Run: python tests/plan/validate_corridors.py. Results of a subject are kept below results/ and not computed twice.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import atlas

from implantflow.codedigest import code_digest
from implantflow.geometry import FloatArray
from implantflow.plan.axis import find_axis, find_foramina
from implantflow.plan.corridors import Corridor, plan_crossing
from implantflow.plan.midplane import find_midplane
from implantflow.plan.searches import crossing_search
from implantflow.solids.booleans import refined, to_manifold
from implantflow.solids.mesh import Solid

ROOT = Path(__file__).parents[2]
FREE_MM = 10.0


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _outermost(bones: list[Solid], point: FloatArray, direction: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Where the expert's axis leaves the bones on the right and on the left."""
    ends = (point - 150.0 * direction, point + 150.0 * direction)
    hits = [
        300.0 * hit.distance - 150.0
        for bone in bones
        for hit in to_manifold(bone).ray_cast(ends[0].tolist(), ends[1].tolist())
    ]
    return point + min(hits) * direction, point + max(hits) * direction


def measure(subject: int) -> list[dict[str, Any]]:
    """One row a level."""
    found = atlas.bones(subject)
    bones = [found["sacrum"], found["hip_left"], found["hip_right"]]
    even = refined(found["sacrum"], 2.0)
    axis = find_axis(even, find_midplane(even).plane)
    foramina = {
        side: find_foramina(even, axis, sign, complete=False) for side, sign in (("l", 1.0), ("r", -1.0))
    }
    rows = []
    for level in ("S1", "S2"):
        theirs = atlas.expert(subject, level)
        begun = _cpu_s()
        row: dict[str, Any] = {"subject": subject, "level": level, "expert": theirs is not None}
        try:
            ours = plan_crossing(
                crossing_search(bones[0], bones[1:], axis, foramina["l"], foramina["r"], level, FREE_MM)
            )
        except Exception as error:
            row["error"] = str(error).splitlines()[0]
            rows.append(row)
            continue
        row["s_mm"] = [foramina["l"].s_mm, foramina["l"].seen]
        row["cpu_s"] = _cpu_s() - begun
        row["clearance_mm"] = ours.min_clearance_mm
        row["length_mm"] = ours.length_mm
        row["inside_pct"] = ours.inside_pct
        if theirs is not None:
            row["why"] = theirs.why
            if theirs.usable:
                start, end = _outermost(bones, theirs.point, theirs.direction)
                drawn = Corridor.measured(bones, start, end, FREE_MM, FREE_MM)
                row["expert_inside_pct"] = drawn.inside_pct
                row["expert_clearance_mm"] = drawn.min_clearance_mm
                middle = (theirs.point - ours.start_lps_mm) @ axis.caudal_lps[0]
                row["expert_below_ours_mm"] = float(middle)
        rows.append(row)
    return rows


def main() -> None:
    """Measure what is not there yet, then write the table."""
    digest = code_digest("implantflow.plan.screws")[:12]
    kept = ROOT / "results" / "validation" / f"corridors-{digest}"
    kept.mkdir(parents=True, exist_ok=True)
    wanted = [int(a) for a in sys.argv[1:]] or atlas.subjects()
    rows: list[dict[str, Any]] = []
    for subject in wanted:
        path = kept / f"{subject}.json"
        if not path.exists():
            path.write_text(json.dumps(measure(subject)), encoding="utf-8")
        rows += json.loads(path.read_text(encoding="utf-8"))
        for row in rows[-2:]:
            print({k: round(v, 2) if isinstance(v, float) else v for k, v in row.items()}, flush=True)
    if len(wanted) == len(atlas.subjects()):
        (ROOT / "docs" / "validation" / "corridors.md").write_text(_page(rows), encoding="utf-8")


def _page(rows: list[dict[str, Any]]) -> str:
    """The table as Markdown."""
    asked = [row for row in rows if row["expert"]]
    found = [row for row in asked if "clearance_mm" in row]
    inside = [row for row in found if row["inside_pct"] >= 99.999]
    wide = [row for row in inside if row["clearance_mm"] >= 4.0]
    compared = [row for row in found if "expert_clearance_mm" in row]
    kept = [row for row in compared if row["clearance_mm"] >= row["expert_clearance_mm"] - 0.5]
    broken = [row for row in asked if row.get("why")]
    slowest = max(row["cpu_s"] for row in found)
    lines = [
        "# Iliosacral corridors of the pelvis atlas",
        "",
        "Made by `python tests/plan/validate_corridors.py` (needs the atlas; results of a subject are kept). Corridors "
        "from the outside of one ilium through the sacrum to the outside of the other, above the S1 foramina (S1) and "
        "between those of S1 and S2 (S2). Surfaces of the atlas, holes closed; the expert's axis is fitted through "
        "the middles of the slices of his volume and measured by the same function as ours: least distance from axis "
        f"to cortex, {FREE_MM:g} mm below the entry and before the exit left out, joints up to 7 mm wide bridged; 0 "
        "where the axis leaves bone.",
        "",
        f"- Corridors an expert left: {len(asked)}; found here: {len(found)}; axis wholly inside bone (or the joint "
        f"space between two bones): {len(inside)}.",
        f"- With the 4 mm that a screw of 7 mm and a wall of 0.5 mm need: {len(wide)}. The others do "
        "not fit that screw.",
        f"- {len(broken)} of the expert's files hold no corridor (they span up to metres: the atlas' own registration "
        "failed there), so only our own figures stand for them.",
        f"- Clearance at least the expert's less 0.5 mm: {len(kept)} of {len(compared)} that can be compared "
        f"({100.0 * len(kept) / max(1, len(compared)):.0f} %).",
        f"- CPU time a corridor: at most {slowest:.1f} s.",
        "",
        "| subject | level | clearance, mm | inside, % | length, mm | expert's, mm | expert inside, % | note |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in asked:

        def cell(key: str, digits: int, row: dict[str, Any] = row) -> str:
            return f"{row[key]:.{digits}f}" if key in row else ""

        note = row.get("error") or row.get("why", "")
        lines.append(
            f"| {row['subject']} | {row['level']} | {cell('clearance_mm', 2)} | {cell('inside_pct', 1)} | "
            f"{cell('length_mm', 0)} | {cell('expert_clearance_mm', 2)} | {cell('expert_inside_pct', 1)} | {note} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
