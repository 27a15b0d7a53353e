"""A short run of the fuzzer (tests/fuzz), and what longer runs have found, each as a case of its own."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from one_series import ingest_folder
from pydicom.encaps import encapsulate, get_frame
from tests.fuzz.bases import KINDS, SERIES_UID, SLICES, UID, base
from tests.fuzz.cases import build
from tests.fuzz.elements import deflate, inflate
from tests.fuzz.ingest import run
from tests.fuzz.verdict import GOOD

from implantflow.errors import ImplantflowError, InputError

#: Limits of what any reader can see; docs/validation/fuzz.md says why.
UNSEEN = {"STREAM", "ALONE"}
LAST = f"image{SLICES - 1:02d}.dcm"


def series(folder: Path, name: str) -> Path:
    """A good series as files."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, data in base(name).files.items():
        (folder / file).write_bytes(data)
    return folder


def edit(path: Path, **values: object) -> None:
    """Another value in a header, all else as it was."""
    ds = pydicom.dcmread(path)
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    ds.save_as(path)


def test_short_run_finds_nothing(tmp_path: Path) -> None:
    records = run(range(100_000, 100_400), tmp_path)
    assert len(records) == 400 and len({r["base"] for r in records}) == len(KINDS)
    failed = [(r["seed"], r["verdict"]) for r in records if r["verdict"] not in {*GOOD, *UNSEEN}]
    assert failed == []
    for record in records:
        if record["verdict"] == "STREAM":
            assert record["stream"]
        if record["verdict"] == "ALONE":
            assert record["base"].startswith("enhanced")
    # It would be no test if all were refused or none.
    refused = sum(r["verdict"] == "refused" for r in records)
    assert 0.5 < refused / len(records) < 0.9


def test_what_once_crashed_or_hung_is_refused(tmp_path: Path) -> None:
    for record in run([2, 145, 155, 194, 468, 506, 511, 528, 693, 765, 2831, 4351], tmp_path):
        assert record["verdict"] in GOOD, record
        assert record["cpu_s"] < 5 and record["peak_mb"] < 1024, record


@pytest.mark.parametrize("keyword, value, what", [
    ("RescaleIntercept", "-1023", "rescale intercept"), ("RescaleSlope", "1.1", "rescale slope"),
    ("PixelPaddingValue", 25, "padding value"), ("PixelRepresentation", 1, "signedness"),
])  # fmt: skip
def test_one_image_scaled_otherwise_is_refused(
    keyword: str, value: object, what: str, tmp_path: Path
) -> None:
    folder = series(tmp_path, "ct_explicit")
    edit(folder / "image03.dcm", **{keyword: value})
    with pytest.raises(InputError, match=f"1 of 6 images state another {what}") as refused:
        ingest_folder(folder)
    assert refused.value.where == "image03.dcm"


def test_a_frame_scaled_otherwise_is_refused(tmp_path: Path) -> None:
    folder = series(tmp_path, "enhanced_ct")
    path = folder / "image00.dcm"
    ds = pydicom.dcmread(path)
    ds.PerFrameFunctionalGroupsSequence[2].PixelValueTransformationSequence[0].RescaleIntercept = "-1025"
    ds.save_as(path)
    with pytest.raises(InputError, match=r"rescale intercept") as refused:
        ingest_folder(folder)
    assert refused.value.where == "image00.dcm (frame 3)"


@pytest.mark.parametrize(
    "name", ["ct_explicit", "ct_big_endian", "ct_implicit_signed", "ct_deflated", "ct_rle"]
)
@pytest.mark.parametrize("extra", [b"\x07\x08\x09", b"\0\0\0\0", bytes(range(40))])
def test_bytes_after_the_pixels_are_refused(name: str, extra: bytes, tmp_path: Path) -> None:
    """They mean that bytes were put in before them: the pixels are shifted against the grid."""
    folder = series(tmp_path, name)
    path = folder / "image02.dcm"
    clear = inflate(path.read_bytes())
    path.write_bytes(deflate(clear + extra) if name == "ct_deflated" else clear + extra)
    with pytest.raises(InputError, match="bytes after the pixel data that belong to nothing"):
        ingest_folder(folder)


@pytest.mark.parametrize("name", ["ct_explicit", "ct_implicit_signed", "ct_big_endian", "ct_rle"])
def test_elements_after_the_pixels_are_not(name: str, tmp_path: Path) -> None:
    folder = series(tmp_path, name)
    want = ingest_folder(folder)[0]
    for path in folder.iterdir():
        edit(path, DataSetTrailingPadding=b"\0" * 30)
    got = ingest_folder(folder)[0]
    assert np.array_equal(got.array, want.array) and np.array_equal(got.affine_lps, want.affine_lps)


@pytest.mark.parametrize("name", [".hidden.dcm", "image.TXT", "scan.zip", "...", "..x..dcm"])
def test_a_slice_is_not_lost_for_its_name(name: str, tmp_path: Path) -> None:
    folder = series(tmp_path, "ct_explicit")
    (folder / LAST).rename(folder / name)
    (folder / "readme.txt").write_text("no image")
    (folder / ".DS_Store").write_bytes(b"\0" * 300)
    volume, manifest = ingest_folder(folder)
    assert volume.array.shape[0] == SLICES
    assert "2 files that are no DICOM images were passed over" in manifest["notes"]


@pytest.mark.parametrize(
    "name", ["a\nb.dcm", "x\r\nfix: none", "\x1b[31mred.dcm", "\u202egnp.dcm", "n" * 250]
)
def test_names_in_messages_are_harmless(name: str, tmp_path: Path) -> None:
    folder = series(tmp_path, "ct_explicit")
    (folder / name).write_bytes(b"no image")
    with pytest.raises(InputError, match="not a DICOM file") as refused:
        ingest_folder(folder)
    assert refused.value.where.isprintable() and len(refused.value.where) < 100
    assert str(refused.value).count("\n") == 2


def test_a_name_that_is_no_text_can_be_shown(tmp_path: Path) -> None:
    folder = series(tmp_path, "ct_explicit")
    (folder / os.fsdecode(b"caf\xe9.dcm")).write_bytes(b"no image")
    with pytest.raises(InputError) as refused:
        ingest_folder(folder)
    assert str(refused.value).encode("utf-8") and "caf\\udce9.dcm" in refused.value.where


LOST: dict[str, Callable[[Path], None]] = {
    "another series": lambda path: edit(path, SeriesInstanceUID=f"{UID}.1.5"),
    "no position": lambda path: edit(path, ImagePositionPatient=None),
    "no frames' groups": lambda path: edit(path, NumberOfFrames=5),
    "another class": lambda path: edit(path, SOPClassUID="1.2.840.10008.5.1.4.1.1.3"),
}


@pytest.mark.parametrize("kind", LOST)
@pytest.mark.parametrize("uid", [None, SERIES_UID])
def test_the_last_slice_is_not_lost_unseen(kind: str, uid: str | None, tmp_path: Path) -> None:
    folder = series(tmp_path, "ct_oblique")
    LOST[kind](folder / LAST)
    with pytest.raises(ImplantflowError) as refused:
        ingest_folder(folder, uid)
    assert LAST in str(refused.value)


def test_another_patient_s_single_image_elsewhere_is_no_lost_slice(tmp_path: Path) -> None:
    """A single image of another series that does not continue the stack stays what it was: set aside."""
    folder = series(tmp_path, "ct_oblique")
    ds = pydicom.dcmread(folder / LAST)
    ds.SeriesInstanceUID, ds.SOPInstanceUID = f"{UID}.1.5", f"{UID}.1.5.1"
    ds.ImagePositionPatient = [float(v) + 40.0 for v in ds.ImagePositionPatient]
    ds.save_as(folder / "single.dcm")
    assert ingest_folder(folder, SERIES_UID)[0].array.shape[0] == SLICES


def test_deflate_bomb_is_refused_before_it_grows(tmp_path: Path) -> None:
    folder = series(tmp_path, "ct_deflated")
    path = folder / "image01.dcm"
    clear = inflate(path.read_bytes())
    pixels = clear.rfind(b"\xe0\x7f\x10\x00")
    filler = b"\x29\x00\x10\x10OB\0\0" + struct.pack("<I", 100 << 20) + bytes(100 << 20)
    path.write_bytes(deflate(clear[:pixels] + filler + clear[pixels:]))
    with pytest.raises(InputError, match="grows to more than 64 MB"):
        ingest_folder(folder)


def test_deflated_data_cut_or_followed_by_something_are_refused(tmp_path: Path) -> None:
    folder = series(tmp_path, "ct_deflated")
    path = folder / "image01.dcm"
    whole = path.read_bytes()
    for damaged in (whole[:-20], whole + b"more", whole[:400] + b"\xff" * 60 + whole[460:]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"deflated data set|cannot be read"):
            ingest_folder(folder)


def test_compressed_planes_that_claim_too_much_are_refused_before_room_is_made(tmp_path: Path) -> None:
    folder = series(tmp_path, "ct_jpeg2000")
    for path in folder.iterdir():
        edit(path, Rows=40000, Columns=40000)
    with pytest.raises(ImplantflowError, match="no image is compressed so far"):
        ingest_folder(folder)


@pytest.mark.parametrize("seed", [1639, 2346, 6045])
def test_a_damaged_length_in_run_length_coded_pixels_is_refused(seed: int, tmp_path: Path) -> None:
    case = build(seed, tmp_path / "case")
    with pytest.raises(InputError, match="do not fill the image exactly"):
        ingest_folder(tmp_path / "case", case.series_uid)


def test_padded_run_length_coded_pixels_are_read(tmp_path: Path) -> None:
    """Trailing codes that do nothing, and the zero that makes a segment even."""
    folder = series(tmp_path, "ct_rle")
    want = ingest_folder(folder)[0]
    for path in folder.iterdir():
        ds = pydicom.dcmread(path)
        frame = get_frame(ds.PixelData, 0, number_of_frames=1)
        ds.PixelData = encapsulate([frame + b"\x80\x80\0\0"])
        ds.save_as(path)
    assert np.array_equal(ingest_folder(folder)[0].array, want.array)


def test_fuzzer_and_reader_agree_on_the_good_series(tmp_path: Path) -> None:
    """The bases are what they are meant to be: HU known without our reader."""
    volume, _ = ingest_folder(series(tmp_path, "ct_explicit"))
    ds = pydicom.dcmread(io.BytesIO(base("ct_explicit").files["image02.dcm"]))
    values = ds.pixel_array.astype(int)
    assert np.array_equal(volume.array[2], np.where(values == 24, -1024, values - 1024))
    shuffled, _ = ingest_folder(series(tmp_path / "enhanced", "enhanced_ct"))
    assert np.array_equal(shuffled.array, volume.array)
