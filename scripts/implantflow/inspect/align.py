"""The unknown pose of a scan: found from many starts, and refused when the starts do not agree."""

from __future__ import annotations

import itertools

import numpy as np

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, invert_rigid, rotation_angle_deg, transform_points
from implantflow.inspect.reference import Reference
from implantflow.inspect.scan import Scan, thinned

#: Cubes in which the scan's outside is found (mm): wider than any pore, so that the lattice is closed.
_SEAL_MM = 3.0
#: Distances of the points that are matched, in parts of the design's length: scan, design, and scan while it is open
#: which start is the right one.
_SCAN_POINTS, _DESIGN_POINTS, _FEW_POINTS = 1 / 35, 1 / 100, 1 / 17
#: The best starts that are followed to the end.
_FINALISTS = 4
#: Share of the matched points that counts: missing patches and powder do not.
_KEPT = 0.8
#: Share of the scan that may not stick out of the design; the rest may be powder and supports.
_CLEAN = 0.96
#: Two poses are the same within these.
_SAME_DEG, _SAME_MM = 3.0, 2.0
#: The next best other pose must disagree with the design by this much more (factor, and mm on top).
_CLEARLY_WORSE, _CLEARLY_WORSE_MM = 2.0, 0.05
#: A part that disagrees more with its design is another part (mm).
_DISAGREE_MAX_MM = 0.5
#: Turns from which the found pose must come back to itself (deg).
_NUDGES_DEG = (-12.0, 12.0, -12.0)


def coarse_pose(scan: Scan, reference: Reference) -> tuple[FloatArray, dict[str, float | int]]:
    """Rigid 4x4 from the scanner's frame to build_xyz, good to about half a millimetre, and how it was found.

    Principal axes give 24 starts; each is improved by nearest points; the best must beat every other pose and
    be found again from turned starts.

    Raises
    ------
    GeometryError
        No pose fits, or two different poses fit about as well.
    """
    from scipy.spatial import cKDTree

    centres = reference.design_surface.solid.centres_mm
    length = float(np.ptp(centres, axis=0).max())
    source = _outside(scan.vertices_mm)
    source = source[thinned(source, _SCAN_POINTS * length)]
    target = centres[thinned(centres, _DESIGN_POINTS * length)]
    tree = cKDTree(target)
    starts = _principal_starts(source, target[thinned(target, _SCAN_POINTS * length)])
    few = source[thinned(source, _FEW_POINTS * length)]
    tried = sorted((_improved(start, few, target, tree, 10) for start in starts), key=_fit_of)
    ended = [_improved(start, source, target, tree, 60)[1] for _, start in tried[:_FINALISTS]]
    finals = [(_disagreement(end, source, target, reference), end) for end in ended]
    fit, pose = min(finals, key=_fit_of)
    others = sorted((found for found in finals if not _same(found[1], pose, source)), key=_fit_of)
    rival = others[0][0] if others else float("inf")
    if fit > _DISAGREE_MAX_MM:
        raise GeometryError(
            f"in its best pose the scan disagrees with the design by {fit:.2f} mm on average",
            where="inspect: alignment",
            fix="is it the scan of this part, in millimetres, and not mirrored?",
        )
    if rival < _CLEARLY_WORSE * fit + _CLEARLY_WORSE_MM:
        raise GeometryError(
            f"two poses of the scan fit the design about as well ({fit:.2f} and {rival:.2f} mm off on average)",
            where="inspect: alignment",
            fix="scan more of the part: what was scanned does not say how it lies",
        )
    nudged = [_improved(start, source, target, tree, 60)[1] for start in _nudged(pose, source)]
    back = sum(_same(again, pose, source) for again in nudged)
    if back < len(nudged):
        raise GeometryError(
            f"only {back} of {len(nudged)} turned starts come back to the same pose",
            where="inspect: alignment",
            fix="scan more of the part: what was scanned does not say how it lies",
        )
    return pose, {
        "starts": len(starts) + len(nudged),
        "starts_agreeing": sum(_same(found[1], pose, source) for found in finals) + back,
        "disagreement_mm": fit,
        "disagreement_of_next_best_other_pose_mm": rival,
    }


def _outside(points: FloatArray) -> FloatArray:
    """Points of the scan that the air around the part reaches."""
    from scipy.ndimage import binary_dilation, label

    cell = np.floor((points - points.min(0)) / _SEAL_MM).astype(np.int64) + 1
    filled = np.zeros(cell.max(0) + 2, dtype=bool)
    filled[tuple(cell.T)] = True
    pieces, _ = label(~filled)
    rim = binary_dilation(pieces == pieces[0, 0, 0], iterations=1)
    outside = np.flatnonzero(rim[tuple(cell.T)])
    return points[outside]


def _fit_of(found: tuple[float, FloatArray]) -> float:
    return found[0]


def _principal_starts(source: FloatArray, target: FloatArray) -> list[FloatArray]:
    """24 rigid matrices that lay the principal axes of the scan on those of the design in every proper way."""
    axes_of = [np.linalg.eigh(np.cov(points.T))[1] for points in (source, target)]
    starts = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            turn = axes_of[1] @ (np.eye(3)[list(order)] * signs) @ axes_of[0].T
            if np.linalg.det(turn) > 0:
                start = np.eye(4)
                start[:3, :3] = turn
                start[:3, 3] = target.mean(0) - turn @ source.mean(0)
                starts.append(start)
    return starts


def _improved(
    pose: FloatArray, source: FloatArray, target: FloatArray, tree: object, rounds: int
) -> tuple[float, FloatArray]:
    """Mean distance of the kept points and the pose after ``rounds`` of nearest points."""
    kept = int(_KEPT * len(source))
    score = float("inf")
    for _ in range(rounds):
        placed = transform_points(pose, source)
        distance, index = tree.query(placed)  # type: ignore[attr-defined]
        order = np.argsort(distance, kind="stable")[:kept]
        before, score = score, float(distance[order].mean())
        if before - score < 1e-3 * score:
            break
        pose = _matched(source[order], target[index[order]])
    return score, pose


def _disagreement(pose: FloatArray, source: FloatArray, target: FloatArray, reference: Reference) -> float:
    """How much of the scan sticks out of the design, and how much of the design shows no metal (mm, averages).

    Unlike the distances that are matched it does not count that one sees into pores. The worst parts are left out:
    powder here, gaps of the scan there.
    """
    from scipy.spatial import cKDTree

    placed = transform_points(pose, source)
    # The field's grid does: it knows inside from outside everywhere and is clamped at some millimetres.
    out = np.maximum(reference.field.solid_value(placed), 0.0)
    empty = cKDTree(placed).query(target)[0]
    # Metal and the points that stand for it are never nearer than this to all of the surface.
    empty = np.maximum(
        empty - float(np.percentile(empty, 100.0 * _KEPT / 2.0)) - reference.field.cell_mm / 2.0, 0.0
    )
    return sum(
        float(np.sort(part)[: int(kept * len(part)) + 1].mean())
        for part, kept in ((out, _CLEAN), (empty, _KEPT))
    )


def _matched(source: FloatArray, target: FloatArray) -> FloatArray:
    """The rigid 4x4 that brings paired points (N, 3) together (Kabsch)."""
    a, b = source.mean(0), target.mean(0)
    u, _, vt = np.linalg.svd((source - a).T @ (target - b))
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(vt.T @ u.T))])
    out = np.eye(4)
    out[:3, :3] = vt.T @ flip @ u.T
    out[:3, 3] = b - out[:3, :3] @ a
    return out


def _same(one: FloatArray, other: FloatArray, source: FloatArray) -> bool:
    apart = invert_rigid(one) @ other
    middle = source.mean(0)
    return bool(
        rotation_angle_deg(apart[:3, :3]) < _SAME_DEG
        and np.linalg.norm(transform_points(apart, middle[None])[0] - middle) < _SAME_MM
    )


def _nudged(pose: FloatArray, source: FloatArray) -> list[FloatArray]:
    """The pose turned about each axis through the scan's middle, one way and the other in turn."""
    middle = transform_points(pose, source.mean(0)[None])[0]
    starts = []
    for axis, degrees in enumerate(_NUDGES_DEG):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        turn = np.eye(4)
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn[i, i] = turn[j, j] = c
        turn[i, j], turn[j, i] = -s, s
        turn[:3, 3] = middle - turn[:3, :3] @ middle
        starts.append(turn @ pose)
    return starts
