"""Odd series from the field, in four layouts of the values: exact in place, shape and HU, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from one_series import ingest_folder
from sphere_errors import measure
from synthetic_series import hu_at, make_slices, save, words_of
from torture_rows import FORMATS, READ, REFUSED

from implantflow.errors import ImplantflowError
from implantflow.ingest.read import take_series
from implantflow.volumes import Volume

LIMIT_MM = 0.15

#: `make check` leaves out the last layout, and in refusals, where it has hardly a say, all but the first.
LAYOUTS = [*list(FORMATS)[:-1], pytest.param(list(FORMATS)[-1], marks=pytest.mark.slow)]
FEW_LAYOUTS = [pytest.param(form, marks=pytest.mark.slow if n else ()) for n, form in enumerate(FORMATS)]


def assert_exact(volume: Volume) -> None:
    """Every voxel has the HU of its place; balls are where they belong, and round."""
    k, j, i = np.indices(volume.array.shape)
    points = volume.index_to_lps(np.stack([i.ravel(), j.ravel(), k.ravel()], axis=1))
    truth = np.rint(hu_at(points)).reshape(volume.array.shape)
    measured = volume.array != -1024  # padding of the row that has some
    different = (volume.array != truth) & measured
    # Positions are written with six decimals: a value that lies on the edge of rounding may fall either way.
    assert np.abs(volume.array - truth)[measured].max() <= 1 and different.mean() < 2e-3
    assert measured.mean() > 0.99
    found = measure(volume.array, volume.affine_lps)
    assert found.centre_mm < LIMIT_MM and found.shape_mm < LIMIT_MM
    assert np.linalg.det(volume.affine_lps[:3, :3]) > 0


@pytest.mark.parametrize("form", LAYOUTS)
@pytest.mark.parametrize("row", READ)
def test_read_exactly(row: str, form: str, tmp_path: Path) -> None:
    volume, manifest = ingest_folder(READ[row].make(form, tmp_path / "dicom"))
    assert_exact(volume)
    assert volume.array.dtype == np.int16
    assert manifest["verdict"] == "ok" and manifest["max_residual_mm"] < 0.02
    assert manifest["n_slices"] == volume.array.shape[0] and manifest["tilt_deg"] < 0.01
    assert manifest["resampled"] is False and manifest["invented"]["share"] == 0


@pytest.mark.parametrize("form", FEW_LAYOUTS)
@pytest.mark.parametrize("row", REFUSED)
def test_refused_with_cause_and_file(row: str, form: str, tmp_path: Path) -> None:
    bad = REFUSED[row]
    folder = bad.make(form, tmp_path / "SECRET-FOLDER")
    with pytest.raises(ImplantflowError, match=bad.cause) as error:
        ingest_folder(folder)
    assert bad.file in error.value.where
    assert error.value.fix
    assert "SECRET" not in str(error.value)


@pytest.mark.parametrize("row", [row for row in REFUSED if "tilt" in row or "spacing" in row.lower()])
def test_what_is_not_opted_into_stays_refused(row: str, tmp_path: Path) -> None:
    """Only tilt and uneven spacing may be resampled, and the refusal names the option for them alone."""
    folder = REFUSED[row].make("signed 16 bit", tmp_path)
    with pytest.raises(ImplantflowError) as error:
        ingest_folder(folder)
    mendable = "PixelSpacing" not in row
    assert ("--resample" in error.value.fix and "resample: true" in error.value.fix) == mendable
    if mendable:
        assert take_series(folder, resample=True).manifest["resampled"] is True
    else:
        with pytest.raises(ImplantflowError):
            take_series(folder, resample=True)


# --- single findings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"intercept": -40000.0},
        {"slope": 0.1, "intercept": -1000.3},
        {"signed": True, "bits_stored": 13, "intercept": 0.0},
    ],
)
def test_unusual_values(options: dict[str, object], tmp_path: Path) -> None:
    """Stored values above 32767, an intercept that is not whole, 13 bits."""
    assert_exact(ingest_folder(save(make_slices(**options), tmp_path))[0])


def test_padding_becomes_air(tmp_path: Path) -> None:
    slices = make_slices(signed=True)
    for ds in slices:
        words = words_of(ds)
        words[:3] = np.int16(-32768).astype(np.uint16)
        ds.PixelData = words.tobytes()
        ds.add_new("PixelPaddingValue", "SS", -32768)
    volume, _ = ingest_folder(save(slices, tmp_path))
    assert (volume.array[:, :3] == -1024).all()
    assert (volume.array[:, 3:] > -1000).all()


def test_padding_range_and_padding_outside_the_stored_bits(tmp_path: Path) -> None:
    slices = make_slices(bits_stored=12)
    for ds in slices:
        words = words_of(ds)
        words[:2] = 63536
        ds.PixelData = words.tobytes()
        ds.add_new("PixelPaddingValue", "US", 63536)
    volume, _ = ingest_folder(save(slices, tmp_path / "outside"))
    assert (volume.array[:, :2] == -1024).all() and (volume.array[:, 2:] > -1000).all()

    slices = make_slices()
    for ds in slices:
        words = words_of(ds)
        words[0], words[1] = 3, 9
        ds.PixelData = words.tobytes()
        ds.add_new("PixelPaddingValue", "US", 0)
        ds.add_new("PixelPaddingRangeLimit", "US", 5)
    volume, _ = ingest_folder(save(slices, tmp_path / "range"))
    assert (volume.array[:, 0] == -1024).all() and (volume.array[:, 1] == 9 - 1024).all()
