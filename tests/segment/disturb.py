"""Disturbances of the Visible Human CT that must change little, and scans that must be refused."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from implantflow.segment.surface import BoneSolid
from implantflow.solids.mesh import Solid
from implantflow.volumes import Volume, from_sitk, to_sitk

sys.path.insert(0, str(Path(__file__).parent))
from atlas_ct import stencil

#: Voxel (mm) of the copy that everything is compared on.
BASE_MM = 1.5

Maker = Callable[[Volume], Volume]


def base_ct(data: Path) -> Volume:
    """The Visible Human CT cropped to the body's bony part, at BASE_MM."""
    import SimpleITK as sitk

    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(data / "vhf-pelvis-ct" / "dicom")))
    scan = from_sitk(sitk.Cast(reader.Execute(), sitk.sitkInt16))
    bright = ndimage.uniform_filter((scan.array[::2, ::2, ::2] > 250).astype(np.float32), 3) > 0.5
    box = ndimage.find_objects(bright.astype(np.uint8))[0]
    slices = tuple(
        slice(max(2 * s.start - 12, 0), min(2 * s.stop + 12, n))
        for s, n in zip(box, scan.array.shape, strict=True)
    )
    affine = scan.affine_lps.copy()
    affine[:3, 3] += affine[:3, :3] @ [s.start for s in slices[::-1]]
    return regrid(Volume(np.ascontiguousarray(scan.array[slices]), affine), (BASE_MM,) * 3)


def regrid(
    volume: Volume, spacing_mm: tuple[float, float, float], turn: NDArray[np.float64] | None = None
) -> Volume:
    """Copy on a grid of another spacing (i, j, k), averaged where coarser; ``turn`` (4, 4) moves the patient."""
    import SimpleITK as sitk

    image = sitk.Cast(to_sitk(volume), sitk.sitkFloat32)
    for axis, (new, old) in enumerate(zip(spacing_mm, volume.spacing_mm, strict=True)):
        if new > 1.2 * old:
            image = sitk.RecursiveGaussian(image, 0.35 * new, direction=axis)
    size = np.array(volume.array.shape[::-1]) * volume.spacing_mm
    count = [int(n) for n in np.floor(size / np.array(spacing_mm))]
    transform = sitk.AffineTransform(3)
    if turn is not None:
        back = np.linalg.inv(turn)
        transform.SetMatrix(back[:3, :3].ravel().tolist())
        transform.SetTranslation(back[:3, 3].tolist())
    out = sitk.Resample(
        image,
        count,
        transform,
        sitk.sitkLinear,
        image.GetOrigin(),
        list(spacing_mm),
        image.GetDirection(),
        -1000.0,
    )
    return from_sitk(sitk.Cast(sitk.Round(out), sitk.sitkInt16))


def _rotation(axis: int, degrees: float, about: NDArray[np.float64]) -> NDArray[np.float64]:
    a = np.radians(degrees)
    matrix = np.eye(4)
    b, c = [n for n in range(3) if n != axis]
    matrix[b, b] = matrix[c, c] = np.cos(a)
    matrix[b, c], matrix[c, b] = -np.sin(a), np.sin(a)
    matrix[:3, 3] = about - matrix[:3, :3] @ about
    return matrix


@dataclass(frozen=True)
class Change:
    """One disturbance: how the scan is made, and what of the undisturbed scan it still shows."""

    make: Maker = field(default=lambda base: base)
    turn: tuple[int, float] | None = None
    keep: tuple[slice, slice, slice] | None = None
    fit_threshold_hu: float | None = None

    def seen(self, base: Volume) -> NDArray[np.bool_]:
        """Voxels of the base that the disturbed scan shows."""
        out = np.zeros(base.array.shape, bool)
        out[self.keep or (slice(None),) * 3] = True
        if self.turn is not None:
            axis, degrees = self.turn
            ones = base.like(np.full(base.array.shape, 1000, np.int16))
            there = turned(ones, self.turn, centre_of(base))
            out = turned(there, (axis, -degrees), centre_of(base)).array > 900
        return out


def centre_of(volume: Volume) -> NDArray[np.float64]:
    """LPS mm of the middle of the grid."""
    return np.asarray(volume.index_to_lps((np.array(volume.array.shape[::-1])[None] - 1) / 2)[0])


def turned(volume: Volume, turn: tuple[int, float], about: NDArray[np.float64]) -> Volume:
    """The patient turned about one LPS axis by degrees, on the same grid."""
    return regrid(volume, (BASE_MM,) * 3, _rotation(*turn, about))


def inside(solid: BoneSolid, base: Volume, change: Change) -> NDArray[np.bool_]:
    """Voxels of the undisturbed scan inside a surface of the disturbed one, so that no grid stands between."""
    vertices = solid.surface.vertices_lps_mm
    if change.turn is not None:
        back = np.linalg.inv(_rotation(*change.turn, centre_of(base)))
        vertices = vertices @ back[:3, :3].T + back[:3, 3]
    return np.asarray(
        stencil(Solid.of(vertices, solid.surface.faces), base.affine_lps[:3, 3], BASE_MM, base.array.shape)
    )


def _turn(axis: int, degrees: float) -> Change:
    return Change(lambda base: turned(base, (axis, degrees), centre_of(base)), turn=(axis, degrees))


def _cut(k: slice, j: slice, i: slice) -> Change:
    def make(base: Volume) -> Volume:
        affine = base.affine_lps.copy()
        affine[:3, 3] += affine[:3, :3] @ [s.start or 0 for s in (i, j, k)]
        return Volume(np.ascontiguousarray(base.array[k, j, i]), affine)

    return Change(make, keep=(k, j, i))


def _noise(base: Volume) -> Volume:
    grain = np.random.default_rng(80).normal(0.0, 80.0, base.array.shape)
    return base.like(np.rint(base.array + grain).astype(np.int16))


def _lytic(base: Volume) -> Volume:
    """A ball of soft tissue, 40 mm across, where the left ala is."""
    k, j, i = np.indices(base.array.shape)
    lps = base.index_to_lps(np.stack([i.ravel(), j.ravel(), k.ravel()], 1))
    ball = np.linalg.norm(lps - [279.0, 295.0, 975.0], axis=1).reshape(base.array.shape) < 20.0
    return base.like(np.where(ball, np.int16(50), base.array))


CHANGES: dict[str, Change] = {
    "as it is": Change(),
    "roll 15 deg": _turn(1, 15.0),
    "pitch 20 deg": _turn(0, 20.0),
    "yaw 15 deg": _turn(2, 15.0),
    "2 mm voxels": Change(lambda base: regrid(base, (2.0, 2.0, 2.0))),
    "3 mm slices": Change(lambda base: regrid(base, (BASE_MM, BASE_MM, 3.0))),
    "noise 80 HU": Change(_noise),
    "edges from 120 HU": Change(fit_threshold_hu=120.0),
    "edges from 280 HU": Change(fit_threshold_hu=280.0),
    "lytic ball 40 mm": Change(_lytic),
    "cropped at the sides": _cut(slice(None), slice(None), slice(20, -20)),
    "cropped below": _cut(slice(12, None), slice(None), slice(None)),
}


def _without_pelvis(base: Volume) -> Volume:
    """The lumbar end of the scan over and over: spine and soft tissue of another region."""
    top = base.array[-24:]
    return base.like(np.concatenate([top, top[::-1]] * 3)[: len(base.array)])


def _axes(order: tuple[int, int, int]) -> Maker:
    def make(base: Volume) -> Volume:
        return Volume(np.ascontiguousarray(base.array.transpose(order)), base.affine_lps)

    return make


def _flip(axis: int) -> Maker:
    return lambda base: base.like(np.ascontiguousarray(np.flip(base.array, axis)))


def _slices(times: float) -> Maker:
    return lambda base: Volume(base.array, base.affine_lps @ np.diag([1.0, 1.0, times, 1.0]))


WRONG: dict[str, Maker] = {
    "head and feet exchanged": _flip(0),
    "front and back exchanged": _flip(1),
    "axes k and j exchanged": _axes((1, 0, 2)),
    "axes k and i exchanged": _axes((2, 1, 0)),
    "axes j and i exchanged": _axes((0, 2, 1)),
    "lumbar spine only": _without_pelvis,
    "half the scan, upper": lambda base: _cut(slice(60, None), slice(None), slice(None)).make(base),
    "right half only": lambda base: _cut(slice(None), slice(None), slice(0, base.array.shape[2] // 2)).make(
        base
    ),
    "size times 0.6": lambda base: Volume(base.array, base.affine_lps @ np.diag([0.6, 0.6, 0.6, 1.0])),
    "size times 1.6": lambda base: Volume(base.array, base.affine_lps @ np.diag([1.6, 1.6, 1.6, 1.0])),
    "slices of half the true distance": _slices(0.5),
    "slices of 1.5 times the true distance": _slices(1.5),
    "slices of twice the true distance": _slices(2.0),
}
