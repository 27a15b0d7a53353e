"""What happens to the part between the hot bed and the scanner: it shrinks, bends, and lies somehow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from implantflow.geometry import FloatArray


@dataclass(frozen=True)
class Process:
    """Shrinkage and bow; both frames have the axes of build_xyz.

    Attributes
    ----------
    factors : (3,) size of the cold part over the size in the file, per axis.
    bow_mm : how far the middle is pushed towards +x against the lower and upper end.
    centre_mm : (3,) place that stays (but for the bow). half_mm : half the part's height.
    """

    factors: FloatArray
    bow_mm: float
    centre_mm: FloatArray
    half_mm: float

    @classmethod
    def of(cls, shrink_pct: tuple[float, float, float], bow_mm: float, box_mm: FloatArray) -> Process:
        """Process of a part whose file states the box (2, 3)."""
        factors = 1.0 - np.asarray(shrink_pct) / 100.0
        return cls(factors, bow_mm, box_mm.mean(0), float(box_mm[1, 2] - box_mm[0, 2]) / 2)

    def cold(self, drawn_mm: FloatArray) -> FloatArray:
        """(N, 3) places in the file -> places in the cold part."""
        rel = drawn_mm - self.centre_mm
        out = self.centre_mm + rel * self.factors
        out[:, 0] += self.bow_mm * (1.0 - (rel[:, 2] / self.half_mm) ** 2)
        return out

    def hot(self, cold_mm: FloatArray) -> FloatArray:
        """(N, 3) places in the cold part -> places in the file."""
        out = self.centre_mm + (cold_mm - self.centre_mm) / self.factors
        rel = (out[:, 2] - self.centre_mm[2]) / self.half_mm
        out[:, 0] -= self.bow_mm * (1.0 - rel**2) / self.factors[0]
        return out


def random_rotation(rng: np.random.Generator) -> FloatArray:
    """A rotation (3, 3), every one as likely as any other."""
    w, x, y, z = (q := rng.standard_normal(4)) / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def lying_rotation(rng: np.random.Generator) -> FloatArray:
    """A rotation (3, 3) that lays the part's z along the image rows, with its x up, tilted by some degrees.

    A CT of a long part is taken so that it fits the detector; the tilt keeps flat faces off the image axes.
    """
    lying = np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    a, b, c = np.radians(rng.uniform(4.0, 9.0, 3))
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return np.asarray(about_x @ about_y @ about_z @ lying)


def pose_about(rotation: FloatArray, middle_mm: FloatArray, to_mm: FloatArray) -> FloatArray:
    """Rigid 4x4 that turns about ``middle_mm`` and carries it to ``to_mm``; digits that a DICOM position keeps."""
    out = np.eye(4)
    out[:3, :3] = rotation
    out[:3, 3] = to_mm - rotation @ middle_mm
    return out
