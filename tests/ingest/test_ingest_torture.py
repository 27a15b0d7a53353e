"""Rows of the table in docs/imaging.md: each is read with exact places and HU, or refused with its cause."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from synthetic_series import (
    AXIAL,
    ROWS,
    SPACING,
    SPHERES,
    STEP_MM,
    UID,
    enhanced,
    hu_at,
    make_slices,
    save,
    words_of,
)

from implantflow.errors import GeometryError, ImplantflowError, InputError
from implantflow.ingest.read import ingest_folder, scan_folder
from implantflow.volumes import Volume


def sphere_errors_mm(volume: Volume) -> list[float]:
    """Distance of every sphere's centre of mass from where it is."""
    k, j, i = np.indices(volume.array.shape)
    points = volume.index_to_lps(np.stack([i.ravel(), j.ravel(), k.ravel()], axis=1))
    errors = []
    for centre, radius, _ in SPHERES:
        near = np.linalg.norm(points - np.array(centre), axis=1) < radius + 4
        weight = np.abs(volume.array.ravel()[near].astype(float) - 40)
        found = (points[near] * weight[:, None]).sum(axis=0) / weight.sum()
        errors.append(float(np.linalg.norm(found - np.array(centre))))
    return errors


def assert_exact(volume: Volume) -> None:
    """Every voxel has the HU of its place, every sphere is where it belongs."""
    k, j, i = np.indices(volume.array.shape)
    points = volume.index_to_lps(np.stack([i.ravel(), j.ravel(), k.ravel()], axis=1))
    truth = np.rint(hu_at(points)).reshape(volume.array.shape)
    different = volume.array != truth
    # Positions are written with six decimals: a value that lies on the edge of rounding may fall either way.
    assert np.abs(volume.array - truth).max() <= 1 and different.mean() < 2e-3
    assert max(sphere_errors_mm(volume)) < 0.15
    assert np.linalg.det(volume.affine_lps[:3, :3]) > 0


def oblique(pitch_deg: float, yaw_deg: float) -> tuple[float, ...]:
    a, b = np.radians([pitch_deg, yaw_deg])
    row = np.array([np.cos(b), np.sin(b), 0.0])
    column = np.cross([0.0, 0.0, 1.0], row) * np.cos(a) + np.array([0, 0, 1.0]) * np.sin(a)
    return (*row, *column)


def encapsulated(syntax: str) -> Callable[[list[Dataset]], None]:
    def change(slices: list[Dataset]) -> None:
        for ds in slices:
            ds.compress(syntax)

    return change


def transfer(syntax: str) -> Callable[[list[Dataset]], None]:
    def change(slices: list[Dataset]) -> None:
        for ds in slices:
            ds.file_meta.TransferSyntaxUID = syntax
            if syntax == ExplicitVRBigEndian:
                ds.PixelData = words_of(ds).byteswap().tobytes()

    return change


def slopes_by_slice(slices: list[Dataset]) -> None:
    for number, ds in enumerate(slices):
        hu = words_of(ds).astype(int) - 1024
        slope, intercept = (1, -1024 - 7 * number) if number % 2 else (0.5, -1100)
        ds.RescaleSlope, ds.RescaleIntercept = slope, intercept
        ds.PixelData = ((hu - intercept) / slope).astype(np.uint16).tobytes()


def garbage_high_bits(slices: list[Dataset]) -> None:
    for number, ds in enumerate(slices):
        ds.BitsStored, ds.HighBit = 12, 11
        ds.PixelData = (words_of(ds) | ((number % 16) << 12)).astype(np.uint16).tobytes()


def shifted_bits(slices: list[Dataset]) -> None:
    for ds in slices:
        ds.BitsStored, ds.HighBit = 12, 15
        ds.PixelData = (words_of(ds) << 4).astype(np.uint16).tobytes()


def reversed_numbers(slices: list[Dataset]) -> None:
    for number, ds in enumerate(slices):
        ds.InstanceNumber = len(slices) - number
    slices.reverse()


def lying_tags(slices: list[Dataset]) -> None:
    for ds in slices:
        ds.SpacingBetweenSlices, ds.SliceThickness, ds.GantryDetectorTilt, ds.SliceLocation = 9, 5, 12, 0


GOOD = {
    "plain": ({}, None),
    "signed": ({"signed": True}, None),
    "signed 16 without intercept": ({"signed": True, "intercept": 0.0}, None),
    "signed 12 bit": ({"signed": True, "intercept": -500.0, "bits_stored": 12}, None),
    "unsigned 12 bit": ({"bits_stored": 12}, None),
    "unsigned above 32767": ({"intercept": -40000.0}, None),
    "slope 0.5": ({"slope": 0.5}, None),
    "slope 2.5 and intercept that is not whole": ({"slope": 0.1, "intercept": -1000.3}, None),
    "slope and intercept change from slice to slice": ({}, slopes_by_slice),
    "garbage above the stored bits": ({}, garbage_high_bits),
    "12 bits in the upper end of the word": ({}, shifted_bits),
    "reversed": ({}, reversed_numbers),
    "lying tags": ({}, lying_tags),
    "sagittal": ({"orientation": (0, 1, 0, 0, 0, -1), "count": 40}, None),
    "coronal": ({"orientation": (1, 0, 0, 0, 0, -1)}, None),
    "oblique": ({"orientation": oblique(20, 11), "count": 34}, None),
    "feet first": ({"orientation": (-1, 0, 0, 0, 1, 0)}, None),
    "implicit": ({}, transfer(ImplicitVRLittleEndian)),
    "deflated": ({}, transfer(DeflatedExplicitVRLittleEndian)),
    "RLE": ({}, encapsulated(RLELossless)),
    "JPEG 2000": ({}, encapsulated(JPEG2000Lossless)),
    "JPEG 2000 signed": ({"signed": True}, encapsulated(JPEG2000Lossless)),
    "JPEG-LS": ({}, encapsulated(JPEGLSLossless)),
}


@pytest.mark.parametrize("row", GOOD)
def test_read_exactly(row: str, tmp_path: Path) -> None:
    options, change = GOOD[row]
    slices = make_slices(**options)
    if change:
        change(slices)
    volume, manifest = ingest_folder(save(slices, tmp_path))
    assert_exact(volume)
    assert volume.array.dtype == np.int16
    assert manifest["verdict"] == "ok" and manifest["max_residual_mm"] < 0.02
    assert manifest["n_slices"] == len(slices) and manifest["tilt_deg"] < 0.01


def test_no_suffix_nested_and_other_files(tmp_path: Path) -> None:
    slices = make_slices()
    save(slices[:10], tmp_path / "a", "IM{:04d}")
    save(slices[10:], tmp_path / "b" / "c", "IM{:04d}")
    (tmp_path / "readme.txt").write_text("not an image")
    volume, manifest = ingest_folder(tmp_path)
    assert_exact(volume)
    assert any("no DICOM images" in note for note in manifest["notes"])


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


def test_multi_frame_by_its_functional_groups(tmp_path: Path) -> None:
    order = np.random.default_rng(3).permutation(30)
    slices = make_slices()
    volume, manifest = ingest_folder(save([enhanced([slices[n] for n in order])], tmp_path))
    assert_exact(volume)
    assert manifest["n_slices"] == 30


def test_identical_duplicates_are_dropped_and_said(tmp_path: Path) -> None:
    slices = make_slices()
    save(slices, tmp_path)
    save(slices[4:7], tmp_path / "again")
    volume, manifest = ingest_folder(tmp_path)
    assert_exact(volume)
    assert "3 identical duplicate slices dropped" in manifest["notes"]


def test_tagged_localizer_is_set_aside_and_said(tmp_path: Path) -> None:
    slices = make_slices()
    scout = make_slices(orientation=(1, 0, 0, 0, 0, -1), count=1)
    scout[0].ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    save(slices, tmp_path)
    save(scout, tmp_path / "scout")
    volume, manifest = ingest_folder(tmp_path)
    assert_exact(volume)
    assert any("localizer" in note for note in manifest["notes"])


def test_two_series_are_told_apart_by_the_uid_of_the_table(tmp_path: Path) -> None:
    save(make_slices(series=1), tmp_path / "one")
    save(make_slices(series=2, count=28), tmp_path / "two")
    with pytest.raises(InputError) as error:
        ingest_folder(tmp_path)
    rows = scan_folder(tmp_path)
    assert len(rows) == 2 and "series_uid" in error.value.fix
    for row in rows:
        assert row.series_uid in str(error.value)
        assert UID not in row.series_uid
    volume, manifest = ingest_folder(tmp_path, series_uid=rows[1].series_uid)
    assert manifest["n_slices"] == 28 and manifest["series_uid"] == rows[1].series_uid
    assert_exact(volume)
    with pytest.raises(InputError, match="no volume series"):
        ingest_folder(tmp_path, series_uid="2.25.1")


# --- refusals ---------------------------------------------------------------------------------------------


def missing(*numbers: int) -> list[Dataset]:
    return [ds for number, ds in enumerate(make_slices()) if number not in numbers]


def differing_duplicate() -> list[Dataset]:
    slices = make_slices()
    twin = make_slices()[9]
    words = words_of(twin)
    words[5, 5] += 1
    twin.PixelData = words.tobytes()
    return [*slices, twin]


def tilted(tag: float | None) -> list[Dataset]:
    start = np.array([-28.0, -28.0, 0.0])
    shear = np.array([0.0, np.tan(np.radians(15)), 1.0])
    slices = make_slices(positions=start + STEP_MM * np.arange(30)[:, None] * shear)
    for ds in slices:
        if tag is not None:
            ds.GantryDetectorTilt = tag
    return slices


def changing_step() -> list[Dataset]:
    z = np.concatenate([np.arange(20.0), 19 + 3 * np.arange(1, 14)])
    return make_slices(positions=np.column_stack([np.full(33, -28.0), np.full(33, -28.0), z]))


def jittered() -> list[Dataset]:
    z = 2.0 * np.arange(30)
    z[11] += 0.3
    return make_slices(positions=np.column_stack([np.full(30, -28.0), np.full(30, -28.0), z]))


def sideways() -> list[Dataset]:
    x = np.full(30, -28.0)
    x[17] += 2.0
    return make_slices(positions=np.column_stack([x, np.full(30, -28.0), 2.0 * np.arange(30)]))


def two_phases() -> list[Dataset]:
    late = make_slices()
    for ds in late:
        words = words_of(ds)
        words += 30
        ds.PixelData = words.tobytes()
        ds.AcquisitionNumber = 2
    return [*make_slices(), *late]


def with_change(number: int, **tags: object) -> list[Dataset]:
    slices = make_slices()
    for keyword, value in tags.items():
        setattr(slices[number], keyword, value)
    return slices


def everywhere(**tags: object) -> list[Dataset]:
    slices = make_slices()
    for ds in slices:
        for keyword, value in tags.items():
            setattr(ds, keyword, value)
    return slices


def without_rescale() -> list[Dataset]:
    slices = make_slices()
    for ds in slices:
        del ds.RescaleIntercept
    return slices


def untagged_localizer() -> list[Dataset]:
    return [*make_slices(), *make_slices(orientation=(1, 0, 0, 0, 0, -1), count=1)]


BAD = {
    "one slice missing": (lambda: missing(12), GeometryError, "1 slices are missing", "image011.dcm"),
    "six slices missing": (lambda: missing(*range(12, 18)), GeometryError, "6 slices", "image012.dcm"),
    "differing duplicate": (differing_duplicate, GeometryError, "same place", "image009.dcm"),
    "tilt with tag": (lambda: tilted(15), GeometryError, "tilted by 15.00 deg", "image000.dcm"),
    "tilt without tag": (lambda: tilted(None), GeometryError, "tilted by 15.00 deg", "image029.dcm"),
    "spacing 1 then 3": (changing_step, GeometryError, "irregular: from 1.000 to 3.000 mm", "image019.dcm"),
    "one slice displaced": (jittered, GeometryError, "irregular", "image010.dcm"),
    "one slice sideways": (sideways, GeometryError, "sideways", "image029.dcm"),
    "untagged localizer": (untagged_localizer, GeometryError, "orientation changes", "image030.dcm"),
    "two phases": (two_phases, GeometryError, r"AcquisitionNumber \(1, 2\)", "image000.dcm"),
    "one PixelSpacing": (
        lambda: with_change(7, PixelSpacing=[SPACING[0], SPACING[1] * 1.1]),
        GeometryError,
        "pixel spacing or orientation changes",
        "image007.dcm",
    ),
    "one orientation": (
        lambda: with_change(8, ImageOrientationPatient=list(oblique(1, 0))),
        GeometryError,
        "pixel spacing or orientation changes",
        "image008.dcm",
    ),
    "one frame of reference": (
        lambda: with_change(3, FrameOfReferenceUID=f"{UID}.77"),
        GeometryError,
        "frame of reference changes",
        "image003.dcm",
    ),
    "two patients": (
        lambda: with_change(5, PatientID="ANOTHER-SECRET"),
        InputError,
        "more than one patient",
        "image005.dcm",
    ),
    "two birth dates": (
        lambda: with_change(5, PatientBirthDate="19990101"),
        InputError,
        "PatientBirthDate",
        "image005.dcm",
    ),
    "CT without intercept": (without_rescale, InputError, "Hounsfield units", "image000.dcm"),
    "not HU": (lambda: everywhere(RescaleType="ED"), InputError, "not to HU", "image000.dcm"),
    "inverted": (
        lambda: everywhere(PhotometricInterpretation="MONOCHROME1"),
        InputError,
        "MONOCHROME1",
        "image000.dcm",
    ),
    "localizer only": (
        lambda: everywhere(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        InputError,
        "localizer",
        "image000.dcm",
    ),
    "one slice": (lambda: make_slices(count=1), GeometryError, "at least two slices", "image000.dcm"),
    "values beyond 16 bits": (
        lambda: everywhere(RescaleSlope=100.0),
        InputError,
        "do not fit 16 bits",
        "image000.dcm",
    ),
    "axes that are not orthogonal": (
        lambda: everywhere(ImageOrientationPatient=[1, 0, 0, 0.2, 0.98, 0]),
        GeometryError,
        "not orthogonal",
        "image000.dcm",
    ),
    "position that is no number": (
        lambda: with_change(6, ImagePositionPatient=[1e9, 0, 0]),
        InputError,
        "makes no sense",
        "image006.dcm",
    ),
}


@pytest.mark.parametrize("row", BAD)
def test_refused_with_cause_and_file(row: str, tmp_path: Path) -> None:
    make, kind, cause, file = BAD[row]
    folder = save(make(), tmp_path / "SECRET-FOLDER")
    with pytest.raises(kind, match=cause) as error:
        ingest_folder(folder)
    assert file in error.value.where
    assert error.value.fix
    assert "SECRET" not in str(error.value)


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
    header_size = len(good) - ROWS * 44 * 2
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


def test_orientation_constant_is_axial() -> None:
    assert np.cross(AXIAL[:3], AXIAL[3:])[2] == 1
