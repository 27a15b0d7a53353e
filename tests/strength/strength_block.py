"""A block with a strut inside as the implant: small enough to solve in a second, simple enough to check."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np

from implantflow.artifacts import read_stl, sha256_file, write_json, write_stl
from implantflow.config.strength import CellConfig
from implantflow.field.make import make_field
from implantflow.field.shaping import Filling, Grading
from implantflow.geometry import FloatArray
from implantflow.jobs import Job
from implantflow.strength import element
from implantflow.strength.stage import homogenise_cell

BLOCK_MM = np.array([20.0, 20.0, 30.0])

LATTICE = {"cell": "diamond", "cell_mm": 2.5, "strut_mm": 0.67}

SETTINGS: dict[str, Any] = {
    "body_weight_n": 700.0,
    "metal": {"modulus_gpa": 112.0, "poisson": 0.34, "source": "a test", "verified": False},
    "fatigue_dense": {
        "strength_mpa": 200.0,
        "cycles": 1e7,
        "surface": "as_built",
        "hip": False,
        "source": "a test",
        "verified": False,
    },
    "fatigue_strut": {
        "strength_mpa": 200.0,
        "cycles": 1e7,
        "surface": "as_built",
        "hip": False,
        "source": "a test",
        "verified": False,
    },
    "load_face": "l5s1",
    "load_share": 1.0,
    "load_cases": [
        {
            "name": "standing",
            "body_weight_factor": 1.0,
            "direction_lps": [0.0, 0.0, -1.0],
            "source": "a test",
            "verified": False,
        },
        {
            "name": "stairs",
            "body_weight_factor": 2.0,
            "direction_lps": [0.2, 0.0, -1.0],
            "source": "a test",
            "verified": False,
        },
    ],
    "supports": [{"face": "si_joint", "bed_n_per_mm3": 100.0, "source": "a test", "verified": False}],
    "voxel_mm": 2.5,
    "check_voxel_mm": 5.0,
    "cell_voxels": 32,
    "exclude_elements": 2,
    "strut_stress_quantile": 0.99,
    "sizing": {"strut_radii_mm": [3.0, 5.0], "voxel_mm": 2.5},
    "safety_factor_min": 1.5,
}


def block_mesh(size: np.ndarray = BLOCK_MM) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (8, 3) and outward triangles (12, 3) of a box from the origin; 0-1 bottom, 2-3 top."""
    v = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], dtype=float) * size
    f = [[0, 2, 1], [1, 2, 3], [4, 5, 6], [5, 7, 6], [0, 1, 4], [1, 5, 4]]
    f += [[2, 6, 3], [3, 6, 7], [0, 4, 2], [2, 4, 6], [1, 3, 5], [3, 7, 5]]
    return v, np.array(f)


class Room:
    """Files of a block implant and the two jobs on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = copy.deepcopy(SETTINGS)
        self.lattice: dict[str, Any] = dict(LATTICE)
        v, f = block_mesh()
        write_stl(self.path("implant.stl"), v, f, "block patient_lps")
        write_json(self.path("implant.json"), {})
        self.regions: dict[str, Any] = {
            "frame": "patient_lps",
            "implant_stl_sha256": sha256_file(self.path("implant.stl")),
            "contact_faces": [
                {"name": "l5s1", "triangles": [2, 3], "thickness_mm": 2.0, "mates_with": "l5"},
                {"name": "si_joint", "triangles": [0, 1], "thickness_mm": 2.0, "mates_with": "hip"},
            ],
            "strut": {
                "segments": [{"start_lps_mm": [10, 10, 2], "end_lps_mm": [10, 10, 28], "radius_mm": 4.0}]
            },
            "screw_holes": [],
            "cable_passages": [],
            "shell": {"thickness_mm": 0},
        }

    def path(self, name: str) -> Path:
        return self.folder / name

    def make_field(self, build_from_patient: np.ndarray, grade_mm: float | None = None) -> None:
        """The field; with ``grade_mm`` it is graded, to that strut everywhere."""
        v, f = read_stl(self.path("implant.stl"))
        args = (self.lattice["cell"], self.lattice["cell_mm"], self.lattice["strut_mm"], 0.5)
        if grade_mm is not None:
            grading = Grading(grade_mm, grade_mm, 1.0)
            args = (Filling(*args[:3], grading=grading), *args[1:])
        field = make_field(v.astype(float), f, self.regions, build_from_patient, *args)
        field.save(self.path("field.json"), self.path("field.npz"), {})

    def job(self, stage: str, threads: int = 1) -> Job:
        write_json(self.path("regions.json"), self.regions)
        homogenise_cell(self.cell_job(threads))
        inputs = {"regions": self.path("regions.json"), "implant": self.path("implant.stl")}
        inputs |= {"cell": self.path("cell.json"), "cell_data": self.path("cell.npz")}
        if stage == "solid":
            inputs |= {"implant_json": self.path("implant.json")}
        else:
            inputs |= {"field": self.path("field.json"), "field_data": self.path("field.npz")}
        if stage == "final":
            inputs |= {"strength_solid": self.path("solid.json")}
        outputs = {"strength": self.path(f"{stage}.json"), "view": self.path(f"{stage}.npz")}
        if stage == "calculix":
            outputs = {"calculix": self.path("calculix.json")}
        return Job(
            rule=f"strength_{stage}",
            case_dir=self.folder,
            wildcards={"case": "block"},
            inputs=inputs,  # type: ignore[arg-type]
            outputs=outputs,  # type: ignore[arg-type]
            settings={"strength": self.settings, "lattice": self.lattice},
            function=f"implantflow.strength.stage:strength_{stage}",
            code_digest="test",
            threads=threads,
        )

    def cell_job(self, threads: int) -> Job:
        return Job(
            rule="homogenise_cell",
            case_dir=self.folder,
            wildcards={"case": "block"},
            inputs={},
            outputs={"cell": self.path("cell.json"), "cell_data": self.path("cell.npz")},
            settings={
                "strength": {k: self.settings[k] for k in CellConfig.model_fields},
                "lattice": self.lattice,
            },
            function="implantflow.strength.stage:homogenise_cell",
            code_digest="test",
            threads=threads,
        )


def rotate_elasticity(c: FloatArray, rotation: FloatArray) -> FloatArray:
    """Elasticity matrix (6, 6) in a turned frame.

    Parameters
    ----------
    c : (6, 6) array
        In the old frame.
    rotation : (3, 3) array
        Takes a vector's old components to its new ones.
    """
    t = strain_rotation(rotation)
    inverse = np.linalg.inv(t)
    return np.asarray(inverse.T @ c @ inverse)


def strain_rotation(rotation: FloatArray) -> FloatArray:
    """(6, 6) matrix that takes a strain six-vector from the old frame to the turned one."""
    r = np.asarray(rotation, dtype=np.float64)
    t = np.zeros((6, 6))
    for column, (i, j) in enumerate(element.VOIGT):
        tensor = np.zeros((3, 3))
        tensor[i, j] = tensor[j, i] = 1.0 if i == j else 0.5
        turned = r @ tensor @ r.T
        t[:, column] = [turned[a, b] * (1.0 if a == b else 2.0) for a, b in element.VOIGT]
    return t
