"""One simulated scan: slab by slab through the patient, view by view to the detector, and back to HU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, invert_rigid, transform_points
from implantflow.jobs import progress
from implantflow.phantom.followup import coverage_kernels as coverage
from implantflow.phantom.followup import projector_kernels as projector
from implantflow.phantom.followup.anatomy import Anatomy
from implantflow.phantom.followup.detector import line_integrals, noise, scatter
from implantflow.phantom.followup.reconstruct import reconstruct
from implantflow.phantom.followup.simd import CHANNELS
from implantflow.phantom.followup.spectrum import Physics
from implantflow.phantom.slabs import over_slabs

Float32Array = NDArray[np.float32]

#: Height of a slab and how many make a batch: the planes of a batch, and the sub-slices of a slab, fill the channels.
SLAB_MM, SLABS = 2.0, 4
_PLANES = CHANNELS // 2
_SUB_MM = SLAB_MM / (CHANNELS // 2)
#: Room around what the box grid must hold, mm.
_BOX_MARGIN_MM = 6.0


@dataclass(frozen=True)
class Scanner:
    """What the simulated scanner does; lengths in mm, ``corner_mm`` (3,) is the first pixel's centre in scan LPS."""

    physics: Physics
    views: int
    cell_mm: float
    box_mm: float
    anatomy_mm: float
    photons: float
    scatter_residual: float
    kernel: str
    noise_key: tuple[int, ...]
    pixel_mm: float
    slice_mm: float
    corner_mm: FloatArray
    shape: tuple[int, int, int]

    @property
    def bottom_mm(self) -> float:
        """Lower face of the first slice."""
        return float(self.corner_mm[2]) - self.slice_mm / 2

    @property
    def height_mm(self) -> float:
        """From the lower face of the first slice to the upper face of the last."""
        return self.shape[0] * self.slice_mm

    def sees_as(self, other: Scanner) -> bool:
        """Whether both look at the patient along the same rays."""
        mine = (self.views, self.cell_mm, self.box_mm, self.anatomy_mm, round(self.bottom_mm, 6))
        theirs = (other.views, other.cell_mm, other.box_mm, other.anatomy_mm, round(other.bottom_mm, 6))
        return mine == theirs


@dataclass(frozen=True)
class Patient:
    """Everything in the beam: anatomy, operation and metal, with their places in the scan.

    ``scan_from_planning`` holds for the pelvis, ``scan_from_build`` for the implant; ``screws`` (M, 8) stand in the
    pelvis, scan LPS; ``operated_mm`` (N, 3) points, scan LPS, span all that the operation changed.
    """

    anatomy: Anatomy
    scan_from_planning: FloatArray
    scan_from_build: FloatArray
    implant: coverage.Implant
    beside: coverage.Beside
    bed: coverage.Bed
    materials: coverage.Materials
    screws: FloatArray
    operated_mm: FloatArray


@dataclass(frozen=True)
class _Image:
    """A slab for the projector: values, transpose, and what they span; corner from the axis of rotation, mm."""

    values: Float32Array
    turned: Float32Array
    row_spans: NDArray[np.int64]
    column_spans: NDArray[np.int64]
    corner_mm: FloatArray
    spacing_mm: float

    @classmethod
    def of(cls, values: Float32Array, corner_mm: FloatArray, spacing_mm: float) -> _Image:
        turned = np.ascontiguousarray(values.transpose(1, 0, 2))
        found = []
        for image in (values, turned):
            ends = np.zeros((2, len(image)), np.int64)
            projector.spans(image, ends[0], ends[1])
            found.append(ends)
        return cls(values, turned, found[0], found[1], corner_mm, spacing_mm)

    def project(self, angles: FloatArray, t_first: FloatArray, t_step: float, out: Float32Array) -> None:
        projector.project(
            self.values, self.turned, self.row_spans, self.column_spans, self.corner_mm, self.spacing_mm,
            angles, t_first, t_step, out,
        )  # fmt: skip


class _Run:
    """Geometry of one scan that all batches share."""

    def __init__(self, scanner: Scanner, patient: Patient, threads: int) -> None:
        self.scanner, self.patient, self.threads = scanner, patient, threads
        body = transform_points(patient.scan_from_planning, patient.anatomy.body_mm)
        self.axis = transform_points(patient.scan_from_planning, patient.anatomy.centre_mm[None])[0, :2]
        reach = float(np.linalg.norm(body[:, :2] - self.axis, axis=1).max()) + 6.0
        self.cells = 2 * int(np.ceil(reach / scanner.cell_mm)) + 1
        self.t_first = -(self.cells - 1) / 2 * scanner.cell_mm
        self.angles: FloatArray = (np.arange(scanner.views, dtype=np.float64) + 0.5) * np.pi / scanner.views
        low, high = body[:, :2].min(0) - 4.0, body[:, :2].max(0) + 4.0
        self.body_corner: FloatArray = np.asarray(low, np.float64)
        size = np.ceil((high - low) / scanner.anatomy_mm).astype(int) + 2
        self.body_shape = (int(size[1]), int(size[0]))
        self.operated_low = patient.operated_mm.min(0) - _BOX_MARGIN_MM
        self.operated_high = patient.operated_mm.max(0) + _BOX_MARGIN_MM
        size = np.ceil((self.operated_high - self.operated_low)[:2] / scanner.box_mm).astype(int) + 1
        self.box_shape = (int(size[1]), int(size[0]))
        self.active = active_blocks(patient, self.operated_low, self.operated_high)

    def body_image(self, z_first: float) -> _Image:
        """The planes of a batch that begins at ``z_first``."""
        patient, mm = self.patient, self.scanner.anatomy_mm
        index = np.asarray(np.linalg.inv(patient.scan_from_planning @ patient.anatomy.affine), np.float64)
        values = np.zeros((*self.body_shape, CHANNELS), np.float32)
        for plane in range(_PLANES):
            z = z_first + (plane + 0.5) * SLAB_MM * SLABS / _PLANES
            over_slabs(
                lambda a, b, z=z, n=2 * plane: coverage.fill_plane(  # type: ignore[misc]
                    patient.anatomy.hu, index, z, self.body_corner, mm, patient.screws, patient.materials, n,
                    values, a, b,
                ),
                self.body_shape[0],
                self.threads,
            )  # fmt: skip
        return _Image.of(values, self.body_corner - self.axis, mm)

    def box_image(self, body: _Image, slab: int, z_mm: FloatArray) -> _Image | None:
        """What the operation changed in one slab of a batch; None where it changed nothing."""
        if z_mm[-1] < self.operated_low[2] or z_mm[0] > self.operated_high[2]:
            return None
        patient, mm = self.patient, self.scanner.box_mm
        values = np.empty((*self.box_shape, CHANNELS), np.float32)
        screws = patient.screws[_reached(patient.screws, z_mm)]
        over_slabs(
            lambda a, b: coverage.fill_box(
                body.values, self.body_corner, body.spacing_mm, slab * _PLANES // SLABS, z_mm,
                CHANNELS // 2 * SLABS // _PLANES, self.operated_low, mm, self.active,
                invert_rigid(patient.scan_from_build), invert_rigid(patient.scan_from_planning),
                patient.implant, patient.beside, patient.bed, patient.materials, screws,
                values, a, b,
            ),
            self.box_shape[0],
            self.threads,
        )  # fmt: skip
        return _Image.of(values, self.operated_low[:2] - self.axis, mm)

    def window(self, angles: FloatArray, screws: FloatArray, box: bool) -> tuple[NDArray[np.int64], int]:
        """First detector cell (V,) that sees metal, and how many there are for every view."""
        points = [np.zeros((0, 2))]
        if box:
            x, y = np.meshgrid(*zip(self.operated_low[:2], self.operated_high[:2], strict=True))
            points.append(np.column_stack([x.ravel(), y.ravel()]) - self.axis)
        for screw in screws:
            points.append(np.array([screw[:2], screw[:2] + screw[6] * screw[3:5]]))
        flat = np.concatenate(points)
        if len(flat) == 0:
            return np.zeros(len(angles), np.int64), 0
        radius = float(screws[:, 7].max()) if len(screws) else 0.0
        t = flat[:, :1] * np.cos(angles) + flat[:, 1:] * np.sin(angles)
        low = np.floor((t.min(0) - radius - self.t_first) / self.scanner.cell_mm).astype(np.int64) - 1
        high = np.ceil((t.max(0) + radius - self.t_first) / self.scanner.cell_mm).astype(np.int64) + 1
        return low, int((high - low).max()) + 1

    def shares(self, z_first: float, slabs: int, spectra: Sequence[Physics]) -> list[Float32Array]:
        """Signal shares (V, N, rows) of a batch of ``slabs`` slabs from ``z_first`` upwards, by spectrum."""
        body = self.body_image(z_first)
        within: FloatArray = (np.arange(CHANNELS // 2, dtype=np.float64) + 0.5) * _SUB_MM
        sub = [np.asarray(within + (z_first + n * SLAB_MM), np.float64) for n in range(slabs)]
        boxes = [self.box_image(body, n, sub[n]) for n in range(slabs)]
        screws = self.patient.screws.copy()
        screws[:, :2] -= self.axis
        shape = (self.scanner.views, self.cells, projector.ROWS * slabs)
        out = [np.empty(shape, np.float32) for _ in spectra]
        over_slabs(
            lambda a, b: self._views(body, boxes, sub, screws, a, b, spectra, out),
            self.scanner.views,
            self.threads,
        )
        return out

    def _views(
        self,
        body: _Image,
        boxes: list[_Image | None],
        sub: list[FloatArray],
        screws: FloatArray,
        first: int,
        last: int,
        spectra: Sequence[Physics],
        out: list[Float32Array],
    ) -> None:
        scanner, angles = self.scanner, self.angles[first:last]
        paths = np.zeros((len(angles), self.cells, CHANNELS), np.float32)
        body.project(angles, np.full(len(angles), self.t_first), scanner.cell_mm, paths)
        for n, (box, z_mm) in enumerate(zip(boxes, sub, strict=True)):
            here = screws[_reached(screws, z_mm)]
            cell, count = self.window(angles, here, box is not None)
            fine = np.zeros((len(angles), count * projector.RAYS, CHANNELS), np.float32)
            step = scanner.cell_mm / projector.RAYS
            t_first: FloatArray = (
                self.t_first + (cell.astype(np.float64) - 0.5) * scanner.cell_mm + 0.5 * step
            )
            if box is not None:
                box.project(angles, t_first, step, fine)
            if len(here):
                projector.add_cylinders(here, z_mm, angles, t_first, step, fine)
            rows = np.empty((len(angles), self.cells, projector.ROWS), np.float32)
            for physics, target in zip(spectra, out, strict=True):
                projector.detect(paths, n * _PLANES // SLABS, fine, cell, physics.transmission, rows)
                target[first:last, :, n * projector.ROWS : (n + 1) * projector.ROWS] = rows


def active_blocks(patient: Patient, low_mm: FloatArray, high_mm: FloatArray) -> NDArray[np.bool_]:
    """Which blocks (K, J, I) of a box in scan LPS the operation can have changed; generous by a few millimetres."""
    from scipy.ndimage import binary_dilation

    edge = coverage.ACTIVE_MM
    n_i, n_j, n_k = (int(n) + 1 for n in np.ceil((high_mm - low_mm) / edge))
    k, j, i = np.indices((n_k, n_j, n_i))
    middle = low_mm + edge * (np.column_stack([i.ravel(), j.ravel(), k.ravel()]) + 0.5)
    implant, bed = patient.implant, patient.bed
    build = transform_points(invert_rigid(patient.scan_from_build), middle)
    planning = transform_points(invert_rigid(patient.scan_from_planning), middle)
    metal = _nearest(implant.solid, (build - implant.origin) / implant.spacing, 1) * implant.step < 0.5
    cut = _nearest(bed.mask, (planning - bed.origin) / bed.spacing, 0) > 0
    # Half a block's diagonal, so that a block is found by its middle.
    reach = max([bed.kerf, *patient.beside.widths]) + 0.87 * edge
    found = (metal | cut).reshape(k.shape)
    found |= _near_cylinders(implant.screws, build, reach).reshape(k.shape)
    return np.asarray(binary_dilation(found, np.ones((3, 3, 3)), int(np.ceil(reach / edge))))


def _nearest(grid: NDArray[np.generic], index_ijk: FloatArray, outside: int) -> NDArray[np.float64]:
    """Values of the nearest nodes; where the grid ends, the largest value or zero (``outside`` 1 or 0)."""
    index = np.rint(index_ijk).astype(int)
    held = ((index >= 0) & (index < np.array(grid.shape[::-1]))).all(1)
    out = np.full(len(index), 1e9 if outside else 0.0)
    i, j, k = index[held].T
    out[held] = grid[k, j, i]
    return out


def _near_cylinders(cylinders: FloatArray, points: FloatArray, reach_mm: float) -> NDArray[np.bool_]:
    found = np.zeros(len(points), bool)
    for c in cylinders:
        along = np.clip((points - c[:3]) @ c[3:6], 0.0, c[6])
        found |= np.linalg.norm(points - c[:3] - along[:, None] * c[3:6], axis=1) < c[7] + reach_mm
    return found


def _reached(screws: FloatArray, z_mm: FloatArray) -> NDArray[np.bool_]:
    """Which cylinders come near the sub-slices."""
    ends = np.stack([screws[:, 2], screws[:, 2] + screws[:, 6] * screws[:, 5]])
    return np.asarray((ends.min(0) - screws[:, 7] <= z_mm[-1]) & (ends.max(0) + screws[:, 7] >= z_mm[0]))


def scan_patient(scanner: Scanner, patient: Patient, threads: int) -> NDArray[np.int16]:
    """HU (K, J, I) int16 of ``scanner.shape``, slices from ``scanner.corner_mm`` upwards."""
    return scan_protocols([scanner], patient, threads)[0]


def scan_protocols(scanners: Sequence[Scanner], patient: Patient, threads: int) -> list[NDArray[np.int16]]:
    """HU of every one of ``scanners``, as :func:`scan_patient` gives them, from one pass of rays.

    Raises
    ------
    GeometryError
        They do not look at the patient along the same rays.
    """
    if not all(scanner.sees_as(scanners[0]) for scanner in scanners):
        raise GeometryError("protocols of one pass must share views, cells, grids and the lowest plane")
    run = _Run(scanners[0], patient, threads)
    n_slabs = -(-round(max(s.height_mm for s in scanners) * 1e6) // round(SLAB_MM * 1e6))
    spectra = list({id(s.physics): s.physics for s in scanners}.values())
    integrals = [
        np.empty((n_slabs * round(SLAB_MM / s.slice_mm), s.views, run.cells), np.float32) for s in scanners
    ]
    for batch, first in enumerate(range(0, n_slabs, SLABS)):
        slabs = min(SLABS, n_slabs - first)
        shares = run.shares(scanners[0].bottom_mm + first * SLAB_MM, slabs, spectra)
        for scanner, target in zip(scanners, integrals, strict=True):
            seen = shares[[id(p) for p in spectra].index(id(scanner.physics))]
            _measure_batch(scanner, seen, first, target, threads)
        progress("simulate: views", done=(batch * SLABS + slabs) / n_slabs)
    progress("simulate: reconstruction")
    return [
        reconstruct(
            measured[: s.shape[0]], s.cell_mm, s.kernel, s.physics.reference_per_cm,
            s.corner_mm[:2] - run.axis, s.pixel_mm, (s.shape[1], s.shape[2]), threads,
        )
        for s, measured in zip(scanners, integrals, strict=True)
    ]  # fmt: skip


def _measure_batch(
    scanner: Scanner, shares: Float32Array, first_slab: int, integrals: Float32Array, threads: int
) -> None:
    """Line integrals of the slices of a batch of slabs from ``first_slab`` on into ``integrals`` (S, V, N)."""
    per_slab = round(SLAB_MM / scanner.slice_mm)
    for slab in range(shares.shape[2] // projector.ROWS):
        part = shares[:, :, slab * projector.ROWS : (slab + 1) * projector.ROWS]
        target = integrals[(first_slab + slab) * per_slab : (first_slab + slab + 1) * per_slab]
        _measure(scanner, np.ascontiguousarray(part), first_slab + slab, target, threads)


def _measure(scanner: Scanner, shares: Float32Array, slab: int, target: Float32Array, threads: int) -> None:
    """Line integrals of the slices of one slab into ``target`` (S, V, N)."""
    scattered = scatter(shares, scanner.cell_mm)

    def work(first: int, last: int) -> None:
        part = shares[first:last]
        grain = noise((*scanner.noise_key, slab, first), part.shape)
        found = np.empty((*part.shape[:2], len(target)), np.float32)
        line_integrals(
            part, scattered[first:last], grain, scanner.photons, scanner.scatter_residual,
            scanner.physics.hardening, projector.ROWS // len(target), found,
        )  # fmt: skip
        target[:, first:last] = np.moveaxis(found, 2, 0)

    over_slabs(work, len(shares), threads)
