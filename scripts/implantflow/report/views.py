"""Shaded pictures of meshes from anatomical directions, by the z-buffer kernels of :mod:`raster`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implantflow.geometry import unit
from implantflow.report import raster
from implantflow.report.meshes import Mesh

Float = NDArray[np.float64]
Colour = tuple[float, float, float]

#: Pixels are computed this many times finer along each axis and averaged (smooth edges).
SUPERSAMPLING = 2
#: Cosine of the turn beyond which a surface has an edge.
_CREASE_COSINE = 0.7


@dataclass(frozen=True)
class Camera:
    """Parallel projection.

    Attributes
    ----------
    forward, up : (3,) unit directions, patient LPS; forward points from the viewer into the picture.
    centre_mm : (3,) point shown in the middle of the picture.
    mm_per_px, width_px, height_px : size and scale of the finished picture.
    markers : letters at the left, right, top and bottom edge, e.g. ("R", "L", "H", "F").
    """

    forward: tuple[float, float, float]
    up: tuple[float, float, float]
    centre_mm: tuple[float, float, float]
    mm_per_px: float
    width_px: int
    height_px: int
    markers: tuple[str, str, str, str]

    @property
    def axes(self) -> Float:
        """(3, 3) rows: right, down, forward of the picture in patient LPS."""
        forward = unit(self.forward)
        right = unit(np.cross(forward, self.up))
        return np.asarray(np.stack([right, np.cross(forward, right), forward]))


#: Anatomical directions: forward, up, markers at left, right, top, bottom.
VIEWS = {
    "anterior": ((0.0, 1.0, 0.0), (0.0, 0.0, 1.0), ("R", "L", "H", "F")),
    "posterior": ((0.0, -1.0, 0.0), (0.0, 0.0, 1.0), ("L", "R", "H", "F")),
    "left lateral": ((-1.0, 0.0, 0.0), (0.0, 0.0, 1.0), ("A", "P", "H", "F")),
    "right lateral": ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), ("P", "A", "H", "F")),
    "top": ((0.0, 0.0, -1.0), (0.0, -1.0, 0.0), ("L", "R", "A", "P")),
}


@dataclass(frozen=True)
class Part:
    """A mesh with a colour: one for all, one per vertex (N, 3) or one per face (M, 3), RGB 0-1."""

    mesh: Mesh
    colour: Colour | Float
    alpha: float = 1.0
    per_face: bool = False


def fit_camera(view: str, meshes: Sequence[Mesh], width_px: int, height_px: int) -> Camera:
    """Camera of a named view that shows all ``meshes`` with a margin of 9 %."""
    forward, up, markers = VIEWS[view]
    draft = Camera(forward, up, (0.0, 0.0, 0.0), 1.0, width_px, height_px, markers)
    low = np.min([(m.vertices @ draft.axes.T).min(axis=0) for m in meshes], axis=0)
    high = np.max([(m.vertices @ draft.axes.T).max(axis=0) for m in meshes], axis=0)
    scale = 1.18 * max((high[0] - low[0]) / width_px, (high[1] - low[1]) / height_px)
    centre = draft.axes.T @ ((low + high) / 2.0)
    return Camera(
        forward,
        up,
        (float(centre[0]), float(centre[1]), float(centre[2])),
        float(scale),
        width_px,
        height_px,
        markers,
    )


def project(camera: Camera, points_mm: Float, factor: int = 1) -> Float:
    """(N, 3) patient LPS -> (N, 3) column, row in pixels of a ``factor`` times finer picture, depth in mm."""
    local: Float = (np.asarray(points_mm) - np.asarray(camera.centre_mm)) @ camera.axes.T
    scale = factor / camera.mm_per_px
    out = np.empty_like(local)
    out[:, 0] = local[:, 0] * scale + (factor * camera.width_px - 1) / 2.0
    out[:, 1] = local[:, 1] * scale + (factor * camera.height_px - 1) / 2.0
    out[:, 2] = local[:, 2]
    return out


def render(camera: Camera, parts: Sequence[Part]) -> NDArray[np.uint8]:
    """Shaded picture of ``parts`` on white.

    Returns
    -------
    (H, W, 3) uint8 RGB
    """
    opaque = [p for p in parts if p.alpha >= 1.0]
    layers = [_layer(camera, opaque)] if opaque else []
    layers += [_layer(camera, [p]) for p in parts if p.alpha < 1.0]
    alphas = ([1.0] if opaque else []) + [p.alpha for p in parts if p.alpha < 1.0]
    image = _composite(layers, alphas, camera)
    small = image.reshape(camera.height_px, SUPERSAMPLING, camera.width_px, SUPERSAMPLING, 3).mean(
        axis=(1, 3)
    )
    return np.asarray(np.clip(np.rint(small * 255.0), 0, 255), dtype=np.uint8)


def thickness_mm(camera: Camera, meshes: Sequence[Mesh]) -> Float:
    """(H, W) length in mm of each parallel ray inside the closed ``meshes`` (overlaps count twice)."""
    total = np.zeros((camera.height_px, camera.width_px))
    for mesh in meshes:
        one = np.zeros_like(total)
        # Shifted by odd fractions of a pixel, so that no pixel centre lies on an edge and counts twice.
        corners = project(camera, mesh.vertices)[mesh.faces] + np.array([0.01234567, 0.00765432, 0.0])
        raster.add_thickness(np.ascontiguousarray(corners), one)
        # A ray that grazes an edge may hit one wall only; such a sum is no length.
        total += np.where((one > 0.0) & (one < 400.0), one, 0.0)
    return total


def _layer(camera: Camera, parts: Sequence[Part]) -> tuple[Float, NDArray[np.float32]]:
    """Depth in mm (infinite where nothing is) and shaded colour of the nearest surface, supersampled."""
    height, width = camera.height_px * SUPERSAMPLING, camera.width_px * SUPERSAMPLING
    depth = np.full((height, width), np.inf)
    normal = np.zeros((height, width, 3), np.float32)
    colour = np.zeros((height, width, 3), np.float32)
    px_per_mm = SUPERSAMPLING / camera.mm_per_px
    for part in parts:
        points = project(camera, part.mesh.vertices, SUPERSAMPLING)
        points[:, 2] *= px_per_mm  # equal scale on all axes: normals come from the projected triangles
        normals = np.asarray(part.mesh.vertex_normals @ camera.axes.T, dtype=np.float32)
        colours = np.atleast_2d(np.asarray(part.colour, dtype=np.float32))
        raster.fill_nearest(
            points, part.mesh.faces, normals, colours, _meaning(part), _CREASE_COSINE, depth, normal, colour
        )
    depth /= px_per_mm
    return depth, _shade(depth, normal, colour, camera)


def _meaning(part: Part) -> int:
    if np.ndim(part.colour) == 1:
        return raster.ONE
    return raster.PER_FACE if part.per_face else raster.PER_VERTEX


def _shade(
    depth: Float, normal: NDArray[np.float32], colour: NDArray[np.float32], camera: Camera
) -> NDArray[np.float32]:
    """Two lights, no highlights, and darker crevices so that foramina and joints read as depth."""
    seen = np.isfinite(depth)
    n = normal[seen]
    n /= np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-6)
    n[n[:, 2] > 0.0] *= -1.0  # two-sided: towards the viewer
    key = np.maximum(n @ unit((-0.45, -0.6, -1.0)).astype(np.float32), 0.0)
    fill = np.maximum(n @ unit((0.8, 0.2, -0.6)).astype(np.float32), 0.0)
    light = (0.28 + 0.62 * key + 0.18 * fill) * (1.0 - _crevice(depth, seen, camera))
    shaded = np.ones_like(colour)
    shaded[seen] = np.clip(colour[seen] * light[:, None], 0.0, 1.0)
    return shaded


def _crevice(depth: Float, seen: NDArray[np.bool_], camera: Camera) -> Float:
    """Share of light lost (0-0.45) where the neighbourhood, some 6 mm wide, is nearer; (n,) for seen pixels."""
    from scipy.ndimage import gaussian_filter

    # A blur this wide needs no supersampling: every SUPERSAMPLING-th pixel, and back by repetition.
    coarse = depth[::SUPERSAMPLING, ::SUPERSAMPLING]
    there = np.isfinite(coarse)
    sigma_px = 3.0 / camera.mm_per_px
    weight = gaussian_filter(there.astype(np.float64), sigma_px, truncate=2.0)
    mean = gaussian_filter(np.where(there, coarse, 0.0), sigma_px, truncate=2.0) / np.maximum(weight, 1e-6)
    row, column = np.nonzero(seen)
    around = (row // SUPERSAMPLING, column // SUPERSAMPLING)
    deeper = np.where(weight[around] > 1e-3, depth[seen] - mean[around], 0.0)
    return np.asarray(np.clip(deeper / 14.0, 0.0, 0.45))


def _composite(
    layers: Sequence[tuple[Float, NDArray[np.float32]]], alphas: Sequence[float], camera: Camera
) -> NDArray[np.float32]:
    shape = (camera.height_px * SUPERSAMPLING, camera.width_px * SUPERSAMPLING)
    image = np.ones((*shape, 3), np.float32)
    if not layers:
        return image
    depth = np.stack([layer[0] for layer in layers])
    order = np.argsort(-depth, axis=0, kind="stable")  # far to near
    for rank in range(len(layers)):
        which = order[rank]
        for index, (own_depth, shaded) in enumerate(layers):
            here = (which == index) & np.isfinite(own_depth)
            alpha = np.float32(alphas[index])
            image[here] = (1 - alpha) * image[here] + alpha * shaded[here]
    return image
