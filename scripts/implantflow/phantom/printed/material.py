"""The metal that the machine melts, as a volume made from the build file's outlines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implantflow.geometry import FloatArray
from implantflow.phantom.printed import cli_kernels
from implantflow.phantom.printed.cli_file import BuildFile
from implantflow.phantom.slabs import over_slabs

#: Empty voxels around the part, so that every surface closes.
_MARGIN = 3
#: Lines per voxel and layer on which the outlines are filled.
_ROWS = 2


@dataclass(frozen=True)
class Material:
    """Share of metal in every voxel.

    Attributes
    ----------
    share : (K, J, I) uint8, 255 is full. origin_mm : (3,) centre of voxel (0, 0, 0) in build_xyz.
    voxel_mm : edge of a voxel.
    """

    share: NDArray[np.uint8]
    origin_mm: FloatArray
    voxel_mm: float


def melt(build: BuildFile, resolution_mm: float, threads: int) -> Material:
    """Fill the outlines of all layers into voxels of about ``resolution_mm`` (a whole number of layers)."""
    per_slab = max(round(resolution_mm / build.layer_mm), 1)
    voxel = per_slab * build.layer_mm
    low = np.floor(build.box_mm[0, :2] / voxel - _MARGIN) * voxel
    size = np.ceil((build.box_mm[1, :2] - low) / voxel).astype(int) + _MARGIN
    layers = len(build.starts) - 1
    slabs = -(-layers // per_slab)
    share = np.zeros((slabs + 2 * _MARGIN, size[1], size[0]), np.uint8)

    def work(first: int, last: int) -> None:
        for slab in range(first, last):
            cli_kernels.fill_slab(
                build.words,
                build.starts,
                slab * per_slab,
                min((slab + 1) * per_slab, layers),
                per_slab,
                low / build.unit_mm,
                voxel / build.unit_mm,
                _ROWS,
                share[slab + _MARGIN],
            )

    over_slabs(work, slabs, threads)
    bottom = build.bottom_mm - _MARGIN * voxel
    return Material(share, np.array([*low, bottom]) + voxel / 2, voxel)
