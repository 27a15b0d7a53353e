"""What a folder holds: parts told apart, named by UIDs the config can use, non-volumes set aside."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torture_refused as spoil
from one_series import ingest_folder
from pydicom.dataset import Dataset
from synthetic_series import UID, enhanced, make_slices, save, words_of
from test_ingest_torture import assert_exact

from implantflow.dicom.uids import remap_uid
from implantflow.errors import GeometryError, ImplantflowError, InputError
from implantflow.ingest.read import scan_folder, take_series


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
    assert manifest["part_uid"] is None
    assert_exact(volume)
    with pytest.raises(InputError, match="no volume series"):
        ingest_folder(tmp_path, series_uid="2.25.1")


def phases(keyword: str, *values: object) -> list[Dataset]:
    """The same places more than once, later ones brighter by 30."""
    found = []
    for number, value in enumerate(values):
        for ds in make_slices():
            ds.SOPInstanceUID += f".{number}"
            ds.PixelData = (words_of(ds) + 30 * number).tobytes()
            setattr(ds, keyword, value)
            found.append(ds)
    return found


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("AcquisitionNumber", (1, 2)),
        ("TemporalPositionIdentifier", (1, 2, 3)),
        ("EchoTime", (2.4, 80)),
        ("ImageType", (["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"])),
        ("ConvolutionKernel", ("B30s", "B70s")),
    ],
)
def test_phases_under_one_series_are_refused_and_then_chosen(
    keyword: str, values: tuple[object, ...], tmp_path: Path
) -> None:
    save(phases(keyword, *values), tmp_path)
    with pytest.raises(GeometryError, match=f"several phases.*{keyword}") as error:
        ingest_folder(tmp_path)
    parts = scan_folder(tmp_path)
    assert len(parts) == len(values)
    assert all(part.series_uid in str(error.value) and keyword in str(part) for part in parts)
    for number, part in enumerate(parts):
        volume, manifest = ingest_folder(tmp_path, series_uid=part.series_uid)
        assert_exact(volume.like(volume.array - 30 * number))
        assert manifest["part_uid"] == part.series_uid and manifest["series_uid"] == remap_uid(f"{UID}.1")
        assert any("set aside" in note for note in manifest["notes"])


@pytest.mark.parametrize("keyword", ["AcquisitionNumber", "TemporalPositionIdentifier", "ConvolutionKernel"])
def test_scans_laid_into_each_other_are_refused_and_then_chosen(keyword: str, tmp_path: Path) -> None:
    """Evenly spaced, planes of two scans in turns would pass for one scan of half the spacing."""
    slices = make_slices(count=40, step_mm=1.5)
    for number, ds in enumerate(slices):
        setattr(
            ds, keyword, ("B30s", "B70s")[number % 2] if keyword == "ConvolutionKernel" else 1 + number % 2
        )
    save(slices, tmp_path)
    for resample in (False, True):
        with pytest.raises(GeometryError, match=f"lie between each other.*{keyword}") as error:
            take_series(tmp_path, resample=resample)
    parts = scan_folder(tmp_path)
    assert len(parts) == 2 and all(part.series_uid in str(error.value) for part in parts)
    for part in parts:
        volume, manifest = ingest_folder(tmp_path, series_uid=part.series_uid)
        assert_exact(volume)
        assert manifest["n_slices"] == 20


def test_ranges_end_to_end_and_slices_excited_in_turns_are_one_scan(tmp_path: Path) -> None:
    slices = make_slices()
    for ds in slices[12:]:
        ds.AcquisitionNumber = 2
    assert_exact(ingest_folder(save(slices, tmp_path / "ct"))[0])
    slices = make_slices(modality="MR")
    for number, ds in enumerate(slices):
        ds.AcquisitionNumber, ds.EchoTime = 1 + number % 2, 4.6 + 0.01 * (number % 3)
    assert_exact(ingest_folder(save(slices, tmp_path / "mr"))[0])


def test_a_piece_of_a_multi_frame_object_is_refused(tmp_path: Path) -> None:
    slices = make_slices()
    pieces = [enhanced(slices[:15]), enhanced(slices[15:])]
    for number, ds in enumerate(pieces, 1):
        ds.ConcatenationUID, ds.InConcatenationNumber, ds.InConcatenationTotalNumber = f"{UID}.66", number, 2
    assert_exact(ingest_folder(save(pieces, tmp_path / "whole"))[0])
    with pytest.raises(GeometryError, match="split into 2 files, of which 1 are here"):
        ingest_folder(save(pieces[:1], tmp_path / "half"))


@pytest.mark.parametrize("keyword", ["StackID", "TemporalPositionIdentifier"])
def test_stacks_and_phases_in_one_multi_frame_object(keyword: str, tmp_path: Path) -> None:
    save([enhanced(phases(keyword, "1", "2"))], tmp_path)
    with pytest.raises(GeometryError, match=f"several phases.*{keyword}"):
        ingest_folder(tmp_path)
    for number, part in enumerate(scan_folder(tmp_path)):
        volume, _ = ingest_folder(tmp_path, series_uid=part.series_uid)
        assert_exact(volume.like(volume.array - 30 * number))


def test_a_part_keeps_its_uid_when_other_files_come_and_go(tmp_path: Path) -> None:
    save(phases("AcquisitionNumber", 1, 2), tmp_path)
    first = {part.series_uid for part in scan_folder(tmp_path)}
    save(make_slices(series=3, count=5), tmp_path / "another")
    assert first < {part.series_uid for part in scan_folder(tmp_path)}


def test_one_part_of_a_mixed_grid_can_be_chosen(tmp_path: Path) -> None:
    slices = make_slices()
    coarse = make_slices(orientation=(1, 0, 0, 0, 0, -1), count=30)
    for ds in coarse:
        ds.SOPInstanceUID += ".7"
    save([*slices, *coarse], tmp_path)
    with pytest.raises(GeometryError, match="orientation changes"):
        ingest_folder(tmp_path)
    parts = scan_folder(tmp_path)
    assert [part.kind for part in parts] == ["volume", "volume"]
    for part in parts:
        assert_exact(ingest_folder(tmp_path, series_uid=part.series_uid)[0])


def test_localizers_surveys_and_monitoring_are_no_volumes(tmp_path: Path) -> None:
    """Beside one real series all of these are passed over, without a series_uid."""
    save(make_slices(), tmp_path / "ct")
    scout = make_slices(orientation=(1, 0, 0, 0, 0, -1), count=2, series=2)
    for ds in scout:
        ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    save(scout, tmp_path / "scout")
    survey = [
        ds
        for number, along in enumerate([(1, 0, 0, 0, 1, 0), (1, 0, 0, 0, 0, -1), (0, 1, 0, 0, 0, -1)])
        for ds in make_slices(orientation=along, count=5, step_mm=10.0, series=3)
        if setattr(ds, "SOPInstanceUID", f"{ds.SOPInstanceUID}.{number}") is None
    ]
    save(survey, tmp_path / "survey")
    monitoring = [deepcopy(make_slices(count=1, series=4)[0]) for _ in range(8)]
    for number, ds in enumerate(monitoring):
        ds.SOPInstanceUID, ds.PixelData = f"{UID}.4.9{number}", (words_of(ds) + number).tobytes()
    save(monitoring, tmp_path / "monitoring")
    volume, manifest = ingest_folder(tmp_path)
    assert_exact(volume)
    kinds = [part.kind for part in scan_folder(tmp_path)]
    assert kinds.count("volume") == 1
    for reason in ("localizer", "survey", "at least two slices"):
        assert any(reason in kind for kind in kinds), kinds
    assert manifest["series_uid"] == remap_uid(f"{UID}.1")


def test_a_survey_is_refused_even_when_it_is_named(tmp_path: Path) -> None:
    survey = make_slices(count=5, series=3) + make_slices(orientation=(1, 0, 0, 0, 0, -1), count=5, series=3)
    save(survey, tmp_path)
    for uid in (None, remap_uid(f"{UID}.3"), *(part.series_uid for part in scan_folder(tmp_path))):
        with pytest.raises(InputError, match="survey"):
            ingest_folder(tmp_path, series_uid=uid)


def test_no_suffix_nested_and_other_files(tmp_path: Path) -> None:
    slices = make_slices()
    save(slices[:10], tmp_path / "a", "IM{:04d}")
    save(slices[10:], tmp_path / "b" / "c", "IM{:04d}")
    (tmp_path / "readme.txt").write_text("not an image")
    volume, manifest = ingest_folder(tmp_path)
    assert_exact(volume)
    assert any("no DICOM images" in note for note in manifest["notes"])


def test_identical_duplicates_and_localizers_are_said(tmp_path: Path) -> None:
    slices = make_slices()
    save(slices, tmp_path)
    save(slices[4:7], tmp_path / "again")
    scout = make_slices(orientation=(1, 0, 0, 0, 0, -1), count=1)
    scout[0].ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    save(scout, tmp_path / "scout")
    volume, manifest = ingest_folder(tmp_path)
    assert_exact(volume)
    assert "3 identical duplicate slices dropped" in manifest["notes"]
    assert "1 images of the series set aside: localizer" in manifest["notes"]


def test_a_refused_series_stays_refused_when_it_is_named(tmp_path: Path) -> None:
    save(spoil.two_phases(make_slices())[:-2], tmp_path)
    with pytest.raises(ImplantflowError):
        ingest_folder(tmp_path, series_uid=remap_uid(f"{UID}.1"))


def test_facts_of_multi_frame_images_come_from_their_groups(tmp_path: Path) -> None:
    ds = enhanced(make_slices())
    for keyword in ("KVP", "ConvolutionKernel"):
        delattr(ds, keyword)
    rays, reconstruction, exposure = Dataset(), Dataset(), Dataset()
    rays.KVP, reconstruction.ConvolutionKernel, reconstruction.ReconstructionDiameter = 110, "B30s", 350
    exposure.ExposureInmAs = 120.5
    shared = ds.SharedFunctionalGroupsSequence[0]
    shared.CTXRayDetailsSequence, shared.CTReconstructionSequence = [rays], [reconstruction]
    ds.PerFrameFunctionalGroupsSequence[0].CTExposureSequence = [exposure]
    _, manifest = ingest_folder(save([ds], tmp_path))
    header = manifest["header"]
    assert (header["kvp"], header["kernel"], header["fov_mm"]) == (110, "B30s", 350)
    assert header["exposure_mas"] == 120.5 and header["slice_thickness_mm"] == 2.0
    assert manifest["missing_tags"] == ["PatientPosition"]


def test_twenty_thousand_files_would_fit(tmp_path: Path) -> None:
    """A slice's header weighs little: the table of many is made from headers alone."""
    import tracemalloc

    save(make_slices(), tmp_path)
    take_series(tmp_path)
    tracemalloc.start()
    parts = scan_folder(tmp_path)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held / len(parts[0].images) < 12_000  # bytes a slice: 240 MB for twenty thousand
    assert np.isfinite(held)
