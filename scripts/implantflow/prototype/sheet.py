"""The review sheet: one offline page a surgeon can read, print and answer."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from implantflow.artifacts import temporary
from implantflow.config.implant import ImplantLimits
from implantflow.config.site import NOT_CLINICAL
from implantflow.geometry import Plane
from implantflow.prototype.compare import signed_change_mm
from implantflow.prototype.pictures import BONE, METAL, VIEWS, Item, change_colours, render
from implantflow.prototype.scene import scene
from implantflow.solids.booleans import trim
from implantflow.solids.mesh import Solid

_CHANGE_LIMIT_MM = 1.5


@dataclass(frozen=True)
class SheetContent:
    """Everything the sheet shows."""

    case: str
    simulated: bool
    record: dict[str, Any]
    plan: dict[str, Any]
    limits: ImplantLimits
    implant: Solid
    bone: Solid
    parent: Solid | None
    parent_record: dict[str, Any] | None


def write_sheet(path: Path, content: SheetContent) -> None:
    """Write the page; pictures are inside it, nothing is fetched from elsewhere."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    html = environment.get_template("sheet.html.j2").render(
        case=content.case,
        record=content.record,
        plan=content.plan,
        figures=_figures(content),
        before=content.parent_record,
        scene=scene(content.implant, content.bone, content.parent, _CHANGE_LIMIT_MM),
        script=(Path(__file__).parent / "scene.js").read_text(encoding="utf-8"),
        limit_mm=_CHANGE_LIMIT_MM,
        pictures=[{"caption": c, "data": base64.b64encode(png).decode()} for c, png in _pictures(content)],
        banner=_banner(content),
        command=f"python -m implantflow review {content.case} {content.record['id']} --decision",
        signing='--reason "..." --key KEYFILE',
    )
    with temporary(path) as tmp:
        tmp.write_text(html, encoding="utf-8")


def _banner(content: SheetContent) -> str:
    """Words on top, as on the report; a time point of the plan without a series is a virtual tumour."""
    virtual = any(image["series"] is None for image in content.record["planned"]["imaging"])
    words = ["SIMULATED PATIENT"] * content.simulated + ["VIRTUAL TUMOUR"] * virtual
    return " · ".join(words + [NOT_CLINICAL] * (content.record["purpose"] != "clinical"))


def _figures(content: SheetContent) -> list[dict[str, str]]:
    record, before = content.record, content.parent_record
    limits, planned = content.limits, record["planned"]
    fit_before = {} if before is None else before["fit"]
    plan_before = {} if before is None else before["planned"]
    rows = [
        _row("gap to bone, median", "gap_p50_mm", record["fit"], fit_before, "mm"),
        _row(
            "gap to bone, 95th percentile",
            "gap_p95_mm",
            record["fit"],
            fit_before,
            "mm",
            most=limits.gap_p95_mm,
        ),
        _row(
            "contact area",
            "contact_area_mm2",
            record["fit"],
            fit_before,
            "mm²",
            least=limits.contact_area_min_mm2,
        ),
        _row(
            "interpenetration",
            "interpenetration_mm3",
            record["fit"],
            fit_before,
            "mm³",
            most=limits.interpenetration_mm3,
        ),
        *(
            _row(
                f"bone margin to the tumour, {name} osteotomy",
                name,
                planned["margins_mm"],
                plan_before.get("margins_mm", {}),
                "mm",
                least=planned["margin_mm"],
            )
            for name in sorted(planned["margins_mm"])
        ),
        _row(
            "room in soft tissue (shown, not promised)",
            "soft_tissue_margin_min_mm",
            planned,
            plan_before,
            "mm",
        ),
        _row("implant volume", "volume_mm3", record, before or {}, "cm³", scale=1e-3),
    ]
    if record["change"] is not None:
        change = record["change"]
        rows.append(_row("largest change from the parent", "hausdorff_to_parent_mm", change, {}, "mm"))
        rows.append(_row("volume change from the parent", "volume_change_mm3", change, {}, "cm³", scale=1e-3))
    return rows


def _row(
    name: str,
    key: str,
    now: dict[str, Any],
    before: dict[str, Any],
    unit: str,
    *,
    most: float | None = None,
    least: float | None = None,
    scale: float = 1.0,
) -> dict[str, str]:
    value = scale * float(now[key])
    limit, verdict = "", ""
    if most is not None:
        limit, verdict = f"at most {most:g} {unit}", "kept" if value <= most else "NOT KEPT"
    if least is not None:
        limit, verdict = f"at least {least:g} {unit}", "kept" if value >= least else "NOT KEPT"
    old = f"{scale * float(before[key]):.2f} {unit}" if key in before else ""
    return {"name": name, "value": f"{value:.2f} {unit}", "before": old, "limit": limit, "verdict": verdict}


def _pictures(content: SheetContent) -> list[tuple[str, bytes]]:
    """Captions and PNG bytes."""
    pair = [Item(content.bone, BONE), Item(content.implant, METAL)]
    out = [
        (f"Implant (blue-grey) and bone {view}", render(pair, view))
        for view in ("from the front", "from behind")
    ]
    medial = "from the right" if content.record["side"] == "left" else "from the left"
    lateral = "from the left" if content.record["side"] == "left" else "from the right"
    out.append((f"Implant alone, {medial}: midline face", render([Item(content.implant, METAL)], medial)))
    out.append(
        (f"Implant alone, {lateral}: sacroiliac face", render([Item(content.implant, METAL)], lateral))
    )
    out += _cuts(content)
    if content.parent is not None:
        colours = change_colours(signed_change_mm(content.implant, content.parent), _CHANGE_LIMIT_MM)
        item = [Item(content.implant, colours)]
        for view in (lateral, medial, "from behind"):
            caption = (
                f"Change from {content.record['parent']}, {view}: red grown, blue removed, "
                f"full at {_CHANGE_LIMIT_MM:g} mm"
            )
            out.append((caption, render(item, view)))
    return out


def _cuts(content: SheetContent) -> list[tuple[str, bytes]]:
    """The model cut open in three planes through the middle of the sacroiliac face, to show the fit."""
    place = np.asarray(content.record["fit"]["faces"]["si_joint"]["point_lps_mm"])
    centre = (place + content.implant.bounds_mm.mean(axis=0)) / 2.0
    cuts = (("axial", "from the feet"), ("coronal", "from the front"), ("sagittal", "from the left"))
    out = []
    for name, view in cuts:
        # What lies behind the cut is kept.
        plane = Plane.of(centre, np.asarray(VIEWS[view][0]))
        items = [
            Item(half, colour)
            for solid, colour in ((content.bone, BONE), (content.implant, METAL))
            if len((half := trim(solid, [plane])).faces)
        ]
        out.append((f"Fit: {name} cut, seen {view}", render(items, view)))
    return out
