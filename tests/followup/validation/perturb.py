"""The lattice read with something wrong on purpose: does the truth stay inside the intervals?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from tests.followup.validation.plan import State
from tests.followup.validation.read import Bench, lattice_entries

from implantflow.artifacts import plain, read_json
from implantflow.followup.compare import Baseline
from implantflow.followup.faces import contact_faces
from implantflow.followup.lattice_change import read_lattice
from implantflow.followup.profile import Scan
from implantflow.followup.sampling import Smooth

#: 12 kV more or less move the mean energy of the assumed spectrum by 4 keV; metal share; shift of the implant, mm.
KVP, METAL_SHARE, SHIFT_MM = 12.0, 0.01, 0.5


def perturbed(bench: Bench, state: State, protocol: str) -> dict[str, Any]:
    """Regions of the lattice by what was made wrong; kept in the state's folder."""
    folder = bench.state / state.key
    kept = folder / f"perturbed_{protocol}.json"
    if kept.exists():
        found: dict[str, Any] = json.loads(kept.read_text())
        return found
    settings, located = bench.settings(state), bench.located(state, protocol)[0]
    base = bench.baseline(state, protocol)
    kvp = float(read_json(folder / f"{protocol}.json")["header"]["kvp"])
    faces = contact_faces(
        bench.inputs.implant, bench.inputs.regions, bench.inputs.depths, settings.faces.patch_mm
    )
    with np.load(folder / "truth.npz") as arrays:
        grids = dict(arrays)
    out: dict[str, Any] = {}
    for name, (now, then, volts) in _cases(located.scan, base.scan, kvp).items():
        baseline = Baseline(base.name, base.months, base.place, then, [], volts)
        figures = read_lattice(bench.inputs, now, baseline, settings, bench.place(located), faces).figures
        out[name] = lattice_entries(bench, figures, faces, settings, grids, now, then)
    kept.write_text(json.dumps(plain(out)))
    return out


def _cases(now: Scan, base: Scan, kvp: float) -> dict[str, tuple[Scan, Scan, float]]:
    """What the analysis is given instead, by name."""
    found = {
        "spectrum 4 keV too soft": (now, base, kvp - KVP),
        "spectrum 4 keV too hard": (now, base, kvp + KVP),
    }
    for sign, word in ((1.0, "more"), (-1.0, "less")):
        wrong = [replace(scan, model=_scaled(scan.model, sign)) for scan in (now, base)]
        found[f"0.01 {word} metal than built"] = (wrong[0], wrong[1], kvp)
    for axis, name in enumerate("xyz"):
        shifted = now.scan_from_design.copy()
        shifted[axis, 3] += SHIFT_MM
        found[f"implant 0.5 mm off along {name}"] = (replace(now, scan_from_design=shifted), base, kvp)
    return found


def _scaled(model: Smooth, sign: float) -> Smooth:
    """The design with another share of metal: the lattice's share is about 0.29."""
    factor = np.float32(1.0 + sign * METAL_SHARE / 0.29)
    return Smooth(model.coefficients * factor, model.index_from_place, model.outside)


def held(found: Sequence[dict[str, Any]]) -> dict[str, tuple[int, int]]:
    """How many intervals hold the truth, of how many, by what was wrong."""
    counts: dict[str, tuple[int, int]] = {}
    for scan in found:
        for name, entries in scan.items():
            known = [e for e in entries if e["status"] == "determined"]
            inside = sum(e["interval"][0] <= e["true"] <= e["interval"][1] for e in known)
            before = counts.get(name, (0, 0))
            counts[name] = (before[0] + inside, before[1] + len(known))
    return counts
