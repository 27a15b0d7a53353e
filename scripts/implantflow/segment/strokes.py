"""What a person says about single places: strokes of the case config, or a label map edited in another program.

A stroke fixes the voxels it covers. Around it the prior loses its last word, and the cut is solved again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implantflow.config.segment import Stroke
from implantflow.errors import ConfigError
from implantflow.geometry import FloatArray, polyline_distance
from implantflow.segment.filters import signed_depth
from implantflow.segment.grid import box_around, crop
from implantflow.segment.labels import L5, LABELS, OTHER
from implantflow.segment.masks import BoolArray
from implantflow.volumes import Volume

#: Up to here (mm) from a stroke the image alone decides, and an erased voxel this far from any label is meant.
FREE_MM, ERASED_MM = 7.0, 2.0
#: A difference smaller than this (mm3) in an edited map is the rim of a bone, not an edit.
MIN_EDIT_MM3 = 20.0


@dataclass(frozen=True)
class Said:
    """A person's word on a grid.

    Attributes
    ----------
    codes : (K, J, I) uint8, label that the voxel must get, 0 where nothing was said.
    near : (K, J, I) bool, voxels whose border may move.
    """

    codes: NDArray[np.uint8]
    near: BoolArray

    @property
    def bone(self) -> BoolArray:
        """Voxels (K, J, I) said to belong to one of the four bones with a surface: bone whatever their CT number."""
        return np.asarray((self.codes > 0) & (self.codes <= L5))

    def steer(
        self, lean: NDArray[np.float32], band: float, ours: Sequence[int], domain: BoolArray
    ) -> NDArray[np.float32]:
        """``lean`` of a two-way cut with the person's word in it: free near a stroke, fixed on it.

        ``ours`` are the codes of the first side; ``domain`` is what the cut may split.
        """
        if not self.codes.any():
            return lean
        free = np.clip(lean, -0.95 * band, 0.95 * band)
        out = np.where(self.near & domain, free, lean)
        mine = np.isin(self.codes, ours)
        out[mine] = 2.0 * band
        out[(self.codes > 0) & ~mine] = -2.0 * band
        return np.asarray(out, dtype=np.float32)


def paint(strokes: Sequence[Stroke], hu: Volume) -> Said:
    """Strokes on the grid of ``hu``.

    Raises
    ------
    ConfigError
        A stroke misses the grid, or two strokes give one voxel to two bones.
    """
    codes = np.zeros(hu.array.shape, dtype=np.uint8)
    for number, stroke in enumerate(strokes):
        where = f"segment.corrections[{number}]"
        points = np.asarray(stroke.points_lps_mm, dtype=np.float64)
        index = hu.lps_to_index(points)
        if (index < -0.5).any() or (index > np.array(hu.array.shape[::-1]) - 0.5).any():
            raise ConfigError(
                f"a point of the stroke for '{stroke.bone}' lies outside the bones' part of the scan",
                where=where,
                fix="give points in patient LPS mm (x to the patient's left, y to the back), not RAS",
            )
        box = box_around(hu, points, stroke.radius_mm + 1.0)
        part = codes[box.slices]
        mine = _distance_mm(crop(hu, box), points) <= max(stroke.radius_mm, 0.5 * float(hu.spacing_mm.max()))
        code = LABELS[stroke.bone]
        if ((part[mine] != 0) & (part[mine] != code)).any():
            raise ConfigError(
                f"the stroke for '{stroke.bone}' crosses a stroke for another bone",
                where=where,
                fix="move one of them: a voxel belongs to one bone",
            )
        part[mine] = code
    return _around(codes, hu)


def _distance_mm(grid: Volume, points: FloatArray) -> NDArray[np.float64]:
    """Distance (K, J, I) of voxel centres to a line through ``points`` (N, 3)."""
    places = grid.index_to_lps(np.indices(grid.array.shape).reshape(3, -1)[::-1].T)
    line = points if len(points) > 1 else np.repeat(points, 2, axis=0)
    return polyline_distance(places, line).reshape(grid.array.shape)


def edits(edited: NDArray[np.uint8], region: NDArray[np.uint8], hu: Volume) -> Said:
    """Where an edited label map says otherwise than the cut did.

    Parameters
    ----------
    edited, region : (K, J, I) uint8 on the grid of ``hu``; the cut's labels know bone only, not the filled marrow.
    """
    from scipy import ndimage

    erased = (edited == 0) & (region > 0) & (signed_depth(edited > 0, hu) < -ERASED_MM)
    changed = (edited > 0) & (region > 0) & (edited != region)
    bodies, count = ndimage.label(changed | erased)
    sizes = np.bincount(bodies.ravel(), minlength=count + 1) * hu.voxel_volume_mm3
    meant = sizes >= MIN_EDIT_MM3
    meant[0] = False
    codes = np.where(erased, np.uint8(OTHER), edited)
    return _around(np.where(meant[bodies], codes, np.uint8(0)), hu)


def both(strokes: Said, edited: Said) -> Said:
    """Strokes over edits: what was said last in the config counts."""
    codes = np.where(strokes.codes > 0, strokes.codes, edited.codes)
    return Said(codes, strokes.near | edited.near)


def _around(codes: NDArray[np.uint8], hu: Volume) -> Said:
    said = codes > 0
    near = signed_depth(said, hu) >= -FREE_MM if said.any() else said
    return Said(codes, np.asarray(near))
