"""The ``slice`` command: any STL onto the plate of a named machine, and into its file."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from implantflow.artifacts import read_corners, temporary, write_json
from implantflow.build import verdicts
from implantflow.build.checks import examine_file
from implantflow.build.melt_check import MeltRules
from implantflow.build.part import Part
from implantflow.build.produce import judge, write_build
from implantflow.build.record import Sliced, checks_json
from implantflow.build.solid import collapsed
from implantflow.build.themes import check_themes
from implantflow.config.build import Machine, load_machine
from implantflow.errors import ConfigError, GeometryError, InputError
from implantflow.field.placement import place_on_plate
from implantflow.geometry import FloatArray, transform_points

#: Loops below this are not written when the slice command has no case that says otherwise (mm2).
DEFAULT_LOOP_AREA_MM2 = 0.01
#: A part smaller than this in every direction was hardly meant in millimetres.
SMALLEST_MM = 1.0
#: Edge of the largest cell that is drawn (mm): three times a case's; its contours are tables, larger with its cube.
LARGEST_CELL_MM = 20.0

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
    except ValidationError as error:
        # pydantic's own text has several lines and an address.
        why = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise ConfigError(
            f"the machine cannot be used: {why}",
            where=f"machine {name!r}" + ("" if layer_mm is None else f" with layers of {layer_mm:g} mm"),
            fix="give another --layer-mm, or leave it out: the machine has its own",
        ) from error
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
        # As wide as the longest number: cut off, it would lose its exponent.
        corners = np.array(found, dtype=np.bytes_).astype(np.float32)
    except ValueError as error:
        raise InputError(f"a vertex of the STL is no number: {error}", where=str(path)) from error
    if not np.isfinite(corners).all():
        raise InputError("a vertex of the STL is not finite", where=str(path))
    return _welded(corners + np.float32(0.0))


def _welded(corners: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """(N, 3) corners of triangles -> vertices and faces, without triangles of no area and what only they name.

    Some programs write a triangle of three zeros: it would count for the part's size and place.
    """
    from implantflow.build import mesh_kernels

    faces = np.empty((len(corners) // 3, 3), dtype=np.int32)
    first = mesh_kernels.weld(np.ascontiguousarray(corners), faces)
    flat = collapsed(faces)
    if not flat.any():
        return corners[first], faces
    named, renumbered = np.unique(faces[~flat], return_inverse=True)
    return corners[first][named], renumbered.reshape(-1, 3).astype(np.int32)


def place_stl(path: Path, machine: Machine) -> tuple[FloatArray, NDArray[np.int32]]:
    """Read an STL and stand it in the middle of the plate: vertices (N, 3) in build_xyz and faces.

    Raises
    ------
    GeometryError
        Smaller than a millimetre, larger than the machine, or so far from the origin that its corners are rounded to
        more than a unit of the file.
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
    step = float(np.spacing(np.abs(loaded).max()))
    if step > machine.unit_mm and (size <= machine.envelope_mm).all():
        raise GeometryError(
            f"the part lies so far from the origin that its corners are rounded to {step:g} mm",
            where=str(path),
            fix="STL holds 24 bits of a number: move the part near the origin before export",
        )
    matrix = place_on_plate(
        vertices, (0.0, 0.0, 1.0), (1.0, 0.0, 0.0), 0.0, machine.envelope_mm, machine.layer_mm
    )
    return np.round(transform_points(matrix, vertices), 6), faces


def slice_solid(
    solid: Path,
    out: Path,
    *,
    lattice: str | None = None,
    cell_mm: float | None = None,
    strut_mm: float | None = None,
    layer_mm: float | None = None,
    machine: str = "arcam-a1",
    threads: int = 2,
) -> None:
    """Slice any watertight STL in mm into ``out/build.cli`` and ``out/checks.json``.

    The part is placed in the middle of the plate with its lowest point at z = 0 and keeps its orientation.
    With ``lattice`` all of it is filled with that cell, without it is full metal. Unsupported islands are
    warnings here, and nothing is left out.

    Raises
    ------
    InputError, GeometryError
        The file is no STL, not watertight, too small, or does not fit the machine; or the lattice and its sizes are
        not given together, or a size is not positive.
    ConfigError
        No such machine, or a layer that the file's unit does not divide.
    QualityGateError
        The written file does not pass its checks; nothing is left behind then.
    """
    _check_sizes(lattice, cell_mm, strut_mm, layer_mm)
    with temporary(out / "checks.json") as checks_tmp, temporary(out / "build.cli") as cli_tmp:
        sliced, part, chosen = write_solid(
            solid, cli_tmp, lattice, cell_mm, strut_mm, layer_mm, machine, threads
        )
        _, found = examine_file(
            cli_tmp,
            chosen.envelope_mm[1],
            chosen.layer_mm,
            DEFAULT_LOOP_AREA_MM2,
            threads,
            rules=MeltRules.of(chosen),
        )
        limits = verdicts.IslandLimits(0.5, 1.0, warn_only=True)
        checks = judge(sliced, found, part, chosen, 1.0, limits, [False] * len(found.islands))
        verdicts.require(checks)
        write_json(checks_tmp, checks_json(checks, found, sliced))


def _check_sizes(
    lattice: str | None, cell_mm: float | None, strut_mm: float | None, layer_mm: float | None
) -> None:
    """Refuse sizes without a lattice, a lattice without them, and sizes that are none."""
    if lattice is not None and (cell_mm is None or strut_mm is None):
        raise InputError(
            "--lattice needs its cell and its strut: --cell-mm and --strut-mm",
            where="command line",
            fix="e.g. --cell-mm 2.5 --strut-mm 0.5",
        )
    if lattice is None and not cell_mm is strut_mm is None:
        # Full metal where a lattice was meant would be noticed on the printed part only.
        raise InputError(
            "--cell-mm and --strut-mm need --lattice: without it the part is full metal",
            where="command line",
            fix="add --lattice diamond, or leave the sizes out",
        )
    for name, size in (("--cell-mm", cell_mm), ("--strut-mm", strut_mm), ("--layer-mm", layer_mm)):
        if size is not None and not (math.isfinite(size) and size > 0.0):
            raise InputError(f"{size:g} mm is no size", where=name, fix="give a number above 0, in mm")
    if cell_mm is not None and cell_mm > LARGEST_CELL_MM:
        raise InputError(
            f"a cell of {cell_mm:g} mm is larger than {LARGEST_CELL_MM:g} mm",
            where="--cell-mm",
            fix="give a smaller one",
        )


def write_solid(
    solid: Path,
    cli: Path,
    lattice: str | None,
    cell_mm: float | None,
    strut_mm: float | None,
    layer_mm: float | None,
    machine: str,
    threads: int,
) -> tuple[Sliced, Part, Machine]:
    """First half of :func:`slice_solid`: the build file, not yet read back."""
    chosen = machine_for(machine, layer_mm)
    check_themes(chosen)
    filling = None if lattice is None else (lattice, float(cell_mm or 0), float(strut_mm or 0))
    vertices, faces = place_stl(solid, chosen)
    part = Part(vertices, faces, None, filling)
    facts = {"source": solid.name, "machine": chosen.name, "layer height": "upper surface"}
    sliced = write_build(cli, part, chosen, DEFAULT_LOOP_AREA_MM2, 0.0, facts, False, None, threads)
    return sliced, part, chosen
