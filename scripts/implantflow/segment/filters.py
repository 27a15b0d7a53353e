"""Image filters that see only a few millimetres: smoothing, distance to a mask's rim, copies on other grids.

Short reach is what makes them cheap: nothing here looks farther than it is asked to. Parallel loops write disjoint
results only, so that threads cannot change a bit.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import inner, kernel, parallel
from implantflow.segment.components import find_runs
from implantflow.volumes import Volume

prange: Any = numba.prange

#: Taps of a Gaussian end here (standard deviations); a narrower one than this share of a voxel changes nothing.
TRUNCATE, NARROW = 3.5, 0.15
#: Where :func:`spread` ends its taps (standard deviations).
SPREAD_TRUNCATE = 4.0
#: Least distance (mm) up to which :func:`signed_depth` is exact.
DEPTH_MM = 8.0


def gaussian(volume: Volume, sigma_mm: float) -> NDArray[np.float32]:
    """(K, J, I) float32 smoothed by a Gaussian of ``sigma_mm``; the border value goes on beyond the border."""
    out = np.ascontiguousarray(volume.array, dtype=np.float32)
    for axis, spacing in enumerate(volume.spacing_mm[::-1]):
        sigma = sigma_mm / float(spacing)
        if sigma > NARROW:
            out = _smooth_axis(out, gaussian_taps(sigma), axis)
    return out


def gaussian_taps(sigma_voxels: float) -> NDArray[np.float32]:
    """Weights (2 R + 1,) of a Gaussian, their sum one."""
    reach = int(np.ceil(TRUNCATE * sigma_voxels))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_voxels) ** 2)
    return np.asarray(taps / taps.sum(), dtype=np.float32)


@inner
def _source_row(array: Any, k: int, j: int, shift_k: int, shift_j: int) -> Any:
    """The row next to (k, j), the border's own where there is none."""
    return array[min(max(k + shift_k, 0), array.shape[0] - 1), min(max(j + shift_j, 0), array.shape[1] - 1)]


@parallel
def _smooth_axis(array: Any, taps: Any, axis: int) -> Any:
    n0, n1, n2 = array.shape
    out = np.zeros((n0, n1, n2), dtype=np.float32)
    reach = len(taps) // 2
    along_k, along_j = int(axis == 0), int(axis == 1)
    for k in prange(n0):
        for j in range(n1):
            for t in range(len(taps)):
                shift = t - reach
                row = _source_row(array, k, j, shift * along_k, shift * along_j)
                if axis == 2:
                    low = min(max(-shift, 0), n2)
                    high = max(min(n2 - shift, n2), low)
                    target, source = out[k, j, low:high], row[low + shift : high + shift]
                    for i in range(low):
                        out[k, j, i] += taps[t] * row[0]
                    for i in range(high - low):
                        target[i] += taps[t] * source[i]
                    for i in range(high, n2):
                        out[k, j, i] += taps[t] * row[n2 - 1]
                else:
                    for i in range(n2):
                        out[k, j, i] += taps[t] * row[i]
    return out


def spread(field: NDArray[np.float64], sigma_voxels: NDArray[np.float64]) -> NDArray[np.float64]:
    """(K, J, I) smoothed by a Gaussian of ``sigma_voxels`` along k, j, i; there is nothing beyond the border."""
    out = np.ascontiguousarray(field, dtype=np.float64)
    for axis, sigma in enumerate(sigma_voxels):
        reach = int(SPREAD_TRUNCATE * float(sigma) + 0.5)
        taps = np.exp(-0.5 / float(sigma) ** 2 * np.arange(reach + 1) ** 2)
        before, after = int(np.prod(out.shape[:axis])), int(np.prod(out.shape[axis + 1 :]))
        lines = out.reshape(before, out.shape[axis], after)
        out = _spread_lines(lines, taps / (taps[0] + 2.0 * taps[1:].sum())).reshape(out.shape)
    return out


@kernel
def _spread_lines(lines: Any, taps: Any) -> Any:
    """Convolution along the middle axis with symmetric ``taps`` (middle first), the farthest added first."""
    n0, n1, n2 = lines.shape
    out = np.empty_like(lines)
    for a in range(n0):
        for n in range(n1):
            for b in range(n2):
                out[a, n, b] = lines[a, n, b] * taps[0]
            for t in range(len(taps) - 1, 0, -1):
                for m in (n - t, n + t):
                    if 0 <= m < n1:
                        for b in range(n2):
                            out[a, n, b] += lines[a, m, b] * taps[t]
    return out


def signed_depth(mask: NDArray[np.bool_], like: Volume, reach_mm: float = DEPTH_MM) -> NDArray[np.float32]:
    """Distance (mm) of voxel centres to the faces between a mask and the rest, positive inside.

    Measured to the mask's outermost voxel centres and shifted by half a voxel, so exact to half a voxel; beyond
    ``reach_mm``, or 2.5 voxels if that is more, it stays at that value or more.
    """
    spacing = like.spacing_mm[::-1]
    cap = max(reach_mm, 2.5 * float(spacing.max()))
    reach = np.ceil(cap / spacing).astype(np.int64)
    half = np.float32(0.5 * spacing.mean())
    flat = np.ascontiguousarray(mask).view(np.uint8)
    return np.asarray(_depth(flat, spacing.astype(np.float32), reach, np.float32(cap), half))


@parallel
def _depth(mask: Any, spacing: Any, reach: Any, cap: Any, half: Any) -> Any:
    """Distance to the nearest voxel of the mask that has a face outside it, signed, ``half`` added.

    Squared distances along i, then along j, then along k; of each row only the stretch near the rim is looked at.
    """
    n0, n1, n2 = mask.shape
    far = np.float32(1e9)
    rows = np.empty((n0, n1, n2), dtype=np.float32)
    row_ends = np.empty((n0, n1, 2), dtype=np.int32)
    for k in prange(n0):
        for j in range(n1):
            first, last = n2, -10000000
            for i in range(n2):
                if mask[k, j, i] and (
                    (k > 0 and not mask[k - 1, j, i])
                    or (k < n0 - 1 and not mask[k + 1, j, i])
                    or (j > 0 and not mask[k, j - 1, i])
                    or (j < n1 - 1 and not mask[k, j + 1, i])
                    or (i > 0 and not mask[k, j, i - 1])
                    or (i < n2 - 1 and not mask[k, j, i + 1])
                ):
                    if first == n2:
                        first = i
                        rows[k, j] = far
                    for back in range(i, max(last, i - reach[2] - 1, -1), -1):
                        d = (i - back) * spacing[2]
                        rows[k, j, back] = min(rows[k, j, back], d * d)
                    last = i
                elif i - last <= reach[2]:
                    d = (i - last) * spacing[2]
                    rows[k, j, i] = d * d
            row_ends[k, j, 0] = max(first - reach[2], 0)
            row_ends[k, j, 1] = min(last + reach[2], n2 - 1)
    planes = np.empty((n0, n1, n2), dtype=np.float32)
    ends = np.empty((n0, n1, 2), dtype=np.int32)
    for k in prange(n0):
        for j in range(n1):
            near = row_ends[k, max(j - reach[1], 0) : min(j + reach[1] + 1, n1)]
            low, high = near[:, 0].min(), near[:, 1].max()
            ends[k, j, 0], ends[k, j, 1] = low, high
            for i in range(low, high + 1):
                planes[k, j, i] = far
            for jj in range(max(j - reach[1], 0), min(j + reach[1] + 1, n1)):
                c = ((jj - j) * spacing[1]) ** 2
                for i in range(row_ends[k, jj, 0], row_ends[k, jj, 1] + 1):
                    planes[k, j, i] = min(planes[k, j, i], rows[k, jj, i] + c)
    out = rows  # no longer needed, and as large as the scan
    for k in prange(n0):
        for j in range(n1):
            for i in range(n2):
                out[k, j, i] = far
            for kk in range(max(k - reach[0], 0), min(k + reach[0] + 1, n0)):
                c = ((kk - k) * spacing[0]) ** 2
                for i in range(ends[kk, j, 0], ends[kk, j, 1] + 1):
                    out[k, j, i] = min(out[k, j, i], planes[kk, j, i] + c)
            for i in range(n2):
                away = np.sqrt(out[k, j, i])
                if not away < cap:
                    away = cap + half
                out[k, j, i] = (away if mask[k, j, i] else -away) + half
    return out


def resampled(volume: Volume, shape: tuple[int, ...], affine_lps: NDArray[Any], fill: float) -> Volume:
    """Trilinear copy (float32) of ``volume`` on another grid; ``fill`` more than half a voxel outside it."""
    step = np.linalg.inv(volume.affine_lps) @ affine_lps
    array = np.ascontiguousarray(volume.array, dtype=np.float32)
    return Volume(_resample(array, step[:3].copy(), np.array(shape), np.float32(fill)), affine_lps)


@parallel
def _resample(array: Any, step: Any, shape: Any, fill: Any) -> Any:
    n0, n1, n2 = array.shape
    out = np.empty((shape[0], shape[1], shape[2]), dtype=np.float32)
    for k in prange(shape[0]):
        for j in range(shape[1]):
            for i in range(shape[2]):
                x = step[0, 0] * i + step[0, 1] * j + step[0, 2] * k + step[0, 3]
                y = step[1, 0] * i + step[1, 1] * j + step[1, 2] * k + step[1, 3]
                z = step[2, 0] * i + step[2, 1] * j + step[2, 2] * k + step[2, 3]
                if x < -0.5 or y < -0.5 or z < -0.5 or x > n2 - 0.5 or y > n1 - 0.5 or z > n0 - 0.5:
                    out[k, j, i] = fill
                    continue
                x, y, z = min(max(x, 0.0), n2 - 1.0), min(max(y, 0.0), n1 - 1.0), min(max(z, 0.0), n0 - 1.0)
                a, b, c = int(x), int(y), int(z)
                a1, b1, c1 = min(a + 1, n2 - 1), min(b + 1, n1 - 1), min(c + 1, n0 - 1)
                u, v, w = np.float32(x - a), np.float32(y - b), np.float32(z - c)
                one = np.float32(1.0)
                p00 = array[c, b, a] * (one - u) + array[c, b, a1] * u
                p01 = array[c, b1, a] * (one - u) + array[c, b1, a1] * u
                p10 = array[c1, b, a] * (one - u) + array[c1, b, a1] * u
                p11 = array[c1, b1, a] * (one - u) + array[c1, b1, a1] * u
                out[k, j, i] = (p00 * (one - v) + p01 * v) * (one - w) + (p10 * (one - v) + p11 * v) * w
    return out


def fill_cavities(mask: NDArray[np.bool_], *, planes: bool = False) -> NDArray[np.bool_]:
    """Fill voids that do not reach the border of the array, or with ``planes`` the border of their own plane k."""
    void = find_runs(mask, of=False, planes=planes)
    closed = void.inside(planes=planes)
    out = np.array(mask, dtype=bool, order="C")
    void.paint(closed[void.root], out)
    return out
