"""One solid per bone: filled inside, open canals, its surface at the local half-maximum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray
from implantflow.segment.filters import DEPTH_MM, fill_cavities, signed_depth
from implantflow.segment.level import Profiles, cortex_profiles, level_at
from implantflow.segment.masks import BoolArray, largest_component
from implantflow.segment.mesh import IntArray, area_mm2, is_closed, largest_body, vertex_normals, volume_mm3
from implantflow.segment.remesh import Remeshed, remeshed
from implantflow.solids.level import level_surface
from implantflow.volumes import Volume

#: Farther than this (mm) from any bone seen, the prior's surface stands in for the missing cortex.
UNSEEN_MM = 3.0
#: Radius (mm) of the ball that feels its way to the bone from outside; canals narrower than twice this close.
BALL_MM = 1.5
#: Up to here (mm) outside a fitted bone the prior may say what is inside: the fit errs less.
KNOWN_MM = 2.0
#: Its radius beyond what the prior knows, and how much bone (mm3) must be seen there before filling is worth doing.
#: Below an atlas sacrum, and in L5 without a template, the marrow lies behind plates with holes, and a smaller ball
#: gets in or not with the grid; the canal there is wider.
BALL_BEYOND_MM, MIN_UNKNOWN_MM3 = 2.25, 500.0
#: The half-maximum surface is looked for from this much (mm) inside the threshold surface to this much outside.
DEEPEST_MM, OUTERMOST_MM = 2.0, 1.2
#: Width (mm) over which one condition on the surface gives way to the next.
BLEND_MM = 1.5
#: Rays out of 14 that must meet bone within 40 mm for marrow to count as enclosed by bone that is seen.
ENCLOSING_RAYS, RAY_MM = 10, 40.0


@dataclass(frozen=True)
class Candidate:
    """One bone before its surface is found.

    Attributes
    ----------
    hu : crop of the CT; others, seen : (K, J, I) bool, voxels the cut gave to any other bone, and bone at the
        threshold in this one.
    distance : (K, J, I) float32 mm to the fitted bone, None when the prior does not hold it.
    solid : (K, J, I) bool, filled at the threshold.
    away_mm : (K, J, I) float32, distance to bone seen in this one, up to UNSEEN_MM; None with ``distance``.
    profiles : cortex along the normals of ``solid``.
    """

    hu: Volume
    others: BoolArray
    seen: BoolArray
    distance: NDArray[np.float32] | None
    solid: BoolArray
    away_mm: NDArray[np.float32] | None
    profiles: Profiles


@dataclass(frozen=True)
class BoneSolid:
    """One bone.

    Attributes
    ----------
    inside : (K, J, I) bool on the crop that was given.
    surface : closed surface, patient LPS, outward, and what remeshing did to it.
    from_prior : (K, J, I) bool, voxels that the image does not show and the prior filled in.
    from_prior_mm3 : their volume.
    mean_move_mm : mean distance by which smoothing moved the vertices.
    level_median_hu : median level of the surface.
    threshold_shift_mm : how far outside this surface the threshold surface lies on average.
    edge_sigma_mm : blur of its sharp edges; mm_per_100_hu : what a wrong level would cost.
    """

    inside: BoolArray
    surface: Remeshed
    from_prior: BoolArray
    from_prior_mm3: float
    mean_move_mm: float
    level_median_hu: float
    threshold_shift_mm: float
    edge_sigma_mm: float
    mm_per_100_hu: float


def fill_cut_faces(mask: BoolArray) -> BoolArray:
    """Fill the marrow that shows on the faces of the array, where the scan cuts a bone off."""
    out = mask.copy()
    for axis in range(3):
        for end in (0, -1):
            face = [slice(None)] * 3
            face[axis] = slice(end, None) if end else slice(0, 1)
            plane = out[tuple(face)]
            if plane.any():
                plane |= np.moveaxis(fill_cavities(np.moveaxis(plane, axis, 0), planes=True), 0, axis)
    return out


def candidate(
    hu: Volume, own: BoolArray, others: BoolArray, bone: BoolArray, distance: NDArray[np.float32] | None
) -> Candidate:
    """Filled solid of one bone at the threshold, and the cortex around it.

    Parameters
    ----------
    hu : crop of the CT (HU), canonical axes; may be a view of it.
    own, others : (K, J, I) bool, voxels that the cut gave to this bone and to any other.
    bone : (K, J, I) bool, voxels bright enough for bone.
    distance : (K, J, I) float32 mm to the fitted bone, None when the prior does not hold it.

    Raises
    ------
    GeometryError
        No voxel of the bone reaches the threshold.
    """
    seen = own & bone
    if not seen.any():
        raise GeometryError("a bone has no voxel above the threshold", where="segment")
    away = None if distance is None else -signed_depth(seen, hu, UNSEEN_MM + 1.0)
    solid = fill_cut_faces(seen)
    unknown = np.ones_like(seen)
    if distance is not None and away is not None:
        solid |= (distance < KNOWN_MM) & ~reached(hu, (away > BALL_MM) & (distance > 0), BALL_MM) & ~others
        unknown = distance > KNOWN_MM
    if float((seen & unknown).sum()) * hu.voxel_volume_mm3 > MIN_UNKNOWN_MM3:
        free = signed_depth(solid, hu, BALL_BEYOND_MM + 1.0) < -BALL_BEYOND_MM
        solid |= unknown & ~reached(hu, free, BALL_BEYOND_MM) & ~others
    solid = largest_component(fill_cavities(solid))
    profiles = cortex_profiles(hu.like(np.ascontiguousarray(hu.array)), solid)
    return Candidate(hu, others, seen, distance, solid, away, profiles)


def reached(hu: Volume, centres: BoolArray, radius_mm: float) -> BoolArray:
    """Voxels that a ball reaches from outside while its middle stays on ``centres``.

    Marrow behind a cortex that is thin, cut off by the scan or eaten by a tumour is then not outside, while
    a foramen wider than the ball stays open.
    """
    return np.asarray(signed_depth(largest_component(centres), hu, radius_mm + 1.0) >= -radius_mm)


def solid_of_bone(
    bone: Candidate, full_hu: float, threshold_hu: float, smoothing_limit_mm: float, remeshing_bound_mm: float
) -> BoneSolid:
    """Surface of one bone at the local half-maximum, watertight and in one shell.

    Parameters
    ----------
    bone : Candidate
    full_hu : contrast of this scan's thick cortex.
    threshold_hu : level where no cortex is met.
    smoothing_limit_mm : farthest that smoothing may move a vertex.
    remeshing_bound_mm : farthest that remeshing may move the smoothed surface.

    Raises
    ------
    GeometryError
        The surface does not close, or remeshing does not keep its bound.
    """
    hu = bone.hu.like(np.ascontiguousarray(bone.hu.array))
    field, level = _field(bone, hu, full_hu, threshold_hu)
    inside = largest_component(field > 0)
    filled = fill_cavities(inside)
    np.minimum(field, np.float32(-0.05), out=field, where=~filled)
    np.copyto(field, np.float32(0.25), where=filled & ~inside)
    vertices, faces = isosurface(hu, field)
    smooth, moved = smooth_within(vertices, faces, smoothing_limit_mm)
    from_prior = _not_enclosed(hu, filled, bone.seen) if bone.distance is not None else np.zeros_like(filled)
    excess = float(np.count_nonzero(hu.array[bone.solid & ~filled] >= threshold_hu))
    return BoneSolid(
        inside=filled,
        surface=remeshed(smooth, faces, remeshing_bound_mm),
        from_prior=from_prior,
        from_prior_mm3=float(from_prior.sum()) * hu.voxel_volume_mm3,
        mean_move_mm=moved,
        level_median_hu=float(np.median(level)),
        threshold_shift_mm=excess * hu.voxel_volume_mm3 / area_mm2(smooth, faces),
        edge_sigma_mm=bone.profiles.edge_sigma_mm(),
        mm_per_100_hu=bone.profiles.mm_per_100_hu(),
    )


def _field(
    bone: Candidate, hu: Volume, full_hu: float, threshold_hu: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Field (K, J, I) whose zero is the surface, positive inside, one unit the bone's contrast; and its levels (HU)."""
    from implantflow.segment.mask_kernels import keep_off

    # The slope of the depth is looked at over two voxels on either side.
    needed_mm = DEEPEST_MM + BLEND_MM + 2.5 * float(hu.spacing_mm.max())
    depth = signed_depth(bone.solid, hu, min(needed_mm, DEPTH_MM))
    # Only a shell around the threshold surface is in question.
    voxels = np.argwhere((depth > -OUTERMOST_MM - BLEND_MM) & (depth < DEEPEST_MM + BLEND_MM))
    flat = np.ravel_multi_index(tuple(voxels.T), depth.shape)
    deep = depth.ravel()[flat]
    level, contrast = level_at(hu, bone.profiles, full_hu, threshold_hu, voxels)
    value = (hu.array.ravel()[flat].astype(np.float32) - level) / contrast
    value = np.maximum(value, _behind_cortex(hu, depth, voxels, value, level, contrast))
    value = np.maximum(value, (deep - DEEPEST_MM) / BLEND_MM)
    value = np.minimum(value, (deep + OUTERMOST_MM) / BLEND_MM)
    field = np.where(depth > 0, np.float32(0.5), np.float32(-0.5))
    field.ravel()[flat] = np.clip(value, -0.5, 0.5)
    if bone.distance is not None and bone.away_mm is not None:
        unseen = np.clip((bone.away_mm - UNSEEN_MM) / BLEND_MM, -1.0, 0.0)
        unseen -= bone.distance / BLEND_MM
        np.maximum(field, np.clip(unseen, -0.5, 0.5, out=unseen), out=field)
    keep_off(field, bone.others.view(np.uint8))
    return field, level


def _behind_cortex(
    hu: Volume,
    depth: NDArray[np.float32],
    voxels: NDArray[np.int64],
    value: NDArray[np.float32],
    level: NDArray[np.float32],
    contrast: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Field of voxels that are dark but have cortex on their outer side: marrow, so inside."""
    from implantflow.segment.kernels import sample_linear

    out = np.full(len(voxels), np.float32(-0.5))
    dark = np.flatnonzero((value < 0.5) & (depth[tuple(voxels.T)] > 0.6))
    at = voxels[dark]
    slope = np.empty((len(at), 3))
    for axis in range(3):
        ahead, behind = at.copy(), at.copy()
        ahead[:, axis] = np.minimum(ahead[:, axis] + 2, depth.shape[axis] - 1)
        behind[:, axis] = np.maximum(behind[:, axis] - 2, 0)
        slope[:, 2 - axis] = depth[tuple(behind.T)] - depth[tuple(ahead.T)]
    gradient = slope / hu.spacing_mm
    length = np.linalg.norm(gradient, axis=1, keepdims=True)
    outward = np.divide(gradient, length, out=np.zeros_like(gradient), where=length > 1e-9) / hu.spacing_mm
    for step_mm in (0.4, 0.8, 1.2, 1.6):
        seen = sample_linear(hu.array, at[:, ::-1] + step_mm * outward, np.float32(-1000.0))
        out[dark] = np.maximum(out[dark], (seen - level[dark]) / contrast[dark])
    return out


def isosurface(grid: Volume, field: NDArray[np.float32]) -> tuple[FloatArray, IntArray]:
    """Zero surface of ``field`` (positive inside) as one closed body in patient LPS, faces outward.

    Values next to zero are moved away from it, so that no triangle is too small to survive single precision;
    a bone cut by the border of the scan is closed there, half a voxel beyond the last one.
    """
    padded = np.pad(field, 1, constant_values=np.float32(-0.5))
    least = np.float32(0.02)
    np.copyto(padded, least, where=(padded > 0) & (padded < least))
    np.copyto(padded, -least, where=(padded <= 0) & (padded > -least))
    index, faces = level_surface(padded, 0.0)
    index -= 1.0  # the padding
    faces = largest_body(faces, len(index))
    used = np.zeros(len(index), dtype=bool)
    used[faces] = True
    vertices, faces = grid.index_to_lps(index[used]), (np.cumsum(used) - 1)[faces]
    if volume_mm3(vertices, faces) < 0:
        faces = faces[:, ::-1].copy()
    if not is_closed(faces):
        raise GeometryError("the surface of a bone does not close", where="segment")
    return vertices, faces


def smooth_within(vertices: FloatArray, faces: IntArray, limit_mm: float) -> tuple[FloatArray, float]:
    """Taubin smoothing along the normals that moves no vertex farther than ``limit_mm``.

    Only along the normals: sliding a vertex within the surface smooths nothing and would use up the limit.

    Returns
    -------
    vertices (N, 3), and the mean distance moved (mm).
    """
    from implantflow.segment.mesh_kernels import neighbours, pull_along

    if limit_mm == 0.0:
        return vertices, 0.0
    start, end = neighbours(faces, len(vertices), False)
    normals = vertex_normals(vertices, faces)
    height = np.zeros(len(vertices))
    for factor in (0.5, -0.53) * 5:
        pull = pull_along(vertices, normals, height, start, end)
        height = np.clip(height + factor * pull, -limit_mm, limit_mm)
    moved = np.round(vertices + normals * height[:, None], 6)
    return moved, float(np.abs(height).mean())


def _not_enclosed(hu: Volume, solid: BoolArray, seen: BoolArray) -> BoolArray:
    """Voxels of a solid that are neither bone in the image nor surrounded by it: there the prior speaks."""
    from implantflow.segment.mask_kernels import enclosing_directions

    voxels = np.argwhere(solid & ~seen)
    steps = [(k, j, i) for k in (-1, 0, 1) for j in (-1, 0, 1) for i in (-1, 0, 1)]
    rays = np.array([s for s in steps if sum(map(abs, s)) in (1, 3)], dtype=np.int64)
    lengths = np.linalg.norm(rays * hu.spacing_mm[::-1], axis=1)
    counts = np.ceil(RAY_MM / lengths).astype(np.int64)
    hits = enclosing_directions(seen.view(np.uint8), solid.view(np.uint8), voxels, rays, counts)
    out = np.zeros_like(solid)
    out[tuple(voxels[hits < ENCLOSING_RAYS].T)] = True
    return out
