"""Imported label maps: surfaced when they fit, refused when they do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from implantflow.config.segment import PriorConfig, SegmentConfig
from implantflow.errors import GeometryError, InputError
from implantflow.segment.core import segment_volume
from implantflow.segment.labelmap import read_label_map
from implantflow.volumes import Volume, write_volume

SETTINGS = SegmentConfig(threshold_hu=226.0, prior=PriorConfig(kind="label_map", path="labels.nii.gz"))
BOXES = {  # code: (k, j, i) ranges on a 2 mm grid; i runs to the patient's left
    2: ((10, 40), (10, 40), (60, 72)),
    3: ((10, 40), (10, 40), (8, 20)),
    1: ((10, 40), (25, 45), (25, 55)),
    4: ((44, 56), (20, 40), (32, 48)),
}


def scan() -> tuple[Volume, Volume]:
    hu = np.full((64, 56, 80), 40, np.int16)
    labels = np.zeros(hu.shape, np.uint8)
    for code, ranges in BOXES.items():
        k, j, i = (slice(*r) for r in ranges)
        hu[k, j, i] = 900
        labels[k, j, i] = code
    hu[:, :3] = -1000
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (-80.0, -50.0, 500.0)
    return Volume(hu, affine), Volume(labels, affine)


def import_map(tmp_path: Path, labels: Volume) -> Path:
    path = tmp_path / "labels.nii.gz"
    write_volume(path, labels)
    return path


def test_a_fitting_map_gives_watertight_bones_and_the_same_labels(tmp_path: Path) -> None:
    ct, labels = scan()
    result = segment_volume(ct, read_label_map(import_map(tmp_path, labels)), SETTINGS)
    assert result.report["prior"]["kind"] == "label_map" and result.report["prior"]["resampled"] is False
    assert result.report["disputed_pct"] is None
    for name, code in (("sacrum", 1), ("hip_left", 2), ("hip_right", 3), ("l5", 4)):
        entry = result.report["labels"][name]
        truth = float((labels.array == code).sum()) * 8.0
        assert entry["watertight"] and entry["shells"] == 1
        assert abs(entry["volume_mm3"] / truth - 1) < 0.06
        a, b = result.labels.array == code, labels.array == code
        assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.97


def test_another_grid_is_resampled_and_said_so(tmp_path: Path) -> None:
    ct, labels = scan()
    affine = labels.affine_lps.copy()
    affine[:3, 3] += 1.0
    result = segment_volume(ct, read_label_map(import_map(tmp_path, Volume(labels.array, affine))), SETTINGS)
    assert result.report["prior"]["resampled"] is True


def test_wrong_place_side_and_codes_are_refused(tmp_path: Path) -> None:
    ct, labels = scan()
    affine = labels.affine_lps.copy()
    affine[2, 3] -= 90.0
    with pytest.raises(GeometryError, match="outside the scan"):
        segment_volume(ct, read_label_map(import_map(tmp_path, Volume(labels.array, affine))), SETTINGS)
    shifted = Volume(np.roll(labels.array, 20, axis=1), labels.affine_lps)
    with pytest.raises(GeometryError, match="does not lie on the bones"):
        segment_volume(ct, read_label_map(import_map(tmp_path, shifted)), SETTINGS)
    swapped = labels.array.copy()
    swapped[labels.array == 2], swapped[labels.array == 3] = 3, 2
    with pytest.raises(GeometryError, match="left and right are exchanged"):
        segment_volume(ct, read_label_map(import_map(tmp_path, labels.like(swapped))), SETTINGS)
    unknown = labels.array.copy()
    unknown[0, 0, 0] = 77
    with pytest.raises(InputError, match="77"):
        read_label_map(import_map(tmp_path, labels.like(unknown)))
    missing = np.where(labels.array == 4, 0, labels.array).astype(np.uint8)
    with pytest.raises(InputError, match="l5"):
        read_label_map(import_map(tmp_path, labels.like(missing)))
