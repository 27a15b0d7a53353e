"""Rigid transforms in ITK's text format."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from implantflow.artifacts import temporary
from implantflow.geometry import FloatArray


def write_transform(path: Path, scan_from_planning: FloatArray) -> None:
    """Write a rigid 4x4 as ITK text: maps planning CT points to scan points, both patient LPS in mm.

    As for every ITK transform, resampling the scan onto the planning CT's grid uses it as it is.
    """
    import SimpleITK as sitk

    transform = sitk.AffineTransform(3)
    transform.SetMatrix(np.round(scan_from_planning[:3, :3], 10).ravel().tolist())
    transform.SetTranslation(np.round(scan_from_planning[:3, 3], 6).tolist())
    # ITK chooses the format by the suffix, which a temporary name keeps.
    with temporary(path) as tmp:
        sitk.WriteTransform(transform, str(tmp))
