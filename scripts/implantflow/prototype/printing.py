"""The one file to print: implant and bone as named 3MF objects, side and iteration embossed on the implant."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.artifacts import write_zip
from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, unit
from implantflow.solids import lettering
from implantflow.solids.mesh import IntArray, Solid, require_closed

_PIXELS_MM = (1.1, 0.9, 0.75, 0.6)
_RAISED_MM = 0.8
_TRIES = 160


def embossed(solid: Solid, text: str, contact: IntArray) -> tuple[Solid, dict[str, object]]:
    """``solid`` with ``text`` on its flattest place away from the ``contact`` triangles.

    Returns the solid and where the letters are. Larger letters are tried first.

    Raises
    ------
    GeometryError
        There is no place for the text in any size.
    """
    for pixel in _PIXELS_MM:
        places = _flat_places(solid, contact, lettering.text_size_mm(text, pixel))
        for centre, rotation in places:
            try:
                result = lettering.emboss(solid, text, centre, rotation, pixel, _RAISED_MM, root_mm=1.2)
            except GeometryError:
                continue
            return result, {
                "text": text,
                "pixel_mm": pixel,
                "raised_mm": _RAISED_MM,
                "centre_lps_mm": centre,
                "normal_lps": rotation[:, 2],
            }
    raise GeometryError(
        f"no place for the letters {text!r} outside the contact faces",
        where="prototype",
        fix="give the case a shorter name: it is part of the letters",
    )


def labelled_part(solid: Solid, texts: Sequence[str], contact: IntArray) -> tuple[Solid, dict[str, object]]:
    """``solid`` with the first of ``texts`` that finds a place; GeometryError when none does."""
    for text in texts[:-1]:
        result, label = embossed_if_room(solid, text, contact)
        if label is not None:
            return result, label
    return embossed(solid, texts[-1], contact)


def embossed_if_room(solid: Solid, text: str, contact: IntArray) -> tuple[Solid, dict[str, object] | None]:
    """As :func:`embossed`; the solid as it is, and None, where no size of letters finds a place."""
    try:
        return embossed(solid, text, contact)
    except GeometryError:
        return solid, None


def _flat_places(
    solid: Solid, contact: IntArray, size_mm: tuple[float, float]
) -> list[tuple[FloatArray, FloatArray]]:
    """Best places for a text of ``size_mm``: centre and (reading, up, outward) frame, flattest first."""
    centres, normals, areas = solid.centres_mm, solid.normals, solid.areas_mm2
    radius = float(np.hypot(*size_mm)) / 2.0
    forbidden = np.zeros(len(centres), dtype=bool)
    forbidden[contact] = True
    candidates = np.flatnonzero(~forbidden)[:: max(1, (len(centres) - len(contact)) // _TRIES)]
    scored = []
    for i in candidates:
        near = np.linalg.norm(centres - centres[i], axis=1) < radius
        if (near & forbidden).any():
            continue
        normal = unit((normals[near] * areas[near, None]).sum(axis=0))
        height = np.abs((centres[near] - centres[i]) @ normal)
        facing = float(np.average(normals[near] @ normal, weights=areas[near]))
        scored.append((round(float(np.percentile(height, 95)) - 4.0 * facing, 6), int(i), normal))
    scored.sort(key=lambda item: (item[0], item[1]))
    return [(centres[i], _reading_frame(normal)) for _, i, normal in scored[:12]]


def _reading_frame(normal: FloatArray) -> FloatArray:
    """Frame whose up is as cranial as it can be (or posterior on a horizontal place)."""
    cranial = np.array([0.0, 0.0, 1.0]) if abs(normal[2]) < 0.9 else np.array([0.0, 1.0, 0.0])
    up = unit(cranial - (cranial @ normal) * normal)
    return np.column_stack([np.cross(up, normal), up, normal])


def write_3mf(path: Path, objects: dict[str, Solid], title: str) -> None:
    """Write named solids in millimetres as one 3MF; the same content gives the same bytes.

    lib3mf draws random UUIDs for the production extension and dates the archive: both are replaced.
    """
    import lib3mf

    wrapper = lib3mf.get_wrapper()
    model = wrapper.CreateModel()
    model.SetUnit(lib3mf.ModelUnit.MilliMeter)
    model.GetMetaDataGroup().AddMetaData("", "Title", title, "xs:string", True)
    for name, solid in objects.items():
        mesh = model.AddMeshObject()
        mesh.SetName(name)
        mesh.SetPartNumber(name)
        mesh.SetGeometry(
            _records(lib3mf.Position, solid.vertices.astype(np.float32)),
            _records(lib3mf.Triangle, solid.faces.astype(np.uint32)),
        )
        model.AddBuildItem(mesh, wrapper.GetIdentityTransform())
    buffer = bytes(model.QueryWriter("3mf").WriteToBuffer())
    members = {}
    with zipfile.ZipFile(io.BytesIO(buffer)) as archive:
        for name in archive.namelist():
            members[name] = _without_uuids(archive.read(name))
    write_zip(path, members)


def read_3mf(path: Path) -> dict[str, Solid]:
    """Solids by name of a 3MF that :func:`write_3mf` wrote, in millimetres."""
    import lib3mf

    model = lib3mf.get_wrapper().CreateModel()
    model.QueryReader("3mf").ReadFromFile(str(path))
    meshes = model.GetMeshObjects()
    found = {}
    while meshes.MoveNext():
        mesh = meshes.GetCurrentMeshObject()
        vertices = np.array([tuple(v.Coordinates) for v in mesh.GetVertices()], dtype=np.float64)
        faces = np.array([tuple(t.Indices) for t in mesh.GetTriangleIndices()], dtype=np.int64)
        found[mesh.GetName()] = Solid.of(vertices, faces)
        require_closed(found[mesh.GetName()], f"{mesh.GetName()} in {path.name}")
    return found


def _records(record: Any, values: NDArray[Any]) -> Any:
    """A ctypes array of lib3mf records that each hold three numbers, filled from (N, 3) ``values``."""
    return (record * len(values)).from_buffer_copy(np.ascontiguousarray(values).tobytes())


def _without_uuids(data: bytes) -> bytes:
    """Replace every UUID attribute by one that counts up, so that the bytes do not change from run to run."""
    count = 0

    def numbered(match: re.Match[bytes]) -> bytes:
        nonlocal count
        count += 1
        return match.group(1) + b'"00000000-0000-4000-8000-%012d"' % count

    return re.sub(rb'(UUID=)"[0-9a-fA-F-]{36}"', numbered, data)
