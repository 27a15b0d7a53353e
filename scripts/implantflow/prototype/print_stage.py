"""Doors of the stage prototype to the printer: plates that fit its bed, and their G-code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from implantflow import artifacts
from implantflow.config.prototype import load_printer
from implantflow.config.site import NOT_CLINICAL
from implantflow.geometry import Plane
from implantflow.jobs import Job, progress
from implantflow.prototype.gcode import SLICER, slice_plate, slicer
from implantflow.prototype.layout import Placed, fitted, pieces, plates
from implantflow.prototype.printing import embossed_if_room, read_3mf, write_3mf
from implantflow.solids.booleans import merged, trim
from implantflow.solids.mesh import Solid, write_solid


def lay_out_prototype(job: Job) -> None:
    """Lay one iteration out for the case's printer (rule ``print_prototype``).

    Inputs ``model`` (3MF), ``prototype`` (JSON). Outputs ``folder`` (assembly, the two halves cut to show the fit,
    and the plates, each as STL and 3MF in millimetres) and ``record`` (JSON). Settings ``printer``, ``case``,
    ``purpose``.

    Raises
    ------
    GeometryError
        A part does not fit the bed and cannot be split.
    """
    printer = load_printer(job.settings["printer"])
    record = artifacts.read_json(job.input("prototype"))
    folder = job.outputs["folder"]
    folder.mkdir(parents=True)
    model = read_3mf(job.input("model"))
    name = f"{job.settings['case']} {record['id']} {record['side']}"
    words = "" if job.settings["purpose"] == "clinical" else f" {NOT_CLINICAL}"
    _write(folder, "assembly", model, f"{name}{words}")

    progress("halves", done=0.3)
    cut = fit_cut(record)
    text = record["embossed"]["text"]
    halves, labels = {}, {}
    for half, sign in (("upper", 1.0), ("lower", -1.0)):
        plane = Plane.of(cut.point, sign * np.asarray(cut.normal))
        solids = {part: trim(solid, [plane]) for part, solid in model.items()}
        solids = {part: solid for part, solid in solids.items() if len(solid.faces)}
        for part in solids:
            on_cut = np.flatnonzero(np.abs(plane.distance(solids[part].centres_mm)) < 0.01)
            solids[part], labels[f"half_{half}_{part}"] = embossed_if_room(solids[part], text, on_cut)
        halves[half] = solids
        _write(folder, f"half_{half}", solids, f"{name} {half} half{words}")

    progress("plates", done=0.6)
    groups = {"model": model, **{f"half_{half}": solids for half, solids in halves.items()}}
    layout, cuts = [], []
    for group, solids in groups.items():
        parts = [p for part, solid in solids.items() for p in pieces(part, solid)]
        small, made = fitted(parts, printer)
        placed = plates(small, printer)
        cuts += [{"set": group, **c} for c in made]
        for number in range(1, max(p.plate for p in placed) + 1):
            on_plate = [p for p in placed if p.plate == number]
            plate = f"plate_{group}_{number}"
            _write(folder, plate, {p.part.name: p.solid for p in on_plate}, f"{name} {plate}{words}")
            layout.append({"plate": plate, "set": group, "parts": [_place(p) for p in on_plate]})
    artifacts.write_json(
        job.outputs["record"],
        {
            "id": record["id"],
            "subject_sha256": record["subject_sha256"],
            "printer": printer.model_dump(mode="json"),
            "unit": "mm",
            "cut_for_halves": cut.as_json(),
            "embossed_halves": labels,
            "cuts": cuts,
            "plates": layout,
        },
    )


def slice_prototype(job: Job) -> None:
    """G-code of every plate of the whole model (rule ``slice_prototype``).

    Inputs ``record`` and ``folder`` of :func:`lay_out_prototype`. Outputs ``folder`` (G-code) and ``record`` (JSON:
    time and material, or that there is no slicer here). Settings ``printer``.
    """
    printer = load_printer(job.settings["printer"])
    layout = artifacts.read_json(job.input("record"))
    program = slicer()
    folder = job.outputs["folder"]
    folder.mkdir(parents=True)
    found: list[dict[str, Any]] = []
    for entry in layout["plates"] if program else ():
        if entry["set"] != "model":
            continue
        progress(f"slicing {entry['plate']}")
        target = folder / f"{entry['plate']}.gcode"
        figures = slice_plate(str(program), job.input("folder") / f"{entry['plate']}.stl", target, printer)
        found.append({"plate": entry["plate"], **figures})
    artifacts.write_json(
        job.outputs["record"],
        {
            "id": layout["id"],
            "printer": printer.name,
            "preset_verified": printer.verified,
            "sliced": bool(found),
            "reason": None
            if found
            else f"{SLICER} is not installed on this machine; the plates are in print/",
            "plates": found,
            "time_h": sum(f["time_h"] for f in found) if found else None,
            "filament_g": sum(f["filament_g"] for f in found) if found else None,
            "not_sliced": [e["plate"] for e in layout["plates"] if e["set"] != "model"],
            "note": "bytes depend on the slicer's version; the slicer's line with date and time is cut to its version",
        },
    )


def fit_cut(record: dict[str, Any]) -> Plane:
    """Axial plane through the middle of the sacroiliac face: it opens the gap to the ilium and that at the midline."""
    return Plane.of(record["fit"]["faces"]["si_joint"]["point_lps_mm"], [0.0, 0.0, 1.0])


def _place(placed: Placed) -> dict[str, Any]:
    size = placed.part.solid.bounds_mm[1] - placed.part.solid.bounds_mm[0]
    return {
        "part": placed.part.name,
        "size_mm": size,
        "turned_deg": 90 if placed.turned else 0,
        "shift_mm": placed.shift_mm,
    }


def _write(folder: Path, name: str, solids: dict[str, Solid], title: str) -> None:
    """The same solids as 3MF (named objects) and as one STL."""
    write_3mf(folder / f"{name}.3mf", solids, title)
    write_solid(folder / f"{name}.stl", merged(list(solids.values())), f"implantflow {title} mm")
