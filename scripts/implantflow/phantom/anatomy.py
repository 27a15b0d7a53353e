"""The bones of one drawn patient on a grid: signed distances per bone, kept apart at every joint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implantflow.geometry import FloatArray, invert_rigid
from implantflow.phantom.grids import BoxField, Field, Grid, Slices, as_distance, keep_apart
from implantflow.phantom.ilium import ILIUM_BOUNDS_MM, IliumModel, fill_ilium, ilium_model
from implantflow.phantom.parameters import Shape
from implantflow.phantom.primitives import BLOCK, REACH_MM, noise_table
from implantflow.phantom.sacral_line import SacralLine
from implantflow.phantom.sacrum import FACET_GAP_MM, SACRUM_BOUNDS_MM, SacrumModel, fill_sacrum, sacrum_model
from implantflow.phantom.slabs import over_slabs
from implantflow.phantom.vertebra import (
    LEVELS,
    Level,
    VertebraModel,
    facet_joints,
    fill_vertebra,
    sacral_facets,
    stack,
    vertebra_model,
)

#: All bones, in the order in which they are laid into a scan.
BONES = ("sacrum", "coccyx", "hip_left", "hip_right", "femur_left", "femur_right", *LEVELS)

_VERTEBRA_BOUNDS_MM = ((-58.0, -28.0, -42.0), (58.0, 82.0, 36.0))
#: Pairs that must not touch: first bone, second bone, free space in mm.
_APART = (
    ("sacrum", "l5", FACET_GAP_MM),
    ("l5", "l4", FACET_GAP_MM),
    ("l4", "l3", FACET_GAP_MM),
    ("hip_left", "l5", 4.0),
    ("hip_right", "l5", 4.0),
)


@dataclass(frozen=True)
class Patient:
    """The models of one draw, ready to be sampled; everything in the anatomy frame."""

    shape: Shape
    line: SacralLine
    levels: tuple[Level, ...]
    noise: NDArray[np.float32]
    sacrum: SacrumModel
    hips: Mapping[int, IliumModel]
    vertebrae: tuple[VertebraModel, ...]

    @classmethod
    def of(cls, shape: Shape) -> Patient:
        """Prepare tables and parts of all bones of ``shape``."""
        line, levels = SacralLine.of(shape), stack(shape)
        joints, noise = facet_joints(shape, line, levels), noise_table(shape.seed)
        return cls(
            shape=shape,
            line=line,
            levels=tuple(levels),
            noise=noise,
            sacrum=sacrum_model(shape, line, sacral_facets(line, joints), noise),
            hips={side: ilium_model(shape, side, noise) for side in (1, -1)},
            vertebrae=tuple(vertebra_model(shape, level, joints, noise) for level in levels),
        )


@dataclass(frozen=True)
class Pose:
    """Where the anatomy frame lies in a scanner's patient space: rigid 4x4 ``lps_from_anatomy`` and a scale."""

    rigid: FloatArray
    scale: float

    @property
    def lps_from_anatomy(self) -> FloatArray:
        """4x4 similarity from anatomy units to patient LPS mm."""
        return np.asarray(self.rigid @ np.diag([self.scale, self.scale, self.scale, 1.0]))

    @property
    def anatomy_from_lps(self) -> FloatArray:
        """4x4 similarity from patient LPS mm to anatomy units."""
        return np.asarray(np.diag([1 / self.scale] * 3 + [1.0]) @ invert_rigid(self.rigid))


#: ``fill(outs, matrix, blocks, limit, first, last)``; ``matrix`` (3, 4) maps (i, j, k, 1) to anatomy units.
Fill = Callable[[list[Field], FloatArray, Field, float, int, int], None]

#: How steep a composed field may be, for the distance within which a block of voxels is left out.
_STEEPEST = 2.0


def _raw_fields(grid: Grid, matrix: FloatArray, count: int, fill: Fill, threads: int) -> list[Field]:
    """Sample ``count`` raw fields: first once per block of voxels, then every voxel of the blocks near a surface."""
    coarse_shape = tuple(-(-n // BLOCK) for n in grid.shape)
    middle = np.eye(4)
    middle[:3, :3] *= BLOCK
    middle[:3, 3] = (BLOCK - 1) / 2
    coarse = [np.empty(coarse_shape, np.float32) for _ in range(count)]
    no_blocks = np.zeros((count, *(-(-n // BLOCK) for n in coarse_shape)), np.float32)
    far = 100.0
    over_slabs(lambda a, b: fill(coarse, matrix @ middle, no_blocks, far, a, b), coarse_shape[0], threads)
    radius = 0.5 * float(np.linalg.norm(BLOCK * grid.spacing_mm))
    limit = REACH_MM + _STEEPEST * radius
    away = np.all([np.abs(c) > limit for c in coarse], axis=0)
    blocks = np.stack([np.where(away, np.sign(c) * np.float32(REACH_MM), np.float32(0)) for c in coarse])
    outs = [np.empty(grid.shape, np.float32) for _ in range(count)]
    over_slabs(lambda a, b: fill(outs, matrix, blocks, REACH_MM, a, b), grid.shape[0], threads)
    return outs


def _sample(grid: Grid, pose: Pose, box: Slices, count: int, fill: Fill, threads: int) -> list[BoxField]:
    """The ``count`` fields of ``fill`` in a box of ``grid``, as distances in the patient's mm."""
    part = grid.part(box)
    matrix = np.ascontiguousarray((pose.anatomy_from_lps @ part.affine)[:3])
    unscaled = Grid(part.shape, np.diag([*(part.spacing_mm / pose.scale), 1.0]))
    raw = _raw_fields(unscaled, matrix, count, fill, threads)
    return [BoxField(box, as_distance(f, unscaled.spacing_mm, pose.scale, threads)) for f in raw]


def bones(patient: Patient, grid: Grid, pose: Pose, threads: int = 1) -> dict[str, BoxField]:
    """Signed distances (mm) of every bone of ``patient`` on ``grid``; bones outside it are left out.

    Touching bones are carved apart, so that two neighbours never share a voxel.
    """
    found: dict[str, BoxField] = {}

    def sample(names: tuple[str, ...], low: FloatArray, high: FloatArray, fill: Fill) -> None:
        box = grid.box(low, high, pose.lps_from_anatomy)
        if min(grid.part(box).shape) >= 3:
            fields = _sample(grid, pose, box, len(names), fill, threads)
            found.update({n: f for n, f in zip(names, fields, strict=True) if (f.values < 0).any()})

    low, high = (np.array(v) for v in SACRUM_BOUNDS_MM)
    sample(("sacrum", "coccyx"), low, high, _sacrum_fill(patient.sacrum))
    for side, name in ((1, "left"), (-1, "right")):
        corners = np.array(ILIUM_BOUNDS_MM) * [side, 1, 1]
        names = (f"hip_{name}", f"femur_{name}")
        sample(names, corners.min(0), corners.max(0), _ilium_fill(patient.hips[side]))
    for level, model in zip(patient.levels, patient.vertebrae, strict=True):
        corners = np.array([level.to_anatomy(c) for c in _corners(np.array(_VERTEBRA_BOUNDS_MM))])
        sample((LEVELS[level.index],), corners.min(0), corners.max(0), _vertebra_fill(model, level))
    for a, b, gap in _APART:
        if a in found and b in found:
            keep_apart(found[a], found[b], gap)
    return found


def _sacrum_fill(model: SacrumModel) -> Fill:
    return lambda outs, m, blocks, limit, a, b: fill_sacrum(outs[0], outs[1], model, m, blocks, limit, a, b)


def _ilium_fill(model: IliumModel) -> Fill:
    return lambda outs, m, blocks, limit, a, b: fill_ilium(outs[0], outs[1], model, m, blocks, limit, a, b)


def _vertebra_fill(model: VertebraModel, level: Level) -> Fill:
    def fill(outs: list[Field], m: FloatArray, blocks: Field, limit: float, a: int, b: int) -> None:
        local = level.axes @ m
        local[:, 3] -= level.axes @ level.centre
        fill_vertebra(outs[0], model, local, blocks, limit, a, b)

    return fill


def _corners(box: FloatArray) -> FloatArray:
    grid = np.stack(np.meshgrid(*box.T, indexing="ij"), -1)
    return np.asarray(grid.reshape(-1, 3))
