"""Soft tissue around the bones, painted as codes in order from the skin inwards."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import inner, kernel
from implantflow.geometry import FloatArray
from implantflow.phantom.anatomy import Patient, Pose
from implantflow.phantom.grids import Grid
from implantflow.phantom.ilium import IliumModel, blade
from implantflow.phantom.muscles import gluteal_thickness, muscle_parts
from implantflow.phantom.organs import bowel_loops, organ_parts
from implantflow.phantom.parameters import Shape
from implantflow.phantom.primitives import Parts, lookup, lookup_2d, noise_at, smooth_max, with_parts
from implantflow.phantom.sacrum import SACRUM_BOUNDS_MM, SacrumModel, canal_field, curved
from implantflow.phantom.slabs import over_slabs
from implantflow.phantom.tissue_tables import Tissue
from implantflow.phantom.vertebra import Level

Codes = NDArray[np.uint8]

#: Body outline along z: half width, front (y) and back (y), anatomy frame.
_Z = [-150, -100, -60, -20, 20, 60, 130]
_HALF_WIDTH = [163, 165, 164, 160, 154, 149, 146]
_FRONT = [-101, -110, -116, -119, -119, -118, -117]
_BACK = [103, 105, 102, 96, 89, 84, 83]
_SKIN_MM = 1.8
_OUTLINE_FROM, _OUTLINE_STEP = -160.0, 1.0


def paint_soft_tissue(patient: Patient, grid: Grid, pose: Pose, threads: int = 1) -> Codes:
    """Tissue codes (K, J, I) of everything around the bones; what the bones cover is painted too."""
    codes = np.zeros(grid.shape, np.uint8)
    matrix = np.ascontiguousarray((pose.anatomy_from_lps @ grid.affine)[:3])
    z = np.arange(_OUTLINE_FROM, 150.0, _OUTLINE_STEP)
    outline = np.stack([np.interp(z, _Z, v) for v in (_HALF_WIDTH, _FRONT, _BACK)])
    over_slabs(lambda a, b: _paint_body(codes, matrix, outline, patient.noise, a, b), grid.shape[0], threads)
    painter = _Painter(codes, grid, pose, threads)
    for tissue, parts in muscle_parts():
        painter.paint(parts, tissue, (Tissue.FAT, Tissue.VISCERAL_FAT))
    thickness = gluteal_thickness()
    for side in (1, -1):
        model = patient.hips[side]
        over_slabs(
            lambda a, b, model=model: _paint_hip_muscles(codes, matrix, model, thickness, a, b),  # type: ignore[misc]
            grid.shape[0],
            threads,
        )
    for tissue, parts in organ_parts(patient):
        painter.paint(parts, tissue, None)
    for tissue, parts in bowel_loops(patient.shape):
        painter.paint(parts, tissue, (Tissue.VISCERAL_FAT, Tissue.BOWEL, Tissue.BOWEL_FULL))
    _paint_canal(painter, patient)
    for level in patient.levels:
        _paint_spine(painter, patient.shape, level)
    return codes


class _Painter:
    """Paints parts over allowed tissues, each in the box around it."""

    def __init__(self, codes: Codes, grid: Grid, pose: Pose, threads: int) -> None:
        self.codes, self.grid, self.pose, self.threads = codes, grid, pose, threads

    def paint(self, parts: Parts, tissue: Tissue, over: Iterable[Tissue] | None) -> None:
        """Paint capsules (anatomy frame) where the code is one of ``over`` (None: all but air)."""
        allowed = np.zeros(len(Tissue), np.bool_)
        allowed[list(over) if over is not None else [t for t in Tissue if t != Tissue.AIR]] = True
        for row in parts.table():
            self._paint_row(row, tissue, allowed)

    def _paint_row(self, row: FloatArray, tissue: Tissue, allowed: NDArray[np.bool_]) -> None:
        start, end, widest = row[7:10], row[10:13], max(row[13:15]) / min(row[15:18])
        low, high = np.minimum(start, end) - widest, np.maximum(start, end) + widest
        box = self.grid.box(low, high, self.pose.lps_from_anatomy)
        view, part = self.codes[box], self.grid.part(box)
        matrix = np.ascontiguousarray((self.pose.anatomy_from_lps @ part.affine)[:3])
        _paint_part(view, matrix, row[None], int(tissue), allowed, 0, view.shape[0])


@inner
def _skin_distance(x: float, y: float, z: float, outline: FloatArray) -> float:
    """Roughly the distance to the skin, negative inside."""
    t = (z - _OUTLINE_FROM) / _OUTLINE_STEP
    width, front, back = lookup(outline[0], t), lookup(outline[1], t), lookup(outline[2], t)
    middle, depth = 0.5 * (front + back), 0.5 * (back - front)
    q = (abs(x / width) ** 2.5 + abs((y - middle) / depth) ** 2.5) ** 0.4
    f = (q - 1.0) * depth
    # The furrow over the spinous processes, and the deep one between the buttocks further down.
    low = min(max((-62.0 - z) / 45.0, 0.0), 1.0)
    wide, deep = 5.0 + 3.0 * low, 4.0 + 30.0 * low
    hollow = (1.0 - ((x / wide) ** 2 + ((y - back) / deep) ** 2) ** 0.5) * wide
    return smooth_max(f, hollow, 6.0)


@kernel
def _paint_body(
    codes: Codes,
    matrix: FloatArray,
    outline: FloatArray,
    noise: NDArray[np.float32],
    first: int,
    last: int,
) -> None:
    """Air, table, skin, fat, abdominal wall and the fat behind it."""
    for k in range(first, last):
        for j in range(codes.shape[1]):
            for i in range(codes.shape[2]):
                x = matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 2] * k + matrix[0, 3]
                y = matrix[1, 0] * i + matrix[1, 1] * j + matrix[1, 2] * k + matrix[1, 3]
                z = matrix[2, 0] * i + matrix[2, 1] * j + matrix[2, 2] * k + matrix[2, 3]
                d = _skin_distance(x, y, z, outline)
                if d > 0:
                    lying = 106.5 - 0.0006 * x * x
                    on_table = lying < y < lying + 2.4
                    codes[k, j, i] = Tissue.TABLE.value if on_table else Tissue.AIR.value
                elif d > -_SKIN_MM:
                    codes[k, j, i] = Tissue.SKIN.value
                else:
                    codes[k, j, i] = _wall(x, y, z, d, noise)


@inner
def _wall(x: float, y: float, z: float, d: float, noise: NDArray[np.float32]) -> int:
    """Fat, the muscles of the abdominal wall (three sheets; rectus in front), or the fat inside them."""
    fat = 17.0 + 2.5 * noise_at(noise, x, y, z, 30.0)
    # The side wall ends at the iliac crest; below it only the front wall is left, narrowing towards the groin.
    rear = 22.0 if z > 30.0 else 22.0 - (30.0 - z) * 1.25
    if -d > fat + 14.0:
        return Tissue.VISCERAL_FAT.value
    reach = 1.0 if y < rear - 12.0 else (rear - y) / 12.0
    if reach <= 0.0:
        return Tissue.FAT.value
    thick = (11.0 + (3.0 if abs(x) < 48.0 and y < -60.0 else 0.0)) * reach
    inner = -d - fat
    if inner < 0.0:
        return Tissue.FAT.value
    if inner > thick:
        return Tissue.VISCERAL_FAT.value
    if abs(x) < 1.2 and y < -60.0:
        return Tissue.FAT.value
    if abs(x) > 55.0 and abs(inner / thick - 0.36) < 0.05:
        return Tissue.FAT.value
    return Tissue.MUSCLE.value


@kernel
def _paint_part(
    codes: Codes,
    matrix: FloatArray,
    parts: FloatArray,
    code: int,
    allowed: NDArray[np.bool_],
    first: int,
    last: int,
) -> None:
    no_facets = np.zeros((1, 10))
    for k in range(first, last):
        for j in range(codes.shape[1]):
            for i in range(codes.shape[2]):
                if not allowed[codes[k, j, i]]:
                    continue
                x = matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 2] * k + matrix[0, 3]
                y = matrix[1, 0] * i + matrix[1, 1] * j + matrix[1, 2] * k + matrix[1, 3]
                z = matrix[2, 0] * i + matrix[2, 1] * j + matrix[2, 2] * k + matrix[2, 3]
                if with_parts(30.0, x, y, z, parts, no_facets, 0.0) < 0.0:
                    codes[k, j, i] = code


@kernel
def _paint_hip_muscles(
    codes: Codes, matrix: FloatArray, m: IliumModel, thickness: FloatArray, first: int, last: int
) -> None:
    """Iliacus inside the blade, the gluteal muscles outside: layers of varying thickness on the bone."""
    for k in range(first, last):
        for j in range(codes.shape[1]):
            for i in range(codes.shape[2]):
                code = codes[k, j, i]
                if code != Tissue.FAT.value and code != Tissue.VISCERAL_FAT.value:
                    continue
                x = m.side * (matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 2] * k + matrix[0, 3])
                if x < 8.0:
                    continue
                y = matrix[1, 0] * i + matrix[1, 1] * j + matrix[1, 2] * k + matrix[1, 3]
                z = matrix[2, 0] * i + matrix[2, 1] * j + matrix[2, 2] * k + matrix[2, 3]
                offset, half, beyond = blade(x, y, z, m)
                # Beyond the bone's outline its two muscle layers close up.
                half *= min(max(1.0 - beyond / 6.0, 0.0), 1.0)
                a, b = (y + 98.0) / 2.0, (z + 175.0) / 2.0
                wavy = 1.0 + 0.08 * noise_at(m.noise, x + m.shift, y, z, 12.0)
                outside = lookup_2d(thickness[0], a, b) * wavy
                inside = lookup_2d(thickness[1], a, b) * wavy
                if (outside > 0.5 and 0.0 <= offset < half + outside) or (
                    inside > 0.5 and -half - inside < offset < 0.0
                ):
                    # A seam of fat parts gluteus maximus from medius.
                    seam = abs(offset - half - 0.48 * outside) < 0.9 and outside > 24.0 and y > -30.0
                    codes[k, j, i] = Tissue.FAT.value if seam else Tissue.MUSCLE.value


def _paint_canal(painter: _Painter, patient: Patient) -> None:
    low, high = SACRUM_BOUNDS_MM
    box = painter.grid.box(low, high, painter.pose.lps_from_anatomy)
    view, part = painter.codes[box], painter.grid.part(box)
    local = np.ascontiguousarray((painter.pose.anatomy_from_lps @ part.affine)[:3])
    over_slabs(lambda a, b: _fill_canal(view, local, patient.sacrum, a, b), view.shape[0], painter.threads)


@kernel
def _fill_canal(codes: Codes, matrix: FloatArray, m: SacrumModel, first: int, last: int) -> None:
    """Epidural fat and the thecal sac (down to S2) in the sacral canal."""
    for k in range(first, last):
        for j in range(codes.shape[1]):
            for i in range(codes.shape[2]):
                x = matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 2] * k + matrix[0, 3]
                if abs(x) > 20.0:
                    continue
                y = matrix[1, 0] * i + matrix[1, 1] * j + matrix[1, 2] * k + matrix[1, 3]
                z = matrix[2, 0] * i + matrix[2, 1] * j + matrix[2, 2] * k + matrix[2, 3]
                s, u = curved(y, z, m)
                # The hiatus opens backwards: what lies behind the sacrum is not canal.
                if s < -4.0 or s > 112.0 or u < -36.0 + 0.22 * s:
                    continue
                canal = canal_field(x, u, s, m)
                if canal < -2.3 and s < 58.0:
                    codes[k, j, i] = Tissue.THECAL_SAC.value
                elif canal < 0.5:
                    codes[k, j, i] = Tissue.EPIDURAL_FAT.value


def _paint_spine(painter: _Painter, shape: Shape, level: Level) -> None:
    """Disc below ``level``, and the canal behind its body."""
    depth = shape.endplate_half_depth_mm * 1.07
    parts = Parts()
    back = depth + 9.0 * shape.canal + 0.3
    for tissue, radius, weight in ((Tissue.EPIDURAL_FAT, 9.5, 0.7), (Tissue.THECAL_SAC, 7.2, 0.72)):
        parts = Parts()
        low, high = level.to_anatomy((0, back, -24)), level.to_anatomy((0, back, 20))
        parts.capsule(low, high, radius * shape.canal, weights=(weight, 1, 1))
        painter.paint(parts, tissue, None)
    box_half = np.array([30.0, 26.0, 22.0])
    box = painter.grid.box(
        level.disc_centre - box_half, level.disc_centre + box_half, painter.pose.lps_from_anatomy
    )
    view, part = painter.codes[box], painter.grid.part(box)
    to_disc = np.eye(4)
    angle = np.radians(level.disc_tilt_deg)
    to_disc[1, 1:3], to_disc[2, 1:3] = (np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))
    to_disc[:3, 3] = -to_disc[:3, :3] @ level.disc_centre
    matrix = np.ascontiguousarray((to_disc @ painter.pose.anatomy_from_lps @ part.affine)[:3])
    sizes = np.array(
        [
            shape.endplate_half_width_mm * 1.03,
            depth * 0.97,
            level.disc_height_mm / 2,
            np.tan(np.radians(level.disc_wedge_deg / 2)),
        ]
    )
    _fill_disc(view, matrix, sizes, 0, view.shape[0])


@kernel
def _fill_disc(codes: Codes, matrix: FloatArray, sizes: FloatArray, first: int, last: int) -> None:
    """Annulus and nucleus between two endplates; a little too high, the bones cover the rest."""
    for k in range(first, last):
        for j in range(codes.shape[1]):
            for i in range(codes.shape[2]):
                x = matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 2] * k + matrix[0, 3]
                q = matrix[1, 0] * i + matrix[1, 1] * j + matrix[1, 2] * k + matrix[1, 3]
                h = matrix[2, 0] * i + matrix[2, 1] * j + matrix[2, 2] * k + matrix[2, 3]
                back = q + (0.0055 * x * x if q > 0 else 0.0)
                r = (abs(x / sizes[0]) ** 2.2 + abs(back / sizes[1]) ** 2.3) ** (1 / 2.25)
                if r < 1.0 and abs(h) < sizes[2] + 3.2 - sizes[3] * q:
                    codes[k, j, i] = Tissue.NUCLEUS.value if r < 0.62 else Tissue.ANNULUS.value
