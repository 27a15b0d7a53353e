"""Closed triangle meshes: cleaning, normals, signed distance on a grid."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from implantflow.geometry import FloatArray
from implantflow.volumes import Volume

IntArray = NDArray[np.int64]


def thread_count() -> int:
    """Threads this job may use (the job sets them for numba); results do not depend on it."""
    return max(1, int(os.environ.get("NUMBA_NUM_THREADS", os.cpu_count() or 1)))


def largest_body(faces: IntArray, n_vertices: int) -> IntArray:
    """Faces (M, 3) of the connected body with most faces; strays of a few triangles drop out."""
    body = _bodies(faces, n_vertices)[faces[:, 0]]
    return np.asarray(faces[body == np.bincount(body).argmax()])


def shell_count(faces: IntArray) -> int:
    """Number of separate bodies that the faces form."""
    bodies = _bodies(faces, int(faces.max()) + 1)[faces[:, 0]]
    return int(np.count_nonzero(np.bincount(bodies)))


def _bodies(faces: IntArray, n_vertices: int) -> IntArray:
    from implantflow.segment.mesh_kernels import bodies_of_vertices

    return np.asarray(bodies_of_vertices(faces, n_vertices))


def open_edges(faces: IntArray) -> IntArray:
    """Directed edges (E, 2) that have no opposite partner."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    size = int(faces.max()) + 1
    key = edges[:, 0] * size + edges[:, 1]
    partner = edges[:, 1] * size + edges[:, 0]
    return np.asarray(edges[~np.isin(key, partner)])


def is_closed(faces: IntArray) -> bool:
    """Whether every directed edge occurs once and has its opposite: closed, manifold edges, one orientation."""
    from implantflow.segment.mesh_kernels import neighbours, paired

    size = int(faces.max()) + 1
    start, out = neighbours(faces, size, False)
    return bool(paired(start, out, neighbours(faces, size, True)[1]))


def close_holes(faces: IntArray) -> IntArray:
    """Add a fan of triangles over every border loop; atlas surfaces have loops of 6 to 23 edges.

    A fan needs no new vertex, so corresponding vertices stay corresponding.
    """
    border = open_edges(faces)
    follower: dict[int, list[int]] = {}
    for a, b in border.tolist():
        follower.setdefault(b, []).append(a)  # walk against the faces, so that the fan faces outward
    added: list[tuple[int, int, int]] = []
    while follower:
        first = min(follower)
        loop = [first]
        while True:
            nexts = follower[loop[-1]]
            step = nexts.pop()
            if not nexts:
                del follower[loop[-1]]
            if step == first or step not in follower:
                break
            loop.append(step)
        added += [(first, loop[n], loop[n + 1]) for n in range(1, len(loop) - 1)]
    if not added:
        return faces
    return np.concatenate([faces, np.array(added, dtype=np.int64)])


def volume_mm3(vertices: FloatArray, faces: IntArray) -> float:
    """Enclosed volume, positive when the faces turn outward."""
    from implantflow.segment.mesh_kernels import volume_and_area

    return float(volume_and_area(vertices, faces)[0]) / 6.0


def area_mm2(vertices: FloatArray, faces: IntArray) -> float:
    """Area of the surface."""
    from implantflow.segment.mesh_kernels import volume_and_area

    return float(volume_and_area(vertices, faces)[1]) / 2.0


def vertex_normals(vertices: FloatArray, faces: IntArray) -> FloatArray:
    """Outward unit normals (N, 3), area weighted; zero at vertices without a face."""
    from implantflow.segment.mesh_kernels import corner_normals

    out = corner_normals(vertices, faces)
    length = np.linalg.norm(out, axis=1, keepdims=True)
    unit = np.divide(out, length, out=np.zeros_like(out), where=length > 1e-12)
    return np.asarray(unit)


def _fans(faces: IntArray, n_vertices: int) -> tuple[IntArray, IntArray]:
    corner = faces.ravel()
    order = np.argsort(corner, kind="stable")
    start = np.zeros(n_vertices + 1, dtype=np.int64)
    np.cumsum(np.bincount(corner, minlength=n_vertices), out=start[1:])
    return start, order // 3


def signed_distance(
    vertices: FloatArray, faces: IntArray, grid: Volume, far_mm: float
) -> NDArray[np.float32]:
    """Distance from the voxel centres of ``grid`` to a closed mesh, negative inside.

    Parameters
    ----------
    vertices, faces : (N, 3) LPS mm and (M, 3); closed.
    grid : Volume
        Only its shape and affine are read.
    far_mm : float
        Exact up to here; farther voxels get +-``far_mm``.

    Returns
    -------
    (K, J, I) float32, mm.
    """
    from scipy.spatial import cKDTree

    from implantflow.segment.kernels import fill_inside, nearest_triangle_mm

    shape = grid.array.shape
    inside = np.zeros(shape, dtype=np.uint8)
    fill_inside(np.ascontiguousarray(grid.lps_to_index(vertices)), faces, inside)
    used = np.unique(faces)
    tree = cKDTree(vertices[used])
    out = np.full(shape, np.float32(far_mm))
    near = _voxels_near(vertices[used], grid, far_mm)
    points = grid.index_to_lps(near[:, ::-1])
    distance, candidate = tree.query(points, k=4, distance_upper_bound=far_mm + 6.0, workers=thread_count())
    found = np.isfinite(distance).all(axis=1)
    near, points, candidate = near[found], points[found], candidate[found]
    start, fan = _fans(faces, len(vertices))
    exact = nearest_triangle_mm(points, used[candidate], start, fan, vertices, faces)
    out[tuple(near.T)] = np.minimum(exact, np.float32(far_mm))
    return np.where(inside > 0, -out, out)


def _voxels_near(vertices: FloatArray, grid: Volume, reach_mm: float) -> IntArray:
    """Voxels (N, 3) as k, j, i within about ``reach_mm`` of a vertex, found on 2-voxel blocks."""
    from scipy import ndimage

    block = 2
    shape = np.array(grid.array.shape)
    index = np.floor(grid.lps_to_index(vertices)[:, ::-1] / block).astype(int)
    coarse = np.zeros(-(-shape // block), dtype=bool)
    inside = ((index >= 0) & (index < coarse.shape)).all(axis=1)
    coarse[tuple(index[inside].T)] = True
    distance = ndimage.distance_transform_edt(~coarse, sampling=block * grid.spacing_mm[::-1])
    reach = reach_mm + 1.75 * block * float(grid.spacing_mm.max())
    mask = distance <= reach if coarse.any() else coarse
    full = mask.repeat(block, 0).repeat(block, 1).repeat(block, 2)[: shape[0], : shape[1], : shape[2]]
    return np.argwhere(full)
