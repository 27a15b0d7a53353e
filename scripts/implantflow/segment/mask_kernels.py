"""Compiled loops over masks. Parallel loops write disjoint results only, so that threads cannot change a bit."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from implantflow.compiled import parallel

prange: Any = numba.prange


@parallel
def enclosing_directions(bone: Any, solid: Any, voxels: Any, steps: Any, counts: Any) -> Any:
    """In how many directions (N,) a voxel of a solid meets bone before it leaves the solid.

    Parameters
    ----------
    bone, solid : (K, J, I) uint8; bone seen in the image, and the filled solid.
    voxels : (N, 3) int indices k, j, i.
    steps : (D, 3) int voxel steps; counts : (D,) int, how many steps each ray takes at most.
    """
    n0, n1, n2 = solid.shape
    out = np.zeros(voxels.shape[0], dtype=np.int32)
    for n in prange(voxels.shape[0]):
        hits = 0
        for d in range(steps.shape[0]):
            k, j, i = voxels[n, 0], voxels[n, 1], voxels[n, 2]
            for _ in range(counts[d]):
                k, j, i = k + steps[d, 0], j + steps[d, 1], i + steps[d, 2]
                if k < 0 or j < 0 or i < 0 or k >= n0 or j >= n1 or i >= n2:
                    hits += 1  # the scan ends here: nothing speaks against bone
                    break
                if bone[k, j, i] > 0:
                    hits += 1
                    break
                if solid[k, j, i] == 0:
                    break
        out[n] = hits
    return out


@parallel
def keep_off(field: Any, others: Any) -> None:
    """Lower a field (K, J, I), -0.5 to 0.5 and positive inside, in and around the voxels ``others`` (uint8) of a mask.

    Around them to a half less their share in the 27 voxels around each voxel, weighted 1-2-1; in them below zero.
    """
    n0, n1, n2 = field.shape
    for k in prange(n0):
        for j in range(n1):
            for i in range(n2):
                if field[k, j, i] <= np.float32(-0.5):
                    continue
                total = 0
                for dk in range(-1, 2):
                    kk = min(max(k + dk, 0), n0 - 1)
                    for dj in range(-1, 2):
                        jj = min(max(j + dj, 0), n1 - 1)
                        for di in range(-1, 2):
                            weight = (2 - abs(dk)) * (2 - abs(dj)) * (2 - abs(di))
                            total += weight * others[kk, jj, min(max(i + di, 0), n2 - 1)]
                if total:
                    most = np.float32(0.5) - np.float32(total / 64.0)
                    if others[k, j, i]:
                        most = min(most, np.float32(-0.1))
                    field[k, j, i] = min(field[k, j, i], most)


@parallel
def touching_mm2(hu: Any, region: Any, bright_hu: float, below_code: int, face_mm2: Any) -> Any:
    """Area (K, J, I) float32 of the faces ahead of each voxel where two regions meet, both at least ``bright_hu``.

    ``region`` codes 1 to ``below_code`` - 1 count; ``face_mm2`` (3,) float32 along k, j, i.
    """
    n0, n1, n2 = region.shape
    area = np.zeros((n0, n1, n2), dtype=np.float32)
    for k in prange(n0):
        for j in range(n1):
            for i in range(n2):
                own = region[k, j, i]
                if own == 0 or own >= below_code or hu[k, j, i] < bright_hu:
                    continue
                for axis in range(3):
                    kk, jj, ii = k + int(axis == 0), j + int(axis == 1), i + int(axis == 2)
                    if kk < n0 and jj < n1 and ii < n2:
                        other = region[kk, jj, ii]
                        if 0 < other < below_code and other != own and hu[kk, jj, ii] >= bright_hu:
                            area[k, j, i] += face_mm2[axis]
    return area
