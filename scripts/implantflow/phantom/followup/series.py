"""Whose the simulated scan is, and what its headers say."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.config.simulated import SimulatedConfig
from implantflow.config.simulated_followup import FollowupScan, SimulatedFollowupConfig
from implantflow.errors import InputError
from implantflow.geometry import FloatArray
from implantflow.phantom.dicom_writer import Person, Series
from implantflow.phantom.identity import invented_person

_KERNEL_NAMES = {"soft": "SIM-SOFT", "sharp": "SIM-SHARP"}


def person_of(simulated: Mapping[str, Any] | None, identity: Path | None) -> Person:
    """The phantom's invented person, or the one whose planning CT lies in the folder ``identity``.

    Of a real person only ID, birth date and sex are taken over, because the case's series must agree in them; the name
    says that the scan is simulated.

    Raises
    ------
    InputError
        Neither is given, or the folder holds no DICOM file.
    """
    if simulated is not None:
        return invented_person(SimulatedConfig.model_validate(simulated))
    if identity is None:
        raise InputError(
            "a simulated scan needs to know whose it is",
            where="simulate_followup",
            fix="give the planning CT's DICOM folder as the input 'identity'",
        )
    return _person_in(identity)


def _person_in(folder: Path) -> Person:
    import pydicom
    from pydicom.errors import InvalidDicomError

    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True)
        except InvalidDicomError:
            continue
        born = str(header.get("PatientBirthDate", ""))
        return Person(
            name="SIMULATED^FOLLOW-UP",
            patient_id=str(header.get("PatientID", "")),
            birth_date=datetime.strptime(born, "%Y%m%d").date() if born else None,
            sex=str(header.get("PatientSex", "")),
        )
    raise InputError("the planning CT's folder holds no DICOM file", fix="name the folder of the planning CT")


def ct_series(
    name: str,
    cfg: SimulatedFollowupConfig,
    scan: FollowupScan,
    hu: NDArray[np.int16],
    affine: FloatArray,
) -> Series:
    """The scan as a series to write."""
    kernel = scan.kernel or cfg.kernel
    return Series(
        modality="CT",
        array=hu,
        affine_lps=affine,
        frame=name,
        number=11,
        description=f"SIMULATED follow-up CT {name}",
        taken=scan.study_date,
        extra={
            "KVP": f"{scan.kvp or cfg.kvp:g}",
            "ConvolutionKernel": _KERNEL_NAMES[kernel],
            "DataCollectionDiameter": "500",
            "ReconstructionDiameter": f"{hu.shape[2] * cfg.spacing_mm[0]:.6f}",
            "GantryDetectorTilt": "0",
            "XRayTubeCurrent": "200",
            "ExposureTime": "500",
        },
    )
