"""Tilted and unevenly spaced series that are opted into: geometry kept, invented voxels marked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torture_refused as spoil
from pydicom.dataset import Dataset
from sphere_errors import measure
from synthetic_series import STEP_MM, hu_at, make_slices, save
from test_ingest_stage import series_job

from implantflow.artifacts import read_json, sha256_file
from implantflow.cli import main
from implantflow.dicom.resample import BRIDGED, OUTSIDE
from implantflow.errors import GeometryError
from implantflow.ingest.read import Ingested, take_series
from implantflow.ingest.stage import ingest_series
from implantflow.jobs import execute
from implantflow.volumes import read_volume

LIMIT_MM = 0.15


def uneven(slices: list[Dataset]) -> list[Dataset]:
    """Every step off by up to 0.3 mm."""
    z = 2.0 * np.arange(30) + np.random.default_rng(1).uniform(-0.3, 0.3, 30)
    return spoil.at(slices, spoil.heights(z))


def uneven_and_tilted(slices: list[Dataset]) -> list[Dataset]:
    positions = np.array([ds.ImagePositionPatient for ds in uneven(slices)], dtype=float)
    positions[:, 1] += np.tan(np.radians(-12)) * (positions[:, 2] - 29)
    return spoil.at(slices, positions)


def three_then_one(slices: list[Dataset]) -> list[Dataset]:
    return spoil.at(slices, spoil.heights(np.concatenate([3 * np.arange(10.0), 27 + np.arange(1, 32)])))


MENDED = {
    "tilt 15 deg": spoil.tilt(15, 15),
    "tilt 15 deg without tag": spoil.tilt(15, None),
    "tilt -24 deg": spoil.tilt(-24, None),
    "one slice displaced": spoil.jittered,
    "uneven": uneven,
    "uneven and tilted": uneven_and_tilted,
    "1 mm then 3 mm": spoil.one_then_three,
    "3 mm then 1 mm": three_then_one,
    "one slice missing": spoil.missing(14),
}


def taken(name: str, folder: Path, **options: object) -> Ingested:
    slices = make_slices(**options)
    return take_series(save(MENDED[name](slices), folder), resample=True)


def truth_of(found: Ingested) -> np.ndarray:
    k, j, i = np.indices(found.volume.array.shape)
    points = found.volume.index_to_lps(np.stack([i.ravel(), j.ravel(), k.ravel()], axis=1))
    return hu_at(points).reshape(found.volume.array.shape)


@pytest.mark.parametrize("name", MENDED)
def test_geometry_is_kept(name: str, tmp_path: Path) -> None:
    found = taken(name, tmp_path)
    affine = found.volume.affine_lps[:3, :3]
    assert np.allclose(affine.T @ affine, np.diag(np.diag(affine.T @ affine)), atol=1e-9)
    errors = measure(found.volume.array, found.volume.affine_lps)
    assert errors.centre_mm < LIMIT_MM and errors.shape_mm < LIMIT_MM
    assert found.manifest["resampled"] is True and found.manifest["verdict"] == "ok"
    assert found.manifest["max_residual_mm"] > 0.02
    assert any(note.startswith("resampled: ") for note in found.manifest["notes"])


@pytest.mark.parametrize("name", MENDED)
def test_invented_voxels_are_marked_and_the_rest_is_right(name: str, tmp_path: Path) -> None:
    found = taken(name, tmp_path)
    assert found.invented is not None
    mask, array = found.invented.array, found.volume.array
    assert mask.shape == array.shape and set(np.unique(mask)) <= {0, OUTSIDE, BRIDGED}
    assert (array[mask == OUTSIDE] == -1024).all()
    error = np.abs(array - truth_of(found))[mask == 0]
    assert error.max() < 45 and np.sqrt((error**2).mean()) < 1.0  # HU, of edges of up to 960 HU
    shares = found.manifest["invented"]
    assert shares["outside_share"] == pytest.approx((mask == OUTSIDE).mean())
    assert shares["bridged_share"] == pytest.approx((mask == BRIDGED).mean())
    assert shares["share"] == pytest.approx((mask > 0).mean())


def test_tilt_marks_what_lies_outside_the_planes(tmp_path: Path) -> None:
    found = taken("tilt 15 deg", tmp_path)
    assert found.invented is not None
    shares = found.manifest["invented"]
    # 30 planes of 36 rows slide over tan(15 deg) * 58 mm / 1.5 mm = 10.4 rows: 11 more rows.
    assert found.volume.array.shape == (30, 47, 44)
    assert shares["bridged_share"] == 0 and shares["outside_share"] == pytest.approx(11.5 / 47, abs=0.01)
    assert found.manifest["tilt_deg"] == pytest.approx(15, abs=1e-3)


def test_a_measured_plane_that_meets_the_grid_keeps_its_values(tmp_path: Path) -> None:
    found = taken("one slice missing", tmp_path)
    assert found.invented is not None
    plain = np.rint(truth_of(found))
    bridged = found.invented.array == BRIDGED
    assert bridged.any(axis=(1, 2)).nonzero()[0].tolist() == [14] and bridged[14].all()
    assert np.abs(found.volume.array - plain)[~bridged].max() <= 1


def test_the_finest_step_is_kept_and_its_planes_are_met(tmp_path: Path) -> None:
    for name, count in (("1 mm then 3 mm", 20), ("3 mm then 1 mm", 32)):
        found = taken(name, tmp_path / name)
        assert found.volume.spacing_mm[2] == pytest.approx(1.0)
        assert found.invented is not None
        whole = (found.invented.array == 0).all(axis=(1, 2))
        assert whole.sum() >= count
        exact = np.abs(found.volume.array - np.rint(truth_of(found)))[whole]
        assert exact.max() <= 1


def test_mr_holds_no_signal_outside(tmp_path: Path) -> None:
    slices = make_slices(modality="MR", intercept=0.0, signed=True)
    found = take_series(
        save(spoil.tilt(10, None)(slices), tmp_path), "1.2.826.0.1.3680043.8.498.1", resample=True
    )
    assert found.invented is not None
    assert (found.volume.array[found.invented.array == OUTSIDE] == 0).all()


@pytest.mark.parametrize("spoilt", [spoil.missing(*range(12, 15)), spoil.sideways])
def test_what_would_be_guessed_is_refused_all_the_same(spoilt: spoil.Change, tmp_path: Path) -> None:
    """8 mm between neighbours, or a single slice shifted sideways."""
    folder = save(spoilt(make_slices()), tmp_path)
    with pytest.raises(GeometryError) as error:
        take_series(folder, resample=True)
    assert "--resample" not in str(error.value)


def test_a_regular_series_is_left_alone(tmp_path: Path) -> None:
    folder = save(make_slices(), tmp_path)
    asked, plain = take_series(folder, resample=True), take_series(folder)
    assert asked.invented is None and str(asked.manifest) == str(plain.manifest)
    assert np.array_equal(asked.volume.array, plain.volume.array)
    assert not asked.mask().array.any()


def test_stage_writes_the_mask_beside_the_volume(tmp_path: Path) -> None:
    folder = save(spoil.tilt(15, None)(make_slices()), tmp_path / "dicom")
    job = series_job(tmp_path / "case", "ct_planning", folder, {"modality": "CT", "resample": True})
    execute(job, ingest_series)
    mask, manifest = read_volume(job.outputs["invented"]), read_json(job.outputs["manifest"])
    assert mask.array.shape == read_volume(job.outputs["volume"]).array.shape
    assert manifest["resampled"] is True
    assert manifest["invented"]["outside_share"] == pytest.approx((mask.array == OUTSIDE).mean())
    assert any("invented.nii.gz marks them" in note for note in manifest["notes"])
    strict = series_job(tmp_path / "other", "ct_planning", folder, {"modality": "CT"})
    with pytest.raises(GeometryError, match="tilted"):
        execute(strict, ingest_series)
    assert not list((tmp_path / "other").rglob("*.nii.gz"))


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(save(spoil.tilt(15, None)(make_slices()), tmp_path / "dicom"))
    out = tmp_path / "out"
    assert main(["ingest", folder, str(out)]) == 4
    assert "--resample" in capsys.readouterr().err and not (out / "volume.nii.gz").exists()
    digests = []
    for _ in range(2):
        assert main(["ingest", folder, str(out), "--resample"]) == 0
        digests.append(
            [sha256_file(out / name) for name in ("volume.nii.gz", "invented.nii.gz", "manifest.json")]
        )
    assert digests[0] == digests[1]
    mask, volume = read_volume(out / "invented.nii.gz"), read_volume(out / "volume.nii.gz")
    assert mask.array.dtype == np.uint8
    assert np.allclose(mask.affine_lps, volume.affine_lps, atol=1e-5)
    assert read_json(out / "manifest.json")["invented"]["share"] == pytest.approx((mask.array > 0).mean())
    assert main(["ingest", str(save(make_slices(), tmp_path / "plain")), str(out)]) == 0
    assert not (out / "invented.nii.gz").exists()
    assert pytest.approx(volume.spacing_mm[2]) == STEP_MM
