"""SIMULATED CT volumes of the atlas pelves: real shapes of hips and S1-S3, invented densities and neighbours.

Shares no code with the segmentation but the reader of the files. The atlas has neither L5 nor femora: a simple L5
and L4 stand on the S1 endplate, femoral heads in the acetabula. A loop of contrast-filled bowel, a calcified artery
and a table are there to be left alone.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from implantflow.geometry import FloatArray, unit
from implantflow.solids.mesh import Solid
from implantflow.volumes import Volume

sys.path.insert(0, str(Path(__file__).parents[1] / "plan"))
import atlas

SACRUM, HIP_LEFT, HIP_RIGHT, L5, L4, FEMORA, FOREIGN = 1, 2, 3, 4, 5, 6, 9
CODES = {"sacrum": SACRUM, "hip_left": HIP_LEFT, "hip_right": HIP_RIGHT}
SPACING_MM = 1.0
#: Cortex (mm, HU), spread of its thickness, marrow and its texture, point spread, noise.
CORTEX_MM = {SACRUM: 1.1, HIP_LEFT: 1.4, HIP_RIGHT: 1.4, L5: 1.1, L4: 1.1, FEMORA: 1.4}
CORTEX_HU, CORTEX_SPREAD, MARROW_HU, TEXTURE_HU, PSF_MM, NOISE_HU = 1350.0, 0.3, 140.0, 60.0, 0.6, 25.0
#: Joint space to the invented bones (mm); distances are known up to here.
GAP_MM, FAR_MM = 1.6, 4.0

FloatImage = NDArray[np.float32]
Slices = tuple[slice, slice, slice]


@dataclass(frozen=True)
class AtlasCase:
    """A simulated CT, the label of every voxel (0 none), and the true surfaces in patient LPS mm."""

    ct: Volume
    labels: Volume
    solids: dict[str, Solid]


@dataclass
class _Grid:
    """LPS mm of the first voxel centre, HU, labels, and signed distance (mm) to the nearest atlas bone."""

    origin: FloatArray
    hu: FloatImage
    labels: NDArray[np.uint8]
    nearest_mm: FloatImage

    def box(self, low: FloatArray, high: FloatArray) -> tuple[Slices, list[FloatImage]]:
        """Slices of a box around two corners, and its LPS coordinates x, y, z (broadcastable)."""
        first = np.maximum(np.floor((low - self.origin) / SPACING_MM).astype(int), 0)
        last = np.ceil((high - self.origin) / SPACING_MM).astype(int) + 1
        last = np.minimum(last, self.hu.shape[::-1])
        i, j, k = (slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
        x, y, z = (
            (self.origin[n] + SPACING_MM * np.arange(s.start, s.stop)).astype(np.float32)
            for n, s in enumerate((i, j, k))
        )
        return (k, j, i), [x[None, None], y[None, :, None], z[:, None, None]]


def make(subject: int) -> AtlasCase:
    """CT and truth of one atlas member, the same every time."""
    solids = atlas.bones(subject)
    points = np.concatenate([s.vertices for s in solids.values()])
    frame = _endplate(solids["sacrum"])
    top = float((frame.centre + 78.0 * frame.up)[2])
    low = points.min(axis=0) - [28.0, 30.0, 8.0]
    high = points.max(axis=0) + np.array([28.0, 34.0, 0.0])
    high[2] = max(high[2], top)
    shape = tuple(np.ceil((high - low) / SPACING_MM).astype(int)[::-1].tolist())
    grid = _Grid(
        low, _soft_tissue(low, high, shape), np.zeros(shape, np.uint8), np.full(shape, FAR_MM, np.float32)
    )
    rng = np.random.default_rng(subject)
    for name, code in CODES.items():
        corners = solids[name].bounds_mm
        slices, _ = grid.box(corners[0] - FAR_MM, corners[1] + FAR_MM)
        distance = _distance(grid, slices, solids[name])
        grid.nearest_mm[slices] = np.minimum(grid.nearest_mm[slices], distance)
        _paint(grid, slices, distance, code, rng)
    _add_spine(grid, frame, rng)
    for name, side in (("hip_left", 1.0), ("hip_right", -1.0)):
        _add_femur(grid, solids[name], side, rng)
    _add_foreign(grid, frame)
    return AtlasCase(*_scan(grid, rng), solids)


def _distance(grid: _Grid, slices: Slices, solid: Solid) -> FloatImage:
    """Signed distance (mm, negative inside) to a surface: to the tangent at the nearest of many points on it."""
    from scipy.spatial import cKDTree

    start = np.array([s.start for s in slices])
    shape = tuple(s.stop - s.start for s in slices)
    inside = stencil(solid, grid.origin + SPACING_MM * start[::-1], SPACING_MM, shape)
    rim = ndimage.binary_dilation(inside, iterations=3) & ~ndimage.binary_erosion(inside, iterations=4)
    voxels = np.argwhere(rim)
    places = grid.origin + SPACING_MM * (voxels + start)[:, ::-1]
    share = np.array([(a, b, 1 - a - b) for a, b in ((1 / 3, 1 / 3), (0.6, 0.2), (0.2, 0.6), (0.2, 0.2))])
    corners = solid.vertices[solid.faces]
    on = np.einsum("sc,tcx->stx", share, corners).reshape(-1, 3)
    normals = np.tile(solid.normals, (len(share), 1))
    straight, index = cKDTree(on).query(places)
    along = np.abs(np.einsum("ij,ij->i", places - on[index], normals[index]))
    size = np.where(straight < 2.0, along, straight)
    out = np.where(inside, np.float32(-FAR_MM), np.float32(FAR_MM))
    out[rim] = np.where(inside[rim], -size, size)
    return np.asarray(out, np.float32)


def stencil(solid: Solid, origin: FloatArray, step_mm: float, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Voxel centres (K, J, I) inside a closed surface, on a grid along patient LPS (VTK's stencil)."""
    from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray, vtk_to_numpy
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData
    from vtkmodules.vtkImagingStencil import vtkImageStencilToImage, vtkPolyDataToImageStencil

    data, places, cells = vtkPolyData(), vtkPoints(), vtkCellArray()
    places.SetData(numpy_to_vtk(np.ascontiguousarray(solid.vertices - origin), deep=1))
    quads = np.column_stack([np.full(len(solid.faces), 3), solid.faces]).astype(np.int64)
    cells.SetCells(len(solid.faces), numpy_to_vtkIdTypeArray(quads.ravel(), deep=1))
    data.SetPoints(places)
    data.SetPolys(cells)
    stencil = vtkPolyDataToImageStencil()
    stencil.SetInputData(data)
    stencil.SetOutputSpacing(*[step_mm] * 3)
    stencil.SetOutputWholeExtent(0, shape[2] - 1, 0, shape[1] - 1, 0, shape[0] - 1)
    image = vtkImageStencilToImage()
    image.SetInputConnection(stencil.GetOutputPort())
    image.SetInsideValue(1)
    image.SetOutsideValue(0)
    image.SetOutputScalarTypeToUnsignedChar()
    image.Update()
    scalars = image.GetOutput().GetPointData().GetScalars()
    return np.asarray(vtk_to_numpy(scalars).reshape(shape) > 0)


@dataclass(frozen=True)
class _Frame:
    centre: FloatArray
    left: FloatArray
    back: FloatArray
    up: FloatArray


def _endplate(sacrum: Solid) -> _Frame:
    """The S1 endplate: the flat patch behind the midline point that reaches farthest forward and up."""
    points, normals = sacrum.centres_mm, sacrum.normals
    near_middle = np.abs(points[:, 0] - np.median(points[:, 0])) < 18.0
    upward = normals @ unit([0.0, -0.5, 0.85]) > 0.8
    front = points[near_middle & upward]
    promontory = front[(front[:, 2] - front[:, 1]).argmax()]
    patch = near_middle & upward & (np.linalg.norm(points - promontory, axis=1) < 32.0)
    area = sacrum.areas_mm2[patch][:, None]
    centre = (points[patch] * area).sum(axis=0) / area.sum()
    up = unit((normals[patch] * area).sum(axis=0))
    left = unit(np.array([1.0, 0.0, 0.0]) - up[0] * up)
    return _Frame(centre, left, np.cross(up, left), up)


def _capsule(
    u: FloatImage, v: FloatImage, w: FloatImage, start: object, end: object, radius: float
) -> FloatImage:
    """Signed distance (mm) to a rod with round ends."""
    a, b = np.asarray(start, np.float32), np.asarray(end, np.float32)
    d = b - a
    p = (u - a[0], v - a[1], w - a[2])
    t = np.clip((p[0] * d[0] + p[1] * d[1] + p[2] * d[2]) / np.float32((d * d).sum()), 0.0, 1.0)
    squared = (p[0] - t * d[0]) ** 2 + (p[1] - t * d[1]) ** 2 + (p[2] - t * d[2]) ** 2
    return np.asarray(np.sqrt(squared) - np.float32(radius))


_ARCH = (
    ((18, 10, 20), (19, 26, 17), 6.0),
    ((19, 26, 19), (20, 30, -3), 6.0),
    ((19, 26, 16), (4, 38, 8), 4.5),
    ((0, 36, 10), (0, 58, 4), 4.0),
    ((20, 16, 19), (43, 22, 21), 4.5),
)


def _add_spine(grid: _Grid, frame: _Frame, rng: np.random.Generator) -> None:
    """L5 and L4: bodies over discs of 9 mm, arches, facets and processes that stay off the bone below."""
    for code, base in ((L5, 9.0), (L4, 46.0)):
        middle = frame.centre + (base + 10.0) * frame.up + 20.0 * frame.back
        slices, (x, y, z) = grid.box(middle - 55.0, middle + 55.0)
        u, v, w = (
            np.asarray(
                (x - np.float32(frame.centre[0])) * np.float32(axis[0])
                + (y - np.float32(frame.centre[1])) * np.float32(axis[1])
                + (z - np.float32(frame.centre[2])) * np.float32(axis[2])
            )
            for axis in (frame.left, frame.back, frame.up)
        )
        w = w - np.float32(base)
        side = np.abs(u)
        rim = ((side / 25.0) ** 2.3 + np.abs((v + 2.0) / 17.0) ** 2.3) ** (1 / 2.3)
        bone = np.maximum(19.0 * (rim - 1.0), np.abs(w - 14.0) - 14.0)
        for start, end, radius in _ARCH:
            bone = np.minimum(bone, _capsule(side, v, w, start, end, radius))
        bone = np.maximum(bone, GAP_MM - grid.nearest_mm[slices])
        grid.nearest_mm[slices] = np.minimum(grid.nearest_mm[slices], bone)
        _paint(grid, slices, bone.astype(np.float32), code, rng)


def _add_femur(grid: _Grid, hip: Solid, side: float, rng: np.random.Generator) -> None:
    """A femoral head with neck, where the normals of the acetabulum meet."""
    points, normals = hip.centres_mm, hip.normals
    low, high = points.min(axis=0), points.max(axis=0)
    height = (points[:, 2] - low[2]) / (high[2] - low[2])
    socket = (height > 0.15) & (height < 0.6) & (side * normals[:, 0] > 0.1)
    reach = np.arange(20.0, 31.0, 1.0)
    centres = points[socket][:, None] + reach[None, :, None] * normals[socket][:, None]
    cells = np.floor(centres.reshape(-1, 3) / 4.0).astype(np.int64)
    weight = np.repeat(hip.areas_mm2[socket], len(reach))
    names, inverse = np.unique(cells, axis=0, return_inverse=True)
    votes = np.bincount(inverse.ravel(), weight)
    peak = (names[votes.argmax()] + 0.5) * 4.0
    close = np.linalg.norm(centres - peak, axis=2).min(axis=1) < 4.0
    radius = float(np.median(np.linalg.norm(points[socket][close] - peak, axis=1))) - 2.0
    slices, (x, y, z) = grid.box(peak - 60.0, peak + 60.0)
    u, v, w = side * (x - np.float32(peak[0])), y - np.float32(peak[1]), z - np.float32(peak[2])
    head = np.sqrt(u**2 + v**2 + w**2) - np.float32(radius)
    femur = np.minimum(head, _capsule(u, v, w, (0, 0, 0), (42, 4, -32), 14.0))
    femur = np.maximum(femur, GAP_MM - grid.nearest_mm[slices])
    _paint(grid, slices, femur.astype(np.float32), FEMORA, rng)


def _noise(shape: tuple[int, ...], sigma: float, rng: np.random.Generator) -> FloatImage:
    """Smooth noise of unit spread, drawn coarse and blown up."""
    coarse = [int(np.ceil(n / sigma)) + 3 for n in shape]
    grain = rng.standard_normal(coarse, dtype=np.float32)
    big = ndimage.zoom(grain, [(n + 1) / (c - 2) for n, c in zip(shape, coarse, strict=True)], order=1)
    part = big[tuple(slice(0, n) for n in shape)]
    return np.asarray(part / grain.std() * 1.6, np.float32)


def _paint(grid: _Grid, slices: Slices, distance: FloatImage, code: int, rng: np.random.Generator) -> None:
    """Cortex of uneven thickness over textured marrow, each voxel filled in proportion."""
    near = distance < 0.5 * SPACING_MM
    depth = -distance
    thick = CORTEX_MM[code] * (1.0 + CORTEX_SPREAD * np.clip(_noise(near.shape, 16.0, rng), -1.5, 1.5))
    marrow = MARROW_HU + TEXTURE_HU * _noise(near.shape, 6.0, rng)
    filled = np.clip(depth / SPACING_MM + 0.5, 0.0, 1.0)
    deep = np.clip((depth - thick) / SPACING_MM + 0.5, 0.0, 1.0)
    bone = CORTEX_HU * (filled - deep) + marrow * deep
    part = grid.hu[slices]
    part[near] = (part * (1.0 - filled) + bone)[near]
    own = (distance < 0) & (grid.labels[slices] == 0)
    grid.labels[slices][own] = code


def _soft_tissue(low: FloatArray, high: FloatArray, shape: tuple[int, ...]) -> FloatImage:
    """Muscle in fat in an oval body on a table, air around."""
    n_k, n_j, n_i = shape
    middle, half = (low + high) / 2, (high - low) / 2
    x = (low[0] + SPACING_MM * np.arange(n_i))[None]
    y = (low[1] + SPACING_MM * np.arange(n_j))[:, None]
    oval = np.abs((x - middle[0]) / (half[0] - 4.0)) ** 3 + np.abs((y - middle[1]) / (half[1] - 9.0)) ** 3
    plane = np.where(oval < 1.0, np.where(oval < 0.75, 50.0, -95.0), -1000.0)
    plane = np.where((y > high[1] - 6.0) & (y < high[1] - 3.5), 320.0, plane)
    return np.repeat(plane[None].astype(np.float32), n_k, axis=0)


def _add_foreign(grid: _Grid, frame: _Frame) -> None:
    """Contrast-filled bowel and a calcified artery in front of the sacrum."""
    slices, (x, y, z) = grid.box(frame.centre - 80.0, frame.centre + 50.0)
    u, v, w = (c - np.float32(o) for c, o in zip((x, y, z), frame.centre, strict=True))
    for start, end, radius, hu in (
        ((-30, -42, -30), (35, -46, -22), 10.0, 380.0),
        ((14, -30, 20), (34, -26, -40), 2.0, 800.0),
    ):
        body = (_capsule(u, v, w, start, end, radius) < 0) & (grid.labels[slices] == 0)
        grid.hu[slices][body] = hu
        grid.labels[slices][body] = FOREIGN


def _scan(grid: _Grid, rng: np.random.Generator) -> tuple[Volume, Volume]:
    """Blur by the point spread and add noise."""
    sigma = PSF_MM / SPACING_MM
    hu = ndimage.gaussian_filter(grid.hu, sigma, truncate=3.0)
    grain = ndimage.gaussian_filter(rng.standard_normal(hu.shape, dtype=np.float32), sigma, truncate=2.0)
    hu += np.float32(NOISE_HU / float(grain[0].std())) * grain
    affine = np.diag([SPACING_MM] * 3 + [1.0])
    affine[:3, 3] = grid.origin
    return Volume(np.clip(np.rint(hu), -1024, 3071).astype(np.int16), affine), Volume(grid.labels, affine)
