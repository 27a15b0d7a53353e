"""What the objects written for release and follow-up say, read with nothing that wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from implantflow.dicom.export.registration import SPATIAL_REGISTRATION_STORAGE
from implantflow.errors import InputError
from implantflow.geometry import FloatArray
from implantflow.volumes import Volume


def read_registration(path: Path) -> Mapping[str, FloatArray]:
    """Frame of reference UID ("" where a series has none) -> (4, 4) into the object's own frame of reference.

    Raises
    ------
    InputError
        The object is no registration of whole frames by one matrix each.
    """
    import pydicom

    ds: Any = pydicom.dcmread(path)
    if ds.SOPClassUID != SPATIAL_REGISTRATION_STORAGE:
        raise InputError("not a Spatial Registration object", where=path.name)
    found = {}
    for item in ds.RegistrationSequence:
        steps = item.MatrixRegistrationSequence[0].MatrixSequence
        if len(item.MatrixRegistrationSequence) != 1 or len(steps) != 1:
            raise InputError("a registration of more than one step is not read", where=path.name)
        values = np.array([float(v) for v in steps[0].FrameOfReferenceTransformationMatrix])
        found[str(item.get("FrameOfReferenceUID", ""))] = values.reshape(4, 4)
    return found


def read_segmentation(path: Path) -> dict[str, Volume]:
    """The masks of a binary segmentation by label, each over all planes between its first and its last.

    Uses nothing of highdicom: planes are put where their own positions say.
    """
    import pydicom

    ds: Any = pydicom.dcmread(path)
    bits = np.unpackbits(np.frombuffer(ds.PixelData, np.uint8), bitorder="little")
    frames = bits[: ds.NumberOfFrames * ds.Rows * ds.Columns].reshape(-1, ds.Rows, ds.Columns)
    shared = ds.SharedFunctionalGroupsSequence[0]
    return {
        str(segment.SegmentLabel): _stacked(ds, frames, shared, int(segment.SegmentNumber))
        for segment in ds.SegmentSequence
    }


def _stacked(ds: Any, frames: Any, shared: Any, number: int) -> Volume:
    groups = ds.PerFrameFunctionalGroupsSequence
    mine = [
        n
        for n, item in enumerate(groups)
        if item.SegmentIdentificationSequence[0].ReferencedSegmentNumber == number
    ]
    measures = shared.PixelMeasuresSequence[0]
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, dtype=np.float64)
    row, column = cosines[:3], cosines[3:]
    step = float(measures.SpacingBetweenSlices)
    normal = np.cross(row, column)
    places = np.array(
        [groups[n].PlanePositionSequence[0].ImagePositionPatient for n in mine], dtype=np.float64
    )
    along = places @ normal
    index = np.rint((along - along.min()) / step).astype(int)
    array = np.zeros((index.max() + 1, ds.Rows, ds.Columns), dtype=np.uint8)
    array[index] = frames[mine]
    affine = np.eye(4)
    spacing = [float(v) for v in measures.PixelSpacing]
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = row * spacing[1], column * spacing[0], normal * step
    affine[:3, 3] = places[along.argmin()]
    return Volume(array, affine)
