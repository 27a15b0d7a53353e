"""The pose that the struts themselves say: by what differs between places a few struts apart and by nothing else.

Bone, gaps, streaks and bloom change what the outer surface looks like, and pull at a pose that rests on it; shading,
and struts that grow thicker along the part, pull at one that rests on the level of the HU. The struts' pattern keeps
its place whatever fills the pores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from implantflow.followup.design import Blur
from implantflow.followup.evenness import within_blocks
from implantflow.followup.metal_fit import BLOCK_MM, DONE_MM, MIN_POINTS, Step, Voxels, length_mm
from implantflow.followup.rigid import Normal, blocks, largest_disagreement_mm, robust_sd, tukey_weights
from implantflow.followup.sampling import Smooth
from implantflow.geometry import FloatArray, invert_rigid, motion, motion_columns, transform_points

#: The struts show when they place the implant this well (standard error, mm) and explain this share of the variance
#: of the texture.
_SHOWN_MM, _SHOWN_EXPLAINED = 0.02, 0.1
#: Less than half of the way to the next strut that looks the same (1.8 mm in diamond of 2.5 mm), mm.
_SAME_STRUT_MM = 0.85
#: The pose of all metal may be off by half a millimetre: bone and shading pull at it.
LOOKED_FOR_MM = tuple(
    (side * (axis == 0), side * (axis == 1), side * (axis == 2))
    for axis in range(3)
    for side in ((0.0, 0.4, -0.4) if axis == 0 else (0.4, -0.4))
)
#: Sharper than any scan of this field: the struts' place shows best with it where the point spread is not yet known.
SHARP = Blur(0.4, 0.35)


def by_texture(
    voxels: Voxels,
    model: Smooth,
    pose: FloatArray,
    core_of: Callable[[FloatArray], NDArray[np.bool_]],
    centre: FloatArray,
    around: tuple[tuple[float, float, float], ...] = ((0.0, 0.0, 0.0),),
) -> Step | None:
    """The pose by the struts of the core; None where the scan does not show them.

    They are looked for from ``pose`` (4, 4; scan_from_design) moved by each of ``around`` (mm), and the answer that
    explains most counts; one further off than :data:`_SAME_STRUT_MM` has slipped to another strut.
    """
    core = core_of(transform_points(invert_rigid(pose), voxels.places))
    if core.sum() < MIN_POINTS:
        return None
    inner = replace(voxels, places=voxels.places[core], hu=voxels.hu[core])
    best: Step | None = None
    for shift in around:
        start = motion(np.r_[0.0, 0.0, 0.0, shift], centre) @ pose
        step = improve_by_texture(inner, model, start, centre, DONE_MM / 100.0)
        if step is None:
            continue
        error = float(np.sqrt(np.trace(step.normal.covariance()[3:, 3:])))
        shown = error < _SHOWN_MM and step.explained > _SHOWN_EXPLAINED
        slipped = largest_disagreement_mm([step.pose, pose], inner.places) > _SAME_STRUT_MM
        if shown and not slipped and (best is None or step.explained > best.explained):
            best = step
    return best


def improve_by_texture(
    voxels: Voxels, model: Smooth, pose: FloatArray, centre: FloatArray, done_mm: float
) -> Step | None:
    """As :func:`metal_fit.improve`, by the texture of ``voxels`` alone; None once a step leaves the strut."""
    number = blocks(voxels.places, BLOCK_MM)
    hu = within_blocks(voxels.hu[:, None], voxels.places)[:, 0]
    variance = max(float(np.var(hu)), 1e-9)
    for _ in range(voxels.steps):
        share, gradient = model.gradients(transform_points(invert_rigid(pose), voxels.places))
        residual, slope = texture_left(share, hu, voxels.places)
        columns = motion_columns(voxels.places, (slope[:, None] * gradient) @ pose[:3, :3].T, centre)
        columns = within_blocks(columns, voxels.places)
        weight = tukey_weights(residual, robust_sd(residual))
        normal = Normal.of(columns, residual, weight, number)
        step = normal.step()
        if length_mm(step) > _SAME_STRUT_MM:
            return None
        pose = motion(step, centre) @ pose
        if length_mm(step) < done_mm:
            break
    return Step(pose, normal, 1.0 - float(np.mean(residual**2)) / variance)


def texture_left(share: FloatArray, hu: FloatArray, places: FloatArray) -> tuple[FloatArray, FloatArray]:
    """What the struts do not explain of ``hu`` (N,), the neighbourhood's mean taken off, and the slope of HU by share.

    Both (N,). The rise of HU with ``share`` (N,) is a parabola: near the scanner's ceiling it flattens.
    """
    known = within_blocks(np.column_stack([share, share**2]), places)
    # Plain einsum: its order of summation does not depend on the number of threads.
    rise = np.linalg.pinv(np.einsum("np,nq->pq", known, known)) @ np.einsum("np,n->p", known, hu)
    return hu - np.einsum("np,p->n", known, rise), np.maximum(rise[0] + 2.0 * rise[1] * share, 0.0)
