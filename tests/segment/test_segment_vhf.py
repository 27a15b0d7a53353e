"""The Visible Human CT with the atlas: hands beside the ilia, no clicks, same defaults as the phantom."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import disturb

from implantflow.config.segment import PriorConfig, SegmentConfig
from implantflow.errors import InputError, QualityGateError
from implantflow.segment.core import Segmentation, segment_volume
from implantflow.segment.labels import LABELS
from implantflow.segment.prior import ShapePrior, read_atlas
from implantflow.volumes import Volume, from_sitk

pytestmark = pytest.mark.slow
SETTINGS = SegmentConfig(threshold_hu=226.0, prior=PriorConfig(kind="atlas", path="pelvis-atlas"))


@pytest.fixture(scope="module")
def ct(shared_data: Path) -> Volume:
    """Read by another reader than the project's own."""
    import SimpleITK as sitk

    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(
        sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(shared_data / "vhf-pelvis-ct" / "dicom"))
    )
    return from_sitk(sitk.Cast(reader.Execute(), sitk.sitkInt16))


@pytest.fixture(scope="module")
def atlas(shared_data: Path) -> ShapePrior:
    return read_atlas(sorted((shared_data / "pelvis-atlas" / "surface").glob("*/*.vtk")))


@pytest.fixture(scope="module")
def result(ct: Volume, atlas: ShapePrior) -> Segmentation:
    return segment_volume(ct, atlas, SETTINGS)


@pytest.mark.requirement("real-ct")
def test_sacrum_and_ilia_are_separate_watertight_and_of_human_size(result: Segmentation) -> None:
    table = result.report["labels"]
    for name in ("sacrum", "hip_left", "hip_right", "l5"):
        assert table[name]["watertight"] is True and table[name]["shells"] == 1
    assert 150e3 <= table["sacrum"]["volume_mm3"] <= 260e3
    assert abs(table["hip_left"]["volume_mm3"] / table["hip_right"]["volume_mm3"] - 1) < 0.05
    assert 40e3 < table["l5"]["volume_mm3"] < 80e3


def test_hands_are_other_bone(result: Segmentation) -> None:
    """Both hands lie in front of the iliac wings, more than 100 mm from the midline."""
    labels = result.labels.array
    sacrum_x = np.argwhere(labels == LABELS["sacrum"])[:, 2].mean()
    front = np.argwhere(labels == LABELS["hip_left"])[:, 1].min()
    for side in (-1, 1):
        beside = side * (np.arange(labels.shape[2]) - sacrum_x) > 100.0
        hand = labels * beside[None, None] * (np.arange(labels.shape[1]) < front - 5)[None, :, None]
        counts = np.bincount(hand.ravel(), minlength=10)
        assert counts[LABELS["other_bone"]] > 10000
        assert counts[1 : LABELS["other_bone"]].sum() == 0


def test_what_lies_outside_the_scan_is_said(result: Segmentation) -> None:
    coverage = result.report["coverage"]
    assert coverage["l5"]["inside_scan"] == "whole"
    assert coverage["l4"]["inside_scan"] == "partly"
    assert coverage["l3"]["inside_scan"] == "outside"
    assert coverage["hip_left"]["touches_border"] == ["caudal"]
    assert "coccyx is part of the sacrum" in result.report["prior"]["note"]


def test_the_spinal_canal_stays_open(result: Segmentation) -> None:
    """Where the sacrum's own bone closes a ring around the canal, the ring is not filled."""
    from scipy import ndimage

    sacrum = result.labels.array == LABELS["sacrum"]
    holes = [int((ndimage.binary_fill_holes(plane) & ~plane).sum()) for plane in sacrum]
    assert sum(hole > 150 for hole in holes) >= 20


def test_wrong_scans_are_refused(ct: Volume, atlas: ShapePrior) -> None:
    upside_down = Volume(np.ascontiguousarray(ct.array[::-1]), ct.affine_lps)
    with pytest.raises(QualityGateError, match="does not fit"):
        segment_volume(upside_down, atlas, SETTINGS)
    with pytest.raises(QualityGateError, match="inside the scan"):
        segment_volume(Volume(ct.array[90:], ct.affine_lps), atlas, SETTINGS)
    with pytest.raises(InputError, match="cm3"):
        segment_volume(Volume(ct.array[:40], ct.affine_lps), atlas, SETTINGS)


def test_l5_keeps_its_arch_and_takes_none_of_l4s_in_a_noisy_scan_of_a_turned_patient(
    shared_data: Path, atlas: ShapePrior
) -> None:
    """Without the sheet of dark voxels in the facets the cut once ran through the pedicles (Dice 0.66 and 0.84)."""
    base = disturb.base_ct(shared_data)
    turned = disturb.CHANGES["yaw 15 deg"]
    masks = []
    for change, scan in (
        (disturb.CHANGES["as it is"], base),
        (turned, disturb.CHANGES["noise 80 HU"].make(turned.make(base))),
    ):
        solid = segment_volume(scan, atlas, SETTINGS).solids["l5"].solid
        masks.append(disturb.inside(solid, base, change) & turned.seen(base))
    assert 2.0 * (masks[0] & masks[1]).sum() / (masks[0].sum() + masks[1].sum()) > 0.9
