"""The label map and the figures of ``segment.json``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.config.segment import SegmentConfig
from implantflow.errors import GeometryError
from implantflow.segment.filters import fill_cavities
from implantflow.segment.grid import Box
from implantflow.segment.labels import LABELS
from implantflow.segment.masks import bodies, bounding_box, counts, grown
from implantflow.segment.mesh import is_closed, shell_count, volume_mm3
from implantflow.segment.surface import BoneSolid, fill_cut_faces
from implantflow.volumes import Volume

#: Vertical distance (mm) above the centre of the S1 endplate that a scan must reach to show a whole vertebra:
#: disc and body take 36-42 mm a level in adults (phantom and Visible Human CT).
TOP_OF_LEVEL_MM = {"l5": 42.0, "l4": 78.0, "l3": 114.0}
#: Mean error (mm) of the half-maximum against the true surface of a blurred cortex, on simulated CT.
HALF_MAXIMUM_ERROR_MM = 0.14
#: Loose bone smaller than this (mm3) is calcification, contrast or noise and gets no label.
MIN_LOOSE_MM3 = 100.0
#: Bones that are labelled at the threshold and get no surface.
SECONDARY = ("l4_and_above", "femora", "coccyx")
_BORDERS = (("caudal", "cranial"), ("anterior", "posterior"), ("right", "left"))


@dataclass(frozen=True)
class Placed:
    """A bone's solid and the box, in the crop that was cut, that its masks fill."""

    solid: BoneSolid
    box: Box


def assemble_labels(
    view: Volume, region: NDArray[np.uint8], box: Box, solids: dict[str, Placed], threshold_hu: float
) -> NDArray[np.uint8]:
    """Label map (K, J, I) on the canonical grid: solids first, then the other bone at the threshold, filled."""
    full = np.zeros(view.array.shape, dtype=np.uint8)
    part = full[box.slices]
    for name, placed in solids.items():
        target = part[placed.box.slices]
        target[placed.solid.inside & (target == 0)] = LABELS[name]
    loose = view.array >= threshold_hu
    # Bone at the rim of a solid that only the threshold calls bone is that solid's blur, not another bone.
    secondary = np.zeros(256, dtype=bool)
    secondary[[LABELS[name] for name in SECONDARY]] = True
    loose[box.slices] &= ~grown(part > 0, 2) | secondary[region]
    loose &= full == 0
    numbers, sizes = bodies(loose)
    kept = sizes * view.voxel_volume_mm3 >= MIN_LOOSE_MM3
    kept[0] = False
    full += np.where(kept, _label_of_bodies(numbers[box.slices], region, len(kept)), np.uint8(0))[numbers]
    # Where one body holds two bones (L5's neighbour and a femur never do, a coccyx and calcification may) the
    # cut decides voxel by voxel.
    told = kept[numbers[box.slices]] & secondary[region]
    part[told] = region[told]
    for name in SECONDARY:
        _fill_bone(full, LABELS[name])
    return full


def _label_of_bodies(numbers: NDArray[np.int32], region: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Label (count,) of each body: the secondary bone it mostly is inside the crop, else other bone."""
    votes = np.stack([np.bincount(numbers[region == LABELS[n]], minlength=count) for n in SECONDARY])
    votes[:, 0] = 0
    codes = np.array([LABELS[n] for n in SECONDARY], dtype=np.uint8)
    named = codes[votes.argmax(axis=0)]
    return np.where(votes.max(axis=0) > 0, named, np.uint8(LABELS["other_bone"]))


def _fill_bone(full: NDArray[np.uint8], code: int) -> None:
    """Fill the marrow of a bone, also where the scan cuts it off."""
    own = full == code
    if not own.any():
        return
    box = bounding_box(own, 2)
    filled = fill_cavities(fill_cut_faces(own[box.slices]))
    part = full[box.slices]
    part[filled & (part == 0)] = code


def label_table(full: NDArray[np.uint8], solids: dict[str, Placed], voxel_mm3: float) -> dict[str, Any]:
    """``labels`` of the contract, by name: volumes, watertight, shells, what the prior filled in."""
    each = counts(full, 255)
    table: dict[str, Any] = {}
    for name, code in LABELS.items():
        if each[code] == 0:
            continue
        entry: dict[str, Any] = {"code": code, "voxel_volume_mm3": float(each[code]) * voxel_mm3}
        if name in solids:
            solid = solids[name].solid
            surface = solid.surface
            entry |= {
                "volume_mm3": volume_mm3(surface.vertices_lps_mm, surface.faces),
                "watertight": is_closed(surface.faces),
                "shells": shell_count(surface.faces),
                "triangles": len(surface.faces),
                "triangles_before_remeshing": surface.triangles_before,
                "remeshing_proven_max_mm": surface.proven_max_mm,
                "remeshing_measured_max_mm": surface.measured_max_mm,
                "remeshing_measured_mean_mm": surface.measured_mean_mm,
                "filled_from_prior_mm3": solid.from_prior_mm3,
                "surface_level_median_hu": solid.level_median_hu,
            }
        else:
            entry |= {"volume_mm3": entry["voxel_volume_mm3"], "watertight": None, "shells": None}
        table[name] = entry
    return table


def check_sides(solids: dict[str, Placed]) -> None:
    """GeometryError unless the left hip lies at larger x than the sacrum, and that at larger x than the right."""
    x = {name: float(p.solid.surface.vertices_lps_mm[:, 0].mean()) for name, p in solids.items()}
    if not x["hip_left"] > x["sacrum"] > x["hip_right"]:
        raise GeometryError(
            f"left and right are exchanged: hip_left at x {x['hip_left']:.0f} mm, sacrum {x['sacrum']:.0f}, "
            f"hip_right {x['hip_right']:.0f}; in patient LPS the left has the larger x",
            where="segment",
            fix="check the side of landmarks or label map, and the orientation of the series",
        )


def coverage(
    labels: Volume, endplate_z_mm: float | None, inside_fraction: dict[str, float] | None
) -> dict[str, Any]:
    """What of each structure lies inside the scan, and how that was judged."""
    found: dict[str, Any] = {}
    for name, code in LABELS.items():
        mask = labels.array == code
        if not mask.any():
            continue
        borders = []
        for axis, (low, high) in enumerate(_BORDERS):
            if np.take(mask, 0, axis=axis).any():
                borders.append(low)
            if np.take(mask, -1, axis=axis).any():
                borders.append(high)
        found[name] = {"inside_scan": "partly" if borders else "whole", "touches_border": borders}
        if inside_fraction and name in inside_fraction:
            found[name]["prior_inside_fraction"] = inside_fraction[name]
    if endplate_z_mm is not None:
        top = labels.index_to_lps(np.array([[0.0, 0.0, labels.array.shape[0] - 0.5]]))[0, 2]
        above = float(top - endplate_z_mm)
        previous = 0.0
        for level, need in TOP_OF_LEVEL_MM.items():
            state = "whole" if above >= need else ("partly" if above > previous + 5.0 else "outside")
            found[level] = {**found.get(level, {}), "inside_scan": state}
            previous = need
        found["scan_above_s1_endplate_mm"] = above
        found["lumbar_levels_judged_by"] = (
            "height of the scan above the S1 endplate: a whole vertebra needs "
            + ", ".join(f"{k.upper()} {v:g} mm" for k, v in TOP_OF_LEVEL_MM.items())
            + "; numbering assumes that the bone on the sacrum is L5, a person confirms it"
        )
    return found


def error_budget(
    view: Volume, solids: dict[str, Placed], fit_residual_mm: float | None, settings: SegmentConfig
) -> dict[str, Any]:
    """Where the surface may be off (mm): known, measured on this scan, or stated as a limit."""
    parts = [p.solid for p in solids.values()]

    def mean(name: str) -> float:
        return float(np.mean([getattr(part, name) for part in parts]))

    smoothing = mean("mean_move_mm")
    remeshing = float(np.mean([part.surface.measured_mean_mm for part in parts]))
    return {
        "voxel_mm": view.spacing_mm,
        "point_spread_sigma_mm": mean("edge_sigma_mm"),
        "half_maximum_mean_mm": HALF_MAXIMUM_ERROR_MM,
        "level_wrong_by_100_hu_mm": mean("mm_per_100_hu"),
        "fixed_threshold_would_move_surface_out_mm": mean("threshold_shift_mm"),
        "smoothing_mean_mm": smoothing,
        "smoothing_max_mm": settings.smoothing_limit_mm,
        "remeshing_bound_mm": settings.remeshing_bound_mm,
        "remeshing_mean_mm": remeshing,
        "remeshing_max_mm": max(part.surface.proven_max_mm for part in parts),
        "surface_mean_mm": float(np.linalg.norm([HALF_MAXIMUM_ERROR_MM, smoothing, remeshing])),
        "prior_fit_mean_mm": fit_residual_mm,
        "note": "half_maximum from the project's simulation of a blurred cortex; point spread, smoothing, remeshing, "
        "shifts measured on these surfaces; remeshing_mean: vertices of the voxel grid's triangles to the surface "
        "written; remeshing_max: no point of either is farther from the other, proven step by step; surface_mean: half "
        "maximum, smoothing and remeshing together, where the image shows the cortex. The prior's error counts only "
        "where it filled bone in, and to the side of a joint that the image does not show",
    }
