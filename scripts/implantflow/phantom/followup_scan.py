"""Simulate one CT after the operation: the built lattice in the operated patient, as DICOM, with its truth."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from implantflow import artifacts
from implantflow.config.simulated_followup import FollowupScan, SimulatedFollowupConfig
from implantflow.errors import InputError
from implantflow.geometry import FloatArray, invert_rigid, transform_points
from implantflow.jobs import Job, progress
from implantflow.phantom.dicom_writer import write_series
from implantflow.phantom.followup import coverage_kernels as coverage
from implantflow.phantom.followup.anatomy import Anatomy, read_anatomy
from implantflow.phantom.followup.cells import calibrated_shift_mm
from implantflow.phantom.followup.faces import GRID_MM, PORE_GRID_MM, Face, FaceGrids, face_grids, read_faces
from implantflow.phantom.followup.hardware import ends, moved, resorbed, screws
from implantflow.phantom.followup.implant_field import ImplantField, read_implant
from implantflow.phantom.followup.materials import SOFT_HU, basis_of_hu
from implantflow.phantom.followup.motion import Placed, mesh_centroid, placed
from implantflow.phantom.followup.scan import Patient, Scanner, scan_patient
from implantflow.phantom.followup.series import ct_series, person_of
from implantflow.phantom.followup.spectrum import physics
from implantflow.phantom.followup.surgery import Removed, removed_bone
from implantflow.phantom.followup.truth import truth_of

#: What :func:`operated` reads.
FILES = ("anatomy", "field", "field_data", "plan", "specimen", "regions", "implant")
#: Room between the implant and the edge of the reconstructed field, mm.
_LEAST_ROOM_MM = 5.0


@dataclass(frozen=True)
class Operated:
    """One state of the patient after the operation, ready to be scanned, with what is true of it."""

    series: str
    scan: FollowupScan
    scanner: Scanner
    patient: Patient
    implant: ImplantField
    faces: list[Face]
    grids: FaceGrids
    found: Placed

    def truth(self, threads: int) -> dict[str, Any]:
        """The truth's JSON."""
        return truth_of(
            self.series, self.scan, self.found, self.patient, self.implant, self.faces, self.grids, threads
        )


def simulate_followup(job: Job) -> None:
    """Write the output ``dicom`` (a folder) and the side output ``truth`` (a JSON that no stage reads).

    Inputs: those of :func:`operated` and, for a real patient, ``identity`` (folder of the planning CT's DICOM).
    Settings: ``simulated_followup``, ``series`` (which of its scans) and, for a phantom, ``simulated``.

    Raises
    ------
    InputError, GeometryError, ProvenanceError
        A scan or face that does not exist, a field that cuts the implant, files that do not belong together.
    """
    cfg = SimulatedFollowupConfig.model_validate(job.settings["simulated_followup"])
    person = person_of(job.settings.get("simulated"), job.optional_input("identity"))
    files = {name: job.input(name) for name in FILES}
    made = operated(files, cfg, str(job.settings["series"]), job.threads)
    hu = scan_patient(made.scanner, made.patient, job.threads)
    progress("simulate: DICOM and truth")
    series = ct_series(made.series, cfg, made.scan, hu, affine_of(made.scanner))
    write_series(job.outputs["dicom"], person, series)
    artifacts.write_json(job.side_outputs["truth"], made.truth(job.threads))


def operated(files: Mapping[str, Path], cfg: SimulatedFollowupConfig, series: str, threads: int) -> Operated:
    """The patient as in the scan ``series`` of ``cfg``.

    ``files``: ``anatomy`` (HU volume, planning LPS; free of noise for the phantom), ``field``, ``field_data``,
    ``plan``, ``specimen``, ``regions``, ``implant``.
    """
    scan = _scan(cfg, series)
    progress("simulate: implant, specimen and faces")
    implant = read_implant(files["field"], files["field_data"])
    faces = read_faces(files["regions"], files["implant"])
    grids = face_grids(faces, implant, scan, threads)
    found = placed(mesh_centroid(*artifacts.read_stl(files["implant"])), cfg.placement, scan)
    scanner = _scanner(cfg, scan, series, implant, found)
    anatomy = _anatomy(files, cfg, scanner, found)
    patient = _patient(files, cfg, scan, scanner, anatomy, implant, grids, found)
    return Operated(series, scan, scanner, patient, implant, faces, grids, found)


def affine_of(scanner: Scanner) -> FloatArray:
    """(4, 4) index (i, j, k) of the scan's voxels -> scan LPS, mm."""
    affine = np.diag([scanner.pixel_mm, scanner.pixel_mm, scanner.slice_mm, 1.0])
    affine[:3, 3] = scanner.corner_mm
    return affine


def _scan(cfg: SimulatedFollowupConfig, series: str) -> FollowupScan:
    if series not in cfg.scans:
        raise InputError(
            f"no simulated follow-up scan is called {series!r}",
            where="simulated_followup.scans",
            fix=f"one of {', '.join(cfg.scans)}, or add it there",
        )
    return cfg.scans[series]


def _corners(low: FloatArray, high: FloatArray) -> FloatArray:
    """(8, 3) corners of a box."""
    share = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
    return np.asarray(low + share * (high - low))


def _implant_in_scan(implant: ImplantField, found: Placed) -> FloatArray:
    """(8, 3) corners of the implant's box in scan LPS."""
    matrix = found.scan_from_implant @ invert_rigid(implant.build_from_planning)
    return transform_points(matrix, _corners(implant.low_mm, implant.high_mm))


def _scanner(
    cfg: SimulatedFollowupConfig, scan: FollowupScan, series: str, implant: ImplantField, found: Placed
) -> Scanner:
    """Place the field of view on the implant.

    Raises
    ------
    InputError
        The field would cut the implant off.
    """
    box = _implant_in_scan(implant, found)
    centre = transform_points(found.scan_from_implant, found.centroid_mm[None])[0]
    pixel, thickness = cfg.spacing_mm[0], cfg.spacing_mm[2]
    columns, rows = (round(mm / pixel) for mm in cfg.field_mm)
    low, high = box[:, 2].min() - cfg.caudal_mm, box[:, 2].max() + cfg.cranial_mm
    corner = centre[:2] + np.array(cfg.field_offset_mm) - np.array([columns - 1, rows - 1]) / 2 * pixel
    far = corner + np.array([columns - 1, rows - 1]) * pixel
    inside = (box[:, :2].min(0) >= corner + _LEAST_ROOM_MM) & (box[:, :2].max(0) <= far - _LEAST_ROOM_MM)
    if not inside.all():
        raise InputError(
            "the reconstructed field of the simulated scan would cut the implant off",
            where="simulated_followup.field_mm, field_offset_mm",
            fix="enlarge the field or shift its centre",
        )
    key = int.from_bytes(hashlib.sha256(series.encode()).digest()[:4], "big")
    return Scanner(
        physics=physics(scan.kvp or cfg.kvp),
        views=cfg.views,
        cell_mm=cfg.cell_mm,
        box_mm=cfg.box_mm,
        anatomy_mm=cfg.anatomy_mm,
        photons=cfg.photons,
        scatter_residual=cfg.scatter_residual,
        kernel=scan.kernel or cfg.kernel,
        noise_key=(cfg.seed, key),
        pixel_mm=pixel,
        slice_mm=thickness,
        # Positions are written into DICOM with six decimals: truth and files must name the same place.
        corner_mm=np.round([*corner, low + thickness / 2], 6),
        shape=(int(np.ceil((high - low) / thickness)), rows, columns),
    )


def _anatomy(
    files: Mapping[str, Path], cfg: SimulatedFollowupConfig, scanner: Scanner, found: Placed
) -> Anatomy:
    """The slices of the planning anatomy that the scan's field needs."""
    height = scanner.shape[0] * scanner.slice_mm
    high = scanner.corner_mm + np.array(
        [scanner.shape[2] * scanner.pixel_mm, scanner.shape[1] * scanner.pixel_mm, height]
    )
    field = transform_points(invert_rigid(found.scan_from_planning), _corners(scanner.corner_mm, high))
    return read_anatomy(files["anatomy"], field.min(0), field.max(0), cfg.median_pixels)


def _patient(
    files: Mapping[str, Path],
    cfg: SimulatedFollowupConfig,
    scan: FollowupScan,
    scanner: Scanner,
    anatomy: Anatomy,
    implant: ImplantField,
    grids: FaceGrids,
    found: Placed,
) -> Patient:
    """Operate: specimen and kerf out, implant and screws in, faces and pores as they are in this scan."""
    plan = artifacts.read_json(files["plan"])
    removed = removed_bone(files["specimen"], plan)
    with_implant, in_pelvis = screws(plan["corridors"], cfg.screw_head_mm, scan.screws)
    scan_from_build = found.scan_from_implant @ invert_rigid(implant.build_from_planning)
    physical = scanner.physics
    changed = [
        _implant_in_scan(implant, found),
        transform_points(found.scan_from_planning, _corners(*removed.corners_mm)),
        transform_points(found.scan_from_implant, ends(with_implant)),
    ]
    return Patient(
        anatomy=replace(
            anatomy,
            hu=resorbed(anatomy.hu, anatomy.affine, plan["corridors"], scan.screws, scan.soft_hu),
        ),
        scan_from_planning=found.scan_from_planning,
        scan_from_build=np.asarray(scan_from_build),
        implant=coverage.Implant(
            implant.solid,
            implant.dense,
            implant.origin_mm,
            implant.spacing_mm,
            implant.step_mm,
            np.pad(implant.lattice, (0, 1), mode="wrap"),
            implant.cell_mm,
            calibrated_shift_mm(implant.lattice, implant.cell_mm, scanner.box_mm),
            moved(with_implant, implant.build_from_planning),
        ),
        beside=coverage.Beside(
            grids.origin_mm,
            GRID_MM,
            PORE_GRID_MM,
            grids.heights,
            grids.kinds,
            grids.widths_mm,
            grids.bone,
            grids.pore_bone,
        ),
        bed=_bed(removed),
        materials=coverage.Materials(
            SOFT_HU,
            physical.bone_hu,
            physical.bone_water,
            physical.bone_titanium,
            float(basis_of_hu(scan.soft_hu, physical)[0]),
            float(basis_of_hu(scan.pores.fill_hu, physical)[0]),
        ),
        screws=moved(in_pelvis, found.scan_from_planning),
        operated_mm=np.concatenate(changed),
    )


def _bed(removed: Removed) -> coverage.Bed:
    return coverage.Bed(removed.mask, removed.origin_mm, removed.spacing_mm, removed.planes, removed.kerf_mm)
