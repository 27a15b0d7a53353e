"""The whole segmentation as one function: what the stage and the command call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.config.segment import SegmentConfig
from implantflow.errors import ConfigError, GeometryError
from implantflow.geometry import FloatArray, Plane
from implantflow.jobs import progress
from implantflow.segment.anatomy import endplate_vertices, pelvic_axes, plane_through
from implantflow.segment.assemble import (
    Placed,
    assemble_labels,
    check_sides,
    coverage,
    error_budget,
    label_table,
)
from implantflow.segment.cut import Prices
from implantflow.segment.edges import find_edges
from implantflow.segment.evidence import (
    CLASSES,
    bridges,
    changes,
    checklist,
    confidence,
    hidden_border,
    shares,
)
from implantflow.segment.filters import gaussian
from implantflow.segment.fit import Fit, fit_prior
from implantflow.segment.grid import Box, box_around, canonical, crop, isotropic_lps, restore
from implantflow.segment.judge import PRIOR_NOTES, check_fit
from implantflow.segment.labelmap import LabelMap, as_report
from implantflow.segment.labels import LABELS
from implantflow.segment.level import full_contrast
from implantflow.segment.masks import BoolArray, bounding_box
from implantflow.segment.noise import calmed
from implantflow.segment.pose import landmark_pose, search_poses
from implantflow.segment.prior import ShapePrior
from implantflow.segment.regions import Regions, Scene, distances, split_bones
from implantflow.segment.strokes import both, edits, paint
from implantflow.segment.surface import Candidate, candidate, solid_of_bone
from implantflow.volumes import Volume

#: Bones that get a surface.
SURFACED = ("sacrum", "hip_left", "hip_right", "l5")
#: Voxels brighter than this (HU) after light smoothing take part in the cuts, even below the threshold.
CUT_FLOOR_HU = 150.0
#: Voxels coarser than this (mm) mix thin cortex with what lies beside it: the floor falls by so many HU per mm.
FINE_VOXEL_MM, FLOOR_FALL_HU, LEAST_FLOOR_HU = 1.5, 40.0, 90.0
#: Spine kept above the S1 endplate, and soft tissue below an atlas sacrum, in the crop that is cut (mm).
ABOVE_MM, BELOW_MM, MARGIN_MM = 65.0, 50.0, 12.0
#: Starting poses that are refined.
STARTS = 5


@dataclass(frozen=True)
class Segmentation:
    """Result of :func:`segment_volume`.

    Attributes
    ----------
    labels : Volume of uint8 on the grid of the CT.
    confidence : Volume of uint8, codes of ``evidence.CLASSES``, same grid.
    solids : per bone, its closed surface.
    report : what ``segment.json`` holds.
    """

    labels: Volume
    confidence: Volume
    solids: dict[str, Placed]
    report: dict[str, Any]


def segment_volume(
    volume: Volume,
    prior: ShapePrior | LabelMap,
    settings: SegmentConfig,
    landmarks: dict[str, FloatArray] | None = None,
    edited: LabelMap | None = None,
) -> Segmentation:
    """Threshold a CT, tell its bones apart with a shape prior, and surface them.

    Parameters
    ----------
    volume : CT in HU, any orthogonal orientation.
    prior : from :mod:`implantflow.segment.prior`, or an imported label map.
    settings : thresholds and limits.
    landmarks : patient LPS mm by name; poses the prior. Without them the pose is searched.
    edited : labels of this stage as a person edited them; counts as strokes.

    Raises
    ------
    InputError, GeometryError, QualityGateError
        Too little anatomy, mirrored sides, or a fit that misses the bone.
    """
    view, order, flips = canonical(volume)
    threshold_mm3 = float((view.array >= settings.threshold_hu).sum()) * view.voxel_volume_mm3
    view, noise = calmed(view)
    if isinstance(prior, LabelMap):
        if settings.corrections or edited is not None:
            raise ConfigError(
                "corrections have nothing to cut again when the labels are imported",
                where="segment.corrections",
                fix="edit the imported label map, or use prior.kind atlas or template",
            )
        hu, region, box, resampled = prior.region_on(view)
        bright = hu.array >= settings.threshold_hu
        parts = _Parts(hu, bright, region, box, {}, None, None, {"prior": as_report(prior.name, resampled)})
    else:
        parts = _cut_with_prior(view, prior, settings, landmarks, edited)
    progress("surfaces at the local half-maximum", done=0.6)
    solids, full_hu = _surfaces(parts, settings)
    check_sides(solids)
    full = assemble_labels(view, parts.region, parts.box, solids, settings.threshold_hu)
    area = hidden_border(parts.hu, parts.region, settings.threshold_hu)
    found = bridges(parts.hu, parts.region, area)
    sure = confidence(full, (parts.hu, parts.box), area, parts.disputed, solids)
    plate = None if parts.endplate is None else np.asarray(parts.endplate.point)
    report = {
        "threshold_hu": settings.threshold_hu,
        "threshold_volume_mm3": threshold_mm3,
        "noise": noise,
        "cortex_contrast_hu": full_hu,
        "disputed_pct": parts.disputed_pct,
        "labels": label_table(full, solids, view.voxel_volume_mm3),
        "coverage": coverage(
            Volume(full, view.affine_lps), None if plate is None else float(plate[2]), parts.inside_fraction
        ),
        "confidence": {"classes": CLASSES, "share_pct": shares(sure)},
        "bridges": found,
        "checklist": checklist(parts.hu, solids, found, plate),
        "corrections": parts.corrections,
        **parts.report,
        "error_budget": error_budget(view, solids, parts.fit_residual_mm, settings),
    }
    progress("labels and surfaces done", done=1.0)
    labels, certain = (Volume(restore(a, order, flips), volume.affine_lps) for a in (full, sure))
    return Segmentation(labels, certain, solids, report)


@dataclass(frozen=True)
class _Parts:
    """What surfacing needs, whichever way the regions came about."""

    hu: Volume
    bone: NDArray[np.bool_]
    region: NDArray[np.uint8]
    box: Box
    distance: dict[str, NDArray[np.float32]]
    disputed_pct: float | None
    endplate: Plane | None
    report: dict[str, Any]
    disputed: BoolArray | None = None
    corrections: dict[str, Any] | None = None
    inside_fraction: dict[str, float] | None = None
    fit_residual_mm: float | None = None


def _cut_with_prior(
    view: Volume,
    prior: ShapePrior,
    settings: SegmentConfig,
    landmarks: dict[str, FloatArray] | None,
    edited: LabelMap | None,
) -> _Parts:
    progress("fit of the shape prior", done=0.05)
    spacing = max(1.0, 0.4 * float(view.spacing_mm.max()))
    fine = isotropic_lps(view, spacing, max(0.8, 0.7 * spacing))
    coarse = isotropic_lps(fine, max(settings.fit_spacing_mm, spacing), 0.0)
    edges = find_edges(coarse, settings.fit_threshold_hu)
    fine = crop(fine, box_around(fine, edges.points_lps_mm, 15.0))
    fine = Volume(np.ascontiguousarray(fine.array), fine.affine_lps)
    residuals: dict[str, float] = {}
    if landmarks is not None:
        pose, residuals = landmark_pose(prior, landmarks, settings.prior.min_landmarks)
        poses = [pose]
    else:
        poses = search_poses(prior, edges, settings.min_inside_fraction, STARTS)
    fit = fit_prior(prior, edges, fine, poses)
    figures = check_fit(prior, fit, settings)
    progress("cuts in the disputed band", done=0.35)
    scene, box = _scene(view, prior, fit, settings)
    regions, corrections, painted = _split(scene, settings, edited)
    # A cortex thinner than a voxel lies below every threshold: what a person painted as bone is bone.
    bone = scene.bone | painted
    named = (regions.region > 0) & (regions.region <= LABELS["l5"]) & bone
    disputed = 100.0 * float((regions.disputed & named).sum()) / max(int(named.sum()), 1)
    report = {
        "prior": {
            "kind": prior.kind,
            "members": prior.members,
            "covers_sacral_apex": prior.covers_apex,
            "posed_by": "landmarks" if landmarks is not None else "search without clicks",
            "landmark_residual_mm": residuals,
            "note": PRIOR_NOTES[prior.kind],
        },
        "fit": figures,
        "s1_endplate": scene.endplate.as_json(),
        "l4_l5_disc": None
        if regions.l4_l5_disc is None
        else {**regions.l4_l5_disc.plane.as_json(), "contrast_hu": regions.l4_l5_disc.contrast_hu},
    }
    inside = {n: float(fit.inside[prior.bone == k].mean()) for k, n in enumerate(prior.names)}
    return _Parts(
        scene.hu,
        bone,
        regions.region,
        box,
        scene.distance,
        disputed,
        scene.endplate,
        report,
        regions.disputed,
        corrections,
        inside,
        figures["residual_mean_mm"],
    )


def _split(
    scene: Scene, settings: SegmentConfig, edited: LabelMap | None
) -> tuple[Regions, dict[str, Any] | None, BoolArray]:
    """The cuts, once more around what a person corrected; what that changed; and voxels (K, J, I) painted as bone."""
    regions = split_bones(scene, settings.band_mm)
    if not settings.corrections and edited is None:
        return regions, None, np.zeros(scene.bone.shape, dtype=bool)
    said = paint(settings.corrections, scene.hu)
    painted = said.bone
    if edited is not None:
        said = both(said, edits(edited.on(scene.hu)[0], regions.region, scene.hu))
    again = split_bones(scene, settings.band_mm, said)
    voxel_mm3 = scene.hu.voxel_volume_mm3
    return (
        again,
        {
            "strokes": len(settings.corrections),
            "edited_labels": edited.name if edited is not None else None,
            "marked_mm3": float((said.codes > 0).sum()) * voxel_mm3,
            "below_threshold_mm3": float((painted & ~scene.bone).sum()) * voxel_mm3,
            "changed": changes(regions.region, again.region, voxel_mm3),
        },
        painted,
    )


def _scene(view: Volume, prior: ShapePrior, fit: Fit, settings: SegmentConfig) -> tuple[Scene, Box]:
    vertices = fit.vertices_lps_mm
    endplate = plane_through(vertices[endplate_vertices(prior)], np.array([0.0, 0.0, 1.0]))
    sacrum = vertices[prior.bone == prior.index("sacrum")]
    top = np.asarray(endplate.point) + ABOVE_MM * np.asarray(endplate.normal)
    bottom = sacrum - BELOW_MM * pelvic_axes(prior, vertices)[:, 2]
    box = box_around(view, np.vstack([vertices, top, bottom]), MARGIN_MM)
    part = crop(view, box)
    hu = Volume(np.ascontiguousarray(part.array), part.affine_lps)
    voxel = float(hu.spacing_mm.max())
    sheet_mm = max(0.8, 0.7 * voxel)
    light = gaussian(hu, 0.5)
    prices = Prices(
        light, gaussian(hu, sheet_mm), sheet_mm, hu.spacing_mm[::-1].copy(), settings.valley_scale_hu
    )
    floor = max(LEAST_FLOOR_HU, CUT_FLOOR_HU - FLOOR_FALL_HU * max(0.0, voxel - FINE_VOXEL_MM))
    bone = (hu.array >= settings.threshold_hu) | (light > floor)
    return Scene(hu, bone, distances(prior, vertices, hu), prices, endplate, vertices, prior), box


def _surfaces(parts: _Parts, settings: SegmentConfig) -> tuple[dict[str, Placed], float]:
    """Solids of the four bones, and the contrast (HU) of this scan's thick cortex."""
    threshold = settings.threshold_hu
    candidates: dict[str, tuple[Candidate, Box]] = {}
    for name in SURFACED:
        own = parts.region == LABELS[name]
        if not own.any():
            raise GeometryError(
                f"no bone was found for '{name}'",
                where="segment",
                fix="the scan must show L5, the sacrum and both hips; or import a label map",
            )
        box = bounding_box(own, 6)
        mine = np.ascontiguousarray(own[box.slices])
        others = (parts.region[box.slices] > 0) & ~mine
        distance = parts.distance[name][box.slices] if name in parts.distance else None
        bright = parts.bone[box.slices]
        candidates[name] = (candidate(crop(parts.hu, box), mine, others, bright, distance), box)
    full_hu = full_contrast([c.profiles for c, _ in candidates.values()])
    limits = settings.smoothing_limit_mm, settings.remeshing_bound_mm
    solids = {}
    for name in SURFACED:
        bone, box = candidates.pop(name)
        solids[name] = Placed(solid_of_bone(bone, full_hu, threshold, *limits), box)
    return solids, full_hu
