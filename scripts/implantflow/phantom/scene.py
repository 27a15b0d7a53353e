"""One patient on a grid: bones, tissues and tumours together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from implantflow.compiled import kernel
from implantflow.phantom.anatomy import BONES, Patient, Pose, bones
from implantflow.phantom.grids import BoxField, Field, Grid, largest_piece
from implantflow.phantom.primitives import REACH_MM
from implantflow.phantom.slabs import over_slabs
from implantflow.phantom.soft_tissue import Codes, paint_soft_tissue
from implantflow.phantom.tissue_tables import Tissue
from implantflow.phantom.tumour import Tumour, tumours

#: Second distances are kept as bytes in steps of this many mm.
BYTE_MM = 1 / 40.0
#: Where the second nearest bone is closer than this, the space between the two is cartilage.
_JOINT_MM = 2.6


@dataclass(frozen=True)
class Scene:
    """Everything about one patient that scans and truth are made from."""

    patient: Patient
    grid: Grid
    pose: Pose
    bones: Mapping[str, BoxField]
    tumours: Mapping[str, Tumour]
    tissue: Codes
    distance: Field
    """Distance to the nearest bone, mm, negative inside."""
    nearest: Codes
    """That bone: its number in :data:`BONES` plus one; 0 out of reach."""
    neighbour: Codes
    """Distance to the second nearest bone in steps of 1/40 mm (255: out of reach)."""


def build_scene(patient: Patient, grid: Grid, pose: Pose, threads: int = 1) -> Scene:
    """Sample bones, paint tissues and place both states of the tumour."""
    found = {name: largest_piece(field) for name, field in bones(patient, grid, pose, threads).items()}
    distance = np.full(grid.shape, REACH_MM, np.float32)
    nearest = np.zeros(grid.shape, np.uint8)
    neighbour = np.full(grid.shape, 255, np.uint8)
    for name, field in found.items():
        _lay(field, BONES.index(name) + 1, distance, nearest, neighbour, threads)
    tissue = paint_soft_tissue(patient, grid, pose, threads)
    # What lies between two bones closer than a joint's width is cartilage.
    tissue[(distance > -1) & (neighbour < _JOINT_MM / BYTE_MM)] = Tissue.CARTILAGE
    return Scene(
        patient, grid, pose, found, tumours(patient, found, grid, pose), tissue, distance, nearest, neighbour
    )


def _lay(
    field: BoxField, number: int, distance: Field, nearest: Codes, neighbour: Codes, threads: int
) -> None:
    """Lay one bone into the maps, on the slices of its box."""
    d, n, s = distance[field.box], nearest[field.box], neighbour[field.box]
    over_slabs(lambda a, b: _merge(d, n, s, field.values, number, a, b), len(d), threads)


@kernel
def _merge(
    distance: Field, nearest: Codes, neighbour: Codes, field: Field, number: int, first: int, last: int
) -> None:
    for k in range(first, last):
        for j in range(field.shape[1]):
            for i in range(field.shape[2]):
                value, before = field[k, j, i], distance[k, j, i]
                if value < before:
                    second = before
                    distance[k, j, i] = value
                    nearest[k, j, i] = number
                else:
                    second = value
                byte = min(max(second / BYTE_MM, 0.0), 255.0)
                neighbour[k, j, i] = min(neighbour[k, j, i], int(byte))
