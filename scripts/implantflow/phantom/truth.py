"""What is true about a simulated patient; read by the report's comparison and by tests, never by a stage."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow import artifacts
from implantflow.geometry import FloatArray, Plane, transform_points
from implantflow.phantom.grids import BoxField, occupancy
from implantflow.phantom.landmarks import landmarks_lps
from implantflow.phantom.scene import Scene
from implantflow.phantom.surfaces import Mesh, mesh_volume, surface
from implantflow.volumes import Volume, write_volume

#: Codes of ``labels.nii.gz``: those of the segment stage, by the phantom's bones.
LABEL_CODES = {
    "sacrum": 1,
    "hip_left": 2,
    "hip_right": 3,
    "l5": 4,
    "l4": 5,
    "l3": 5,
    "femur_left": 6,
    "femur_right": 6,
    "coccyx": 7,
}
_MEASURED = ("sacrum", "hip_left", "hip_right", "l5")
SIDE = "left"


def write_truth(folder: Path, scene: Scene, registrations: Mapping[str, FloatArray]) -> None:
    """Write ``truth.json``, label map, tumour masks and bone surfaces into ``folder``.

    ``registrations`` maps an MR series to its 4x4 ``ct_from_mr``. The sacrum is whole: it includes the bone that
    the tumour destroyed. Bones that the CT cuts off end flat at its border.
    """
    folder.mkdir(parents=True, exist_ok=True)
    affine = scene.grid.affine
    write_volume(folder / "labels.nii.gz", Volume(_labels(scene), affine))
    meshes: dict[str, Mesh] = {}
    for name, field in scene.bones.items():
        meshes[name] = surface(field, scene.grid)
        artifacts.write_stl(
            folder / f"{name}.stl", *meshes[name], title=f"truth {name}, patient LPS mm, SIMULATED"
        )
    for name, tumour in scene.tumours.items():
        mask = np.zeros(scene.grid.shape, np.uint8)
        mask[tumour.field.box] = tumour.field.values < 0
        write_volume(folder / f"tumour_{name}.nii.gz", Volume(mask, affine))
    artifacts.write_json(folder / "truth.json", _figures(scene, meshes, registrations))


def _labels(scene: Scene) -> NDArray[np.uint8]:
    codes = np.zeros(scene.grid.shape, np.uint8)
    for name, field in scene.bones.items():
        codes[field.box][field.values < 0] = LABEL_CODES[name]
    return codes


def midline_plane(scene: Scene) -> Plane:
    """The anatomy's plane of symmetry in patient LPS; its normal points to the patient's left."""
    rigid = scene.pose.rigid
    return Plane.of(rigid[:3, 3], rigid[:3, 0])


def _tumour_figures(field: BoxField, scene: Scene, extents_mm: FloatArray) -> dict[str, Any]:
    part = scene.grid.part(field.box)
    share = occupancy(field.values, part.spacing_mm).astype(np.float64)
    k, j, i = np.indices(field.values.shape)
    mass = share.sum()
    centre = np.array([(share * n).sum() / mass for n in (i, j, k)])
    return {
        "volume_mm3": mass * part.voxel_mm3,
        "axes_mm": sorted(extents_mm.tolist(), reverse=True),
        "centre_lps_mm": transform_points(part.affine, centre[None])[0],
    }


def _figures(
    scene: Scene, meshes: Mapping[str, Mesh], registrations: Mapping[str, FloatArray]
) -> dict[str, Any]:
    tumour = {
        name: _tumour_figures(state.field, scene, state.extents_mm) for name, state in scene.tumours.items()
    }
    figures: dict[str, Any] = {
        f"segment.labels.{name}.volume_mm3": mesh_volume(meshes[name]) for name in _MEASURED
    }
    for name, values in tumour.items():
        figures[f"tumour.timepoints.{name}.volume_mm3"] = values["volume_mm3"]
        figures[f"tumour.timepoints.{name}.axes_mm"] = values["axes_mm"]
    plane = midline_plane(scene).as_json()
    figures["plan.midline_plane"] = plane
    figures["plan.side"] = SIDE
    return {
        "simulated": True,
        "figures": figures,
        "midline_plane": plane,
        "landmarks_lps_mm": landmarks_lps(scene.patient, meshes, scene.pose),
        "registrations": dict(registrations),
        "tumour": tumour,
    }
