"""Damaged files, wrong modality, empty folders: refused with the file's name, or harmless."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from one_series import ingest_folder
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGLSLossless, RLELossless
from synthetic_series import COLUMNS, ROWS, make_slices, save
from torture_rows import encapsulated, transfer

from implantflow.errors import ImplantflowError, InputError


def test_wrong_modality(tmp_path: Path) -> None:
    save(make_slices(modality="MR", intercept=0.0, signed=True), tmp_path)
    with pytest.raises(InputError, match="series is MR, the config expects CT"):
        ingest_folder(tmp_path, modality="CT")
    assert ingest_folder(tmp_path, modality="MR")[1]["values"] == "rescaled intensity"


@pytest.mark.parametrize("syntax", [None, JPEGLSLossless, RLELossless, DeflatedExplicitVRLittleEndian])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.8, 0.99])
def test_truncated_file_is_named(syntax: str | None, share: float, tmp_path: Path) -> None:
    slices = make_slices(count=6)
    if syntax == DeflatedExplicitVRLittleEndian:
        transfer(syntax)(slices)
    elif syntax is not None:
        encapsulated(syntax)(slices)
    folder = save(slices, tmp_path)
    victim = folder / "image005.dcm"
    victim.write_bytes(victim.read_bytes()[: int(share * victim.stat().st_size)])
    with pytest.raises(InputError) as error:
        ingest_folder(folder)
    assert error.value.where == "image005.dcm"


def test_a_file_that_is_no_dicom(tmp_path: Path) -> None:
    save(make_slices(count=4), tmp_path)
    (tmp_path / "IM0099").write_bytes(b"hello" * 100)
    with pytest.raises(InputError, match="not a DICOM file") as error:
        ingest_folder(tmp_path)
    assert error.value.where == "IM0099"


def test_empty_and_absent_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no DICOM image"):
        ingest_folder(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        ingest_folder(tmp_path / "SECRET-absent")


def test_any_single_flip_of_the_header_is_refused_or_harmless(tmp_path: Path) -> None:
    """Damage to one header never gives another geometry or other values without a word."""
    slices = make_slices(count=5)
    folder = save(slices, tmp_path)
    reference, _ = ingest_folder(folder)
    victim = folder / "image002.dcm"
    good = victim.read_bytes()
    rng = np.random.default_rng(11)
    header_size = len(good) - ROWS * COLUMNS * 2
    for place in rng.integers(132, header_size, 150):
        damaged = bytearray(good)
        damaged[place] ^= 1 << int(rng.integers(0, 8))
        victim.write_bytes(bytes(damaged))
        try:
            volume, _ = ingest_folder(folder)
        except ImplantflowError:
            continue
        assert volume.array.shape == reference.array.shape, place
        assert np.abs(volume.affine_lps - reference.affine_lps).max() < 0.02, place
        assert np.array_equal(volume.array, reference.array), place
