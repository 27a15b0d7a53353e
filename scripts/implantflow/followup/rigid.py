"""Robust normal equations, and how sure their answer is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implantflow.geometry import FloatArray, transform_points

#: Tukey's biweight: 95 % efficient on normal noise (standard figure).
TUKEY = 4.685
#: Median absolute deviation to standard deviation of normal noise.
MAD_TO_SD = 1.4826


def tukey_weights(residual: FloatArray, scale: FloatArray | float) -> FloatArray:
    """(N,) biweights: near one for small residuals, zero beyond :data:`TUKEY` scales."""
    share = np.minimum(np.abs(residual / (TUKEY * np.maximum(scale, 1e-9))), 1.0)
    return np.asarray((1.0 - share**2) ** 2)


def robust_sd(values: FloatArray) -> float:
    """Standard deviation from the median absolute deviation about the median."""
    if len(values) == 0:
        return 0.0
    return MAD_TO_SD * float(np.median(np.abs(values - np.median(values))))


@dataclass(frozen=True)
class Normal:
    """Normal equations of a weighted least-squares step ``residual + jacobian @ step -> 0``.

    Attributes
    ----------
    hessian : (P, P), slope : (P,)
        Sums over all residuals.
    scores : (B, P)
        The share of ``slope`` that each block of neighbouring residuals adds.
    """

    hessian: FloatArray
    slope: FloatArray
    scores: FloatArray

    @classmethod
    def of(
        cls, jacobian: FloatArray, residual: FloatArray, weight: FloatArray, block: NDArray[np.int64]
    ) -> Normal:
        """Sum up (N, P) ``jacobian`` and (N,) ``residual``; ``block`` (N,) numbers the blocks.

        Plain einsum: its order of summation does not depend on the number of threads.
        """
        weighted = jacobian * weight[:, None]
        hessian = np.einsum("np,nq->pq", weighted, jacobian)
        slope = np.einsum("np,n->p", weighted, residual)
        scores: FloatArray = np.stack(
            [np.bincount(block, weighted[:, p] * residual) for p in range(jacobian.shape[1])], axis=1
        ).astype(np.float64)
        return cls(hessian, slope, scores)

    def step(self) -> FloatArray:
        """(P,) step that brings the residuals closest to zero."""
        scale = 1.0 / np.sqrt(np.maximum(np.diag(self.hessian), 1e-30))
        scaled = self.hessian * scale[:, None] * scale[None, :]
        return np.asarray(-scale * np.linalg.solve(scaled + 1e-12 * np.eye(len(scale)), scale * self.slope))

    def covariance(self) -> FloatArray:
        """(P, P) covariance of the answer with residuals correlated within blocks, free between them.

        The clustered sandwich estimator (Liang and Zeger 1986, DOI 10.1093/biomet/73.1.13): blocks wider than
        streaks and trabeculae give an honest error where counting voxels would not.
        """
        used = self.scores[np.abs(self.scores).sum(axis=1) > 0]
        inverse = np.linalg.pinv(self.hessian)
        meat = np.einsum("bp,bq->pq", used, used) * len(used) / max(len(used) - 1, 1)
        return np.asarray(inverse @ meat @ inverse)


def blocks(places_mm: FloatArray, size_mm: float) -> NDArray[np.int64]:
    """(N,) number of the cube of edge ``size_mm`` that each of (N, 3) places lies in."""
    cell = np.floor((places_mm - places_mm.min(0)) / size_mm).astype(np.int64)
    count = cell.max(0) + 1
    return np.asarray((cell[:, 2] * count[1] + cell[:, 1]) * count[0] + cell[:, 0])


def largest_disagreement_mm(poses: list[FloatArray], points: FloatArray) -> float:
    """Largest distance between where any two of ``poses`` put any of ``points`` (N, 3)."""
    places = [transform_points(pose, points) for pose in poses]
    return max(
        float(np.linalg.norm(a - b, axis=1).max()) for i, a in enumerate(places) for b in places[i + 1 :]
    )
