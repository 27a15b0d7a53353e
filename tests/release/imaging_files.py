"""Images, labels, tumour of the release's small case, as the stages before it write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from implantflow import artifacts
from implantflow.solids.shapes import box
from implantflow.volumes import Volume, write_volume

if TYPE_CHECKING:
    from release_room import Room

#: Oblique, so that a frame mixed up with another one shows.
TURN = np.array([[0.96, -0.28, 0.0], [0.28, 0.96, 0.0], [0.0, 0.0, 1.0]])
BONES = {"sacrum": 1, "hip_left": 2, "hip_right": 3, "l5": 4, "femora": 6}
CT_FROM_MR = np.array(
    [[0.96, -0.28, 0.0, 4.5], [0.28, 0.96, 0.0, -7.25], [0.0, 0.0, 1.0, 12.125], [0.0, 0.0, 0.0, 1.0]]
)
SIZES = {"diagnosis": 37068.189054, "preoperative": 28987.224696}


def labels() -> Volume:
    """Bone labels on the grid of the planning CT."""
    affine = np.eye(4)
    affine[:3, :3] = TURN * [0.8, 0.7, 1.5]
    affine[:3, 3] = [-12.5, 31.25, -600.0]
    array = np.zeros((3, 20, 24), dtype=np.uint8)
    array[0, 4:9, 3:11], array[1, 5:9, 12:20], array[1:, 12:17, 2:9] = 1, 2, 3
    array[2, 1:4, 1:4], array[:2, 10:12, 20:23] = 4, 6
    return Volume(array, affine)


def tumour_masks() -> dict[str, Volume]:
    """Two overlapping masks on the planning grid of 1 mm."""
    affine = np.eye(4)
    affine[:3, 3] = [-10.0, 30.0, -599.0]
    early, late = (np.zeros((5, 8, 9), dtype=np.uint8) for _ in range(2))
    early[1:5, 1:7, 2:8], late[2:4, 2:6, 3:7] = 1, 1
    return {"diagnosis": Volume(early, affine), "preoperative": Volume(late, affine)}


def write_images(room: Room) -> None:
    """Everything that the release takes from ingest, segment and tumour."""
    ct, mr = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
    room.write("ingest/ct_planning/manifest.json", {
        "name": "ct_planning", "modality": "CT", "series_uid": "2.25.11", "study_uid": "2.25.10",
        "frame_of_reference_uid": "2.25.12", "sop_class_uid": ct, "acquired": "2025-04-24", "resampled": False,
        "sop_instance_uids": [f"2.25.{1000 + k}" for k in range(3)],
    })  # fmt: skip
    for number, name in enumerate(("mr_diagnosis", "mr_preoperative"), 2):
        room.write(f"ingest/{name}/manifest.json", {
            "name": name, "modality": "MR", "series_uid": f"2.25.{number}1", "study_uid": f"2.25.{number}0",
            "frame_of_reference_uid": f"2.25.{number}2", "sop_class_uid": mr, "resampled": False,
            "sop_instance_uids": [f"2.25.{number}00{k}" for k in range(4)],
        })  # fmt: skip
    series = [
        {"name": name, "modality": modality, "series_uid": uid, "n_slices": 3}
        for name, modality, uid in (
            ("ct_planning", "CT", "2.25.11"), ("mr_diagnosis", "MR", "2.25.21"), ("mr_preoperative", "MR", "2.25.31"),
        )
    ]  # fmt: skip
    series[0]["acquired"] = "2025-04-24"
    room.write("ingest/ingest.json", {"series": series})
    _segment(room)
    _tumour(room)


def _segment(room: Room) -> None:
    write_volume(room.path("segment/labels.nii.gz"), labels())
    room.write("segment/segment.json", {"labels": {name: {"code": code} for name, code in BONES.items()}})
    for number, name in enumerate(("sacrum", "hip_left", "hip_right", "l5")):
        solid = box((0, 0, number), (3 + number, 4, 5 + number))
        artifacts.write_stl(
            room.path(f"segment/{name}.stl"), solid.vertices, solid.faces, f"{name}, patient LPS mm"
        )


def _tumour(room: Room) -> None:
    timepoints = []
    for number, (name, mask) in enumerate(tumour_masks().items()):
        write_volume(room.path(f"tumour/{name}_mask.nii.gz"), mask)
        timepoints.append({
            "name": name, "series": f"mr_{name}", "acquired": f"2025-0{4 - 3 + 3 * number}-22", "method": "grow",
            "volume_mm3": SIZES[name], "axes_mm": [49.36598 - number, 32.684452, 48.0],
            "boundary_uncertainty_mm3": 2804.107255, "virtual": False,
            "registration": {"ct_from_series": (CT_FROM_MR + number * 0.0).tolist()},
        })  # fmt: skip
    solid = box((0, 0, 0), (2, 2, 2))
    artifacts.write_stl(room.path("tumour/tumour.stl"), solid.vertices, solid.faces, "tumour, patient LPS mm")
    room.write("tumour/tumour.json", {
        "timepoints": timepoints,
        "response": {
            "from": "diagnosis", "to": "preoperative", "volume_change_pct": -21.800267, "recist": "SD", "who": "SD",
            "recist_change_pct": -10.29616, "who_change_pct": -14.533623,
        },
    })  # fmt: skip
