"""Which scans the validation set holds: a seeded Latin hypercube over all that may differ between patients.

Each anatomy has one operation, a baseline scan of it, and a number of later states. A state is what is true in the
patient; it is scanned by every protocol, so that scans of one state count as one cluster. Half of the states are for
development, the other half are held out and only looked at when the analysis is done.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from implantflow.config.simulated_followup import FollowupScan

CASES = ("demo", "vhf")
#: A third implant, the phantom's with a lattice of 4 mm planned on a coarse CT: few states, for development only.
EXTRA_CASE, EXTRA_STATES = "tiny", 1
#: Later states per anatomy, one more that repeats the baseline with nothing changed but how the patient lies.
STATES = 10
SEED = 20261126
BASELINE_FILL_HU = 25.0
#: What fills the pores later where it is not what filled them at the baseline, HU.
OTHER_FILLS_HU = (-90.0, -40.0, 0.0, 10.0, 45.0)
FACES = ("midline", "si_joint", "caudal")
GAPS_MM = (0.5, 3.0)


@dataclass(frozen=True)
class Protocol:
    """How a scan is taken; ``kernel_name`` stands in its header."""

    name: str
    kvp: float
    kernel: str
    slice_mm: float
    pixel_mm: float
    photons: float


PROTOCOLS = (
    Protocol("thin", 120.0, "soft", 1.0, 0.68, 4.0e6),
    Protocol("thick", 140.0, "sharp", 2.0, 0.78, 3.0e6),
)


@dataclass(frozen=True)
class State:
    """One state of one patient.

    Attributes
    ----------
    half : "baseline", "development" or "held_out".
    scatter_residual : share of scatter that the scanner leaves; differs a little from scan to scan.
    """

    case: str
    name: str
    half: str
    scan: dict[str, Any]
    scatter_residual: float

    @property
    def key(self) -> str:
        """Name that no other state has."""
        return f"{self.case}_{self.name}"

    @property
    def truth(self) -> FollowupScan:
        """Checked against the simulator's own model."""
        return FollowupScan.model_validate(self.scan)


def states() -> list[State]:
    """All states: baselines first, then development, then held out, anatomies by turns."""
    found = [state for case in (*CASES, EXTRA_CASE) for state in _of_case(case)]
    order = {"baseline": 0, "development": 1, "held_out": 2}
    return sorted(found, key=lambda s: (order[s.half], s.name, s.case))


def _of_case(case: str) -> list[State]:
    rng = np.random.default_rng([SEED, *hashlib.sha256(case.encode()).digest()[:4]])
    still = {"turns_deg": [0.0, 0.0, 0.0], "shift_mm": [0.0, 0.0, 0.0]}
    pores = {"fill_hu": BASELINE_FILL_HU, "core_fraction": 0.0, "ingrowth": {}}
    as_left: dict[str, Any] = {"migration": still, "faces": {}, "pores": pores, "soft_hu": 35.0}
    found = [State(case, "m0", "baseline", {**_lying(rng), **as_left, "study_date": "2025-06-05"}, 0.1)]
    table = _hypercube(rng)
    halves = rng.permutation([i % 2 == 0 for i in range(STATES)])
    for number, row in enumerate(table):
        half = "development" if halves[number] or case == EXTRA_CASE else "held_out"
        scan = {**_lying(rng), **row, "study_date": "2026-06-08"}
        residual = round(float(rng.uniform(0.085, 0.115)), 4)
        found.append(State(case, f"s{number + 1:02d}", half, scan, residual))
    if case == EXTRA_CASE:
        return found[: 1 + EXTRA_STATES]
    half = "development" if case == CASES[0] else "held_out"
    found.append(State(case, "repeat", half, {**_lying(rng), **as_left, "study_date": "2025-06-20"}, 0.1))
    return found


def months(state: State) -> float:
    """Months after the operation."""
    days = (date.fromisoformat(state.scan["study_date"]) - date(2025, 6, 5)).days
    return 12.0 if days > 300 else 0.0


def _lying(rng: np.random.Generator) -> dict[str, Any]:
    """How the patient lies in the scanner."""
    turns, shift = rng.uniform(-3.0, 3.0, 3), rng.uniform(-12.0, 12.0, 3)
    return {"pose": {"turns_deg": _rounded(turns), "shift_mm": _rounded(shift)}}


def _hypercube(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Rows that spread every figure evenly over its range, each in an order of its own."""

    def spread(low: float, high: float, count: int = STATES) -> np.ndarray:
        return rng.permutation(low + (high - low) * (np.arange(count) + rng.uniform(0, 1, count)) / count)

    shift, turn = spread(-0.8, 5.0), spread(-0.8, 5.0)
    grown, depth, core = spread(-0.05, 0.4), spread(3.0, 20.0), spread(-0.04, 0.12)
    soft = spread(15.0, 60.0)
    same = rng.permutation([i % 2 == 0 for i in range(STATES)])
    fills = rng.permutation(OTHER_FILLS_HU)
    faces = {face: _face_states(rng) for face in FACES}
    rows = []
    for n in range(STATES):
        fill = BASELINE_FILL_HU if same[n] else float(fills[int((~np.array(same))[: n + 1].sum()) - 1])
        ingrowth = {}
        if grown[n] > max(core[n], 0.0):
            ingrowth = {"si_joint": {"at_face_fraction": _r(grown[n]), "decay_mm": _r(depth[n])}}
        rows.append(
            {
                "migration": {
                    "turns_deg": _rounded(max(turn[n], 0.0) * _direction(rng)),
                    "shift_mm": _rounded(max(shift[n], 0.0) * _direction(rng)),
                },
                "faces": {face: faces[face][n] for face in FACES if faces[face][n] is not None},
                "pores": {"fill_hu": fill, "core_fraction": _r(max(core[n], 0.0)), "ingrowth": ingrowth},
                "soft_hu": _r(soft[n]),
            }
        )
    return rows


def _face_states(rng: np.random.Generator) -> list[dict[str, Any] | None]:
    """Four fused, one as the surgery left it, five lucent with widths over the whole range."""
    low, high = GAPS_MM
    widths = low + (high - low) * (np.arange(5) + rng.uniform(0, 1, 5)) / 5
    density = rng.permutation(np.linspace(0.25, 0.6, 4))
    # A fused layer reaches across whatever way the migration has opened.
    found: list[dict[str, Any] | None] = [
        {"state": "fused", "width_mm": 6.0, "bone_fraction": _r(d)} for d in density
    ]
    found += [{"state": "lucent", "width_mm": _r(w)} for w in widths] + [None]
    return [found[i] for i in rng.permutation(len(found))]


def _direction(rng: np.random.Generator) -> np.ndarray:
    arm = rng.normal(size=3)
    return np.asarray(arm / np.linalg.norm(arm))


def _rounded(values: np.ndarray) -> list[float]:
    return [_r(v) for v in values]


def _r(value: float) -> float:
    return round(float(value), 3)
