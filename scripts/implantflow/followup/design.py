"""The implant as designed, as CT would show it: share of metal per place, blurred like the scan."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from implantflow.field.field import Field
from implantflow.field.volume import LATTICE_METAL, label_grid
from implantflow.followup.sampling import Smooth
from implantflow.geometry import FloatArray, transform_points

#: Sampling of the struts for fine and coarse scans, mm; at most half a printable strut, no divisor of usual cells.
_FINE_MM, _COARSE_MM = 0.2, 0.33
#: A voxel of this edge and more (mm, cube root of its volume) is coarse.
_COARSE_VOXEL_MM = 1.2
#: Fine nodes per node of the grid that is blurred, along each axis.
_BIN = 2
#: Metal-free room around the part: the bloom of the widest scan has ended there, mm.
_ROOM_MM = 5.0


@dataclass(frozen=True)
class Blur:
    """Width of the scan's point spread as Gaussian standard deviations, mm, along the scanner's axes."""

    in_plane_mm: float
    axial_mm: float

    def covariance(self, scanner_from_design: FloatArray) -> FloatArray:
        """(3, 3) covariance in the design's axes of a scanner that is turned against them."""
        turn = scanner_from_design[:3, :3]
        return np.asarray(
            turn.T @ np.diag([self.in_plane_mm**2, self.in_plane_mm**2, self.axial_mm**2]) @ turn
        )

    def wider_by(self, extra_mm: float) -> Blur:
        """Blurred once more with a Gaussian of ``extra_mm``."""
        return Blur(float(np.hypot(self.in_plane_mm, extra_mm)), float(np.hypot(self.axial_mm, extra_mm)))

    def in_plane_only(self, in_plane_mm: float) -> Blur:
        """``in_plane_mm`` wide within the slices and as before across them.

        Slices are reconstructed one by one: what the kernel's tails and scatter spread stays in its slice.
        """
        return Blur(in_plane_mm, self.axial_mm)

    def read_linearly(self, spacing_mm: FloatArray) -> Blur:
        """What a profile shows that is read between voxels of ``spacing_mm`` (3,), linear between their middles."""
        triangle = np.asarray(spacing_mm, dtype=np.float64) / np.sqrt(6.0)
        return Blur(
            float(np.hypot(self.in_plane_mm, triangle[0])), float(np.hypot(self.axial_mm, triangle[2]))
        )

    @property
    def fwhm_mm(self) -> tuple[float, float]:
        """Full widths at half maximum in plane and along the axis."""
        factor = float(np.sqrt(8.0 * np.log(2.0)))
        return factor * self.in_plane_mm, factor * self.axial_mm


@dataclass(frozen=True)
class Coverage:
    """Share of metal on a grid in build_xyz, ready to be blurred by any scan.

    Attributes
    ----------
    share : (K, J, I) float32 array
        Share of metal around each node.
    origin_mm : (3,) place of node (0, 0, 0) in build_xyz.
    step_mm : distance of nodes.
    build_from_patient : (4, 4) rigid matrix.
    """

    share: NDArray[np.float32]
    origin_mm: FloatArray
    step_mm: float
    build_from_patient: FloatArray

    @classmethod
    def of(cls, field: Field, voxel_mm: float) -> Coverage:
        """Count the metal of ``field``, as finely as a scan with voxels of ``voxel_mm`` needs."""
        fine_mm = _FINE_MM if voxel_mm < _COARSE_VOXEL_MM else _COARSE_MM
        labels, origin = label_grid(
            field.vertices_mm,
            field.faces,
            field.material,
            None,
            fine_mm,
        )
        counted = [-(-n // _BIN) for n in labels.shape]
        share = np.zeros(counted, dtype=np.float32)
        for k in range(_BIN):
            for j in range(_BIN):
                for i in range(_BIN):
                    part = labels[k::_BIN, j::_BIN, i::_BIN] >= LATTICE_METAL
                    share[: part.shape[0], : part.shape[1], : part.shape[2]] += part
        share /= np.float32(_BIN**3)
        centre = origin + (_BIN - 1) / 2 * fine_mm
        return cls(share, centre, _BIN * fine_mm, field.build_from_patient)

    def slab(self, low_mm: float, high_mm: float) -> Coverage:
        """The part between two heights in build_xyz."""
        first = max(int((low_mm - self.origin_mm[2]) / self.step_mm), 0)
        last = max(int((high_mm - self.origin_mm[2]) / self.step_mm), first + 8)
        origin = self.origin_mm + np.array([0.0, 0.0, first * self.step_mm])
        return Coverage(self.share[first:last], origin, self.step_mm, self.build_from_patient)

    @cached_property
    def _room(self) -> int:
        return int(np.ceil(_ROOM_MM / self.step_mm))

    @cached_property
    def _padded_shape(self) -> tuple[int, int, int]:
        from scipy import fft

        nk, nj, ni = (fft.next_fast_len(n + 2 * self._room, real=True) for n in self.share.shape)
        return nk, nj, ni

    @cached_property
    def _spectrum(self) -> NDArray[np.complex64]:
        from scipy import fft

        padded = np.zeros(self._padded_shape, dtype=np.float32)
        padded[tuple(slice(self._room, self._room + n) for n in self.share.shape)] = self.share
        return np.asarray(fft.rfftn(padded))

    @cached_property
    def _frequencies(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Angular frequencies (rad/mm) along i, j, k, shaped to broadcast over the spectrum."""
        nk, nj, ni = self._padded_shape
        turn = 2.0 * np.pi
        return (
            np.asarray(turn * np.fft.rfftfreq(ni, self.step_mm), dtype=np.float64)[None, None, :],
            np.asarray(turn * np.fft.fftfreq(nj, self.step_mm), dtype=np.float64)[None, :, None],
            np.asarray(turn * np.fft.fftfreq(nk, self.step_mm), dtype=np.float64)[:, None, None],
        )

    def blurred(self, blur: Blur, scanner_from_patient: FloatArray) -> Smooth:
        """Share of metal as the scan shows it, a function of the place in the planned patient LPS.

        ``scanner_from_patient`` turns planned patient axes to those of the scan (the implant's pose). The spline's
        own smoothing is undone in the same product, so that it passes through the blurred nodes.
        """
        from scipy import fft

        scanner_from_build = scanner_from_patient[:3, :3] @ self.build_from_patient[:3, :3].T
        cov = blur.covariance(scanner_from_build).astype(np.float32)
        f = [axis.astype(np.float32) for axis in self._frequencies]
        exponent = cov[0, 0] * f[0] ** 2 + cov[1, 1] * f[1] ** 2 + cov[2, 2] * f[2] ** 2
        exponent = exponent + 2.0 * (
            cov[0, 1] * f[0] * f[1] + cov[0, 2] * f[0] * f[2] + cov[1, 2] * f[1] * f[2]
        )
        transfer = np.exp(np.float32(-0.5) * exponent)
        for axis in f:
            # Nodes of a cubic B-spline weigh 1/6, 2/3, 1/6.
            transfer *= (3.0 / (2.0 + np.cos(axis * self.step_mm))).astype(np.float32)
        coefficients = fft.irfftn(self._spectrum * transfer, self._padded_shape).astype(
            np.float32, copy=False
        )
        index_from_build = np.eye(4)
        index_from_build[:3, :3] /= self.step_mm
        index_from_build[:3, 3] = self._room - self.origin_mm / self.step_mm
        return Smooth(coefficients, index_from_build @ self.build_from_patient, 0.0)


@dataclass(frozen=True)
class Depths:
    """Distances in mm of places (planned patient LPS) inside the implant, for choosing what to read.

    The field's own distances end a millimetre or so from their surfaces; here they go all the way, measured between
    nodes a millimetre apart (half of that is their error).
    """

    field: Field

    def near_surface(self, places_lps: FloatArray) -> FloatArray:
        """(N,) signed distance to the outer solid, negative inside; exact, clamped to the field's band."""
        return self.field.solid_value(self._build(places_lps))

    def is_dense(self, places_lps: FloatArray) -> NDArray[np.bool_]:
        """(N,) True in dense metal."""
        return np.asarray(self.field.dense_value(self._build(places_lps)) < 0)

    def below_surface(self, places_lps: FloatArray) -> FloatArray:
        """(N,) distance to the outer surface for places inside, 0 outside."""
        return self._read(self._inward, places_lps)

    def to_dense(self, places_lps: FloatArray) -> FloatArray:
        """(N,) distance to dense metal, 0 inside it."""
        return self._read(self._from_dense, places_lps)

    @cached_property
    def _inward(self) -> NDArray[np.float32]:
        return self._away(self.field.solid[:: self._every, :: self._every, :: self._every] >= 0)

    @cached_property
    def _from_dense(self) -> NDArray[np.float32]:
        return self._away(self.field.dense[:: self._every, :: self._every, :: self._every] < 0)

    @property
    def _every(self) -> int:
        """Nodes of the field's grid per step of about a millimetre."""
        return max(1, round(1.0 / self.field.spacing_mm))

    def _away(self, target: NDArray[np.bool_]) -> NDArray[np.float32]:
        from scipy import ndimage

        if not target.any():
            return np.full(target.shape, 1e3, dtype=np.float32)
        way = ndimage.distance_transform_edt(~target, sampling=self.field.spacing_mm * self._every)
        return np.asarray(way, dtype=np.float32)

    def _read(self, grid: NDArray[np.float32], places_lps: FloatArray) -> FloatArray:
        from scipy import ndimage

        step = self.field.spacing_mm * self._every
        index = (self._build(places_lps) - self.field.origin_mm) / step
        return np.asarray(
            ndimage.map_coordinates(grid, index[:, ::-1].T, output=np.float64, order=1, mode="nearest")
        )

    def _build(self, places_lps: FloatArray) -> FloatArray:
        return transform_points(self.field.build_from_patient, places_lps)
