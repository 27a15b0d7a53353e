"""The acquisition facts that may leave a header: a closed list, for later comparison of scans."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from implantflow.dicom.quiet import quietly


@dataclass(frozen=True)
class Fact:
    """One listed header field: DICOM keyword, key in the manifest, whether later stages would miss it."""

    keyword: str
    key: str
    number: bool
    wanted_for: tuple[str, ...]


FACTS = (
    Fact("Manufacturer", "manufacturer", False, ()),
    Fact("ManufacturerModelName", "manufacturer_model", False, ()),
    Fact("PatientPosition", "patient_position", False, ("CT", "MR")),
    Fact("SliceThickness", "slice_thickness_mm", True, ("CT", "MR")),
    Fact("KVP", "kvp", True, ("CT",)),
    Fact("ConvolutionKernel", "kernel", False, ("CT",)),
    Fact("ReconstructionDiameter", "fov_mm", True, ("CT",)),
    Fact("XRayTubeCurrent", "tube_current_ma", True, ()),
    Fact("Exposure", "exposure_mas", True, ("CT",)),
    Fact("CTDIvol", "ctdi_vol_mgy", True, ()),
    Fact("MagneticFieldStrength", "field_strength_t", True, ("MR",)),
    Fact("ScanningSequence", "scanning_sequence", False, ("MR",)),
    Fact("RepetitionTime", "repetition_time_ms", True, ("MR",)),
    Fact("EchoTime", "echo_time_ms", True, ("MR",)),
    Fact("FlipAngle", "flip_angle_deg", True, ()),
)

#: Longer text than any of these fields needs is not a fact but a note, and notes name people.
_MAX_TEXT = 32


def read_facts(path: Path, modality: str) -> tuple[dict[str, Any], list[str]]:
    """Listed facts of one image file, and the keywords a ``modality`` image should have but lacks.

    Returns
    -------
    facts : manifest key -> number or text
        Only what is there; text is kept when it is short and printable.
    missing : list of DICOM keywords
    """
    import pydicom

    facts: dict[str, Any] = {}
    missing: list[str] = []
    with quietly():
        dataset = pydicom.dcmread(
            path, stop_before_pixels=True, specific_tags=[fact.keyword for fact in FACTS]
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
        if value in (None, ""):
            return None
        if fact.number:
            return float(value)
        parts = [value] if isinstance(value, str) else list(value)
        text = "\\".join(str(part).strip() for part in parts)
    except (TypeError, ValueError):
        return None
    return text if 0 < len(text) <= _MAX_TEXT and text.isprintable() else None
