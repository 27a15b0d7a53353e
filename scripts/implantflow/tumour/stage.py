"""Stage function of the tumour: its extent at each time point, in planning space, and the response."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from implantflow.artifacts import write_json, write_stl
from implantflow.config.tumour import EllipsoidTimepoint, GrowTimepoint, MaskTimepoint, TumourConfig
from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray
from implantflow.jobs import Job, progress
from implantflow.parallel import side_by_side
from implantflow.registration.landmarks import refuse_misplaced, register_landmarks
from implantflow.registration.rigid import register_rigid
from implantflow.tumour import orientation, planning
from implantflow.tumour.extent import ellipsoid_mask, read_mask
from implantflow.tumour.grow import grow
from implantflow.tumour.measure import Size, measure, surface
from implantflow.tumour.reported_figures import check_reported
from implantflow.tumour.response import response
from implantflow.volumes import Volume, read_volume, write_volume

#: Voxels and surface are two ways to one volume; further apart than this, one of them is wrong.
_MAX_MESH_DIFFERENCE = 0.05


@dataclass(frozen=True)
class Extent:
    """The tumour at one time point: its mask on the grid it was found on, and the way to planning space."""

    mask: Volume
    ct_from_series: FloatArray
    registration: dict[str, Any] | None
    facts: dict[str, Any]


def measure_tumour(job: Job) -> None:
    """Measure every time point, bring it into planning space, and check side, coverage and bone contact.

    Raises
    ------
    InputError, GeometryError
        A seed or mask that does not fit its image, growth that leaks, a registration in doubt, a tumour
        outside the CT, on the other side, or away from the sacrum.
    """
    settings = TumourConfig.model_validate(job.settings["tumour"])
    side = str(job.settings["side"])
    _one_itk_thread()
    ct, labels = read_volume(job.input("ct")), read_volume(job.input("labels"))
    if labels.array.shape != ct.array.shape or not np.allclose(labels.affine_lps, ct.affine_lps, atol=1e-3):
        raise GeometryError("the bone labels are not on the grid of the planning CT", where="segment/labels")
    paths = dict(zip(job.settings["series_names"], job.input_list("volumes"), strict=True))
    ring = planning.pelvic_ring(labels)
    tasks = [partial(_extent, timepoint, paths, ct, ring) for timepoint in settings.timepoints]
    extents = side_by_side(tasks, job.threads)
    masks = _in_planning_space(extents)
    union = masks[0].like(np.logical_or.reduce([mask.array for mask in masks]))
    planning.refuse_outside(union, ct)
    found_side, offset_mm = planning.refuse_wrong_side(union, labels, side)
    gap_mm = planning.refuse_no_bone(union, labels, settings.max_bone_gap_mm)

    for timepoint, mask in zip(settings.timepoints, masks, strict=True):
        write_volume(job.outputs[f"mask_{timepoint.name}"], mask.like(mask.array.astype(np.uint8)))
        _write_surface(job.outputs[f"surface_{timepoint.name}"], mask, timepoint.name)
    _write_surface(job.outputs["tumour_stl"], union, "union")
    write_json(
        job.outputs["tumour"],
        _summary(settings, extents, masks, union)
        | {"side": found_side, "side_offset_mm": offset_mm, "bone_gap_mm": gap_mm},
    )


def _write_surface(path: Path, mask: Volume, what: str) -> None:
    vertices, faces = surface(mask)
    write_stl(path, vertices, faces, f"implantflow tumour {what} patient LPS mm")


def _one_itk_thread() -> None:
    """ITK sums in the order in which threads finish; the time points take a process each instead."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


def _extent(
    timepoint: GrowTimepoint | MaskTimepoint | EllipsoidTimepoint,
    paths: dict[str, Path],
    ct: Volume,
    ring: Volume,
) -> Extent:
    progress(f"tumour at {timepoint.name} ({timepoint.method})")
    if isinstance(timepoint, EllipsoidTimepoint):
        return Extent(ellipsoid_mask(timepoint), np.eye(4), None, {"virtual": True})
    image = read_volume(paths[timepoint.series])
    if isinstance(timepoint, GrowTimepoint):
        mask, facts = grow(image, timepoint)
    else:
        mask, facts = read_mask(timepoint, image)
    matrix, registration = _registered(timepoint, image, mask, ct, ring)
    return Extent(mask, matrix, registration, {"virtual": False, **facts})


def _registered(
    timepoint: GrowTimepoint | MaskTimepoint, image: Volume, mask: Volume, ct: Volume, ring: Volume
) -> tuple[FloatArray, dict[str, Any] | None]:
    """The way of a series to the planning CT and what speaks for it; none is needed from the planning CT itself."""
    if image.array.shape == ct.array.shape and np.array_equal(image.affine_lps, ct.affine_lps):
        if not np.array_equal(image.array, ct.array):
            raise GeometryError(
                f"{timepoint.series} lies on the very grid of the planning CT but shows something else",
                where=f"tumour.timepoints.{timepoint.name}.series",
                fix="use the series as it was scanned, not one resampled onto the CT",
            )
        return np.eye(4), None
    progress(f"registering {timepoint.series} to the planning CT")
    if timepoint.landmarks is None:
        found = register_rigid(ct, ring, image, name=timepoint.series, bone_names=planning.RING_NAMES)
        return found.ct_from_mr, found.as_json()
    pairs = timepoint.landmarks.pairs
    in_series = {name: np.array(pair.series_lps_mm) for name, pair in pairs.items()}
    in_ct = {name: np.array(pair.ct_lps_mm) for name, pair in pairs.items()}
    where = f"tumour.timepoints.{timepoint.name}.landmarks"
    marked = register_landmarks(
        in_series,
        in_ct,
        planning.mask_points(mask)[::7],
        timepoint.landmarks.limit_mm,
        name=timepoint.series,
        where=where,
    )
    refuse_misplaced(in_series, in_ct, image, ct, ring, name=timepoint.series, where=where)
    return marked.ct_from_series, marked.as_json()


def _in_planning_space(extents: list[Extent]) -> list[Volume]:
    matrices = [extent.ct_from_series for extent in extents]
    grid = planning.common_grid([extent.mask for extent in extents], matrices)
    return [planning.resample_mask(e.mask, m, grid) for e, m in zip(extents, matrices, strict=True)]


def _summary(
    settings: TumourConfig, extents: list[Extent], masks: list[Volume], union: Volume
) -> dict[str, Any]:
    entries = []
    for timepoint, extent, mask in zip(settings.timepoints, extents, masks, strict=True):
        size = measure(extent.mask, mask)
        _refuse_ragged(timepoint.name, size)
        entries.append(
            {
                "name": timepoint.name,
                "method": timepoint.method,
                "series": timepoint.series,
                "acquired": timepoint.acquired.isoformat() if timepoint.acquired else None,
                **size.as_json(),
                "planning_volume_mm3": float(mask.array.sum()) * mask.voxel_volume_mm3,
                "centroid_lps_mm": planning.mask_points(mask).mean(axis=0),
                **extent.facts,
                "registration": extent.registration,
            }
        )
    figures, flags = check_reported(
        settings.reported, settings.reported_axes_rounding_cm, settings.reported_volume_rounding_cm3
    )
    for entry in entries:
        if "orientation" in entry:
            flags += orientation.doubt(entry["name"], entry["orientation"])
    virtual = any(entry["virtual"] for entry in entries)
    if virtual:
        flags = ["virtual tumour: put in by the config, not seen in any image", *flags]
    return {
        "frame": "patient_lps of the planning CT, whose axial plane axes_mm lie in; volume_mm3 is that of the mask "
        "on its own image",
        "virtual": virtual,
        "timepoints": entries,
        "response": {**response(entries), "flags": flags},
        "reported": figures,
        "union_volume_mm3": float(union.array.sum()) * union.voxel_volume_mm3,
    }


def _refuse_ragged(name: str, size: Size) -> None:
    if abs(size.mesh_volume_mm3 - size.volume_mm3) > _MAX_MESH_DIFFERENCE * size.volume_mm3:
        raise GeometryError(
            f"tumour at {name}: {size.volume_mm3:.0f} mm3 by voxels but {size.mesh_volume_mm3:.0f} by surface",
            where=f"tumour.timepoints.{name}",
            fix="the mask is too ragged to be measured: raise closing_mm, or edit the mask",
        )
