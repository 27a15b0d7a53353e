"""The acquisition facts that may leave a header: a closed list, for later comparison of scans.

Numbers must lie where such a number can lie, text must consist of known words (:mod:`implantflow.dicom.vocabulary`):
a number or a name that somebody put into the wrong field stays in the header.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from implantflow.dicom import vocabulary
from implantflow.dicom.quiet import quietly


@dataclass(frozen=True)
class Fact:
    """One listed header field.

    Attributes
    ----------
    keyword, key : DICOM keyword, and the key in the manifest.
    wanted_for : modalities whose later stages would miss it.
    limits : lowest and highest number that is plausible, in the unit that ``key`` names; None for text.
    words : what may be written of a text; "" when nothing of it.
    """

    keyword: str
    key: str
    wanted_for: tuple[str, ...]
    limits: tuple[float, float] | None = None
    words: Callable[[str], str] | None = None


FACTS = (
    Fact("Manufacturer", "manufacturer", (), words=vocabulary.manufacturer),
    Fact("ManufacturerModelName", "manufacturer_model", (), words=vocabulary.model),
    Fact("PatientPosition", "patient_position", ("CT", "MR"), words=vocabulary.patient_position),
    Fact("SliceThickness", "slice_thickness_mm", ("CT", "MR"), (0.01, 100)),
    Fact("SpacingBetweenSlices", "slice_spacing_stated_mm", (), (0.01, 100)),
    Fact("KVP", "kvp", ("CT",), (10, 500)),
    Fact("ConvolutionKernel", "kernel", ("CT",), words=vocabulary.kernel),
    Fact("ReconstructionDiameter", "fov_mm", ("CT",), (1, 1000)),
    Fact("ImagesInAcquisition", "images_in_acquisition", (), (1, 100_000)),
    Fact("XRayTubeCurrent", "tube_current_ma", (), (0, 2000)),
    Fact("Exposure", "exposure_mas", ("CT",), (0, 10000)),
    Fact("CTDIvol", "ctdi_vol_mgy", (), (0, 500)),
    Fact("MagneticFieldStrength", "field_strength_t", ("MR",), (0.01, 20)),
    Fact("ScanningSequence", "scanning_sequence", ("MR",), words=vocabulary.scanning_sequence),
    Fact("RepetitionTime", "repetition_time_ms", ("MR",), (0, 60000)),
    Fact("EchoTime", "echo_time_ms", ("MR",), (0, 5000)),
    Fact("FlipAngle", "flip_angle_deg", (), (0, 360)),
)

#: What multi-frame images call the same thing (DICOM PS3.3 C.8.13, C.8.15).
_IN_FRAMES = {
    "Exposure": "ExposureInmAs",
    "XRayTubeCurrent": "XRayTubeCurrentInmA",
    "EchoTime": "EffectiveEchoTime",
}
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")

#: Longer text than any of these fields needs is not a fact but a note.
_MAX_TEXT = 64


def read_facts(path: Path, modality: str) -> tuple[dict[str, Any], list[str]]:
    """Listed facts of one image file, and the keywords a ``modality`` image should have but lacks.

    Returns
    -------
    facts : manifest key -> number or text
        Only what is there and plausible.
    missing : list of DICOM keywords
    """
    import pydicom

    facts: dict[str, Any] = {}
    missing: list[str] = []
    with quietly():
        dataset = pydicom.dcmread(
            path, stop_before_pixels=True, specific_tags=[*(fact.keyword for fact in FACTS), *_GROUPS]
        )
        for fact in FACTS:
            value = _value(dataset, fact)
            if value is not None:
                facts[fact.key] = value
            elif modality in fact.wanted_for:
                missing.append(fact.keyword)
    return facts, missing


def _value(dataset: Any, fact: Fact) -> float | str | None:
    try:
        value = dataset.get(fact.keyword)
        if value is None:
            value = _in_first_frame(dataset, _IN_FRAMES.get(fact.keyword, fact.keyword))
        if value in (None, ""):
            return None
        if fact.limits is not None:
            number = float(value)
            return number if fact.limits[0] <= number <= fact.limits[1] else None
        parts = [value] if isinstance(value, str) else list(value)
        text = "\\".join(str(part).strip() for part in parts)
    except Exception:  # a damaged element provokes any error; a fact that cannot be read is missing
        return None
    assert fact.words is not None
    return (fact.words(text) or None) if 0 < len(text) <= _MAX_TEXT and text.isprintable() else None


def _in_first_frame(dataset: Any, keyword: str) -> Any:
    """A value among the functional groups that all frames share, or that the first frame has of its own."""
    for name in _GROUPS:
        groups = dataset.get(name)
        for element in groups[0] if groups else ():
            if element.VR == "SQ" and len(element.value) and keyword in element.value[0]:
                return element.value[0].get(keyword)
    return None
