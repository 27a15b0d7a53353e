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
from implantflow.phantom.grids import Field
from implantflow.phantom.mr import mr_background, simulate_mr
from implantflow.phantom.poses import rigid
from implantflow.phantom.resample import thick_slices
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

    @property
    def earlier_ct(self) -> Volume:
        """The patient in another CT: another pose, thicker slices, other noise; shows no tumour."""
        return read_volume(self.folder / "ct_earlier.nii.gz")

    @property
    def ct_from_earlier(self) -> FloatArray:
        return np.asarray(read_json(self.folder / "done.json")["ct_from_earlier"], dtype=np.float64)

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
    anatomy = render_ct(scene, 1)
    earlier, ct_from_earlier = _earlier_ct(anatomy, scene.grid.affine, cfg)
    write_volume(folder / "ct_earlier.nii.gz", earlier)
    hu = simulate_ct(scene, cfg.ct_noise_hu, 1, anatomy)
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
    write_json(folder / "done.json", {"seed": seed, "scan": scan, "ct_from_earlier": ct_from_earlier})


def _earlier_ct(anatomy: Field, affine: FloatArray, cfg: SimulatedConfig) -> tuple[Volume, FloatArray]:
    """Thick slices of the noise-free anatomy from a frame of its own, and the way back."""
    rng = np.random.default_rng([cfg.seed, 5])
    ct_from_earlier = rigid(rng.uniform(-6, 6, 3), rng.uniform(-15, 15, 3))
    middle = affine[:3, :3] @ (np.array(anatomy.shape[::-1]) - 1) / 2 + affine[:3, 3]
    ct_from_earlier[:3, 3] += middle - ct_from_earlier[:3, :3] @ middle
    spacing = np.array([1.0, 1.0, 2.5]) * (2 if cfg.ct_spacing_mm[0] > 1 else 1)
    size = np.array(anatomy.shape[::-1]) * np.linalg.norm(affine[:3, :3], axis=0)
    shape = np.ceil(size / spacing).astype(int)
    grid = np.diag([*spacing, 1.0])
    grid[:3, 3] = middle - spacing * (shape - 1) / 2
    matrix = np.linalg.inv(affine) @ ct_from_earlier @ grid
    k, j, i = (int(n) for n in shape[::-1])
    # The sampler puts 0 outside its source: air must be 0 there.
    hu = thick_slices(anatomy + np.float32(1000), matrix, (k, j, i), 1) - 1000
    hu += rng.standard_normal(hu.shape, dtype=np.float32) * np.float32(1.5 * cfg.ct_noise_hu)
    return Volume(np.clip(np.rint(hu), -1024, 3071).astype(np.int16), grid), ct_from_earlier
