"""What the registrations share: images as ITK needs them, the metric between two, one thread."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray
from implantflow.volumes import Volume, to_sitk

_SEED = 20240229
_BINS = 40
#: Around the bones, so that their outer edge is seen from both sides.
BONE_MARGIN_MM = 6.0
#: Spacing of the CT around the bones.
FINE_MM = 1.6
#: Soft tissue and cancellous bone share this window; denser bone is dark on MR anyway.
_CT_WINDOW_HU = (-200.0, 700.0)


class Pair:
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
def one_thread() -> Iterator[None]:
    """SimpleITK's registration gives other last digits on two threads, from run to run."""
    import SimpleITK as sitk

    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)


def to_float(volume: Volume) -> Any:
    """SimpleITK image in 32-bit floating point, as the registration needs it."""
    return to_sitk(Volume(volume.array.astype(np.float32), volume.affine_lps))


def windowed(ct: Volume) -> Any:
    """The CT as the metric sees it."""
    return to_float(ct.like(np.clip(ct.array, *_CT_WINDOW_HU)))


def binned(image: Any, target_mm: float) -> Any:
    """Averaged over blocks of voxels, to a spacing near ``target_mm``; coarser voxels stay as they are."""
    import SimpleITK as sitk

    factors = [max(1, round(target_mm / s)) for s in image.GetSpacing()]
    return sitk.BinShrink(image, [min(f, n) for f, n in zip(factors, image.GetSize(), strict=True)])


def crop(image: Any, points: FloatArray, margin_mm: float) -> Any:
    """The part of ``image`` around ``points``."""
    index = np.array([image.TransformPhysicalPointToContinuousIndex(p.tolist()) for p in points])
    margin = margin_mm / np.array(image.GetSpacing())
    low = np.maximum(np.floor(index.min(axis=0) - margin), 0).astype(int)
    high = np.minimum(np.ceil(index.max(axis=0) + margin) + 1, image.GetSize()).astype(int)
    return image[tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))]


def bone_points(bones: Volume) -> FloatArray:
    """Some thousand voxel centres of bone, spread evenly over the label map, patient LPS mm."""
    found = np.argwhere(bones.array > 0)
    if len(found) == 0:
        raise GeometryError("the label map of the planning CT holds no bone", fix="check segment")
    every = max(1, len(found) // 4000)
    return bones.index_to_lps(found[::every, ::-1])


def near_bone(bones: Volume, grid: Any) -> Any:
    """Mask on ``grid``: bone and what is closer to it than the margin."""
    import SimpleITK as sitk

    solid = to_sitk(bones.like((bones.array > 0).astype(np.uint8)))
    solid = sitk.Resample(solid, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)
    distance = sitk.SignedMaurerDistanceMap(solid, squaredDistance=False, useImageSpacing=True)
    return sitk.Cast(distance <= BONE_MARGIN_MM, sitk.sitkUInt8)


def euler(shift_mm: ArrayLike, centre_mm: FloatArray, turn_deg: ArrayLike = (0.0, 0.0, 0.0)) -> Any:
    """SimpleITK rigid transform: a turn about ``centre_mm``, then a shift."""
    import SimpleITK as sitk

    found = sitk.Euler3DTransform()
    found.SetCenter(centre_mm.tolist())
    found.SetTranslation(np.asarray(shift_mm, dtype=np.float64).tolist())
    found.SetRotation(*np.radians(turn_deg).tolist())
    return found


def from_matrix(matrix: FloatArray, centre_mm: FloatArray) -> Any:
    """SimpleITK rigid transform equal to a 4x4, turning about ``centre_mm``."""
    turn = matrix[:3, :3]
    found = euler(turn @ centre_mm + matrix[:3, 3] - centre_mm, centre_mm)
    found.SetMatrix(turn.ravel().tolist(), 1e-6)
    return found


def matrix_of(transform: Any) -> FloatArray:
    """4x4 of a SimpleITK rigid transform (fixed point to moving point)."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(transform.GetMatrix()).reshape(3, 3)
    matrix[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    return matrix
