"""How far what is read beside this implant can be trusted, learnt where no bone was ever planned to touch it.

What is left beside the free surface once the metal's brightness is taken off should be soft tissue and nothing else.
How it departs from that (noise, streaks, errors of the metal model, change of soft tissue) is what the same reading
must expect at a face.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implantflow.followup.profile import STEPS_MM, Profiles
from implantflow.geometry import FloatArray

#: Outer steps, where bloom has ended: a patch whose surroundings are not soft tissue there is no reference.
_FAR = STEPS_MM >= 3.5
_SOFT_HU = 250.0
_FLAT_HU = 150.0
_METAL_FREE = 0.004
#: References are few beside dense metal: fewer patches than this and all kinds are pooled.
_MIN_PATCHES = 20
_KEPT = 0.95
_FLOOR_HU = 4.0
_SHRINK = 0.1


@dataclass(frozen=True)
class Doubt:
    """Expected departures of a profile from tissue alone.

    Attributes
    ----------
    covariance : (S, S) HU2, second moments about zero: what always departs the same way counts as doubt too.
    patches : number of patches it was learnt from.
    kind : "dense", "porous" or "dense and porous".
    """

    covariance: FloatArray
    patches: int
    kind: str


def usable(now: Profiles, far_from_bone: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(P,) patches beside which there is soft tissue only, as far as the profile goes."""
    with np.errstate(invalid="ignore"):
        outer = now.tissue[:, _FAR]
        soft = (np.abs(outer) < _SOFT_HU).all(axis=1) & (np.ptp(outer, axis=1) < _FLAT_HU)
        alone = (now.metal[:, _FAR] < _METAL_FREE).all(axis=1)
    return np.asarray(soft & alone & far_from_bone)


def learn(
    now: Profiles, base: Profiles | None, good: NDArray[np.bool_], dense: NDArray[np.bool_], want_dense: bool
) -> Doubt | None:
    """Doubt beside dense or porous walls from the patches ``good`` (P,); None where there is nothing to learn from.

    With ``base`` it is the doubt of the difference to the baseline scan, in which all that repeats is gone.
    """
    rest, was_bone = now.tissue - _level(now), np.maximum(now.before, 0.0)
    if base is not None:
        rest = rest - (base.tissue - _level(base))
        was_bone = was_bone - np.maximum(base.before, 0.0)
    rest = _without_rim(rest, was_bone, good)
    chosen = good & (dense if want_dense else ~dense)
    kind = "dense" if want_dense else "porous"
    if chosen.sum() < _MIN_PATCHES:
        chosen, kind = good, "dense and porous"
    if chosen.sum() < _MIN_PATCHES:
        return None
    part = rest[chosen]
    known = np.isfinite(part)
    part = np.where(known, part, 0.0)
    part, known = part[_typical(part)], known[_typical(part)]
    pairs = np.einsum("ps,pt->st", known.astype(np.float64), known.astype(np.float64))
    moments = np.einsum("ps,pt->st", part, part) / np.maximum(pairs, 1.0)
    # A step that metal nearly always hides has no figure of its own: it is given no weight.
    hidden = np.diag(pairs) < _MIN_PATCHES
    moments[hidden, :] = moments[:, hidden] = 0.0
    moments[hidden, hidden] = 1e6
    diagonal = np.diag(np.diag(moments))
    covariance = (1.0 - _SHRINK) * moments + _SHRINK * diagonal + _FLOOR_HU**2 * np.eye(len(moments))
    return Doubt(_positive(covariance), int(chosen.sum()), kind)


def _without_rim(rest: FloatArray, was_bone: FloatArray, good: NDArray[np.bool_]) -> FloatArray:
    """(P, S) ``rest`` less the share of the bone that lay there before the operation and was not quite removed.

    A rim of the resected bone's edge beside a free surface is no fault of the metal's; how much of it there is shows
    in how the profiles follow the planning CT.
    """
    known = good[:, None] & np.isfinite(rest) & np.isfinite(was_bone)
    x, y = was_bone[known], rest[known]
    share = float(np.clip((x * y).sum() / max((x * x).sum(), 1e-9), 0.0, 1.0))
    return rest - share * was_bone


def _level(profiles: Profiles) -> FloatArray:
    """(P, 1) HU of the soft tissue beside each patch, as it is further out."""
    with np.errstate(invalid="ignore"):
        return np.asarray(profiles.tissue[:, _FAR].mean(axis=1, keepdims=True))


def _typical(rest: FloatArray) -> NDArray[np.bool_]:
    """(P,) all but the few patches that depart the most (a vessel, a wire)."""
    size = np.sqrt(np.mean(rest**2, axis=1))
    return np.asarray(size <= np.quantile(size, _KEPT))


def _positive(covariance: FloatArray) -> FloatArray:
    """The nearest matrix without negative variances (moments of unequal patches need not be one)."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.maximum(values, _FLOOR_HU**2)) @ vectors.T)
