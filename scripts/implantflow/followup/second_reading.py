"""The faces read a second time, on an image whose metal artefacts have been reduced, beside the reading of the scan.

The second reading is for lucency only. No grade, no bone and no HU rests on it: what stands in the metal's shadow is
the reduction's own guess (see :mod:`implantflow.followup.nmar`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.config.followup import FollowupJob, GradeRules
from implantflow.followup import nmar
from implantflow.followup.compare import Baseline, FacesRead, calibrating, read_faces
from implantflow.followup.inputs import Inputs
from implantflow.followup.motion import Displacement
from implantflow.followup.profile import Scan
from implantflow.followup.sampling import smooth
from implantflow.geometry import invert_rigid, transform_points
from implantflow.volumes import Volume

LABEL = (
    "read on an image with simulated projections (NMAR, image-based): not the scanner's data; what lies in the metal's "
    "shadow is a guess, and bone beside metal may show as a gap. No grade, no bone and no HU rests on it"
)
#: Voxels around metal that is not the implant, which its blurred edge brightens, in plane.
_RIM_VOXELS = 1


@dataclass(frozen=True)
class SecondReading:
    """Keys for followup.json, and the reduced image around the implant (None where there is none)."""

    figures: dict[str, Any]
    image: Volume | None


def read_again(
    inputs: Inputs,
    volume: Volume,
    scan: Scan,
    first: FacesRead,
    baseline: Baseline | None,
    baseline_volume: Volume | None,
    settings: FollowupJob,
    since: Displacement | None,
) -> SecondReading | None:
    """The second reading that the case asks for, or why there is none; None where it does not ask.

    ``baseline_volume`` is the whole scan of the baseline: it is reduced in the same way before it calibrates.
    """
    if settings.faces.second_reading == "none":
        return None
    reason = _not_made(settings)
    if reason:
        return SecondReading({"status": "not made", "reason": reason, "label": LABEL}, None)
    reduced, image = without_artefact(inputs, volume, scan, settings.metal.threshold_hu)
    base = reduced_baseline(inputs, baseline, baseline_volume, settings)
    again = read_faces(inputs, reduced, base, settings, since)
    figures = {
        "status": "made",
        "reason": None,
        "label": LABEL,
        "method": "normalised metal artefact reduction (DOI 10.1118/1.3484090), projections simulated from the slices",
        "views": nmar.VIEWS,
        "faces": {
            name: _beside(first, again, name, settings.grade)
            for name in first.figures
            if name in first.readings
        },
    }
    return SecondReading(figures, image)


def _not_made(settings: FollowupJob) -> str:
    """Why the scan is not read a second time; empty when it is."""
    point = settings.timepoint
    if point.artefact_reduction != "none":
        return (
            f"the scanner's own artefact reduction is {point.artefact_reduction}: a second one would be made of what "
            "is not known"
        )
    if point.months <= settings.faces.baseline_months_max:
        return "nothing has grown or resorbed yet: faces are not read for lucency"
    return ""


def reduced_baseline(
    inputs: Inputs, baseline: Baseline | None, volume: Volume | None, settings: FollowupJob
) -> Baseline | None:
    """The baseline with its artefacts reduced, where it calibrates the faces; as it is where it does not."""
    if baseline is None or volume is None:
        return baseline
    if calibrating(baseline, settings.faces.baseline_months_max) is None:
        return baseline
    scan, _ = without_artefact(inputs, volume, baseline.scan, settings.metal.threshold_hu)
    return replace(baseline, scan=scan)


def without_artefact(inputs: Inputs, volume: Volume, scan: Scan, metal_hu: float) -> tuple[Scan, Volume]:
    """The scan with reduced artefacts, ready to be read like the original, and the image around the implant.

    Metal is the implant where its pose puts it, and what is brighter than ``metal_hu`` elsewhere. The metal's own blur
    has been taken off beside it (:mod:`implantflow.followup.tissue`) before the slices are projected, so that it is no
    streak. Voxels of metal keep what the scanner showed.
    """
    tissue = scan.tissue
    shape = np.array(tissue.hu.shape[::-1])
    low = np.rint(volume.lps_to_index(tissue.affine_lps[None, :3, 3])[0]).astype(np.int64)
    box = nmar.Box(low, low + shape)
    known = tissue.known > 0.5
    here = (slice(box.slices[0].start, box.slices[0].stop),)
    whole = np.maximum(volume.array[here].astype(np.float32), np.float32(-1000.0))
    metal = _bright(whole, metal_hu)
    inner = (slice(None), *box.slices[1:])
    whole[inner] = np.where(known, tissue.hu, whole[inner])
    own = _own_metal(inputs, scan)
    metal[inner] = (metal[inner] & ~known) | own
    shifted = nmar.Box(np.array([low[0], low[1], 0]), np.array([*(low + shape)[:2], shape[2]]))
    change = nmar.correction(whole, metal, volume.spacing_mm, shifted)
    hu = ((tissue.hu + change) * tissue.known).astype(np.float32)
    original = volume.array[box.slices].astype(np.float32)
    shown = np.where(metal[inner], original, np.where(known, hu, original + change))
    image = Volume(np.ascontiguousarray(shown, dtype=np.float32), tissue.affine_lps)
    return replace(scan, tissue=replace(tissue, hu=hu), smooth=smooth(image)), image


def _bright(hu: NDArray[np.float32], metal_hu: float) -> NDArray[np.bool_]:
    """(K, J, I) metal by brightness, with its blurred rim."""
    from scipy import ndimage

    bright = hu >= metal_hu
    square = np.ones((1, 3, 3), dtype=bool)
    return (
        np.asarray(ndimage.binary_dilation(bright, square, iterations=_RIM_VOXELS))
        if bright.any()
        else bright
    )


def _own_metal(inputs: Inputs, scan: Scan) -> NDArray[np.bool_]:
    """(K, J, I) voxels of the scan's part inside the implant's outer surface, pores too, as it was found."""
    tissue = scan.tissue
    nk, nj, ni = tissue.hu.shape
    matrix = invert_rigid(scan.scan_from_design) @ tissue.affine_lps
    found = np.zeros((nk, nj, ni), dtype=bool)
    j, i = np.meshgrid(np.arange(nj), np.arange(ni), indexing="ij")
    flat = np.stack([i.ravel(), j.ravel(), np.zeros(i.size)], axis=1).astype(np.float64)
    low, high = inputs.implant.bounds_mm
    for k in range(nk):
        flat[:, 2] = k
        places = transform_points(matrix, flat)
        near = np.flatnonzero(((places >= low) & (places <= high)).all(axis=1))
        if len(near):
            found[k].ravel()[near[inputs.depths.near_surface(places[near]) < 0.0]] = True
    return found


def _beside(first: FacesRead, again: FacesRead, name: str, rules: GradeRules) -> dict[str, Any]:
    """Both readings of one face and whether they agree."""
    if name not in again.readings:
        unread = {"lucency": "not readable"}
        return {
            "original": _lucency(first.figures[name], rules),
            "reduced": unread,
            "agree": None,
            "said": _SAID[None],
        }
    original, reduced = (_lucency(read.figures[name], rules) for read in (first, again))
    both = [read.readings[name].readable(rules.limit_max_mm) for read in (first, again)]
    area = next(face.lines.patch_areas for face in first.faces if face.name == name)
    shared = both[0] & both[1]
    same = first.readings[name].lucent == again.readings[name].lucent
    readable = "not readable" not in (original["lucency"], reduced["lucency"])
    agree = original["lucency"] == reduced["lucency"] if readable else None
    return {
        "original": original,
        "reduced": reduced,
        "agree": agree,
        "said": _SAID[agree],
        "patches_read_in_both": int(shared.sum()),
        "same_call_pct": 100.0 * float(area[shared & same].sum() / area[shared].sum())
        if shared.any()
        else None,
    }


_SAID: dict[bool | None, str] = {
    True: "both readings say the same",
    False: "the readings differ: the original's stands, and the face should be looked at by a person",
    None: "not comparable: at least one of the images does not let this face be read",
}


def _lucency(figures: dict[str, Any], rules: GradeRules) -> dict[str, Any]:
    """What one reading says of a gap: nothing about fusion, which a reduced image cannot prove."""
    found: dict[str, Any] = {
        "lucency": "not readable",
        "lucency_mm": figures.get("lucency_mm"),
        "lucent_pct": figures.get("lucent_pct"),
        "detection_limit_mm": figures["detection_limit_mm"],
        "readable_pct": figures.get("readable_pct"),
    }
    bridged = figures["bridged_pct"]
    if bridged is not None:
        gap = bridged < rules.bridged_min_pct or figures["lucency_mm"] >= rules.lucency_min_mm
        found["lucency"] = "gap" if gap else "no gap seen"
    return found
