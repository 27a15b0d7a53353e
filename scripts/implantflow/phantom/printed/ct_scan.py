"""An industrial CT of a print: blurred metal, noise, grey values like HU, written as DICOM."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from implantflow.config.simulated_print import PrintCt
from implantflow.geometry import FloatArray
from implantflow.phantom.dicom_writer import Person, Series, write_series
from implantflow.phantom.printed import scan_kernels
from implantflow.phantom.printed.material import Material
from implantflow.phantom.printed.process import Process
from implantflow.phantom.slabs import over_slabs

AIR_HU = -1000
#: Air around the part in the image (mm).
_MARGIN_MM = 4.0
#: Date of all simulated prints' scans.
_TAKEN = date(2025, 5, 20)


def ct_affine(corners_mm: FloatArray, voxel_mm: float) -> tuple[FloatArray, tuple[int, int, int]]:
    """Image grid (4x4 and shape (K, J, I)) around the part's ``corners_mm`` (8, 3) in the scanner's frame."""
    low = np.round(corners_mm.min(0) - _MARGIN_MM, 3)
    count = np.ceil((corners_mm.max(0) + _MARGIN_MM - low) / voxel_mm).astype(int) + 1
    affine = np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0])
    affine[:3, 3] = low
    return affine, (int(count[2]), int(count[1]), int(count[0]))


def scan(
    material: Material,
    process: Process,
    cold_from_scan: FloatArray,
    affine: FloatArray,
    shape: tuple[int, int, int],
    config: PrintCt,
    seed: tuple[int, int],
    threads: int,
) -> NDArray[np.int16]:
    """(K, J, I) int16 image of the cold part; ``seed`` is that of its noise."""
    from scipy.ndimage import gaussian_filter1d

    share = np.zeros(shape, np.float32)
    to_cold = cold_from_scan @ affine

    def work(first: int, last: int) -> None:
        scan_kernels.look_up(
            material.share,
            material.origin_mm,
            material.voxel_mm,
            to_cold,
            process.factors,
            process.centre_mm,
            process.bow_mm,
            process.half_mm,
            first,
            share[first:last],
        )

    over_slabs(work, shape[0], threads)
    for axis in range(3):
        gaussian_filter1d(share, config.blur_mm / config.voxel_mm, axis=axis, output=share, truncate=3.0)
    image = np.empty(shape, np.int16)
    metal = np.float32(config.metal_hu - AIR_HU)

    def expose(first: int, last: int) -> None:
        for k in range(first, last):
            noise = np.random.default_rng([*seed, k]).standard_normal(shape[1:], dtype=np.float32)
            grey = share[k] * metal + np.float32(config.noise_hu) * noise + np.float32(AIR_HU)
            image[k] = np.round(np.clip(grey, -1024, 3071))

    over_slabs(expose, shape[0], threads)
    return image


def write_ct(folder: Path, image: NDArray[np.int16], affine: FloatArray, part: str) -> None:
    """Write the image of ``part`` as a CT series of an invented owner; nothing in it is a person's."""
    person = Person(f"SIMULATED^PRINT {part}", f"SIM-PRINT-{part}", date(2025, 1, 1), "O")
    series = Series(
        modality="CT",
        array=image,
        affine_lps=affine,
        frame=f"print {part}",
        number=1,
        description=f"SIMULATED CT of print {part}",
        taken=_TAKEN,
        extra={
            "StudyDescription": "SIMULATED industrial CT of a print",
            "BodyPartExamined": "",
            "KVP": "200",
            "ConvolutionKernel": "FDK",
            "GantryDetectorTilt": "0",
        },
    )
    write_series(folder, person, series)
