"""The intensity a scanner would give each voxel of a scene, before blur and noise: the same code for CT and MR."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import inner, kernel
from implantflow.geometry import FloatArray
from implantflow.phantom.grids import BoxField, Field
from implantflow.phantom.primitives import REACH_MM, noise_at, smooth_step
from implantflow.phantom.sacrum import SacrumModel, curved
from implantflow.phantom.scene import BYTE_MM, Scene
from implantflow.phantom.slabs import over_slabs
from implantflow.phantom.soft_tissue import Codes
from implantflow.phantom.tumour import Tumour
from implantflow.phantom.vertebra import LEVELS, Level


class Contrast(NamedTuple):
    """What one kind of scan shows. Tables over bones are indexed like :attr:`Scene.nearest`."""

    tissue: FloatArray
    tissue_variation: FloatArray
    cortex: float
    cortex_mm: FloatArray
    marrow: FloatArray
    marrow_texture: float
    subchondral: float


class TumourContrast(NamedTuple):
    """What a scan shows of a tumour, or of the bed that a shrunken tumour left."""

    mean: float
    texture: float
    rim: float
    rim_mm: float
    core: float
    mineral: float
    inside_bone_only: bool


def render(scene: Scene, contrast: Contrast, threads: int = 1) -> Field:
    """Noise-free intensities (K, J, I) of bones and tissues, before tumour, blur and noise."""
    out = np.empty(scene.grid.shape, np.float32)
    matrix = np.ascontiguousarray((scene.pose.anatomy_from_lps @ scene.grid.affine)[:3])
    voxel = float(np.cbrt(scene.grid.voxel_mm3))
    over_slabs(
        lambda a, b: _render(
            out,
            scene.tissue,
            scene.distance,
            scene.nearest,
            scene.neighbour,
            matrix,
            voxel,
            contrast,
            scene.patient.noise,
            a,
            b,
        ),
        out.shape[0],
        threads,
    )
    return out


@kernel
def _render(
    out: Field,
    tissue: Codes,
    distance: Field,
    nearest: Codes,
    neighbour: Codes,
    matrix: FloatArray,
    voxel: float,
    c: Contrast,
    noise: NDArray[np.float32],
    first: int,
    last: int,
) -> None:
    for k in range(first, last):
        for j in range(out.shape[1]):
            for i in range(out.shape[2]):
                code, d, bone = tissue[k, j, i], distance[k, j, i], nearest[k, j, i]
                if code == 0 and d > voxel:
                    out[k, j, i] = c.tissue[0]
                    continue
                x = matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 2] * k + matrix[0, 3]
                y = matrix[1, 0] * i + matrix[1, 1] * j + matrix[1, 2] * k + matrix[1, 3]
                z = matrix[2, 0] * i + matrix[2, 1] * j + matrix[2, 2] * k + matrix[2, 3]
                soft = c.tissue[code]
                if c.tissue_variation[code] > 0.0:
                    soft += c.tissue_variation[code] * noise_at(noise, x, y, z, 5.0)
                share = min(max(0.5 - d / voxel, 0.0), 1.0)
                if share == 0.0 or bone == 0:
                    out[k, j, i] = soft
                    continue
                beside = max(1.0 - neighbour[k, j, i] * BYTE_MM / 5.0, 0.0)
                out[k, j, i] = soft + (_bone(x, y, z, -d, bone, beside, voxel, c, noise) - soft) * share


@inner
def _bone(
    x: float,
    y: float,
    z: float,
    depth: float,
    bone: int,
    beside: float,
    voxel: float,
    c: Contrast,
    noise: NDArray[np.float32],
) -> float:
    """Intensity at ``depth`` (mm) inside a bone; ``beside`` is 1 at a joint, 0 five mm away from it."""
    slow = noise_at(noise, x + 19.0, y + 5.0, z + 41.0, 7.0)
    thick = c.cortex_mm[bone] * min(max(1.0 + 0.3 * slow, 0.55), 1.5) + 0.5 * beside
    width = max(0.8, voxel)
    cortical = 1.0 - smooth_step((depth - thick) / width + 0.5)
    # Trabeculae run along the load, roughly up and down; a second, coarser texture is the red marrow's.
    fine = noise_at(noise, x, y, 0.45 * z, 1.15) + 0.6 * noise_at(noise, x * 0.6, y + 70.0, z, 1.3)
    coarse = noise_at(noise, x, y + 33.0, z, 6.0)
    marrow = c.marrow[bone] + c.marrow_texture * (0.75 * fine + 0.55 * coarse)
    # Denser towards the cortex and under the joint faces.
    marrow += c.subchondral * (beside + 0.35 * max(1.0 - depth / 4.0, 0.0))
    pores = c.cortex * (1.0 + 0.08 * slow + 0.05 * fine)
    return float(marrow + (pores - marrow) * cortical)


def add_marrow_features(out: Field, scene: Scene, endplate: float, vein: float, threads: int = 1) -> None:
    """Remnants of the sacral discs and the veins of the vertebral bodies, over rendered intensities, in place.

    ``endplate`` is added at the plates of a disc remnant, ``vein`` along a basivertebral vein.
    """
    for name, fill in _feature_fills(scene).items():
        if name not in scene.bones:
            continue
        field = scene.bones[name]
        view, part = out[field.box], scene.grid.part(field.box)
        matrix = np.ascontiguousarray((scene.pose.anatomy_from_lps @ part.affine)[:3])
        over_slabs(
            lambda a, b, f=fill, v=view, d=field.values, m=matrix: f(v, d, m, endplate, vein, a, b),  # type: ignore[misc]
            len(view),
            threads,
        )


def _feature_fills(scene: Scene) -> dict[str, Callable[..., None]]:
    """Bone name -> ``fill(out, distance, matrix, endplate, vein, first, last)``."""
    patient = scene.patient

    def sacral(v: Field, d: Field, m: FloatArray, endplate: float, _: float, a: int, b: int) -> None:
        _add_remnants(v, d, m, patient.sacrum, endplate, a, b)

    fills: dict[str, Callable[..., None]] = {"sacrum": sacral}
    for level in patient.levels:

        def lumbar(
            v: Field, d: Field, m: FloatArray, _: float, vein: float, a: int, b: int, level: Level = level
        ) -> None:
            local = level.axes @ m
            local[:, 3] -= level.axes @ level.centre
            _add_vein(v, d, local, patient.shape.endplate_half_depth_mm, vein, a, b)

        fills[LEVELS[level.index]] = lumbar
    return fills


@kernel
def _add_remnants(
    out: Field, distance: Field, matrix: FloatArray, m: SacrumModel, endplate: float, first: int, last: int
) -> None:
    """Two thin plates with a gap between them where S1/S2, S2/S3 and S3/S4 have fused, fading sideways."""
    for k in range(first, last):
        for j in range(out.shape[1]):
            for i in range(out.shape[2]):
                if distance[k, j, i] > -0.8:
                    continue
                x = matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 2] * k + matrix[0, 3]
                if abs(x) > 20.0:
                    continue
                y = matrix[1, 0] * i + matrix[1, 1] * j + matrix[1, 2] * k + matrix[1, 3]
                z = matrix[2, 0] * i + matrix[2, 1] * j + matrix[2, 2] * k + matrix[2, 3]
                s, u = curved(y, z, m)
                for n in range(3):
                    station, half, strength = 30.5 + 24.0 * n - 0.7 * n * n, 1.7 - 0.5 * n, 1.0 - 0.25 * n
                    wide, deep = 17.0 - 4.0 * n, 9.5 - 2.0 * n
                    inside = 1.2 - (x / wide) ** 2 - (u / deep) ** 2
                    if inside <= 0.0:
                        continue
                    off = abs(s - station + 0.035 * u + 0.5 * noise_at(m.noise, x, y, z, 5.0))
                    plate = np.exp(-(((off - half - 0.7) / 0.7) ** 2))
                    gap = 1.0 if off < half else 0.0
                    out[k, j, i] += strength * min(3.0 * inside, 1.0) * endplate * (plate - 0.25 * gap)


@kernel
def _add_vein(
    out: Field, distance: Field, matrix: FloatArray, depth: float, vein: float, first: int, last: int
) -> None:
    """The basivertebral vein: a flat wedge from the middle of the back wall into the body."""
    for k in range(first, last):
        for j in range(out.shape[1]):
            for i in range(out.shape[2]):
                if distance[k, j, i] > 0.8:
                    continue
                x = matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 2] * k + matrix[0, 3]
                q = matrix[1, 0] * i + matrix[1, 1] * j + matrix[1, 2] * k + matrix[1, 3]
                h = matrix[2, 0] * i + matrix[2, 1] * j + matrix[2, 2] * k + matrix[2, 3]
                if q > depth * 1.06 or q < 0.0:
                    continue
                wide = 1.5 + 0.45 * q
                off = (x / wide) ** 2 + (h / 1.9) ** 2
                if off < 4.0:
                    out[k, j, i] += vein * np.exp(-off) * smooth_step(q / 6.0)


def add_tumour(out: Field, scene: Scene, tumour: Tumour, c: TumourContrast, shift: float) -> None:
    """Lay a tumour (or its bed) over rendered intensities, in place; ``shift`` picks its texture."""
    box = tumour.field.box
    part = scene.grid.part(box)
    matrix = np.ascontiguousarray((scene.pose.anatomy_from_lps @ part.affine)[:3])
    voxel = float(np.cbrt(scene.grid.voxel_mm3))
    sacrum = np.full(part.shape, REACH_MM, np.float32)
    overlap = BoxField(box, sacrum).common(scene.bones["sacrum"])
    if overlap is not None:
        sacrum[overlap[0]] = scene.bones["sacrum"].values[overlap[1]]
    _add_tumour(
        out[box], tumour.field.values, sacrum, matrix, voxel, c, shift, scene.patient.noise, 0, part.shape[0]
    )


@kernel
def _add_tumour(
    out: Field,
    field: Field,
    sacrum: Field,
    matrix: FloatArray,
    voxel: float,
    c: TumourContrast,
    shift: float,
    noise: NDArray[np.float32],
    first: int,
    last: int,
) -> None:
    for k in range(first, last):
        for j in range(out.shape[1]):
            for i in range(out.shape[2]):
                f = field[k, j, i]
                share = min(max(0.5 - f / (1.5 * voxel), 0.0), 1.0)
                if share == 0.0:
                    continue
                inside_bone = min(max(0.5 - sacrum[k, j, i] / voxel, 0.0), 1.0)
                if c.inside_bone_only:
                    share *= inside_bone
                x = matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 2] * k + matrix[0, 3] + shift
                y = matrix[1, 0] * i + matrix[1, 1] * j + matrix[1, 2] * k + matrix[1, 3]
                z = matrix[2, 0] * i + matrix[2, 1] * j + matrix[2, 2] * k + matrix[2, 3]
                patchy = noise_at(noise, x, y, z, 5.0)
                value = c.mean + c.texture * (patchy + 0.6 * noise_at(noise, x, y, z, 2.0))
                value += c.rim * (1.0 + 0.35 * patchy) * smooth_step(1.0 + (f + 0.5) / c.rim_mm)
                value += c.core * smooth_step((-f - 6.0) / 5.0) * smooth_step(0.5 + patchy)
                cloud = smooth_step((noise_at(noise, x + 90.0, y, z, 4.5) - 0.5) * 1.4)
                value += c.mineral * cloud * (0.35 + 0.65 * inside_bone)
                out[k, j, i] += (value - out[k, j, i]) * share
