"""Does an outlined tumour lie on its image as its file says, or would a mirrored copy fit better?

A header can be right while the voxels were flipped by a program on the way. The outline was drawn along an edge of
the image: tumour on one side, something else on the other, nearly all the way round. A mirrored copy crosses other
tissue and sees light and dark by turns. Where the image shows no such edge, nothing can be told, and that is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import permutations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray
from implantflow.volumes import Volume

#: Inside and outside are read this far from the outline, and half a voxel more: beyond a hand's error.
_STEP_MM = 2.0
#: Neighbouring pieces of outline see the same anatomy: pieces of this size count as one observation.
_PATCH_MM = 15.0
_POINTS = 4000
#: A difference of coherence counts when it is this large and this many standard errors: to rule a copy out, and
#: (more, since it stops the case) to take it for the right one.
_RULES_OUT, _REFUSES, _SURE_SE = 0.1, 0.25, 3.0
#: An outline with less coherence than this follows no edge of its image; a copy must follow one all the more before
#: the case is stopped for it: in coarsely patchy tissue the best of seven copies can reach 0.8 by chance.
_FOLLOWS, _COPY_FOLLOWS = 0.5, 0.85
_AXES = ("columns", "rows", "slices")
_UNCHANGED = "nothing changed"


@dataclass(frozen=True)
class Fit:
    """How an outline fits its image, as the file has it and as mirrored or permuted copies.

    Attributes
    ----------
    coherence : in [0, 1]: 1 when the image changes in the same sense all along the outline
    best_copy, best_copy_coherence : the copy that fits best, and its figure
    not_ruled_out : copies that the image does not tell from the file, and their Dice overlap with it
    verdict : ``as the file says``, ``mirrored or permuted`` or ``cannot be determined``
    """

    coherence: float
    best_copy: str
    best_copy_coherence: float
    not_ruled_out: Mapping[str, float]
    verdict: str

    def as_json(self) -> dict[str, Any]:
        """Keys for the stage's JSON."""
        return {
            "verdict": self.verdict,
            "coherence": self.coherence,
            "best_copy": self.best_copy,
            "best_copy_coherence": self.best_copy_coherence,
            "not_ruled_out_dice": dict(self.not_ruled_out),
            "rule": "sense of the change of intensity across the outline, averaged along it, against every mirrored "
            "and permuted copy that fits the same grid",
        }


def orientation_fit(mask: Volume, image: Volume) -> Fit:
    """Compare a mask (bool, on its file's own grid) with its mirrored and permuted copies, on ``image``."""
    index, normal = _outline(mask.array)
    patch = _patches(index * mask.spacing_mm)
    turns = dict(_copies(mask.array.shape[::-1]))
    samples = {
        name: _differences(turn(index), turn.direction(normal), mask, image) for name, turn in turns.items()
    }
    scale = _contrast(samples)
    senses = {name: _sense(difference, scale, patch) for name, difference in samples.items()}
    own = senses.pop(_UNCHANGED)
    coherence = {name: float(sense.sum()) for name, sense in senses.items()}
    best = max(coherence, key=lambda name: coherence[name])
    lead = coherence[best] - float(own.sum())
    left: list[str] = []
    if lead > max(_REFUSES, _SURE_SE * _error(senses[best] - own)) and coherence[best] > _COPY_FOLLOWS:
        verdict = "mirrored or permuted"
    else:
        follows = float(own.sum()) > _FOLLOWS
        left = [name for name, sense in senses.items() if not (follows and _rules_out(own, sense))]
        verdict = "cannot be determined" if left else "as the file says"
    overlap = {name: _dice(mask.array, turns[name]) for name in left}
    return Fit(float(own.sum()), best, coherence[best], overlap, verdict)


def _rules_out(own: FloatArray, other: FloatArray) -> bool:
    return float((own - other).sum()) > max(_RULES_OUT, _SURE_SE * _error(own - other))


def refuse_turned(mask: Volume, image: Volume, where: str) -> Fit:
    """The fit; GeometryError when a mirrored or permuted copy of the mask fits its image clearly better."""
    fit = orientation_fit(mask, image)
    if fit.verdict == "mirrored or permuted":
        raise GeometryError(
            f"the tumour mask fits its image better with {fit.best_copy}: the image changes in one sense along the "
            f"outline to {100 * fit.best_copy_coherence:.0f} % there, and to {100 * fit.coherence:.0f} % as the file "
            "has it",
            where=where,
            fix="look at mask and series together in a viewer; export the mask again, do not flip it by hand",
        )
    return fit


def doubt(name: str, fit: Mapping[str, Any]) -> list[str]:
    """A sentence for the reader where the orientation could not be told; ``fit`` as :meth:`Fit.as_json` has it."""
    left = fit["not_ruled_out_dice"]
    if not left:
        return []
    shown = "; ".join(f"{copy} (overlap {dice:.2f})" for copy, dice in sorted(left.items())[:7])
    return [
        f"outline at {name}: its image does not tell it from copies with {shown}. Only the stated side and the "
        "contact with bone speak against those: look at it"
    ]


@dataclass(frozen=True)
class _Turn:
    """A signed permutation of voxel axes (i, j, k) about the middle of a grid."""

    axes: tuple[int, ...]
    flipped: tuple[bool, ...]
    size: NDArray[np.int64]

    def __call__(self, index: FloatArray) -> FloatArray:
        turned = index[:, self.axes]
        return np.where(self.flipped, self.size - 1 - turned, turned)

    def direction(self, vector: FloatArray) -> FloatArray:
        return vector[:, self.axes] * np.where(self.flipped, -1.0, 1.0)

    @property
    def name(self) -> str:
        """What was done to the file's voxels, in words."""
        words = []
        if self.axes != (0, 1, 2):
            words.append(" and ".join(_AXES[a] for a in range(3) if self.axes[a] != a) + " exchanged")
        if any(self.flipped):
            words.append(" and ".join(_AXES[a] for a in range(3) if self.flipped[a]) + " reversed")
        return ", ".join(words) or _UNCHANGED


def _copies(size: tuple[int, ...]) -> Iterator[tuple[str, _Turn]]:
    """Every signed permutation that leaves the grid as it is; the first one changes nothing."""
    for axes in permutations(range(3)):
        if tuple(size[a] for a in axes) != tuple(size):
            continue
        for flipped in product((False, True), repeat=3):
            turn = _Turn(axes, flipped, np.array(size))
            # Two names can meet for cyclic exchanges; the axes tell them apart.
            yield (turn.name if sum(a != n for n, a in enumerate(axes)) < 3 else f"{turn.name} {axes}"), turn


def _outline(mask: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    """Points (N, 3) on the outline in voxels (i, j, k) and its outward directions in voxel axes."""
    from scipy import ndimage

    found = np.argwhere(mask)
    low = np.maximum(found.min(axis=0) - 3, 0)
    cut = mask[tuple(slice(a, b + 4) for a, b in zip(low, found.max(axis=0), strict=True))]
    edge = np.argwhere(cut & ~ndimage.binary_erosion(cut))
    smooth = ndimage.gaussian_filter(np.pad(cut, 3).astype(np.float32), 1.2)
    outward = -np.stack([g[tuple((edge + 3).T)] for g in np.gradient(smooth)], axis=1)
    length = np.linalg.norm(outward, axis=1)
    edge, outward, length = edge[length > 1e-3], outward[length > 1e-3], length[length > 1e-3]
    every = max(1, len(edge) // _POINTS)
    index = (edge + low)[::every, ::-1].astype(np.float64)
    return index, np.asarray((outward / length[:, None])[::every, ::-1], dtype=np.float64)


def _patches(places_mm: FloatArray) -> NDArray[np.int64]:
    """(N,) number of the cube that each point lies in."""
    cell = np.floor((places_mm - places_mm.min(axis=0)) / _PATCH_MM).astype(np.int64)
    return np.unique(cell, axis=0, return_inverse=True)[1].ravel()


def _differences(index: FloatArray, direction: FloatArray, mask: Volume, image: Volume) -> FloatArray:
    """(N,) intensity just inside less just outside the outline; not a number outside the image."""
    from scipy import ndimage

    # The normal of a surface in voxel axes is a covector: it goes through the inverse of the affine.
    outward = direction @ np.linalg.inv(mask.affine_lps[:3, :3])
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    voxel_mm = 1.0 / np.linalg.norm(outward @ np.linalg.inv(image.affine_lps[:3, :3]).T, axis=1)
    step = outward * (_STEP_MM + 0.5 * voxel_mm)[:, None]
    places = mask.index_to_lps(index)
    both = []
    for sign in (-1.0, 1.0):
        at = image.lps_to_index(places + sign * step)[:, ::-1]
        low = np.clip(np.floor(at.min(axis=0)).astype(int) - 3, 0, np.array(image.array.shape) - 1)
        high = np.ceil(at.max(axis=0)).astype(int) + 4
        cut = image.array[tuple(slice(a, max(b, a + 1)) for a, b in zip(low, high, strict=True))]
        smooth = ndimage.gaussian_filter(cut.astype(np.float32), 0.5)
        both.append(ndimage.map_coordinates(smooth, (at - low).T, order=1, mode="constant", cval=np.nan))
    return np.asarray(both[0] - both[1], dtype=np.float64)


def _contrast(samples: dict[str, FloatArray]) -> float:
    """Differences of this size are tissue against tissue; what is much smaller is texture and noise."""
    seen = np.abs(np.concatenate(list(samples.values())))
    seen = seen[np.isfinite(seen)]
    return 0.5 * float(np.median(seen[seen > 0])) if (seen > 0).any() else 1.0


def _sense(difference: FloatArray, scale: float, patch: NDArray[np.int64]) -> FloatArray:
    """What each patch adds to the share of one sense along the outline; the sum is that share, 0 to 1."""
    seen = np.isfinite(difference)
    sense = np.where(seen, difference / np.hypot(np.nan_to_num(difference), scale), 0.0)
    added = np.bincount(patch, sense) / len(patch)
    return np.asarray(added if added.sum() >= 0 else -added)


def _error(added: FloatArray) -> float:
    """Standard error of a sum over patches that are taken for independent."""
    return float(np.sqrt(len(added)) * added.std(ddof=1)) if len(added) > 1 else float("inf")


def _dice(mask: NDArray[np.bool_], turn: _Turn) -> float:
    """Overlap of a mask with its copy."""
    index = np.argwhere(mask)[:, ::-1]
    i, j, k = turn(index.astype(np.float64)).astype(np.int64).T
    return float(mask[k, j, i].mean())
