"""Read one series of a folder: volume and manifest, or a refusal that names the file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from implantflow.dicom.consistency import refuse_lost
from implantflow.dicom.facts import read_facts
from implantflow.dicom.folder import read_folder
from implantflow.dicom.headers import MAY_LOSE
from implantflow.dicom.parts import Part, split
from implantflow.dicom.resample import BRIDGED, OUTSIDE
from implantflow.dicom.sort import Choice, choose_series
from implantflow.dicom.stack import MAX_RESIDUAL_MM
from implantflow.dicom.uids import remap_uid
from implantflow.dicom.volume import Assembled, assemble
from implantflow.errors import InputError
from implantflow.ingest.doubts import doubts, unlisted
from implantflow.volumes import Volume


@dataclass(frozen=True)
class Ingested:
    """One series as the pipeline takes it in.

    Attributes
    ----------
    volume : Volume
        (K, J, I) int16, HU (CT) or rescaled intensity (MR), patient LPS.
    manifest : dict
        Contract keys of ``ingest.series[]``, the affine, listed header facts, every check.
    invented : Volume or None
        On the same grid, uint8: 0 measured, 1 outside the measured planes, 2 between planes further apart than
        the grid's step. None when the series was not resampled: everything was measured.
    """

    volume: Volume
    manifest: dict[str, Any]
    invented: Volume | None

    def mask(self) -> Volume:
        """``invented``, all zero where nothing was resampled."""
        if self.invented is not None:
            return self.invented
        return self.volume.like(np.zeros(self.volume.array.shape, dtype=np.uint8))


def require_folder(path: Path) -> None:
    """Refuse a path of the command line that is no folder, as it was given; a config's is named by its key elsewhere.

    Raises
    ------
    InputError
        Nothing is there, or a file.
    """
    if not path.is_dir():
        what = "this is a file, not a folder" if path.exists() else "there is no such folder"
        raise InputError(what, where=str(path), fix="give the folder that holds the DICOM files")


def scan_folder(path: Path) -> list[Part]:
    """What a folder holds, one part per possible volume, without reading pixels.

    Raises
    ------
    InputError
        The folder does not exist, holds no DICOM image, or none that can be read.
    """
    require_folder(path)
    contents = read_folder(path)
    if not contents.slices and contents.damaged:
        name, reason = contents.damaged[0]
        raise InputError(
            f"none of the DICOM files can be read: {len(contents.damaged)} damaged, the first, {name}: {reason}",
            where=str(path),
            fix="copy or fetch the series again",
        )
    if not contents.slices:
        raise InputError(
            "the folder holds no DICOM image",
            where=str(path),
            fix="give the folder that holds the DICOM files",
        )
    return split(contents.slices)


def take_series(
    path: Path, series_uid: str | None = None, modality: str | None = None, *, resample: bool = False
) -> Ingested:
    """Read the one wanted series below ``path``.

    Parameters
    ----------
    path : folder, searched through all its folders
    series_uid : which series, or which part of one, when there are several; remapped or original UID
    modality : "CT" or "MR" when the caller expects one; any other is refused
    resample : bring a tilted or unevenly spaced series onto a regular grid instead of refusing it

    Raises
    ------
    InputError, GeometryError
        Anything that would make the volume wrong; the message names the file.
    """
    contents = read_folder(path)
    choice = choose_series(contents, series_uid)
    chosen = choice.images
    refuse_lost(chosen, contents.slices)
    found = chosen[0].modality
    if found not in ("CT", "MR") or (modality is not None and found != modality):
        raise InputError(
            f"the series is {found or 'of unknown modality'}, the config expects {modality or 'CT or MR'}",
            where=chosen[0].name,
            fix="check ingest.series.NAME.modality and series_uid",
        )
    assembled = assemble(chosen, resample=resample)
    facts, missing = read_facts(assembled.stack.slices[0].path, found)
    manifest = _manifest(assembled, choice, facts, missing)
    manifest["notes"] += unlisted(chosen[0].series_uid, contents)
    resampled = assembled.resampled
    invented = None if resampled is None else assembled.volume.like(resampled.invented)
    return Ingested(assembled.volume, manifest, invented)


def _manifest(
    assembled: Assembled, choice: Choice, facts: dict[str, Any], missing: list[str]
) -> dict[str, Any]:
    stack, volume = assembled.stack, assembled.volume
    first = stack.slices[0]
    return {
        "series_uid": remap_uid(first.series_uid),
        "part_uid": choice.part_uid,
        "modality": first.modality,
        "n_slices": len(stack.slices),
        "spacing_mm": volume.spacing_mm,
        "tilt_deg": stack.tilt_deg,
        "max_residual_mm": stack.max_residual_mm,
        "resampled": assembled.resampled is not None,
        "verdict": "ok",
        "frame": "patient_lps",
        "values": "HU" if first.modality == "CT" else "rescaled intensity",
        "size_ijk": list(volume.array.shape[::-1]),
        "affine_lps": volume.affine_lps,
        "slice_spacing_range_mm": list(stack.spacing_range_mm),
        "invented": _invented(assembled),
        "value_range": list(assembled.value_range),
        "frame_of_reference_uid": remap_uid(first.frame_of_reference),
        "header": facts,
        "missing_tags": missing,
        "notes": [*_notes(assembled, choice, missing), *doubts(stack.slices, facts)],
        "checks": _checks(assembled),
        "sop_class_uid": first.sop_class,
        "sop_instance_uids": [remap_uid(image.sop_uid) for image in stack.slices],
    }


def _invented(assembled: Assembled) -> dict[str, float]:
    """Shares of the volume's voxels that were not measured."""
    if assembled.resampled is None:
        return {"share": 0.0, "outside_share": 0.0, "bridged_share": 0.0}
    mask = assembled.resampled.invented
    outside, bridged = (float((mask == code).mean()) for code in (OUTSIDE, BRIDGED))
    return {"share": outside + bridged, "outside_share": outside, "bridged_share": bridged}


def _notes(assembled: Assembled, choice: Choice, missing: list[str]) -> list[str]:
    stack = assembled.stack
    notes = [*choice.notes, *stack.notes]
    if assembled.resampled is not None:
        shares = _invented(assembled)
        notes.append(
            f"{100 * shares['outside_share']:.2f} % of the voxels lie outside the measured planes (they hold the "
            f"value of air) and {100 * shares['bridged_share']:.2f} % between planes too far apart (blended from "
            "both): invented.nii.gz marks them"
        )
    if missing:
        notes.append(f"header lacks {', '.join(missing)}: figures that need them are not determinable")
    if assembled.rounding:
        notes.append(f"values rounded to whole numbers, by at most {assembled.rounding:.3g}")
    if not stack.slices[0].frame_of_reference:
        notes.append("no frame of reference: placing it beside other series needs registration")
    return notes


def _checks(assembled: Assembled) -> list[dict[str, Any]]:
    """What was verified before the series was accepted; a failed check never gets here, it is a refusal."""
    stack = assembled.stack
    spread = float(np.ptp(stack.spacing_range_mm))
    mended = "" if assembled.resampled is None else " (of the series as it was; resampled, as was asked for)"
    outcomes = {
        "every file readable and complete": "yes",
        "one patient in the folder": "yes",
        "one modality, frame of reference, size, pixel spacing and orientation": "yes",
        "no two slices at one place": "yes",
        "slice spacing regular": f"spread {spread:.4f} mm{mended}",
        "every slice on the common grid": f"{stack.max_residual_mm:.4f} mm, limit {MAX_RESIDUAL_MM} mm{mended}",
        "stacked along the planes' normal": f"{stack.tilt_deg:.4f} deg{mended}",
        "rescale slope, intercept and padding applied slice by slice": "yes",
        "compressed with loss": _loss(assembled),
    }
    return [{"check": check, "result": result} for check, result in outcomes.items()]


def _loss(assembled: Assembled) -> str:
    if assembled.lossy:
        return "yes, at some time"
    allowed = any(image.pixels.transfer_syntax in MAY_LOSE for image in assembled.stack.slices)
    return "not stated; the transfer syntax allows it" if allowed else "not stated"
