"""DICOM Segmentation objects: frames by their positions, empty ones left out, overlaps and other grids refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from implantflow.errors import GeometryError, InputError
from implantflow.foreign.read import labels_on, read_foreign
from implantflow.foreign.seg import SEGMENTATION_STORAGE
from implantflow.volumes import Volume

ROWS, COLUMNS, PLANES = 24, 32, 12


def image() -> Volume:
    affine = np.diag([1.5, 1.5, 2.0, 1.0])
    affine[:3, 3] = (-20.0, -30.0, 50.0)
    return Volume(np.zeros((PLANES, ROWS, COLUMNS), np.int16), affine)


def labels() -> np.ndarray:
    found = np.zeros((PLANES, ROWS, COLUMNS), np.uint8)
    found[3:6, 4:10, 5:20] = 1
    found[7:10, 8:20, 12:30] = 2
    return found


def segmentation(array: np.ndarray, affine: np.ndarray, shuffle: bool = True) -> Dataset:
    """A binary segmentation of the frames that are not empty, in no order."""
    frames = [(n, k) for n in (1, 2) for k in range(len(array)) if (array[k] == n).any()]
    if shuffle:
        frames = [frames[n] for n in np.random.default_rng(2).permutation(len(frames))]
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = SEGMENTATION_STORAGE
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = "2.25.5"
    ds.SegmentationType, ds.Modality = "BINARY", "SEG"
    ds.Rows, ds.Columns = array.shape[1:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 1
    ds.HighBit = ds.PixelRepresentation = 0
    ds.NumberOfFrames = len(frames)
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [1.5, 1.5]
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.PerFrameFunctionalGroupsSequence = [per_frame(number, k, affine) for number, k in frames]
    bits = np.concatenate([(array[k] == number).ravel() for number, k in frames])
    packed = np.packbits(bits, bitorder="little").tobytes()
    ds.PixelData = packed + b"\0" * (len(packed) % 2)
    return ds


def per_frame(number: int, k: int, affine: np.ndarray) -> Dataset:
    item, segment, place = Dataset(), Dataset(), Dataset()
    segment.ReferencedSegmentNumber = number
    place.ImagePositionPatient = [float(v) for v in affine[:3, 3] + k * affine[:3, 2]]
    item.SegmentIdentificationSequence, item.PlanePositionSequence = [segment], [place]
    return item


def saved(ds: Any, path: Path) -> Path:
    ds.save_as(path, enforce_file_format=True)
    return path


def test_labels_by_position(tmp_path: Path) -> None:
    foreign = read_foreign(saved(segmentation(labels(), image().affine_lps), tmp_path / "seg.dcm"))
    found, how = labels_on(foreign, image(), resample=False)
    assert how == "part of the grid" and np.array_equal(found, labels())


def test_fractional_and_other_objects_are_refused(tmp_path: Path) -> None:
    ds = segmentation(labels(), image().affine_lps)
    ds.SegmentationType = "FRACTIONAL"
    with pytest.raises(InputError, match="not binary"):
        read_foreign(saved(ds, tmp_path / "a"))
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    with pytest.raises(InputError, match="no Segmentation"):
        read_foreign(saved(ds, tmp_path / "b"))


def test_overlapping_segments_are_refused(tmp_path: Path) -> None:
    ds = segmentation(labels(), image().affine_lps, shuffle=False)
    items = ds.PerFrameFunctionalGroupsSequence
    items[4].PlanePositionSequence[0].ImagePositionPatient = (
        items[1].PlanePositionSequence[0].ImagePositionPatient
    )
    with pytest.raises(InputError, match="overlap"):
        read_foreign(saved(ds, tmp_path / "seg"))


def test_a_frame_off_the_grid_is_refused(tmp_path: Path) -> None:
    ds = segmentation(labels(), image().affine_lps)
    place = ds.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence[0]
    place.ImagePositionPatient = [place.ImagePositionPatient[0] + 0.4, *place.ImagePositionPatient[1:]]
    with pytest.raises(GeometryError, match=r"0\.\d+ mm off a regular stack"):
        read_foreign(saved(ds, tmp_path / "seg"))


def test_damage_is_refused(tmp_path: Path) -> None:
    ds = segmentation(labels(), image().affine_lps)
    ds.NumberOfFrames = 99
    with pytest.raises(InputError):
        read_foreign(saved(ds, tmp_path / "frames"))
    ds = segmentation(labels(), image().affine_lps)
    del ds.PerFrameFunctionalGroupsSequence
    with pytest.raises(InputError, match="cannot be read"):
        read_foreign(saved(ds, tmp_path / "groups"))
    path = saved(segmentation(labels(), image().affine_lps), tmp_path / "cut")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError):
        read_foreign(path)
