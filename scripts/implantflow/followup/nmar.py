"""Normalised metal artefact reduction (Meyer et al. 2010, Med Phys 37:5482, DOI 10.1118/1.3484090) on slices.

The method replaces what rays through metal have measured by what their neighbours that miss it say: divided by the
rays through a prior image of air, soft tissue and bone, the projections are nearly flat, and a straight line across the
metal's trace is a fair guess; multiplied back, it keeps the edges that the prior knows.

We have no raw data. Projections are simulated from the reconstructed slices, parallel and slice by slice. What the
scanner measured through metal is then only known as the image that it made of it: projected again, the image gives
consistent sums, so a streak that reaches rays beside the trace stays there in part, what the scanner's ceiling cut off
is lost, and of what lies beyond the reconstructed field nothing is known. It can take off dark bands and streaks whose
rays pass metal. It can show nothing that no ray free of metal has seen. In the prior metal is soft tissue, and so is
what bright and dark streaks hide: a bridge of bone beside metal, crossed by few free rays, turns to soft tissue, a gap
that is not there. Hence bone in the lattice, fusion and HU are never read on it.

Only rays of the trace change, so the slice is changed by the filtered back-projection of that change alone (filtered
back-projection is linear). Elsewhere the image is not blurred by being projected and reconstructed once more, and a
slice without metal is not touched.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implantflow.geometry import FloatArray

Float32Array = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

#: Views over half a turn: neighbours lie no further apart than a pixel of 0.7 mm up to 40 mm from the axis.
VIEWS = 180
#: Rays on either side of the trace that the line across it is drawn from, and how much of the prior they must meet, mm.
_BESIDE, _LEAST_MM = 3, 5.0
#: Classes of the prior: below is air, from the second on is bone, HU; it is smoothed before with this width, mm.
_AIR_HU, _BONE_HU, _SMOOTH_MM = -500.0, 226.0, 1.0
#: Dark streaks pass for air: nearer to metal than this nothing is, mm.
_NO_AIR_MM = 12.0
#: The prior is made of slices that were reduced once before, with pixels this much coarser and a prior whose bone
#: begins here, HU: bright streaks would pass for bone otherwise.
_COARSER, _SURE_BONE_HU = 2, 500.0
#: Room of the detector beyond what it must hold, bins.
_ROOM = 8


@dataclass(frozen=True)
class Box:
    """The part of the slices that is wanted: voxels from ``low`` to below ``high`` (3,), in order i, j, k."""

    low: NDArray[np.int64]
    high: NDArray[np.int64]

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """For a (K, J, I) array."""
        k, j, i = (slice(int(a), int(b)) for a, b in zip(self.low[::-1], self.high[::-1], strict=True))
        return k, j, i


def prior(
    hu: Float32Array, metal: BoolArray, spacing_mm: FloatArray, bone_hu: float = _BONE_HU
) -> Float32Array:
    """The slice as air, soft tissue of one HU and bone, (J, I), metal taken as soft tissue.

    Parameters
    ----------
    hu : (J, I) one slice. metal : (J, I). spacing_mm : (2,) along rows and columns of the array.
    bone_hu : bone begins here.
    """
    from scipy import ndimage

    width = _SMOOTH_MM / np.asarray(spacing_mm, dtype=np.float64)
    known = ndimage.gaussian_filter((~metal).astype(np.float32), width)
    mean = ndimage.gaussian_filter(np.where(metal, np.float32(0.0), hu), width)
    mean = np.divide(mean, known, out=np.zeros_like(mean), where=known > 1e-3)
    reach = 2 * np.ceil(_NO_AIR_MM / np.asarray(spacing_mm)).astype(int) + 1
    air = (mean <= _AIR_HU) & ~ndimage.maximum_filter(metal, tuple(reach))
    soft = ~air & (mean < bone_hu) & ~metal
    level = np.float32(np.median(hu[soft])) if soft.any() else np.float32(0.0)
    found = np.full(hu.shape, level, dtype=np.float32)
    found[air] = -1000.0
    bone = (mean >= bone_hu) & ~metal
    found[bone] = mean[bone]
    return found


def correction(hu: Float32Array, metal: BoolArray, spacing_mm: FloatArray, box: Box) -> Float32Array:
    """What normalised metal artefact reduction adds to the slices, HU, within ``box``; zero on metal.

    Parameters
    ----------
    hu : (K, J, I) float32 array
        Whole slices; what stands at metal is not used.
    metal : (K, J, I) bool array
        Its rays are replaced.
    spacing_mm : (3,) along i, j, k.
    box : where the correction is wanted.
    """
    wanted, pixel = box.slices, np.asarray(spacing_mm[:2], dtype=np.float64)
    out = np.zeros([int(n) for n in (box.high - box.low)[::-1]], dtype=np.float32)
    for number, k in enumerate(range(wanted[0].start, wanted[0].stop)):
        if metal[k].any():
            guess = prior(_reduced_once(hu[k], metal[k], pixel, box), metal[k], pixel[::-1])
            out[number] = _slice_correction(hu[k], metal[k], guess, pixel, box)
    out[metal[wanted]] = 0.0
    return out


def _reduced_once(hu: Float32Array, metal: BoolArray, pixel_mm: FloatArray, box: Box) -> Float32Array:
    """The slice (J, I) for the prior to be made of: streaks within the box reduced on a coarser grid."""
    n, (nj, ni) = _COARSER, (s // _COARSER for s in hu.shape)
    blocks = (slice(0, nj * n), slice(0, ni * n))
    mean = hu[blocks].reshape(nj, n, ni, n).mean(axis=(1, 3))
    hidden = np.asarray(metal[blocks].reshape(nj, n, ni, n).any(axis=(1, 3)))
    size = np.array([ni, nj, 1])
    coarse = Box(np.minimum(box.low // n, size - 1), np.minimum(-(-box.high // n), size))
    guess = prior(mean, hidden, pixel_mm[::-1] * n, _SURE_BONE_HU)
    if not hidden.any():
        return hu
    change = _slice_correction(mean, hidden, guess, pixel_mm * n, coarse).repeat(n, axis=0).repeat(n, axis=1)
    found, first = hu.copy(), coarse.low * n
    found[first[1] : first[1] + len(change), first[0] : first[0] + change.shape[1]] += change
    return found


def _slice_correction(
    hu: Float32Array, metal: BoolArray, guess: Float32Array, pixel_mm: FloatArray, box: Box
) -> Float32Array:
    """One slice (J, I): project, draw the line across the trace, filter what has changed and project it back."""
    from implantflow.followup import nmar_kernels as kernels

    images = np.stack([np.where(metal, guess, hu), guess], axis=-1)
    images = np.ascontiguousarray(np.maximum(images + np.float32(1000.0), 0.0) / np.float32(1000.0))
    rays = _Rays.of(metal, pixel_mm, box)
    trace = np.zeros((VIEWS, rays.bins), dtype=np.bool_)
    geometry = (pixel_mm, rays.cosines, rays.sines, rays.t_first_mm, rays.t_step_mm)
    kernels.mark_trace(metal, rays.corner_mm, *geometry, trace)
    sums = np.zeros((VIEWS, rays.bins, 2))
    turned = np.ascontiguousarray(images.transpose(1, 0, 2))
    kernels.project(images, turned, rays.corner_mm, *geometry, _wider(trace, _BESIDE), sums)
    change = np.zeros((VIEWS, rays.bins))
    kernels.replaced(sums, trace, _BESIDE, _LEAST_MM, change)
    size = (box.high - box.low)[:2]
    found = np.zeros((int(size[1]), int(size[0])), dtype=np.float32)
    corner = rays.corner_mm + box.low[:2] * pixel_mm
    kernels.back_project(_filtered(change, rays.t_step_mm), corner, *geometry, found)
    return np.asarray(found * np.float32(1000.0 * np.pi / VIEWS))


def _wider(rays: BoolArray, bins: int) -> BoolArray:
    """Rays (V, N) and those up to ``bins`` beside them."""
    wide = rays.copy()
    for way in range(1, bins + 1):
        wide[:, way:] |= rays[:, :-way]
        wide[:, :-way] |= rays[:, way:]
    return wide


@dataclass(frozen=True)
class _Rays:
    """Geometry of one slice: the axis stands in the middle of the metal, the detector holds metal and box."""

    corner_mm: FloatArray
    cosines: FloatArray
    sines: FloatArray
    t_first_mm: float
    t_step_mm: float
    bins: int

    @classmethod
    def of(cls, metal: BoolArray, pixel_mm: FloatArray, box: Box) -> _Rays:
        at = np.argwhere(metal)[:, ::-1] * pixel_mm
        axis = (at.min(axis=0) + at.max(axis=0)) / 2.0
        ends = np.stack([box.low[:2], box.high[:2] - 1]) * pixel_mm
        corners = np.array([[x, y] for x in ends[:, 0] for y in ends[:, 1]])
        reach = max(float(np.linalg.norm(points - axis, axis=1).max()) for points in (at, corners))
        step = float(pixel_mm.min())
        half = int(np.ceil(reach / step)) + _ROOM
        angles = (np.arange(VIEWS) + 0.5) * np.pi / VIEWS
        return cls(
            np.asarray(-axis, dtype=np.float64),
            np.cos(angles),
            np.sin(angles),
            -half * step,
            step,
            2 * half + 1,
        )


def _filtered(views: FloatArray, step_mm: float) -> Float32Array:
    """(V, N) views through the ramp with the Shepp-Logan window, whose exact samples in space keep the mean.

    Kak and Slaney 1988, chapter 3.
    """
    from scipy import fft

    count = fft.next_fast_len(2 * views.shape[1], True)
    place = np.minimum(np.arange(count), count - np.arange(count)).astype(np.float64)
    # The Shepp-Logan filter in space: h(n) = 2 / (pi^2 d^2 (1 - 4 n^2)).
    taps = 2.0 / (np.pi**2 * step_mm**2 * (1.0 - 4.0 * place**2))
    response = fft.rfft(taps).real * step_mm
    found = fft.irfft(fft.rfft(views, count, axis=1) * response, count, axis=1)[:, : views.shape[1]]
    return np.ascontiguousarray(found, dtype=np.float32)
