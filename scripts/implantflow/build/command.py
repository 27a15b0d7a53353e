"""What the ``slice`` command needs besides the stage: any STL onto the plate of a named machine."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from implantflow.artifacts import read_corners
from implantflow.config.build import Machine, load_machine
from implantflow.errors import ConfigError, GeometryError, InputError
from implantflow.field.placement import place_on_plate
from implantflow.geometry import FloatArray, transform_points

#: A part smaller than this in every direction was hardly meant in millimetres.
SMALLEST_MM = 1.0

_VERTEX = re.compile(rb"vertex\s+(\S+)\s+(\S+)\s+(\S+)")


def machine_for(name: str, layer_mm: float | None) -> Machine:
    """The machine preset, with another layer thickness if one is given.

    Raises
    ------
    ConfigError
        No such preset, or a layer that is no whole number of the file's units.
    """
    try:
        machine = load_machine(name)
        if layer_mm is None:
            return machine
        return Machine.model_validate({**machine.model_dump(), "layer_mm": layer_mm})
    except ValueError as error:
        raise ConfigError(f"the machine cannot be used: {error}", where=f"machine {name!r}") from error


def read_any_stl(path: Path) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Read a binary or ASCII STL; equal corners become one vertex.

    Raises
    ------
    InputError
        Missing, truncated, or not an STL.
    """
    if not path.is_file():
        raise InputError("the solid is missing", where=str(path))
    with path.open("rb") as handle:
        head = handle.read(512)
    size = path.stat().st_size
    count = int.from_bytes(head[80:84], "little") if len(head) >= 84 else -1
    if not head.lstrip().startswith(b"solid") or size == 84 + 50 * count:
        return _welded(read_corners(path))
    data = path.read_bytes()
    found = _VERTEX.findall(data)
    if not found or len(found) % 3 or b"endsolid" not in data:
        raise InputError(
            "not a complete ASCII STL", where=str(path), fix="export it again as binary STL in millimetres"
        )
    try:
        corners = np.array(found, dtype="S32").astype(np.float32)
    except ValueError as error:
        raise InputError(f"a vertex of the STL is no number: {error}", where=str(path)) from error
    if not np.isfinite(corners).all():
        raise InputError("a vertex of the STL is not finite", where=str(path))
    return _welded(corners + np.float32(0.0))


def _welded(corners: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """(N, 3) corners of triangles -> vertices and faces."""
    from implantflow.build import mesh_kernels

    faces = np.empty((len(corners) // 3, 3), dtype=np.int32)
    first = mesh_kernels.weld(np.ascontiguousarray(corners), faces)
    return corners[first], faces


def place_stl(path: Path, machine: Machine) -> tuple[FloatArray, NDArray[np.int32]]:
    """Read an STL and stand it in the middle of the plate: vertices (N, 3) in build_xyz and faces.

    Raises
    ------
    GeometryError
        Smaller than a millimetre, or larger than the machine.
    """
    loaded, faces = read_any_stl(path)
    if len(loaded) == 0:
        raise GeometryError("the STL has no triangles", where=str(path))
    vertices = loaded.astype(np.float64)
    size = vertices.max(0) - vertices.min(0)
    if size.max() < SMALLEST_MM:
        raise GeometryError(
            f"the part is only {size.max():.4f} mm large",
            where=str(path),
            fix="STL has no units and is read as millimetres: scale it before export",
        )
    matrix = place_on_plate(
        vertices, (0.0, 0.0, 1.0), (1.0, 0.0, 0.0), 0.0, machine.envelope_mm, machine.layer_mm
    )
    return np.round(transform_points(matrix, vertices), 6), faces
