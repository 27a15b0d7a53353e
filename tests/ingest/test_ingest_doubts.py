"""Contradictions that are told in the manifest instead of refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000, JPEGLSLossless, JPEGLSNearLossless
from synthetic_series import make_slices, reread, save
from torture_rows import READ

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


def test_distance_of_slices_against_what_is_stated(tmp_path: Path) -> None:
    for name, modality, stated, doubted in (
        ("right", "CT", 2.0, False),
        ("rounded", "CT", 2.03, False),
        ("wrong", "CT", 2.6, True),
        ("gap_of_ct", "CT", 0.5, True),
        ("gap_of_mr", "MR", 0.5, False),
    ):
        slices = make_slices(modality=modality)
        for ds in slices:
            ds.SliceThickness, ds.SpacingBetweenSlices = 1.5, stated
        found = noted(slices, tmp_path / name)
        assert [f"every {stated:g} mm, their positions make 2 mm" in note for note in found] == [
            True
        ] * doubted, name


def test_every_other_slice_left_out(tmp_path: Path) -> None:
    """Evenly spaced, what is left passes every check of the positions; thickness and numbers tell."""
    thick, counted = noted(make_slices()[::2], tmp_path)
    assert "slices 2 mm thick lie 4 mm apart" in thick and "go in steps of 2" in counted


def test_voxels_of_no_scan(tmp_path: Path) -> None:
    slices = make_slices()
    for ds in slices:
        ds.PixelSpacing = [0.0015, 0.0014]
    (told,) = noted(slices, tmp_path)
    assert "voxels of 0.0015 mm" in told


def test_images_that_only_the_dicomdir_knows(tmp_path: Path) -> None:
    folder = READ["nested, with DICOMDIR"].make("unsigned 16 bit", tmp_path / "disc")
    assert [n for n in take_series(folder).manifest["notes"] if "DOUBT" in n] == []
    images = [p for p in folder.rglob("*") if p.is_file() and p.suffix not in (".txt", ".INF")]
    last = max(
        (p for p in images if p.name != "DICOMDIR"), key=lambda p: float(reread(p).ImagePositionPatient[2])
    )
    last.unlink()
    (told,) = [n for n in take_series(folder).manifest["notes"] if "DOUBT" in n]
    assert "the DICOMDIR in the folder lists 1 images of the series that are not here" in told


def test_coarsely_rounded_directions(tmp_path: Path) -> None:
    slices = make_slices()
    assert noted(make_slices(), tmp_path / "exact") == []
    for ds in slices:
        ds.ImageOrientationPatient = [0.9992, 0, 0, 0, 1, 0]
        ds.PixelSpacing = [5, 5]
    (told,) = noted(slices, tmp_path / "rounded")
    assert "far corner are known to 0.18 mm only" in told


def test_volume_of_several_acquisitions_is_said(tmp_path: Path) -> None:
    slices = make_slices()
    for ds in slices[20:]:
        ds.AcquisitionNumber = 2
    notes = take_series(save(slices, tmp_path)).manifest["notes"]
    assert any("put together from 2 acquisitions" in note for note in notes)


def test_loss_follows_from_the_transfer_syntax(tmp_path: Path) -> None:
    for syntax, told in (
        (JPEGLSLossless, "not stated"),
        (JPEG2000, "not stated; the transfer syntax allows it"),
        (JPEGLSNearLossless, "yes, at some time"),
    ):
        slices = make_slices()
        for ds in slices:
            more = {"j2k_cr": [2]} if syntax == JPEG2000 else {"jls_error": 1} if told[0] == "y" else {}
            ds.compress(syntax, **more)
        checks = take_series(save(slices, tmp_path / syntax)).manifest["checks"]
        assert next(c["result"] for c in checks if "loss" in c["check"]) == told


def test_numbers_that_do_not_begin_at_one(tmp_path: Path) -> None:
    slices = make_slices()
    first = min(range(len(slices)), key=lambda n: int(slices[n].InstanceNumber))
    (told,) = noted(slices[:first] + slices[first + 1 :], tmp_path / "first_lost")
    assert "instance numbers begin at 2" in told
    for ds in slices:
        ds.InstanceNumber = int(ds.InstanceNumber) + 900
    assert noted(slices, tmp_path / "part") == []
