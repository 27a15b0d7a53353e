"""Damaged files, wrong modality, empty folders: refused with the file's name, or harmless."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

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


def test_links_that_hide_slices_are_refused(tmp_path: Path) -> None:
    """A link to nothing is a missing slice; a folder elsewhere may hold some; one that leads back holds none."""
    slices = make_slices(count=8)
    folder = save(slices, tmp_path / "scan")
    (folder / "back").symlink_to(folder)
    assert ingest_folder(folder)[1]["n_slices"] == 8
    (folder / "image007.dcm").rename(tmp_path / "moved.dcm")
    (folder / "image007.dcm").symlink_to(tmp_path / "gone.dcm")
    with pytest.raises(InputError, match="a link that leads to no file") as error:
        ingest_folder(folder)
    assert error.value.where == "image007.dcm"
    (folder / "image007.dcm").unlink()
    save(slices[7:], tmp_path / "elsewhere")
    (folder / "more").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="a link to a folder elsewhere") as error:
        ingest_folder(folder)
    assert error.value.where == "more"


def test_a_folder_or_file_that_cannot_be_opened_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save(make_slices(count=4), tmp_path / "scan")
    (folder / "closed").mkdir()
    (folder / "note.txt").write_text("not an image")
    scandir, opened = os.scandir, Path.open

    def closed(path: str) -> Any:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    def unreadable(path: Path, *arguments: Any, **more: Any) -> Any:
        if path.name == "note.txt":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", closed)
        with pytest.raises(InputError, match="the folder cannot be opened") as error:
            ingest_folder(folder)
        assert error.value.where == "closed"
    monkeypatch.setattr(Path, "open", unreadable)
    with pytest.raises(InputError, match="cannot be opened") as error:
        ingest_folder(folder)
    assert error.value.where == "note.txt"


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
