"""What one time point hands to the next: where things lie in its scan, and how the scan shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from implantflow.errors import InputError
from implantflow.followup.design import Blur
from implantflow.geometry import FloatArray


@dataclass(frozen=True)
class Protocol:
    """What two scans must share before their HU may be compared; None where the header does not say."""

    kvp: float | None
    kernel: str | None
    slice_mm: float
    device: str | None
    pixel_mm: float
    artefact_reduction: str

    @classmethod
    def of(cls, manifest: Mapping[str, Any], artefact_reduction: str) -> Protocol:
        """From the manifest that ingest wrote and what the clinic says (``none``, ``applied``, ``unknown``)."""
        header = manifest.get("header") or {}
        maker, model = header.get("manufacturer"), header.get("manufacturer_model")
        return cls(
            header.get("kvp"),
            header.get("kernel"),
            float(manifest["spacing_mm"][2]),
            f"{maker} {model}" if maker and model else None,
            float(manifest["spacing_mm"][0]),
            artefact_reduction,
        )

    def differences(self, other: Protocol) -> list[str]:
        """Why HU of the two scans cannot be compared; empty when they can."""
        found = []
        for name, mine, theirs in (("kVp", self.kvp, other.kvp), ("kernel", self.kernel, other.kernel)):
            if mine is None or theirs is None:
                found.append(f"{name} unknown")
            elif mine != theirs:
                found.append(f"{name} {theirs} at the baseline and {mine} now")
        if abs(self.slice_mm - other.slice_mm) > 0.05 * other.slice_mm:
            found.append(f"slices of {other.slice_mm:g} mm at the baseline and {self.slice_mm:g} mm now")
        if abs(self.pixel_mm - other.pixel_mm) > 0.05 * other.pixel_mm:
            found.append(f"pixels of {other.pixel_mm:g} mm at the baseline and {self.pixel_mm:g} mm now")
        if self.device and other.device and self.device != other.device:
            found.append("another scanner")
        for when, protocol in (("at the baseline", other), ("now", self)):
            if protocol.artefact_reduction != "none":
                found.append(f"metal artefact reduction {protocol.artefact_reduction} {when}")
        return found


@dataclass(frozen=True)
class Found:
    """Poses and grey values of one scan.

    Attributes
    ----------
    scan_from_planning, scan_from_design : (4, 4) float arrays
        Pelvis and implant, from the planning CT's patient LPS to the scan's, mm.
    blur : point spread of the scan.
    gain, offset_hu : HU of the scan = gain * planning HU + offset in tissue.
    """

    scan_from_planning: FloatArray
    scan_from_design: FloatArray
    blur: Blur
    gain: float
    offset_hu: float

    def as_json(self) -> dict[str, Any]:
        """Keys for followup.json; matrices as text, because JSON is rounded to 1e-6."""
        return {
            "scan_from_planning": _text(self.scan_from_planning),
            "scan_from_implant": _text(self.scan_from_design),
            "blur_sd_mm": [self.blur.in_plane_mm, self.blur.axial_mm],
            "gain": self.gain,
            "offset_hu": self.offset_hu,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Found:
        """Read what :meth:`as_json` wrote; InputError when it is something else."""
        try:
            return cls(
                np.array([[float(x) for x in row] for row in data["scan_from_planning"]]),
                np.array([[float(x) for x in row] for row in data["scan_from_implant"]]),
                Blur(*(float(x) for x in data["blur_sd_mm"])),
                float(data["gain"]),
                float(data["offset_hu"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"the baseline's followup.json holds no poses: {error!r}",
                where="followup.json of the baseline",
                fix="run the follow-up of the baseline time point again",
            ) from error


def _text(matrix: FloatArray) -> list[list[str]]:
    return [[repr(round(float(x), 10) + 0.0) for x in row] for row in matrix]
