"""Bone in voxels that ingest blended across a gap is told, bone by bone."""

from __future__ import annotations

import numpy as np
import pytest

from implantflow.errors import GeometryError
from implantflow.segment.labels import LABELS
from implantflow.segment.stage import not_measured
from implantflow.volumes import Volume


def volume(array: np.ndarray) -> Volume:
    return Volume(array.astype(np.uint8), np.eye(4))


def test_share_of_each_bone_in_blended_voxels() -> None:
    labels, invented = np.zeros((10, 4, 4)), np.zeros((10, 4, 4))
    labels[:5], labels[5:] = LABELS["sacrum"], LABELS["hip_left"]
    invented[4], invented[9] = 2, 1  # one plane blended, one outside the planes
    found = not_measured(volume(labels), volume(invented))
    assert found["not_measured_pct"] == pytest.approx({"sacrum": 20.0, "hip_left": 0.0})
    assert found["warnings"] == [
        "not measured but blended across a gap between slices: sacrum 20.0 %; look at these places"
    ]
    assert not_measured(volume(labels), volume(np.zeros((10, 4, 4))))["warnings"] == []


def test_mask_on_another_grid_is_refused() -> None:
    with pytest.raises(GeometryError, match="not on the grid"):
        not_measured(volume(np.zeros((4, 4, 4))), volume(np.zeros((5, 4, 4))))
