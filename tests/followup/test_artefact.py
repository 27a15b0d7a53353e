"""Metal and its artefact: on a made scan whose streaks are known, and on a real nail."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from implantflow.followup.artefact import artefact, metal_in
from implantflow.volumes import Volume, read_volume

NAIL = Path(__file__).parents[3] / "shared/data/totalseg-example-ct-metal/example_ct.nii.gz"
MM = 2.0


def scan(reach_mm: float, size: tuple[int, int, int] = (40, 120, 120)) -> Volume:
    """A rod of 10 mm in muscle; noise of 15 HU, three times that up to ``reach_mm`` from the rod."""
    k, j, i = np.meshgrid(*(np.arange(n) * MM for n in size), indexing="ij")
    way = np.hypot(i - 60.0, j - 60.0) - 5.0
    noise = np.random.default_rng(1).normal(0.0, 15.0, size)
    hu = 50.0 + np.where(way < reach_mm, 3.0, 1.0) * noise
    hu[(way < 0) & (k > 10) & (k < 70)] = 3000.0
    return Volume(hu.astype(np.int16), np.diag([MM, MM, MM, 1.0]))


@pytest.mark.parametrize("reach_mm", [0.0, 20.0, 36.0])
def test_reach_of_known_streaks(reach_mm: float) -> None:
    found = artefact(scan(reach_mm), 2200.0)
    assert found["pieces"] == 1
    assert found["volume_mm3"] == pytest.approx(np.pi * 25.0 * 58.0, rel=0.1)
    # The five pixels of the filter carry the disturbance four millimetres outwards, and rings are four wide.
    assert reach_mm - 4.0 <= found["reach_mm"] <= reach_mm + 8.0


def test_where_nothing_is_far_enough_it_is_not_told() -> None:
    near = scan(20.0)
    part = Volume(near.array[:, 10:50, 10:50], near.affine_lps)
    found = artefact(part, 2200.0)
    assert found["reach_mm"] is None and "too little soft tissue" in found["reason"]


def test_a_scan_without_metal_says_so() -> None:
    bare = scan(0.0)
    bare.array[bare.array > 2000] = 50
    assert artefact(bare, 2200.0)["reason"] == "no metal in the scan"


@pytest.mark.skipif(not NAIL.exists(), reason="needs ../shared/data/totalseg-example-ct-metal")
def test_a_real_femoral_nail() -> None:
    volume = read_volume(NAIL)
    metal = metal_in(volume, 2000.0)
    places = volume.index_to_lps(np.argwhere(metal)[:, ::-1].astype(float))
    # In the proximal femur on the patient's left: one nail with its neck screw, and nothing else.
    assert artefact(volume, 2000.0)["pieces"] == 1
    assert places[:, 0].min() > volume.index_to_lps(np.array([[61.0, 50.0, 0.0]]))[0, 0]
    assert np.ptp(places, axis=0) == pytest.approx([60.0, 48.0, 51.0], abs=7.0)
    found = artefact(volume, 2000.0)
    assert 13e3 < found["volume_mm3"] < 16e3
    assert 30.0 <= found["reach_mm"] <= 60.0
    assert found["profile"][0][2] > 2.0 * found["quiet_hu"]
