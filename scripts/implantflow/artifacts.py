"""Files that stages hand to each other: hashing, canonical JSON, atomic and byte-stable writing."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from implantflow.errors import InputError

#: Snakemake touches this file in a folder output after the job has ended; it is no content.
SNAKEMAKE_STAMP = ".snakemake_timestamp"
#: Every archive member carries this date, so that the same content gives the same bytes.
FIXED_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file of any size, read in 1 MiB blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_path(path: Path) -> str:
    """Digest of a file, or of a folder as the sorted list of its relative names and file digests."""
    if path.is_file():
        return sha256_file(path)
    digest = hashlib.sha256()
    for member in sorted(p for p in path.rglob("*") if p.is_file() and p.name != SNAKEMAKE_STAMP):
        digest.update(f"{sha256_file(member)}  {member.relative_to(path).as_posix()}\n".encode())
    return digest.hexdigest()


def plain(value: Any, decimals: int = 6) -> Any:
    """Turn numpy scalars, arrays, tuples and paths into JSON types; floats rounded to ``decimals``.

    Rounding to 1e-6 keeps figures well below any tolerance while hiding the last bits, where thread order or
    another BLAS may differ (decision 7). NaN and infinity become ``None``: JSON has no such numbers, and a
    missing figure must look missing.
    """
    if isinstance(value, Mapping):
        return {str(k): plain(v, decimals) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist(), decimals)
    if isinstance(value, list | tuple):
        return [plain(v, decimals) for v in value]
    if isinstance(value, np.generic):
        return plain(value.item(), decimals)
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        rounded = round(value, decimals)
        return 0.0 if rounded == 0 else rounded
    if isinstance(value, Path):
        return value.as_posix()
    return value


def canonical_json(value: Any) -> bytes:
    """The one byte string for a JSON value: sorted keys, no spaces, UTF-8."""
    return json.dumps(
        plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` readably and byte-stably (rounded floats, given key order, final newline)."""
    text = json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with temporary(path) as tmp:
        tmp.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file; InputError names the file and line when it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError("a file that should be there is missing", where=str(path)) from error
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(
            f"not readable as JSON: {error}",
            where=str(path),
            fix="delete it and run the stage that makes it again",
        ) from error


def temporary_name(path: Path) -> Path:
    """The name a file has while it is being written: same folder, same suffixes, cannot be taken for done."""
    return path.with_name(f".tmp-{path.name}")


@contextlib.contextmanager
def temporary(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; rename on success, remove on failure.

    A half-written file can therefore never be seen under its final name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    tmp = temporary_name(path)
    remove(tmp)
    try:
        yield tmp
        replace(tmp, path)
    except BaseException:
        remove(tmp)
        raise


def replace(source: Path, target: Path) -> None:
    """Rename ``source`` to ``target``, also when the target is a folder that exists."""
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    source.replace(target)


def remove(path: Path) -> None:
    """Remove a file or folder if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_zip(path: Path, members: Mapping[str, bytes]) -> None:
    """A zip whose bytes depend on names and content only: fixed date, sorted names, fixed attributes."""
    with temporary(path) as tmp, zipfile.ZipFile(tmp, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, FIXED_ZIP_DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, members[name])


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Like numpy.savez_compressed, but with a fixed member date (numpy's own is fixed only since 2.x)."""
    import io

    members = {}
    for name, array in arrays.items():
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
        members[f"{name}.npy"] = buffer.getvalue()
    write_zip(path, members)


_STL_DTYPE = np.dtype([("normal", "<f4", 3), ("vertices", "<f4", (3, 3)), ("attribute", "<u2")])


#: 3D Slicer reads this from the header of STL and the comments of PLY files.
SLICER_LPS = "SPACE=LPS"


def write_stl(path: Path, vertices: ArrayLike, faces: ArrayLike, title: str) -> None:
    """Binary STL in mm.

    Parameters
    ----------
    vertices : (N, 3) float array, mm, in the frame that ``title`` names.
    faces : (M, 3) int array, counter-clockwise seen from outside.
    title : header text, at most 79 characters; must not begin with "solid" (readers would expect ASCII). One that
        says "patient LPS" gets the mark by which 3D Slicer knows the frame of a mesh.
    """
    v = np.asarray(vertices, dtype=np.float32)
    f = np.asarray(faces, dtype=np.int64)
    triangles = v[f]
    record = np.zeros(len(f), dtype=_STL_DTYPE)
    record["vertices"] = triangles
    normal = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    record["normal"] = np.divide(normal, length, out=np.zeros_like(normal), where=length > 0)
    mark = SLICER_LPS if "patient LPS" in title else ""
    header = (title[: 78 - len(mark)] + " " + mark).encode("ascii", "replace").ljust(80, b" ")
    with temporary(path) as tmp, tmp.open("wb") as handle:
        handle.write(header)
        handle.write(np.uint32(len(f)).tobytes())
        record.tofile(handle)
        handle.flush()
        os.fsync(handle.fileno())


def read_corners(path: Path) -> NDArray[np.float32]:
    """Corners of the triangles of a binary STL, (3 * triangles, 3) float32 in mm, not yet welded.

    Raises
    ------
    InputError
        The file is truncated, ASCII, or has coordinates that are not finite.
    """
    data = path.read_bytes()
    count = int.from_bytes(data[80:84], "little") if len(data) >= 84 else -1
    if count < 0 or len(data) != 84 + 50 * count:
        held = f"{len(data)} bytes" + (f" for {count} triangles" if count >= 0 else "")
        raise InputError(
            f"not a complete binary STL: {held}",
            where=str(path),
            fix="export it again as binary STL in millimetres",
        )
    soup = np.frombuffer(data, dtype=_STL_DTYPE, offset=84)["vertices"].reshape(-1, 3)
    if not np.isfinite(soup).all():
        raise InputError("an STL vertex is not a finite number", where=str(path))
    return soup + np.float32(0.0)  # -0.0 and 0.0 are one place


def read_stl(path: Path) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Read a binary STL and weld exactly equal vertices.

    Returns
    -------
    vertices : (N, 3) float32, mm, ordered by first appearance.
    faces : (M, 3) int64, in file order (so triangle indices stay valid).

    Raises
    ------
    InputError
        The file is truncated, ASCII, or has coordinates that are not finite.
    """
    soup = read_corners(path)
    keys = np.ascontiguousarray(soup).view(np.uint32).reshape(-1, 3)
    # Sorting three integer columns is many times faster than np.unique on rows.
    by_place = np.lexsort(keys.T)
    placed = keys[by_place]
    begins = np.ones(len(placed), dtype=bool)
    begins[1:] = (placed[1:] != placed[:-1]).any(1)
    inverse = np.empty(len(placed), dtype=np.int64)
    inverse[by_place] = np.cumsum(begins) - 1
    first = np.minimum.reduceat(by_place, np.flatnonzero(begins)) if len(placed) else by_place
    order = np.argsort(first, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return soup[first[order]].copy(), rank[inverse].reshape(-1, 3)
