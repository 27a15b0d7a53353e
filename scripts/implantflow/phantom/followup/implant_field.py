"""The implant as it was built, read from the field's own files by this simulator's own reader."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from implantflow.artifacts import read_json, sha256_file
from implantflow.errors import InputError, ProvenanceError
from implantflow.geometry import FloatArray
from implantflow.phantom.followup.cells import cell_table, metal_fraction

Float32Array = NDArray[np.float32]


@dataclass(frozen=True)
class ImplantField:
    """Material of the built implant: solid AND (dense OR lattice), in the build frame.

    Attributes
    ----------
    build_from_planning : (4, 4) rigid, planning LPS -> build_xyz, mm.
    solid, dense : (K, J, I) int16 signed distances in steps of ``step_mm``, negative inside.
    origin_mm, spacing_mm : place of node (0, 0, 0) in build_xyz, distance of nodes.
    cell_mm, lattice : edge of the cell and its periodic distance table (N, N, N) in mm.
    lattice_fraction : metal fraction of the lattice.
    low_mm, high_mm : (3,) corners of the implant in build_xyz.
    """

    build_from_planning: FloatArray
    solid: NDArray[np.int16]
    dense: NDArray[np.int16]
    origin_mm: FloatArray
    spacing_mm: float
    step_mm: float
    cell_mm: float
    lattice: Float32Array
    lattice_fraction: float
    low_mm: FloatArray
    high_mm: FloatArray


def read_implant(json_path: Path, npz_path: Path) -> ImplantField:
    """Read ``field.json`` and ``field.npz``.

    Raises
    ------
    ProvenanceError
        The npz is not the one the JSON describes.
    InputError
        A key is missing or the lattice is unknown.
    """
    facts = read_json(json_path)
    try:
        if sha256_file(npz_path) != facts["field_npz_sha256"]:
            raise ProvenanceError(
                "field.npz is not the file that field.json describes",
                where=str(npz_path),
                fix="run the lattice stage again",
            )
        with np.load(npz_path, allow_pickle=False) as arrays:
            solid, dense = arrays["solid"], arrays["dense"]
        if np.any(facts["lattice_origin_mm"]):
            raise InputError("the lattice does not begin at the build frame's origin", where=str(json_path))
        lattice = cell_table(str(facts["cell"]), float(facts["cell_mm"]), float(facts["strut_mm"]))
        bounds = np.array(facts["bounds_mm"], float)
        return ImplantField(
            build_from_planning=np.array([[float(x) for x in row] for row in facts["build_from_patient"]]),
            solid=np.ascontiguousarray(solid),
            dense=np.ascontiguousarray(dense),
            origin_mm=np.array(facts["grid_origin_mm"], float),
            spacing_mm=float(facts["grid_spacing_mm"]),
            step_mm=float(facts["grid_step_mm"]),
            cell_mm=float(facts["cell_mm"]),
            lattice=lattice,
            lattice_fraction=metal_fraction(lattice, float(facts["cell_mm"])),
            low_mm=bounds[0],
            high_mm=bounds[1],
        )
    except (KeyError, ValueError, TypeError, OSError) as error:
        raise InputError(f"the implant's field cannot be read: {error!r}", where=str(json_path)) from error
