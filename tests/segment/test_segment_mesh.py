"""Meshes: closing, counting, distances against an analytic sphere."""

from __future__ import annotations

import numpy as np

from implantflow.segment.mesh import (
    area_mm2,
    close_holes,
    is_closed,
    largest_body,
    open_edges,
    shell_count,
    signed_distance,
    vertex_normals,
    volume_mm3,
)
from implantflow.segment.mesh_kernels import neighbours, pull_along
from implantflow.segment.surface import isosurface, smooth_within
from implantflow.volumes import Volume

CENTRE = np.array([3.0, -2.0, 101.0])
RADIUS_MM = 18.0


def grid(spacing_mm: float, half_mm: float = 26.0) -> Volume:
    n = int(2 * half_mm / spacing_mm) + 1
    affine = np.diag([spacing_mm] * 3 + [1.0])
    affine[:3, 3] = CENTRE - half_mm
    return Volume(np.zeros((n, n, n), dtype=np.uint8), affine)


def radius(volume: Volume) -> np.ndarray:
    k, j, i = np.indices(volume.array.shape)
    points = volume.index_to_lps(np.stack([i.ravel(), j.ravel(), k.ravel()], axis=1))
    return np.linalg.norm(points - CENTRE, axis=1).reshape(volume.array.shape)


def sphere(spacing_mm: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    volume = grid(spacing_mm)
    return isosurface(volume, np.clip((RADIUS_MM - radius(volume)) / 4.0, -0.5, 0.5).astype(np.float32))


def test_isosurface_is_closed_outward_and_true() -> None:
    vertices, faces = sphere()
    assert is_closed(faces)
    assert shell_count(faces) == 1
    assert abs(volume_mm3(vertices, faces) / (4 / 3 * np.pi * RADIUS_MM**3) - 1) < 0.01
    assert abs(area_mm2(vertices, faces) / (4 * np.pi * RADIUS_MM**2) - 1) < 0.01
    outward = vertex_normals(vertices, faces)
    assert (np.einsum("ij,ij->i", outward, (vertices - CENTRE) / RADIUS_MM) > 0.95).all()


def test_signed_distance_equals_the_analytic_one() -> None:
    vertices, faces = sphere()
    volume = grid(2.0)
    truth = RADIUS_MM - radius(volume)
    found = -signed_distance(vertices, faces, volume, 12.0)
    near = np.abs(truth) < 8.0
    assert np.abs(found - truth)[near].max() < 0.1
    assert (np.sign(found) == np.sign(truth))[np.abs(truth) > 0.1].all()
    assert np.abs(found).max() <= 12.0


def test_holes_are_fanned_and_strays_dropped() -> None:
    vertices, faces = sphere(3.0)
    at = int(faces[0, 0])
    holed = faces[(faces != at).all(axis=1)]
    stray = np.array([[0, 1, 2]]) + len(vertices)
    assert len(open_edges(holed)) > 3
    kept = largest_body(np.concatenate([holed, stray]), len(vertices) + 3)
    assert len(kept) == len(holed)
    closed = close_holes(kept)
    assert is_closed(closed)
    assert volume_mm3(vertices, closed) > 0.97 * volume_mm3(vertices, faces)


def test_smoothing_keeps_its_limit() -> None:
    vertices, faces = sphere()
    rng = np.random.default_rng(1)
    rough = vertices + rng.normal(0, 0.15, vertices.shape)
    smooth, mean_move = smooth_within(rough, faces, 0.2)
    assert np.linalg.norm(smooth - rough, axis=1).max() <= 0.2 + 1e-6
    assert 0.0 < mean_move <= 0.2
    spread = np.linalg.norm(smooth - CENTRE, axis=1).std()
    assert spread < 0.7 * np.linalg.norm(rough - CENTRE, axis=1).std()
    assert smooth_within(rough, faces, 0.0)[1] == 0.0


def test_a_mesh_is_closed_only_when_every_edge_has_its_opposite_once() -> None:
    _, faces = sphere(4.0)
    assert is_closed(faces) and shell_count(faces) == 1
    assert not is_closed(faces[1:])
    assert not is_closed(np.concatenate([faces, faces[:1]])), "a face twice"
    turned = faces.copy()
    turned[5] = turned[5, ::-1]
    assert not is_closed(turned)
    two = np.concatenate([faces, faces[: len(faces)] + faces.max() + 1])
    assert is_closed(two) and shell_count(two) == 2
    assert (
        largest_body(np.concatenate([faces[:40] + faces.max() + 1, faces]), int(2 * faces.max() + 2)) == faces
    ).all()


def test_smoothing_pulls_to_the_mean_of_the_neighbours() -> None:
    vertices, faces = sphere(4.0)
    rng = np.random.default_rng(2)
    normals, height = vertex_normals(vertices, faces), rng.normal(0, 0.1, len(vertices))
    start, end = neighbours(faces, len(vertices), False)
    at = vertices + normals * height[:, None]
    pull = pull_along(vertices, normals, height, start, end)
    for v in rng.integers(0, len(vertices), 20):
        around = np.unique(faces[(faces == v).any(axis=1)])
        mean = at[around[around != v]].mean(axis=0)
        assert abs((mean - at[v]) @ normals[v] - pull[v]) < 1e-9
