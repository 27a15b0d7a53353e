"""Make a phantom patient: draw it, scan it, write the scans as DICOM and the truth beside them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.config.simulated import SimulatedConfig
from implantflow.geometry import FloatArray
from implantflow.jobs import Job, progress
from implantflow.phantom.anatomy import Pose
from implantflow.phantom.ct import render_ct, simulate_ct
from implantflow.phantom.dicom_writer import Series, write_series
from implantflow.phantom.grids import Field, Grid
from implantflow.phantom.identity import invented_person
from implantflow.phantom.mr import mr_background, simulate_mr
from implantflow.phantom.population import draw_in_range
from implantflow.phantom.poses import poses
from implantflow.phantom.scene import Scene, build_scene
from implantflow.phantom.truth import write_truth
from implantflow.volumes import Volume, write_volume

#: What the CT covers across the body around the S1 endplate, mm: |x|, front, back.
_ACROSS_MM = (172.8, -128.0, 116.0)


def simulate_patient(job: Job) -> None:
    """Write the outputs ``ct_planning``, ``mr_diagnosis``, ``mr_preoperative`` (folders of DICOM files).

    The output ``anatomy`` holds the patient before any scanner, for the scans that are simulated after the
    operation: HU without blur or noise, on the planning CT's grid. The side output ``truth`` is a folder that no
    stage reads. Settings: ``simulated`` (SimulatedConfig).
    """
    cfg = SimulatedConfig.model_validate(job.settings["simulated"])
    progress("simulate: drawing the anatomy")
    scene, placed = make_scene(cfg, job.threads)
    person = invented_person(cfg)
    progress("simulate: CT")
    anatomy = render_ct(scene, job.threads)
    write_volume(job.outputs["anatomy"], Volume(_whole_hu(anatomy), scene.grid.affine))
    write_series(job.outputs["ct_planning"], person, _ct_series(cfg, scene, anatomy, job.threads))
    del anatomy
    background = mr_background(scene, job.threads)
    registrations: dict[str, FloatArray] = {}
    for number, timepoint in enumerate(("diagnosis", "preoperative"), 2):
        name = f"mr_{timepoint}"
        progress(f"simulate: MR at {timepoint}")
        image = simulate_mr(
            scene,
            background,
            timepoint,
            placed[name],
            cfg.mr_spacing_mm,
            cfg.mr_slices,
            cfg.mr_noise_percent,
            job.threads,
        )
        registrations[name] = image.ct_from_mr
        series = Series(
            modality="MR",
            array=image.signal,
            affine_lps=image.affine_lps,
            frame=name,
            number=number,
            description=f"SIMULATED T1 Gd {timepoint}",
            taken=getattr(cfg.study_dates, name),
            extra=_MR_ATTRIBUTES,
        )
        write_series(job.outputs[name], person, series)
    progress("simulate: truth")
    write_truth(job.side_outputs["truth"], scene, registrations)


_MR_ATTRIBUTES = {
    "ScanningSequence": "SE",
    "SequenceVariant": "NONE",
    "ScanOptions": "",
    "MRAcquisitionType": "2D",
    "RepetitionTime": "600",
    "EchoTime": "12",
    "EchoTrainLength": "1",
    "MagneticFieldStrength": "1.5",
    "ContrastBolusAgent": "SIMULATED gadolinium",
}


def make_scene(cfg: SimulatedConfig, threads: int) -> tuple[Scene, dict[str, FloatArray]]:
    """The patient of ``cfg`` on the CT's grid, and the pose of every series."""
    patient = draw_in_range(cfg.seed)
    placed = poses(patient.shape)
    pose = Pose(placed["ct_planning"], patient.shape.scale)
    x, front, back = _ACROSS_MM
    low = np.array([-x, front, -cfg.ct_caudal_mm])
    high = np.array([x, back, cfg.ct_cranial_mm])
    origin = pose.rigid[:3, 3]
    grid = Grid.spanning(low + origin, high + origin, cfg.ct_spacing_mm)
    # Positions are written into DICOM with six decimals: truth and files must name the same place.
    return build_scene(patient, Grid(grid.shape, np.round(grid.affine, 6)), pose, threads), placed


def _whole_hu(anatomy: Field) -> NDArray[np.int16]:
    return np.clip(np.rint(anatomy), -1024, 3071).astype(np.int16)


def _ct_series(cfg: SimulatedConfig, scene: Scene, anatomy: Field, threads: int) -> Series:
    columns = scene.grid.shape[2] * scene.grid.spacing_mm[0]
    return Series(
        modality="CT",
        array=simulate_ct(scene, cfg.ct_noise_hu, threads, anatomy),
        affine_lps=scene.grid.affine,
        frame="ct_planning",
        number=1,
        description="SIMULATED planning CT",
        taken=cfg.study_dates.ct_planning,
        extra={
            "KVP": f"{cfg.kvp:g}",
            "ConvolutionKernel": cfg.kernel,
            "DataCollectionDiameter": "500",
            "ReconstructionDiameter": f"{columns:.6f}",
            "GantryDetectorTilt": "0",
            "XRayTubeCurrent": "200",
            "ExposureTime": "500",
        },
    )
