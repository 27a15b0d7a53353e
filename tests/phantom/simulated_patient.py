"""Settings and paths of the tiny patient that the phantom's tests share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from implantflow.jobs import Job

SERIES = ("ct_planning", "mr_diagnosis", "mr_preoperative")
SETTINGS: dict[str, Any] = {
    "seed": 7,
    "ct_spacing_mm": [1.6, 1.6, 2.0],
    "ct_caudal_mm": 128,
    "ct_cranial_mm": 72,
    "ct_noise_hu": 8,
    "mr_spacing_mm": [1.8, 1.8, 5.0],
    "mr_slices": 34,
    "mr_noise_percent": 2.5,
    "kvp": 120,
    "kernel": "STANDARD",
    "study_dates": {
        "mr_diagnosis": "2025-01-13",
        "mr_preoperative": "2025-04-22",
        "ct_planning": "2025-04-24",
    },
}


@dataclass(frozen=True)
class Simulated:
    """Where a simulated patient's files are."""

    dicom: Path
    truth: Path


def simulate(folder: Path, threads: int, **changes: Any) -> Simulated:
    """Run the stage function as a job would."""
    from implantflow.phantom.simulate import simulate_patient

    found = Simulated(folder / "dicom", folder / "truth")
    job = Job(
        rule="simulate_patient",
        case_dir=folder,
        wildcards={"case": "tiny"},
        inputs={},
        outputs={name: found.dicom / name for name in SERIES} | {"anatomy": folder / "anatomy" / "ct.nii.gz"},
        settings={"simulated": SETTINGS | changes},
        function="implantflow.phantom.simulate:simulate_patient",
        code_digest="",
        threads=threads,
        side_outputs={"truth": found.truth},
    )
    simulate_patient(job)
    return found
