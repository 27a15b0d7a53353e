"""Contradictions that are told in the manifest instead of refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from synthetic_series import make_slices, save

from implantflow.ingest.read import take_series


def noted(slices: list[Dataset], folder: Path) -> list[str]:
    manifest: dict[str, Any] = take_series(save(slices, folder)).manifest
    return [note for note in manifest["notes"] if note.startswith("DOUBT")]


def size_mm(slices: list[Dataset]) -> float:
    first = slices[0]
    return float(max(first.Columns * first.PixelSpacing[1], first.Rows * first.PixelSpacing[0]))


def with_diameter(slices: list[Dataset], factor: float) -> list[Dataset]:
    for ds in slices:
        ds.ReconstructionDiameter = f"{factor * size_mm(slices):.6g}"
    return slices


@pytest.mark.parametrize(("factor", "doubted"), [(1.0, False), (1.015, False), (0.9, True), (1.1, True)])
def test_field_of_view_against_spacing(tmp_path: Path, factor: float, doubted: bool) -> None:
    found = noted(with_diameter(make_slices(), factor), tmp_path / "ct")
    assert [("reconstruction diameter" in note) for note in found] == [True] * doubted


def test_count_of_the_acquisition(tmp_path: Path) -> None:
    slices = make_slices()
    for ds in slices:
        ds.ImagesInAcquisition = len(slices)
    assert noted(slices, tmp_path / "whole") == []
    (told,) = noted(slices[:-1], tmp_path / "last_lost")
    assert f"counts {len(slices)} images in the acquisition, {len(slices) - 1} are here" in told


def test_numbers_that_do_not_begin_at_one(tmp_path: Path) -> None:
    slices = make_slices()
    first = min(range(len(slices)), key=lambda n: int(slices[n].InstanceNumber))
    (told,) = noted(slices[:first] + slices[first + 1 :], tmp_path / "first_lost")
    assert "instance numbers begin at 2" in told
    for ds in slices:
        ds.InstanceNumber = int(ds.InstanceNumber) + 900
    assert noted(slices, tmp_path / "part") == []
