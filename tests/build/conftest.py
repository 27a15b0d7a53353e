"""Simple solids for the tests of the build."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import manifold3d
import pytest
from build_bench import Mesh, mesh_of

from implantflow.artifacts import write_stl


@pytest.fixture
def box() -> Mesh:
    return mesh_of(manifold3d.Manifold.cube((12.0, 10.0, 3.0)).translate((20, 20, 0)))


@pytest.fixture
def ball() -> Mesh:
    return mesh_of(manifold3d.Manifold.sphere(6.0, 128).translate((20, 20, 6)))


@pytest.fixture
def tube() -> Mesh:
    outer = manifold3d.Manifold.cylinder(4.0, 7.0, 7.0, 128)
    inner = manifold3d.Manifold.cylinder(6.0, 3.0, 3.0, 128).translate((0, 0, -1))
    return mesh_of((outer - inner).translate((20, 20, 0)))


@pytest.fixture
def stl_of(tmp_path: Path) -> Callable[[Mesh, str], Path]:
    def write(mesh: Mesh, name: str) -> Path:
        write_stl(tmp_path / name, *mesh, "test solid")
        return tmp_path / name

    return write
