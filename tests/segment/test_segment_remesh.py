"""Fewer triangles within a bound: both ways, against distances that another module finds on dense points."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from implantflow.errors import GeometryError
from implantflow.segment import remesh_kernels
from implantflow.segment.mesh import IntArray, is_closed, shell_count, volume_mm3
from implantflow.segment.remesh import remeshed
from implantflow.segment.surface import isosurface
from implantflow.solids.distance import hausdorff_mm
from implantflow.solids.mesh import Solid
from implantflow.volumes import Volume

Mesh = tuple[NDArray[np.float64], IntArray]
HALF_MM = 14.0


def surface_of(field: NDArray[np.float64], spacing_mm: float = 1.0) -> Mesh:
    affine = np.diag([spacing_mm] * 3 + [1.0])
    affine[:3, 3] = -HALF_MM, -HALF_MM, 100.0
    volume = Volume(np.zeros(field.shape, dtype=np.uint8), affine)
    return isosurface(volume, np.clip(field, -0.5, 0.5).astype(np.float32))


def axes(spacing_mm: float = 1.0) -> list[NDArray[np.float64]]:
    axis = np.arange(-HALF_MM, HALF_MM + spacing_mm / 2, spacing_mm)
    return list(np.meshgrid(axis, axis, axis, indexing="ij"))


def bumpy() -> Mesh:
    """A ball with ripples, pits and noise, rougher than any bone."""
    x, y, z = axes()
    radius = np.sqrt(x * x + y * y + z * z)
    ripples = 0.8 * np.sin(1.3 * x) * np.sin(1.1 * y + 0.4) + 0.3 * np.sin(2.1 * z)
    return surface_of((10.0 - radius + ripples + np.random.default_rng(7).normal(0, 0.1, radius.shape)) / 4.0)


def ring() -> Mesh:
    """A ring 3 mm thick: it has a hole."""
    x, y, z = axes()
    return surface_of((1.5 - np.hypot(np.hypot(x, y) - 8.0, z)) / 3.0)


def plate() -> Mesh:
    """A plate 1 mm thick, its corners sharp as far as voxels let them."""
    x, y, z = axes()
    return surface_of(np.minimum.reduce([10.3 - np.abs(x), 7.2 - np.abs(y), 0.51 - np.abs(z)]) / 2.0)


@pytest.mark.parametrize("bound_mm", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("make", [bumpy, ring, plate])
def test_neither_surface_is_farther_from_the_other_than_the_bound(make: object, bound_mm: float) -> None:
    vertices, faces = make()  # type: ignore[operator]
    found = remeshed(vertices, faces, bound_mm)
    before, after = Solid.of(vertices, faces), Solid.of(found.vertices_lps_mm, found.faces)
    # Some 0.1 mm between samples: they can miss a hundredth, the proof has room for it nowhere.
    apart = hausdorff_mm(before, after, 0.1)
    assert apart <= found.proven_max_mm + 1e-6 <= bound_mm + 2e-6
    assert found.measured_mean_mm <= found.measured_max_mm <= apart + 1e-6
    assert apart > 0.3 * bound_mm or make is plate  # the bound is used, except where all is flat
    assert is_closed(found.faces) and shell_count(found.faces) == 1
    assert found.triangles_before == len(faces) > len(found.faces)
    assert set(map(tuple, found.vertices_lps_mm)) <= set(map(tuple, vertices))


def test_the_wider_the_bound_the_fewer_the_triangles_and_the_volume_stays() -> None:
    vertices, faces = bumpy()
    results = [remeshed(vertices, faces, bound) for bound in (0.0, 0.02, 0.1, 0.3)]
    left = [len(found.faces) / len(faces) for found in results]
    assert left[0] == 1.0 and (np.diff(left) < 0.0).all() and left[-1] < 0.5
    truth = volume_mm3(vertices, faces)
    for found in results:
        assert volume_mm3(found.vertices_lps_mm, found.faces) == pytest.approx(truth, rel=0.01)


def test_a_hole_stays_a_hole() -> None:
    vertices, faces = ring()
    found = remeshed(vertices, faces, 0.3)
    edges = 3 * len(found.faces) // 2
    assert len(found.faces) < 0.5 * len(faces)
    assert len(found.vertices_lps_mm) - edges + len(found.faces) == 0


def test_bound_zero_keeps_every_triangle() -> None:
    vertices, faces = ring()
    found = remeshed(vertices, faces, 0.0)
    assert found.vertices_lps_mm is vertices and found.faces is faces
    assert found.proven_max_mm == found.measured_max_mm == 0.0


def test_triangles_on_a_flat_face_do_not_grow_without_end() -> None:
    vertices, faces = plate()
    found = remeshed(vertices, faces, 0.1)
    corners = found.vertices_lps_mm[found.faces]
    edges = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2)
    assert 2.0 < edges.max() <= remesh_kernels.LONGEST_MM
    assert np.bincount(found.faces.ravel()).max() <= remesh_kernels.MOST_NEIGHBOURS


def test_same_mesh_same_bytes_and_what_was_given_is_left_alone() -> None:
    vertices, faces = bumpy()
    given = vertices.tobytes(), faces.tobytes()
    first, second = remeshed(vertices, faces, 0.1), remeshed(vertices, faces, 0.1)
    assert (vertices.tobytes(), faces.tobytes()) == given
    assert first.vertices_lps_mm.tobytes() == second.vertices_lps_mm.tobytes()
    assert first.faces.tobytes() == second.faces.tobytes()


@pytest.mark.parametrize("fault", ["claims less than it moves", "loses a triangle"])
def test_a_mistake_of_the_kernel_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    true_thin_out = remesh_kernels.thin_out

    def faulty(vertices: object, faces: object, twin: object, leaving: object, limits: NDArray) -> object:
        if fault == "loses a triangle":
            alive, moved = true_thin_out(vertices, faces, twin, leaving, limits)
            alive[np.flatnonzero(alive)[0]] = False
            return alive, moved
        alive, moved = true_thin_out(vertices, faces, twin, leaving, 4.0 * limits)
        return alive, np.zeros_like(moved)

    monkeypatch.setattr(remesh_kernels, "thin_out", faulty)
    with pytest.raises(GeometryError, match="remeshing moved a bone's surface"):
        remeshed(*bumpy(), 0.1)
