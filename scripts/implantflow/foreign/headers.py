"""What NIfTI, NRRD and MetaImage headers say of frame and unit, read here: libraries guess where they are silent."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from implantflow.errors import GeometryError, InputError
from implantflow.geometry import FloatArray

#: Two statements of one file may differ by this at any voxel, mm ...
AGREE_MM = 0.02
#: ... and by this angle: quaternions in 32 bits turn by up to 0.3 mrad where they are near half a turn.
_AGREE_RAD = 5e-4

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])

#: NIfTI-1 data type -> bytes of one voxel, for the whole and real numbers that can be labels or intensities.
_VOXEL_BYTES = {2: 1, 4: 2, 8: 4, 16: 4, 64: 8, 256: 1, 512: 2, 768: 4, 1024: 8, 1280: 8}

#: Largest text header that is looked through.
_MAX_HEADER = 65_536


@dataclass(frozen=True)
class Placement:
    """Where a header puts the voxels.

    Attributes
    ----------
    affine_lps : (4, 4) or None
        Index (i, j, k) -> patient LPS mm; None where the format leaves no choice and ITK reads it right.
    unit_stated : the header says millimetres; otherwise it says nothing
    """

    affine_lps: FloatArray | None
    unit_stated: bool


def nifti(path: Path) -> Placement:
    """Placement of a NIfTI-1 file; its two statements must agree, its unit must not be another than mm.

    Raises
    ------
    InputError, GeometryError
        No NIfTI-1 file, more than three dimensions, another unit, no or contradicting orientation.
    """
    head = _first_bytes(path, 352)
    order = "<" if head[:4] == (348).to_bytes(4, "little") else ">"
    if int(np.frombuffer(head, f"{order}i4", 1)[0]) != 348 or head[344:347] not in (b"n+1", b"ni1"):
        raise InputError("not a NIfTI-1 file", where=path.name, fix="export it as .nii or .nii.gz (NIfTI-1)")
    dim = np.frombuffer(head, f"{order}i2", 8, 40)
    if dim[0] < 3 or (dim[4 : dim[0] + 1] > 1).any():
        raise InputError(
            f"{dim[0]} dimensions; one volume is read", where=path.name, fix="export one label map or volume"
        )
    _refuse_cut_short(path, head, order, dim)
    unit = head[123] & 7
    if unit not in (0, 2):
        name = {1: "metres", 3: "micrometres"}.get(unit, f"code {unit}")
        raise GeometryError(f"the unit is {name}, not mm", where=path.name, fix="export it in millimetres")
    qform, sform = (int(v) for v in np.frombuffer(head, f"{order}i2", 2, 252))
    pixdim = np.frombuffer(head, f"{order}f4", 8, 76).astype(np.float64)
    stated = []
    if sform > 0:
        rows = np.frombuffer(head, f"{order}f4", 12, 280).astype(np.float64).reshape(3, 4)
        stated.append(np.vstack([rows, [0.0, 0.0, 0.0, 1.0]]))
    if qform > 0:
        stated.append(_from_quaternion(np.frombuffer(head, f"{order}f4", 6, 256).astype(np.float64), pixdim))
    if not stated:
        raise GeometryError(
            "the file states no orientation (sform and qform codes are 0): left and right cannot be told",
            where=path.name,
            fix="export it with its orientation from the program that made it",
        )
    _refuse_unless_near(stated, dim[1:4], path)
    affine = stated[0]
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine)) < 1e-9:
        raise GeometryError("the orientation in the header is no orientation", where=path.name)
    return Placement(_RAS_TO_LPS @ affine, unit == 2)


def _refuse_cut_short(path: Path, head: bytes, order: str, dim: np.ndarray) -> None:
    """The file must hold every voxel it announces: ITK reads what is missing as zeros, without a word."""
    code = int(np.frombuffer(head, f"{order}i2", 1, 70)[0])
    offset = float(np.frombuffer(head, f"{order}f4", 1, 108)[0])
    if code not in _VOXEL_BYTES or (dim[1:4] < 1).any() or not 352 <= offset <= 2**31:
        raise InputError("the header announces no readable voxels", where=path.name, fix="export it again")
    needed = int(offset) + _VOXEL_BYTES[code] * int(np.prod(dim[1:4].astype(np.int64)))
    found = 0
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            stream = gzip.GzipFile(fileobj=raw) if packed else raw
            while found < needed and (block := stream.read(1 << 22)):
                found += len(block)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError("an image file cannot be read", where=path.name) from error
    if found < needed:
        raise InputError(
            f"the file is cut short: {found} of {needed} bytes",
            where=path.name,
            fix="copy or export it again",
        )


def _refuse_unless_near(stated: list[FloatArray], size: np.ndarray, path: Path) -> None:
    """The header's two statements, at all corners of the volume."""
    if len(stated) < 2:
        return
    ends = np.array(np.meshgrid(*[(0.0, float(n) - 1) for n in size], indexing="ij")).reshape(3, -1)
    corners = np.vstack([ends, np.ones(ends.shape[1])])
    apart = float(np.abs((stated[0] - stated[1]) @ corners).max())
    size_mm = float(np.linalg.norm((stated[0] @ corners).T[0, :3] - (stated[0] @ corners).T[-1, :3]))
    if not apart <= AGREE_MM + _AGREE_RAD * size_mm:
        raise GeometryError(
            f"the header's two orientations (sform and qform) differ by {apart:.2f} mm",
            where=path.name,
            fix="export it again; a program has changed one of them and not the other",
        )


def _from_quaternion(q: FloatArray, pixdim: FloatArray) -> FloatArray:
    """RAS affine of a qform (NIfTI-1 standard, method 2)."""
    b, c, d = q[:3]
    a = np.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d)))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    affine = np.eye(4)
    affine[:3, :3] = rotation * (pixdim[1:4] * [1.0, 1.0, -1.0 if pixdim[0] < 0 else 1.0])
    affine[:3, 3] = q[3:]
    return affine


def nrrd(path: Path) -> Placement:
    """Placement of an NRRD file: it must name its space and, if it names a unit, mm.

    Raises
    ------
    InputError, GeometryError
        No NRRD file, not three dimensions, no anatomical space, another unit.
    """
    text = _first_bytes(path, _MAX_HEADER, compressed=False).split(b"\n\n")[0].split(b"\r\n\r\n")[0]
    if not text.startswith(b"NRRD"):
        raise InputError("not an NRRD file", where=path.name)
    fields = _fields(text, b":")
    if fields.get("dimension") != "3":
        raise InputError(
            f"{fields.get('dimension', 'no')} dimensions; one volume is read",
            where=path.name,
            fix="export one label map (in 3D Slicer: a binary label map, not overlapping segments)",
        )
    space = fields.get("space", "").lower()
    known = ("left-posterior-superior", "lps", "right-anterior-superior", "ras")
    if space not in known or "space directions" not in fields:
        raise GeometryError(
            f"the file names no anatomical space ('{space[:32]}'): left and right cannot be told",
            where=path.name,
            fix="export it with space left-posterior-superior or right-anterior-superior",
        )
    units = {unit for unit in fields.get("space units", "").replace('"', " ").split() if unit}
    if units - {"mm"}:
        raise GeometryError("the unit is not mm", where=path.name, fix="export it in millimetres")
    return Placement(None, bool(units))


def metaimage(path: Path) -> Placement:
    """Placement of a MetaImage (.mha, .mhd): its matrix, offset and spacing must be there.

    Raises
    ------
    InputError, GeometryError
        No MetaImage, not three dimensions, no orientation, another unit.
    """
    fields = _fields(_first_bytes(path, _MAX_HEADER, compressed=False).split(b"ElementDataFile")[0], b"=")
    if "ndims" not in fields:
        raise InputError("not a MetaImage file", where=path.name)
    if fields["ndims"] != "3" or fields.get("elementnumberofchannels", "1") != "1":
        raise InputError("not one volume of one value a voxel", where=path.name)
    missing = [key for key in ("elementspacing",) if key not in fields]
    missing += [] if {"offset", "position", "origin"} & set(fields) else ["offset"]
    missing += [] if {"transformmatrix", "rotation", "orientation"} & set(fields) else ["transformmatrix"]
    if missing:
        raise GeometryError(
            f"the header lacks {', '.join(missing)}: left and right cannot be told",
            where=path.name,
            fix="export it with its orientation from the program that made it",
        )
    unit = fields.get("distanceunits", "mm").lower()
    if unit not in ("mm", "?"):
        raise GeometryError("the unit is not mm", where=path.name, fix="export it in millimetres")
    # ITK writes no unit; its physical space is patient LPS in mm by definition.
    return Placement(None, unit_stated=True)


def _fields(text: bytes, mark: bytes) -> dict[str, str]:
    """``key<mark>value`` lines, keys in lower case; comments and key/value pairs of NRRD (``:=``) left out."""
    found = {}
    for line in text.splitlines():
        key, seen, value = line.partition(mark)
        if seen and not line.startswith(b"#") and not value.startswith(b"="):
            found[key.decode("ascii", "replace").strip().lower()] = value.decode("ascii", "replace").strip()
    return found


def _first_bytes(path: Path, count: int, *, compressed: bool = True) -> bytes:
    try:
        with path.open("rb") as raw:
            if compressed and raw.read(2) == b"\x1f\x8b":
                raw.seek(0)
                with gzip.open(raw) as stream:
                    data = stream.read(count)
            else:
                raw.seek(0)
                data = raw.read(count)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError("an image file cannot be read", where=path.name) from error
    if len(data) < 348 and compressed:
        raise InputError("the file is cut short", where=path.name)
    return data
