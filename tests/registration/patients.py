"""Simulated patients with known registrations and tumours, kept below results/ and not made twice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from implantflow.artifacts import read_json, write_json
from implantflow.config.simulated import SimulatedConfig
from implantflow.geometry import FloatArray
from implantflow.phantom.ct import render_ct, simulate_ct
from implantflow.phantom.mr import mr_background, simulate_mr
from implantflow.phantom.simulate import make_scene
from implantflow.phantom.truth import write_truth
from implantflow.volumes import Volume, read_volume, write_volume

ROOT = Path(__file__).parents[2]
TIMEPOINTS = ("diagnosis", "preoperative")

#: What a scan of the patient costs and shows: clinical, and the coarse one that a tired archive sends.
SCANS: dict[str, dict[str, Any]] = {
    "fine": {
        "ct_spacing_mm": [0.8, 0.8, 1.0],
        "mr_spacing_mm": [0.9, 0.9, 4.0],
        "mr_slices": 44,
        "ct_noise_hu": 14,
    },
    "coarse": {
        "ct_spacing_mm": [1.6, 1.6, 2.0],
        "mr_spacing_mm": [1.8, 1.8, 5.0],
        "mr_slices": 34,
        "ct_noise_hu": 8,
    },
}


@dataclass(frozen=True)
class Patient:
    """One simulated patient: images as ingest hands them on, and the truth that no stage reads."""

    folder: Path

    @property
    def ct(self) -> Volume:
        return read_volume(self.folder / "ct.nii.gz")

    @property
    def labels(self) -> Volume:
        return read_volume(self.folder / "truth" / "labels.nii.gz")

    @property
    def truth(self) -> dict[str, Any]:
        found: dict[str, Any] = read_json(self.folder / "truth" / "truth.json")
        return found

    def mr(self, timepoint: str) -> Volume:
        return read_volume(self.folder / f"mr_{timepoint}.nii.gz")

    def tumour(self, timepoint: str) -> Volume:
        return read_volume(self.folder / "truth" / f"tumour_{timepoint}.nii.gz")

    def ct_from_mr(self, timepoint: str) -> FloatArray:
        return np.asarray(self.truth["registrations"][f"mr_{timepoint}"], dtype=np.float64)


def patient(seed: int, scan: str) -> Patient:
    """Patient ``seed`` scanned as :data:`SCANS` says; made on the first call."""
    folder = ROOT / "results" / "validation" / "patients" / f"{scan}_{seed}"
    if not (folder / "done.json").exists():
        _make(folder, seed, scan)
    return Patient(folder)


def _make(folder: Path, seed: int, scan: str) -> None:
    dates = {"mr_diagnosis": "2025-01-13", "mr_preoperative": "2025-04-22", "ct_planning": "2025-04-24"}
    cfg = SimulatedConfig.model_validate(
        {
            "seed": seed,
            "ct_caudal_mm": 128,
            "ct_cranial_mm": 72,
            "mr_noise_percent": 2.5,
            "kvp": 120,
            "kernel": "STANDARD",
            "study_dates": dates,
            **SCANS[scan],
        }
    )
    scene, placed = make_scene(cfg, 1)
    folder.mkdir(parents=True, exist_ok=True)
    hu = simulate_ct(scene, cfg.ct_noise_hu, 1, render_ct(scene, 1))
    write_volume(folder / "ct.nii.gz", Volume(hu, scene.grid.affine))
    background = mr_background(scene, 1)
    registrations = {}
    for timepoint in TIMEPOINTS:
        name = f"mr_{timepoint}"
        image = simulate_mr(
            scene,
            background,
            timepoint,
            placed[name],
            cfg.mr_spacing_mm,
            cfg.mr_slices,
            cfg.mr_noise_percent,
            1,
        )
        registrations[name] = image.ct_from_mr
        write_volume(folder / f"{name}.nii.gz", Volume(image.signal, image.affine_lps))
    write_truth(folder / "truth", scene, registrations)
    write_json(folder / "done.json", {"seed": seed, "scan": scan})
