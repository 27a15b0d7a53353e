"""Rigid registration of one image of the patient to another by mutual information.

Whole body first, at coarse resolution, then only around the bones, which are what stays rigid. The chain is
run from several starts pushed apart on purpose; they must come back to one answer, or nothing is returned: a
registration that depends on where it began is a wrong one that looks right.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, invert_rigid, rotation_angle_deg, transform_points
from implantflow.volumes import Volume, to_sitk

#: Answers of different starts may lie this far apart at the bones (imaging.md).
MAX_DISAGREEMENT_MM = 0.5

#: Starts, as shifts in mm and turns in degrees about the first guess; pushed apart in every axis.
STARTS = (
    ((6.0, -4.0, 5.0), (3.0, -4.0, 3.0)),
    ((-6.0, 5.0, -4.0), (-4.0, 3.0, -3.0)),
    ((4.0, 5.0, -6.0), (3.0, 4.0, -4.0)),
)

_SEED = 20240229
_BINS = 40
_COARSE_MM = 5.0
_FINE_MM = 1.6
_COARSE_SAMPLES = 20_000
_FINE_SAMPLES = 20_000
#: Around the bones, so that their outer edge is seen from both sides.
_BONE_MARGIN_MM = 6.0
#: Soft tissue and cancellous bone share this window; denser bone is dark on MR anyway.
_CT_WINDOW_HU = (-200.0, 700.0)
_MIN_OVERLAP = 0.4


@dataclass(frozen=True)
class Registration:
    """A rigid transform and what speaks for it.

    Attributes
    ----------
    ct_from_mr : (4, 4) float array
        Maps points of the moving image's patient LPS to the planning CT's patient LPS, mm; rounded to 1e-6.
    agreement_mm : float
        Largest distance between the answers of any two starts, over the bones.
    starts : int
        Number of starts that agreed.
    mutual_information : float
        Mattes mutual information around the bones, of the answer kept.
    overlap_fraction : float
        Share of the bones that lies inside both images.
    """

    ct_from_mr: FloatArray
    agreement_mm: float
    starts: int
    mutual_information: float
    overlap_fraction: float

    def as_json(self) -> dict[str, Any]:
        """Keys for a stage's JSON."""
        shift = self.ct_from_mr[:3, 3]
        return {
            "maps": "series patient_lps mm -> planning CT patient_lps mm",
            "ct_from_series": self.ct_from_mr,
            "rotation_deg": rotation_angle_deg(self.ct_from_mr[:3, :3]),
            "translation_mm": float(np.linalg.norm(shift)),
            "agreement_mm": self.agreement_mm,
            "agreement_limit_mm": MAX_DISAGREEMENT_MM,
            "starts": self.starts,
            "mutual_information": self.mutual_information,
            "overlap_fraction": self.overlap_fraction,
        }


def register_rigid(ct: Volume, bones: Volume, mr: Volume, *, name: str = "MR") -> Registration:
    """Find the rigid transform from ``mr`` to ``ct``.

    Parameters
    ----------
    ct : Volume
        Planning CT, HU.
    bones : Volume
        Label map on the grid of ``ct``; everything above 0 is bone.
    mr : Volume
        Image of the same patient, any contrast.
    name : str
        What messages call the image.

    Raises
    ------
    GeometryError
        No bone in the label map, too little overlap, or starts that end more than
        :data:`MAX_DISAGREEMENT_MM` apart.

    Notes
    -----
    SimpleITK on one thread with a fixed seed, and the result rounded to 1e-6: the same on every machine and
    number of cores (design.md, decision 7).
    """
    import SimpleITK as sitk

    points = _bone_points(bones)
    with _one_thread():
        image = _to_float(mr)
        window = _to_float(ct.like(np.clip(ct.array, *_CT_WINDOW_HU)))
        whole = _Pair(_binned(window, _COARSE_MM), image, None, _COARSE_SAMPLES)
        fine = _binned(_crop(window, points, margin_mm=4 * _BONE_MARGIN_MM), _FINE_MM)
        local = _Pair(fine, image, _near_bone(bones, fine), _FINE_SAMPLES)
        guess = _first_guess(whole)
        found = []
        for shift_mm, turn_deg in STARTS:
            start = sitk.Euler3DTransform(guess)
            start.SetTranslation(np.add(guess.GetTranslation(), shift_mm).tolist())
            start.SetRotation(*np.radians(turn_deg).tolist())
            coarse, _ = whole.optimise(start, step_mm=4.0, last_step_mm=0.05, shrink=(2, 1))
            found.append(local.optimise(coarse, step_mm=1.0, last_step_mm=0.01, shrink=(2, 1)))
    matrices = [_matrix(transform) for transform, _ in found]
    moved = [transform_points(matrix, points) for matrix in matrices]
    agreement_mm = max(
        float(np.linalg.norm(a - b, axis=1).max()) for i, a in enumerate(moved) for b in moved[i + 1 :]
    )
    best = min(range(len(found)), key=lambda index: found[index][1])
    overlap = float(mr.contains_lps(moved[best]).mean())
    _refuse_doubt(name, agreement_mm, overlap)
    ct_from_mr = np.round(invert_rigid(matrices[best]), 6)
    return Registration(ct_from_mr, agreement_mm, len(found), -found[best][1], overlap)


def _refuse_doubt(name: str, agreement_mm: float, overlap: float) -> None:
    if agreement_mm > MAX_DISAGREEMENT_MM:
        raise GeometryError(
            f"registration of {name} to the planning CT is not certain: answers from {len(STARTS)} starts "
            f"lie up to {agreement_mm:.2f} mm apart at the bones (limit {MAX_DISAGREEMENT_MM} mm)",
            where=name,
            fix="check that both scans show the same region of the same patient; use another series",
        )
    if overlap < _MIN_OVERLAP:
        raise GeometryError(
            f"only {100 * overlap:.0f} % of the planning CT's bones lie inside {name} after registration",
            where=name,
            fix="use a series that shows the same region",
        )


class _Pair:
    """A fixed and a moving image with the metric between them."""

    def __init__(self, fixed: Any, moving: Any, mask: Any, samples: int) -> None:
        import SimpleITK as sitk

        self.fixed, self.moving, self.mask, self.samples = fixed, moving, mask, samples
        inside = 0 if mask is None else int(sitk.GetArrayViewFromImage(mask).sum())
        self.domain = inside or int(np.prod(fixed.GetSize()))

    def _method(self, shrink: tuple[int, ...]) -> Any:
        import SimpleITK as sitk

        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(_BINS)
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentagePerLevel(
            [min(1.0, self.samples * factor**3 / self.domain) for factor in shrink], _SEED
        )
        method.SetMetricUseFixedImageGradientFilter(False)
        method.SetMetricUseMovingImageGradientFilter(False)
        method.SetInterpolator(sitk.sitkLinear)
        if self.mask is not None:
            method.SetMetricFixedMask(self.mask)
        return method

    def value(self, transform: Any) -> float:
        """Metric (negative mutual information) of ``transform``; infinite when the images do not meet."""
        method = self._method((1,))
        method.SetInitialTransform(transform, inPlace=False)
        try:
            return float(method.MetricEvaluate(self.fixed, self.moving))
        except RuntimeError:
            return float("inf")

    def optimise(
        self, start: Any, *, step_mm: float, last_step_mm: float, shrink: tuple[int, ...]
    ) -> tuple[Any, float]:
        """Descend from ``start``; returns the transform and its metric."""
        import SimpleITK as sitk

        method = self._method(shrink)
        transform = sitk.Euler3DTransform(start)
        method.SetInitialTransform(transform, inPlace=True)
        method.SetOptimizerAsRegularStepGradientDescent(
            learningRate=step_mm, minStep=last_step_mm, numberOfIterations=150, relaxationFactor=0.6
        )
        method.SetOptimizerScalesFromPhysicalShift()
        spacing = self.fixed.GetSpacing()[0]
        method.SetShrinkFactorsPerLevel(list(shrink))
        method.SetSmoothingSigmasPerLevel(
            [0.5 * spacing * factor if factor > 1 else 0.0 for factor in shrink]
        )
        method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
        try:
            method.Execute(self.fixed, self.moving)
        except RuntimeError as error:
            raise GeometryError(
                "registration lost the overlap of the two images",
                fix="check that both scans show the same region of the same patient",
            ) from error
        return transform, float(method.GetMetricValue())


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """SimpleITK's registration gives other last digits on two threads, from run to run."""
    import SimpleITK as sitk

    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)


def _to_float(volume: Volume) -> Any:
    """SimpleITK image in 32-bit floating point, as the registration needs it."""
    return to_sitk(Volume(volume.array.astype(np.float32), volume.affine_lps))


def _binned(image: Any, target_mm: float) -> Any:
    """Averaged over blocks of voxels, to a spacing near ``target_mm``; coarser voxels stay as they are."""
    import SimpleITK as sitk

    factors = [max(1, round(target_mm / s)) for s in image.GetSpacing()]
    return sitk.BinShrink(image, [min(f, n) for f, n in zip(factors, image.GetSize(), strict=True)])


def _crop(image: Any, points: FloatArray, margin_mm: float) -> Any:
    """The part of ``image`` around ``points``."""
    index = np.array([image.TransformPhysicalPointToContinuousIndex(p.tolist()) for p in points])
    margin = margin_mm / np.array(image.GetSpacing())
    low = np.maximum(np.floor(index.min(axis=0) - margin), 0).astype(int)
    high = np.minimum(np.ceil(index.max(axis=0) + margin) + 1, image.GetSize()).astype(int)
    return image[tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))]


def _bone_points(bones: Volume) -> FloatArray:
    """Some thousand voxel centres of bone, spread evenly over the label map, patient LPS mm."""
    found = np.argwhere(bones.array > 0)
    if len(found) == 0:
        raise GeometryError("the label map of the planning CT holds no bone", fix="check segment")
    every = max(1, len(found) // 4000)
    return bones.index_to_lps(found[::every, ::-1])


def _near_bone(bones: Volume, grid: Any) -> Any:
    """Mask on ``grid``: bone and what is closer to it than the margin."""
    import SimpleITK as sitk

    solid = to_sitk(bones.like((bones.array > 0).astype(np.uint8)))
    solid = sitk.Resample(solid, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)
    distance = sitk.SignedMaurerDistanceMap(solid, squaredDistance=False, useImageSpacing=True)
    return sitk.Cast(distance <= _BONE_MARGIN_MM, sitk.sitkUInt8)


def _first_guess(pair: _Pair) -> Any:
    """The best of: as the headers say, image centres matched, intensity centroids matched."""
    import SimpleITK as sitk

    centre = _centre(pair.fixed)
    candidates = [
        np.zeros(3),
        _centre(pair.moving) - centre,
        _centroid(pair.moving) - _centroid(pair.fixed),
    ]
    guesses = []
    for shift in candidates:
        guess = sitk.Euler3DTransform()
        guess.SetCenter(centre.tolist())
        guess.SetTranslation(shift.tolist())
        guesses.append(guess)
    return min(guesses, key=pair.value)


def _centre(image: Any) -> FloatArray:
    return np.array(image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()]))


def _centroid(image: Any) -> FloatArray:
    import SimpleITK as sitk

    array = sitk.GetArrayViewFromImage(image).astype(np.float64)
    weight = array - array.min()
    total = weight.sum()
    index = [
        float((weight.sum(axis=axes) * np.arange(n)).sum() / total)
        for axes, n in (((0, 1), weight.shape[2]), ((0, 2), weight.shape[1]), ((1, 2), weight.shape[0]))
    ]
    return np.array(image.TransformContinuousIndexToPhysicalPoint(index))


def _matrix(transform: Any) -> FloatArray:
    """4x4 of a SimpleITK rigid transform (fixed point to moving point)."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(transform.GetMatrix()).reshape(3, 3)
    matrix[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    return matrix
