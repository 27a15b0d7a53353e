"""Read one series of a folder: volume and manifest, or a refusal that names the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from implantflow.dicom.facts import read_facts
from implantflow.dicom.headers import read_folder
from implantflow.dicom.sort import SeriesRow, choose_series, table
from implantflow.dicom.stack import MAX_RESIDUAL_MM
from implantflow.dicom.uids import remap_uid
from implantflow.dicom.volume import Assembled, assemble
from implantflow.errors import InputError
from implantflow.volumes import Volume


def scan_folder(path: Path) -> list[SeriesRow]:
    """What a folder holds, one row per series and kind of image, without reading pixels.

    Raises
    ------
    InputError
        The folder does not exist or holds no DICOM image.
    """
    contents = read_folder(path)
    if not contents.slices:
        raise InputError("the folder holds no DICOM image", fix="name the folder that holds the DICOM files")
    return table(contents.slices)


def ingest_folder(
    path: Path, series_uid: str | None = None, modality: str | None = None
) -> tuple[Volume, dict[str, Any]]:
    """Read the one wanted series below ``path``.

    Parameters
    ----------
    path : folder, searched through all its folders
    series_uid : which series when there are several; remapped or original UID
    modality : "CT" or "MR" when the caller expects one; any other is refused

    Returns
    -------
    volume : Volume
        (K, J, I) int16, HU (CT) or rescaled intensity (MR), patient LPS.
    manifest : dict
        Contract keys of ``ingest.series[]``, the affine, listed header facts, every check.

    Raises
    ------
    InputError, GeometryError
        Anything that would make the volume wrong; the message names the file.
    """
    contents = read_folder(path)
    chosen, notes = choose_series(contents, series_uid)
    found = chosen[0].modality
    if found not in ("CT", "MR") or (modality is not None and found != modality):
        raise InputError(
            f"the series is {found or 'of unknown modality'}, the config expects {modality or 'CT or MR'}",
            where=chosen[0].name,
            fix="check ingest.series.NAME.modality and series_uid",
        )
    assembled = assemble(chosen)
    facts, missing = read_facts(assembled.stack.slices[0].path, found)
    manifest = _manifest(assembled, facts, missing, notes + assembled.stack.notes)
    return assembled.volume, manifest


def _manifest(
    assembled: Assembled, facts: dict[str, Any], missing: list[str], notes: list[str]
) -> dict[str, Any]:
    stack, volume = assembled.stack, assembled.volume
    first = stack.slices[0]
    if missing:
        notes = [*notes, f"header lacks {', '.join(missing)}: figures that need them are not determinable"]
    if assembled.rounding:
        notes = [*notes, f"values rounded to whole numbers, by at most {assembled.rounding:.3g}"]
    if not first.frame_of_reference:
        notes = [
            *notes,
            "no frame of reference: placing it beside other series needs registration",
        ]
    return {
        "series_uid": remap_uid(first.series_uid),
        "modality": first.modality,
        "n_slices": len(stack.slices),
        "spacing_mm": volume.spacing_mm,
        "tilt_deg": stack.tilt_deg,
        "max_residual_mm": stack.max_residual_mm,
        "resampled": False,
        "verdict": "ok",
        "frame": "patient_lps",
        "values": "HU" if first.modality == "CT" else "rescaled intensity",
        "size_ijk": list(volume.array.shape[::-1]),
        "affine_lps": volume.affine_lps,
        "slice_spacing_range_mm": list(stack.spacing_range_mm),
        "value_range": [int(volume.array.min()), int(volume.array.max())],
        "frame_of_reference_uid": remap_uid(first.frame_of_reference),
        "header": facts,
        "missing_tags": missing,
        "notes": notes,
        "checks": _checks(assembled),
        "sop_instance_uids": [remap_uid(image.sop_uid) for image in stack.slices],
    }


def _checks(assembled: Assembled) -> list[dict[str, Any]]:
    """What was verified before the series was accepted; a failed check never gets here, it is a refusal."""
    stack = assembled.stack
    spread = float(np.ptp(stack.spacing_range_mm))
    outcomes = {
        "every file readable and complete": "yes",
        "one patient in the folder": "yes",
        "one modality, frame of reference, size, pixel spacing and orientation": "yes",
        "no two slices at one place": "yes",
        "slice spacing regular": f"spread {spread:.4f} mm",
        "every slice on the common grid": f"{stack.max_residual_mm:.4f} mm, limit {MAX_RESIDUAL_MM} mm",
        "stacked along the planes' normal": f"{stack.tilt_deg:.4f} deg",
        "rescale slope, intercept and padding applied slice by slice": "yes",
        "compressed with loss": "yes, at some time" if assembled.lossy else "not stated",
    }
    return [{"check": check, "result": result} for check, result in outcomes.items()]
