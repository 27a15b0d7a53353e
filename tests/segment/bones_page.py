"""The page docs/validation/bones.md from the rows of validate_bones.py."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]

HEAD = """\
# Bones and mid-plane against truth

Made by `python tests/segment/validate_bones.py` (needs the real data; each case is kept and not done twice). The same
defaults everywhere; CPU-seconds are user + system on a busy machine, prior, labels and surfaces included; only the
atlas rows leave out the compiling of kernels. A case without a row was not run in the version this page was made from.
"""


def _mean(rows: list[Row], key: str) -> float:
    return sum(float(r[key]) for r in rows) / len(rows)


EARLIER = """
An asterisk: not run again since the segmentation last changed, figures of the version before; means are over both.
"""


def _told(name: str, row: Row) -> str:
    """The row's name, with an asterisk when an earlier version made it."""
    return f"{name} *" if row.get("earlier") else name


def page(rows: dict[str, Row]) -> str:
    """Markdown of all that was measured."""
    head = HEAD + EARLIER if any(row.get("earlier") for row in rows.values()) else HEAD
    parts = [head, _atlas(rows), _metal(rows), _vhf(rows), _wrong(rows), _phantom(rows)]
    return "\n".join(p for p in parts if p)


def _atlas(rows: dict[str, Row]) -> str:
    found = {name: row for name, row in rows.items() if name.startswith("atlas:")}
    if not found:
        return ""
    own = list(found.values())
    lines = [
        "## Atlas members left out\n",
        "SIMULATED CT (1 mm, 25 HU noise) of real surfaces; L5, L4 and femora are invented. Prior: the other "
        f"{own[0]['members']} members. Right: voxels of the true bone at or above 226 HU with the true label. "
        "Name: the same where both say sacrum, hip or L5. Foreign: contrast-filled bowel and a calcified artery "
        "labelled as one of these. Surface: mean / 95 % distance to the true surface, mm, joints included.\n",
        f"{len(own)} members: right {_mean(own, 'right_pct'):.2f} % (worst {min(r['right_pct'] for r in own):.2f}), "
        f"name {_mean(own, 'name_pct'):.2f} %, {_mean(own, 'cpu_s'):.0f} CPU-s (most "
        f"{max(r['cpu_s'] for r in own):.0f}).\n",
        "| member | right, % | with L5, L4, femora | name, % | Dice sacrum / left / right hip | foreign, % | "
        "surface sacrum | left hip | right hip | explained | CPU-s |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, r in found.items():
        d, s = r["dice"], r["surface_mm"]
        surfaces = " | ".join(f"{s[n][0]:.2f} / {s[n][1]:.2f}" for n in ("sacrum", "hip_left", "hip_right"))
        lines.append(
            f"| {_told(name[6:], r)} | {r['right_pct']:.2f} | {r['right_all_pct']:.2f} | {r['name_pct']:.2f} | "
            f"{d['sacrum']:.3f} / {d['hip_left']:.3f} / {d['hip_right']:.3f} | "
            f"{r['foreign_as_bone_pct']:.1f} | {surfaces} | "
            f"{r['explained_fraction']:.2f} | {r['cpu_s']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def _metal(rows: dict[str, Row]) -> str:
    r = rows.get("metal")
    if r is None:
        return ""
    d = r["dice"]
    return (
        f"## {_told('3 mm CT with a femoral nail', r)}\n\n"
        "Against masks made by a model (silver standard, not by hand).\n\n"
        "| Dice sacrum | left hip | right hip | L5 | name, % | CPU-s |\n|---|---|---|---|---|---|\n"
        f"| {d['sacrum']:.3f} | {d['hip_left']:.3f} | {d['hip_right']:.3f} | {d['l5']:.3f} | {r['name_pct']:.2f} | "
        f"{r['cpu_s']:.0f} |\n"
    )


def _vhf(rows: dict[str, Row]) -> str:
    found = {name[4:]: row for name, row in rows.items() if name.startswith("vhf:")}
    if not found:
        return ""
    lines = [
        "## The Visible Human CT, disturbed\n",
        "A copy at 1.5 mm; surfaces brought back, filled on one grid and compared (Dice) with the undisturbed ones "
        "where both scans see.\n",
        "| disturbance | sacrum | left hip | right hip | L5 | explained | CPU-s |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, r in found.items():
        d = r.get("dice")
        cells = (
            " | ".join(f"{d[n]:.3f}" for n in ("sacrum", "hip_left", "hip_right", "l5")) if d else " |  |  | "
        )
        lines.append(f"| {_told(name, r)} | {cells} | {r['explained_fraction']:.2f} | {r['cpu_s']:.0f} |")
    return "\n".join(lines) + "\n"


def _wrong(rows: dict[str, Row]) -> str:
    found = {name[6:]: row for name, row in rows.items() if name.startswith("wrong:")}
    if not found:
        return ""
    lines = [
        "## Scans that must be refused\n",
        "The Visible Human CT spoilt. Figures: what the fit reached with the cut-offs lowered to 0.3.\n",
        "| scan | answer | figures |",
        "|---|---|---|",
    ]
    for name, r in found.items():
        figures = r.get("figures") or (
            f"explained {r['explained_fraction']:.2f}, matched {r['matched_fraction']:.2f}, cost {r['cost_mm']:.1f} mm"
            if "explained_fraction" in r
            else ""
        )
        lines.append(f"| {_told(name, r)} | {r['refused'] or 'NOT REFUSED'} | {figures} |")
    return "\n".join(lines) + "\n"


def _phantom(rows: dict[str, Row]) -> str:
    r = rows.get("phantom")
    if r is None:
        return ""
    s, m = r["surface_mm"], r["midplane"]
    lines = [
        f"## {_told('The demo patient', r)}\n",
        "SIMULATED, tumour present; template posed by the landmarks of the case config (1-3 mm off). By the classes of "
        "`confidence.nii.gz`, within 1.5 mm: the image shows the surface; it shows no gap to the next bone, so the cut "
        "is a proposal; the prior filled in what no image tells (the tumour's hole).\n",
        "| surface of | Dice | share, % | mean, mm | 95 %, mm |",
        "|---|---|---|---|---|",
        *(_surface_row(n, r["dice"].get(n), *s[n]) for n in s),
        "",
        f"Mid-plane of the segmented sacrum: {m['deg']:.2f} degrees and {m['mm']:.2f} mm off the truth, residual "
        f"{m['residual_mm']:.2f} mm. {r['cpu_s']:.0f} CPU-s.",
    ]
    return "\n".join(lines) + "\n"


def _surface_row(name: str, dice: float | None, mean_mm: float, p95_mm: float, share_pct: float) -> str:
    told = "" if dice is None else f"{dice:.3f}"
    return f"| {name} | {told} | {share_pct:.1f} | {mean_mm:.3f} | {p95_mm:.3f} |"
