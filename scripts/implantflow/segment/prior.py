"""Shape priors: a statistical model of atlas surfaces, or one template with generic ways to bend."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError, InputError
from implantflow.geometry import FloatArray
from implantflow.segment.mesh import IntArray, close_holes, largest_body, volume_mm3

#: Order in which the bones are stacked; a prior has the first three at least.
BONES = ("hip_left", "hip_right", "sacrum", "l5")
#: Fewest atlas members that make a statistical model.
MIN_MEMBERS = 5


@dataclass(frozen=True)
class ShapePrior:
    """Expected shape of the bones, stacked as one set of vertices, and how it may vary.

    Attributes
    ----------
    kind : ``atlas`` or ``template``.
    names : bones present, in the order of BONES.
    mean : (N, 3) mm, patient LPS axes, centred on its own mean.
    modes : (Q, N, 3) displacements in mm at one standard deviation, most general first.
    faces : per bone (M, 3) into the stacked vertices, closed, turned outward.
    bone : (N,) index into ``names``.
    landmarks : points of the same space as ``mean``.
    covers_apex : whether the sacrum goes down to its apex (the atlas ends below S3).
    members : how many shapes it was made of.
    """

    kind: str
    names: tuple[str, ...]
    mean: FloatArray
    modes: FloatArray
    faces: tuple[IntArray, ...]
    bone: NDArray[np.int64]
    covers_apex: bool
    members: int
    landmarks: Mapping[str, FloatArray] = field(default_factory=dict)

    @property
    def all_faces(self) -> IntArray:
        """Faces of all bones (M, 3)."""
        return np.concatenate(self.faces)

    def index(self, name: str) -> int:
        """Position of a bone in ``names``."""
        return self.names.index(name)


def similarity(
    source: FloatArray, target: FloatArray, *, scale: bool = True
) -> tuple[float, FloatArray, FloatArray]:
    """Best scale c, rotation R and shift t with target ~ c R source + t for (N, 3) points (Umeyama 1991).

    Results are rounded to 1e-9 so that the order of summation inside a linear algebra library cannot show.
    """
    a, b = source.mean(axis=0), target.mean(axis=0)
    s0, d0 = source - a, target - b
    cross = np.round(np.einsum("ni,nj->ij", d0, s0) / len(source), 9)
    u, w, vt = np.linalg.svd(cross)
    sign = np.diag([1.0, 1.0, float(np.sign(np.linalg.det(u @ vt)))])
    rotation = np.round(u @ sign @ vt, 9)
    c = (
        float(np.round((w * np.diag(sign)).sum() * len(source) / np.einsum("ni,ni->", s0, s0), 9))
        if scale
        else 1.0
    )
    return c, rotation, np.round(b - c * rotation @ a, 9)


def read_atlas_surface(path: Path) -> tuple[FloatArray, IntArray]:
    """Vertices (N, 3) and triangles (M, 3) of a legacy ASCII VTK polydata file of triangles.

    Raises
    ------
    InputError
        Not ASCII polydata, polygons other than triangles, or fewer numbers than announced.
    """
    try:
        text = path.read_text(encoding="ascii")
        _, before, rest = text.partition("\nPOINTS ")
        _, after, cells_text = rest.partition("\nPOLYGONS ")
        if not (before and after):
            raise ValueError("no POINTS and POLYGONS")
        points = _numbers(rest, np.float64, 3)
        cells = _numbers(cells_text, np.int64, 4)
    except (OSError, ValueError, IndexError, DeprecationWarning) as error:
        raise InputError(
            f"not an ASCII VTK polydata surface of triangles: {error}",
            where=str(path),
            fix="the folder must hold the files of the pelvis atlas as published",
        ) from error
    if (cells[:, 0] != 3).any() or not np.isfinite(points).all() or cells[:, 1:].max() >= len(points):
        raise InputError("an atlas surface holds other cells than triangles or bad numbers", where=str(path))
    return points, cells[:, 1:].copy()


def _numbers(text: str, kind: type, columns: int) -> NDArray[Any]:
    """Rows announced by the first word of a section, read from the line after it."""
    head, _, body = text.partition("\n")
    rows = int(head.split()[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # numpy only warns of what is not a number
        return np.fromstring(body, dtype=kind, count=rows * columns, sep=" ").reshape(rows, columns)


_ATLAS_NAMES = {"LeftHip": "hip_left", "RightHip": "hip_right", "Sacrum": "sacrum"}


def _members(files: Sequence[Path]) -> dict[str, dict[str, Path]]:
    members: dict[str, dict[str, Path]] = {}
    for path in sorted(files):
        for prefix, bone in _ATLAS_NAMES.items():
            if path.name.startswith(prefix) and path.suffix == ".vtk":
                members.setdefault(path.name.removeprefix(prefix).removesuffix(".vtk"), {})[bone] = path
    complete = {k: v for k, v in members.items() if len(v) == 3}
    if len(complete) < MIN_MEMBERS:
        raise InputError(
            f"{len(complete)} complete members (LeftHip, RightHip and Sacrum of one number) in the atlas; "
            f"at least {MIN_MEMBERS} are needed",
            where=str(files[0].parent.parent) if files else "no files",
            fix="point segment.prior.path at the folder that holds the atlas surfaces",
        )
    return complete


def read_atlas(files: Sequence[Path]) -> ShapePrior:
    """Statistical shape model of three bones from corresponding surfaces.

    Members are aligned rigidly (size stays in the modes), averaged four times over, and decomposed by the
    eigenvectors of their Gram matrix.

    Parameters
    ----------
    files : paths of LeftHip*.vtk, RightHip*.vtk and Sacrum*.vtk, 5,000 corresponding vertices each.
    """
    stacks, faces, counts = [], [], []
    for position, (_, parts) in enumerate(sorted(_members(files).items())):
        surfaces = [read_atlas_surface(parts[bone]) for bone in BONES[:3]]
        if position == 0:
            counts = [len(v) for v, _ in surfaces]
            faces = [f for _, f in surfaces]
        if [len(v) for v, _ in surfaces] != counts:
            raise InputError("atlas members differ in their number of vertices", where=str(parts["sacrum"]))
        stacks.append(np.concatenate([v for v, _ in surfaces]))
    shapes = np.stack(stacks)
    mean = shapes[0] - shapes[0].mean(axis=0)
    aligned = shapes
    for _ in range(4):
        moved = []
        for shape in shapes:
            _, rotation, shift = similarity(shape, mean, scale=False)
            moved.append(shape @ rotation.T + shift)
        aligned = np.round(np.stack(moved), 6)
        mean = aligned.mean(axis=0)
    difference = (aligned - mean).reshape(len(aligned), -1)
    gram = np.round(np.einsum("an,bn->ab", difference, difference), 3)
    values, vectors = np.linalg.eigh(gram)
    keep = np.argsort(values)[::-1][: len(aligned) - 1]
    vectors = np.round(vectors[:, keep], 9)
    vectors *= np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(len(keep))])
    modes = np.einsum("aq,an->qn", vectors / np.sqrt(len(aligned) - 1), difference)
    modes = modes.reshape(len(keep), -1, 3)
    return _assemble("atlas", BONES[:3], mean, modes, faces, counts, len(aligned))


def _assemble(
    kind: str,
    names: tuple[str, ...],
    mean: FloatArray,
    modes: FloatArray,
    faces: Sequence[IntArray],
    counts: Sequence[int],
    members: int,
    landmarks: Mapping[str, FloatArray] | None = None,
    covers_apex: bool = False,
) -> ShapePrior:
    """Clean the meshes, keep only vertices that a face uses, and check sides."""
    offset, closed = 0, []
    for count, own in zip(counts, faces, strict=True):
        mesh = close_holes(largest_body(own, count)) + offset
        closed.append(mesh if volume_mm3(mean, mesh) > 0 else mesh[:, ::-1].copy())
        offset += count
    bone = np.repeat(np.arange(len(names)), counts)
    used = np.zeros(len(mean), dtype=bool)
    used[np.concatenate(closed)] = True
    renumber = np.cumsum(used) - 1
    prior = ShapePrior(
        kind=kind,
        names=names,
        mean=mean[used],
        modes=modes[:, used],
        faces=tuple(renumber[f] for f in closed),
        bone=bone[used],
        covers_apex=covers_apex,
        members=members,
        landmarks=dict(landmarks or {}),
    )
    _check_sides(prior)
    return prior


def _check_sides(prior: ShapePrior) -> None:
    left, right, middle = (float(prior.mean[prior.bone == n, 0].mean()) for n in range(3))
    if not left > middle > right:
        raise GeometryError(
            f"the prior is mirrored: left hip at x {left:.0f} mm, sacrum {middle:.0f}, right hip {right:.0f}; "
            "in patient LPS the left hip has the larger x",
            where=f"prior '{prior.kind}'",
            fix="use surfaces in patient LPS (x to the patient's left)",
        )
    sacrum, hips = prior.mean[prior.bone == 2], prior.mean[prior.bone < 2]
    if sacrum[:, 1].mean() < hips[:, 1].mean():
        raise GeometryError(
            "the prior is turned front to back: its sacrum lies in front of the hips",
            where=f"prior '{prior.kind}'",
            fix="use surfaces in patient LPS (y to the back)",
        )


def read_template(path: Path) -> ShapePrior:
    """One shape made by the project (``make_template``), which may bend in generic ways.

    The file holds ``<bone>_vertices`` (N, 3) patient LPS mm and ``<bone>_faces`` (M, 3) per bone, and
    ``landmark_names`` (L,) with ``landmarks_lps_mm`` (L, 3).
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            names = tuple(n for n in BONES if f"{n}_vertices" in data.files)
            vertices = [np.asarray(data[f"{n}_vertices"], dtype=np.float64) for n in names]
            faces = [np.asarray(data[f"{n}_faces"], dtype=np.int64) for n in names]
            points = np.asarray(data["landmarks_lps_mm"], dtype=np.float64)
            labels = [str(n) for n in data["landmark_names"]]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"not a template of the project: {error}",
            where=str(path),
            fix="make it again (rule make_template)",
        ) from error
    if names[:3] != BONES[:3]:
        raise InputError(f"the template lacks a bone: it has {names}", where=str(path))
    shape = np.concatenate(vertices)
    centre = shape.mean(axis=0)
    mean = shape - centre
    counts = [len(v) for v in vertices]
    bone = np.repeat(np.arange(len(names)), counts)
    landmarks = {name: point - centre for name, point in zip(labels, points, strict=True)}
    modes = generic_modes(mean, bone)
    return _assemble("template", names, mean, modes, faces, counts, 1, landmarks, covers_apex=True)


def generic_modes(mean: FloatArray, bone: NDArray[np.int64]) -> FloatArray:
    """Ways in which one shape is allowed to differ from a patient, as modes at one standard deviation.

    First the whole pelvis stretches (6 %) and shears (4 %), then each bone moves (5 mm), turns (4 degrees)
    and stretches (6 %) by itself and bends in the sagittal plane (4 mm at its ends). The figures are round
    guesses at the spread of adult pelves: they set how willingly the fit bends, not where it ends, which the
    free-form step decides.
    """
    whole = [_linear(mean, row, column, 0.06 if row == column else 0.04) for row, column in _WHOLE]
    own = []
    for n in range(int(bone.max()) + 1):
        mask = (bone == n)[:, None]
        local = np.where(mask, mean - mean[bone == n].mean(axis=0), 0.0)
        turn = float(np.radians(4.0))
        own += [np.where(mask, 5.0 * axis, 0.0) for axis in np.eye(3)]
        own += [_linear(local, a, b, turn) - _linear(local, b, a, turn) for a, b in ((0, 1), (0, 2), (1, 2))]
        own += [_linear(local, a, a, 0.06) for a in range(3)]
        bend = np.zeros_like(mean)
        relative = local[:, 2] / np.abs(local[:, 2]).max()
        bend[:, 1] = np.where(bone == n, 4.0 * (relative**2 - (relative[bone == n] ** 2).mean()), 0.0)
        own.append(bend)
    return np.stack(whole + own)


_WHOLE = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))


def _linear(points: FloatArray, row: int, column: int, size: float) -> FloatArray:
    out = np.zeros_like(points)
    out[:, row] = size * points[:, column]
    return out
