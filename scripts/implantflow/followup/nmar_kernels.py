"""Parallel rays through one slice, where they are needed only: which meet metal, what they sum up, and back again.

A ray is ``x cos + y sin = t``; view v has the direction ``(cosines[v], sines[v])``, bin n lies at
``t_first_mm + n * t_step_mm``. Places are mm from the axis of rotation; ``corner_mm`` (2,) is the x and y of pixel
(0, 0), ``pixel_mm`` (2,) the spacing along columns and rows.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import inner, kernel

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
BoolArray = NDArray[np.bool_]


@kernel
def mark_trace(
    metal: BoolArray,
    corner_mm: FloatArray,
    pixel_mm: FloatArray,
    cosines: FloatArray,
    sines: FloatArray,
    t_first_mm: float,
    t_step_mm: float,
    trace: BoolArray,
) -> None:
    """Set ``trace`` (V, N) where the ray of a bin meets a pixel of ``metal`` (J, I)."""
    nj, ni = metal.shape
    for j in range(nj):
        y = corner_mm[1] + j * pixel_mm[1]
        i = 0
        while i < ni:
            if not metal[j, i]:
                i += 1
                continue
            first = i
            while i < ni and metal[j, i]:
                i += 1
            low = corner_mm[0] + (first - 0.5) * pixel_mm[0]
            high = corner_mm[0] + (i - 0.5) * pixel_mm[0]
            for v in range(cosines.size):
                a, b = low * cosines[v], high * cosines[v]
                half = 0.5 * pixel_mm[1] * abs(sines[v])
                start = (min(a, b) + y * sines[v] - half - t_first_mm) / t_step_mm
                end = (max(a, b) + y * sines[v] + half - t_first_mm) / t_step_mm
                for n in range(max(math.ceil(start), 0), min(math.floor(end), trace.shape[1] - 1) + 1):
                    trace[v, n] = True


@inner
def _ray(images: Float32Array, start: float, step: float, length: float, total: FloatArray) -> None:
    """Sums (2,) of both channels along one ray that meets row r of ``images`` at column ``start + r * step``."""
    end = images.shape[1] - 1.001
    first, last = 0, images.shape[0] - 1
    if abs(step) > 1e-9:
        a, b = -start / step, (end - start) / step
        first, last = max(math.ceil(min(a, b)), 0), min(math.floor(max(a, b)), last)
    elif start < 0.0 or start > end:
        last = -1
    one = two = np.float32(0.0)
    for r in range(first, last + 1):
        # Rounding may put the first and the last crossing a trace beside the row; int() cuts towards zero.
        place = start + r * step
        c = np.uint32(int(place))
        w = np.float32(place - c)
        u = np.float32(1.0) - w
        one += images[r, c, 0] * u + images[r, c + np.uint32(1), 0] * w
        two += images[r, c, 1] * u + images[r, c + np.uint32(1), 1] * w
    total[0], total[1] = one * length, two * length


@kernel
def project(
    images: Float32Array,
    turned: Float32Array,
    corner_mm: FloatArray,
    pixel_mm: FloatArray,
    cosines: FloatArray,
    sines: FloatArray,
    t_first_mm: float,
    t_step_mm: float,
    needed: BoolArray,
    out: FloatArray,
) -> None:
    """Line integrals ``out`` (V, N, 2) of two images (J, I, 2), value times mm, where ``needed`` (V, N).

    Linear between pixels, row by row or, in ``turned`` (I, J, 2), column by column, whichever the ray crosses more
    steeply (Joseph 1982, DOI 10.1109/TMI.1982.4307572); nothing lies beyond the image.
    """
    total = np.zeros(2)
    for v in range(cosines.size):
        c, s = cosines[v], sines[v]
        by_rows = abs(c) >= abs(s)
        for n in range(needed.shape[1]):
            if not needed[v, n]:
                continue
            t = t_first_mm + n * t_step_mm
            if by_rows:
                start = ((t - s * corner_mm[1]) / c - corner_mm[0]) / pixel_mm[0]
                _ray(images, start, -s * pixel_mm[1] / (c * pixel_mm[0]), pixel_mm[1] / abs(c), total)
            else:
                start = ((t - c * corner_mm[0]) / s - corner_mm[1]) / pixel_mm[1]
                _ray(turned, start, -c * pixel_mm[0] / (s * pixel_mm[1]), pixel_mm[0] / abs(s), total)
            out[v, n, 0], out[v, n, 1] = total[0], total[1]


@inner
def _beside(
    sums: FloatArray,
    trace: BoolArray,
    v: int,
    n: int,
    way: int,
    count: int,
    least_mm: float,
    found: FloatArray,
) -> None:
    """Mean ratio (and mean bin) of up to ``count`` rays free of metal from bin ``n`` on in direction ``way``.

    ``found`` (3,) is ratio, bin and number of rays; none where the rays miss the prior.
    """
    ratio = place = taken = 0.0
    while 0 <= n < trace.shape[1] and taken < count and not trace[v, n]:
        if sums[v, n, 1] < least_mm:
            break
        ratio += sums[v, n, 0] / sums[v, n, 1]
        place += n
        taken += 1.0
        n += way
    found[0], found[1], found[2] = ratio / max(taken, 1.0), place / max(taken, 1.0), taken


@kernel
def replaced(sums: FloatArray, trace: BoolArray, beside: int, least_mm: float, change: FloatArray) -> None:
    """How much ``change`` (V, N) is added to the rays of the trace by a straight line across the normalised sinogram.

    Parameters
    ----------
    sums : (V, N, 2) line integrals of the image and of the prior.
    trace : (V, N) rays that meet metal.
    beside : number of rays on either side that the line is drawn from.
    least_mm : a ray with less of the prior than this says nothing.
    """
    left, right = np.zeros(3), np.zeros(3)
    for v in range(trace.shape[0]):
        n = 0
        while n < trace.shape[1]:
            if not trace[v, n]:
                n += 1
                continue
            first = n
            while n < trace.shape[1] and trace[v, n]:
                n += 1
            _beside(sums, trace, v, first - 1, -1, beside, least_mm, left)
            _beside(sums, trace, v, n, 1, beside, least_mm, right)
            if left[2] == 0.0 and right[2] == 0.0:
                left[0] = right[0] = 1.0
            elif left[2] == 0.0:
                left[0] = right[0]
            elif right[2] == 0.0:
                right[0] = left[0]
            for m in range(first, n):
                share = 0.5
                if left[2] > 0.0 and right[2] > 0.0:
                    share = (m - left[1]) / (right[1] - left[1])
                ratio = left[0] + share * (right[0] - left[0])
                change[v, m] = ratio * sums[v, m, 1] - sums[v, m, 0]


@kernel
def back_project(
    filtered: Float32Array,
    corner_mm: FloatArray,
    pixel_mm: FloatArray,
    cosines: FloatArray,
    sines: FloatArray,
    t_first_mm: float,
    t_step_mm: float,
    out: Float32Array,
) -> None:
    """Sum the filtered views (V, N) into ``out`` (J, I), linear between bins; the detector holds all pixels."""
    for v in range(cosines.size):
        step = pixel_mm[0] * cosines[v] / t_step_mm
        for j in range(out.shape[0]):
            y = corner_mm[1] + j * pixel_mm[1]
            start = (corner_mm[0] * cosines[v] + y * sines[v] - t_first_mm) / t_step_mm
            for i in range(out.shape[1]):
                place = start + i * step
                n = int(place)
                w = np.float32(place - n)
                out[j, i] += filtered[v, n] + (filtered[v, n + 1] - filtered[v, n]) * w
