"""Is there a gap of soft tissue between a patch of the implant and bone, how wide, and from where on would it show?

Two families of profiles are laid against each patch: bone from the metal to the host (of any density that is still
bone), and soft tissue of some width with bone behind it. A patch is called lucent only when no profile of the first
family explains what is seen; the width is that of the best of the second. The smallest width that this test would
find is the detection limit of the patch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implantflow.followup.bloom import Doubt
from implantflow.followup.departure import departures
from implantflow.followup.profile import STEPS_MM, Profiles
from implantflow.geometry import FloatArray

WIDTHS_MM = np.arange(0.0, 5.01, 0.1)
_LEVELS = 7
#: One-sided 95 % point of the normal distribution: a gap of the detection limit is called in 95 of 100 cases.
_FOUND_Z = 1.645
#: Densest bone that may fill a gap, HU (cortical).
_DENSEST_HU = 1300.0
#: Bone that has changed beside the implant may reach this far, mm; it may be much denser, but thinner only to this
#: share: bone that is thinner still is what a gap looks like, and is read as one.
_REMODELLED_MM, _THINNED = (1.5, 3.0), 0.8
#: What the width of a gap at the limit may be off by, mm: added to the limit that is stated, not to the one used.
_WIDTH_ERROR_MM = 0.3
#: Parameters that a best model is free in, and the range in which the face's own misfit is believed: what is wrong
#: is alike over a whole face and fits a gap as well as bone, so that a small misfit proves nothing.
_FREE, _MISFIT = 3, (1.0, 10.0)
#: Just beyond the bloom of the metal, mm: where less than half of the host's excess over soft tissue is left, a patch
#: is not called bone, whatever fits best.
_BESIDE_MM, _HALF = (0.9, 2.5), 0.5
#: A profile with fewer known steps is not read.
_MIN_STEPS = 8


@dataclass(frozen=True)
class Host:
    """The bone opposite each patch.

    Attributes
    ----------
    gap_mm : (P,) way from the face as found to the bone's surface as planned; NaN: none opposite.
    level_hu : (P, S) HU that bone continuing up to the metal would have.
    """

    gap_mm: FloatArray
    level_hu: FloatArray


@dataclass(frozen=True)
class Reading:
    """What each patch shows, (P,) arrays.

    Attributes
    ----------
    width_mm : width of the gap of soft tissue that fits best, 0 where a gap is not needed.
    at_least_mm : smallest width that fits nearly as well (one that is thinner is excluded as surely as bone is).
    evidence : by how much chi-square falls when a gap is allowed.
    limit_mm : smallest width that would have been seen; NaN where none of 5 mm or less would.
    fill_hu : HU of the bone that fills the way to the host in the best fit without a gap.
    lucent : 1.0 where a gap is needed to explain the profile.
    bone_seen : 1.0 where soft tissue all the way to the host is excluded as surely as a gap must be shown, and what
        is there instead has the HU of bone.
    misfit : chi-square per degree of freedom of the patches' best models, before they were scaled by it.
    """

    width_mm: FloatArray
    evidence: FloatArray
    limit_mm: FloatArray
    fill_hu: FloatArray
    lucent: FloatArray
    bone_seen: FloatArray
    at_least_mm: FloatArray
    misfit: float

    def readable(self, limit_max_mm: float) -> NDArray[np.bool_]:
        """(P,) patches that say something: a gap or bone is shown, or a gap of ``limit_max_mm`` would have been."""
        with np.errstate(invalid="ignore"):
            shown = (self.lucent == 1.0) | (self.bone_seen == 1.0)
            return np.asarray(shown | ((self.lucent == 0.0) & (self.limit_mm <= limit_max_mm)))


def host_level(before: FloatArray, gap_mm: FloatArray, sigma_mm: FloatArray, sawn: bool) -> FloatArray:
    """(P, S) HU of the host as if it reached the metal.

    At a sawn face the planning CT shows the bone that was there; at a joint the bone's edge is blurred in it, so the
    level a little inside the bone is continued outward.
    """
    if sawn:
        return before
    start = np.where(np.isfinite(gap_mm), np.maximum(gap_mm, 0.0), 0.0) + 1.2 * sigma_mm
    out = before.copy()
    for patch, first in enumerate(start):
        inner = (first <= STEPS_MM) & (first + 1.0 >= STEPS_MM)
        if inner.any():
            out[patch, first > STEPS_MM] = before[patch, inner].mean()
    return out


@dataclass(frozen=True)
class Models:
    """Tissue profiles of one patch, and what each stands for.

    Attributes
    ----------
    profiles : (W, F, S) HU: soft tissue to a width, then fill, then the host.
    fills : (F, 2) HU of the fill and how far it reaches, mm.
    """

    profiles: FloatArray
    fills: FloatArray


def expected(
    host: FloatArray, gap_mm: float, sigma_mm: float, widths: FloatArray, fill_hu: FloatArray, soft_hu: float
) -> Models:
    """Profiles of a patch: soft tissue to ``widths``, then bone of ``fill_hu``, then the host as it was.

    The fill reaches to the host's surface, or further where bone beside an implant has become denser or thinner
    than it was (remodelling).

    Parameters
    ----------
    host : (S,) HU of the host as if it reached the metal. gap_mm : where the host begins.
    widths : (W,) mm. fill_hu : (L,) HU.
    """
    from scipy.special import ndtr

    first = max(gap_mm, 0.0)
    little = _THINNED * float(np.nanmean(host[STEPS_MM <= 2.0]))
    fills = [(hu, first) for hu in fill_hu]
    fills += [(hu, reach) for reach in _REMODELLED_MM if reach > first for hu in fill_hu if hu >= little]
    fill = np.array(fills)
    steps, width = STEPS_MM[None, None], widths[:, None, None]
    end = np.maximum(width, fill[None, :, 1:])
    whole = ndtr(steps / sigma_mm)
    beyond_width, beyond_end = ndtr((steps - width) / sigma_mm), ndtr((steps - end) / sigma_mm)
    profiles = (
        soft_hu * (whole - beyond_width)
        + fill[None, :, :1] * (beyond_width - beyond_end)
        + host[None, None] * beyond_end
    )
    # What the point spread takes from the metal's side was taken off with the metal.
    return Models(np.asarray(profiles / np.maximum(whole, 0.5)), fill)


def read_patches(
    now: Profiles,
    host: Host,
    base: Profiles | None,
    base_host: Host | None,
    doubt: Doubt,
    moved_mm: float,
    soft_hu: float,
    bone_hu: float,
    evidence_min: float,
) -> Reading:
    """Read every patch.

    Parameters
    ----------
    now, host : the scan and the bone opposite.
    base, base_host : the same of the baseline, where nothing had grown or resorbed yet and soft tissue (blood,
        fluid) filled the gap; None: the scan is read alone.
    doubt : of the scan, or of the difference to the baseline.
    moved_mm : how far the implant has moved in the bone since the baseline; not asked for where the scan is read alone.
    soft_hu : HU of the soft tissue in a gap. bone_hu : least HU that counts as bone.
    evidence_min : chi-square by which a gap must be better than bone.
    """
    seen, shading = now.tissue, None
    if base is not None and base_host is not None:
        before = [_before(base, base_host, patch, soft_hu) for patch in range(len(seen))]
        shading = base.tissue - np.array(before)
        seen = seen - shading
    opposite = np.where(np.isfinite(host.gap_mm)[:, None], host.level_hu, np.nan)
    covariance = departures(doubt.covariance, seen, opposite, now.metal_hu, shading, moved_mm)
    judged: list[_Judged | None] = [None] * len(seen)
    for patch, profile in enumerate(seen):
        gap, level = float(host.gap_mm[patch]), host.level_hu[patch]
        use = np.isfinite(profile) & np.isfinite(level)
        if not np.isfinite(gap) or use.sum() < _MIN_STEPS:
            continue
        near = float(np.nanmean(level[STEPS_MM <= 2.0]))
        least = min(bone_hu, soft_hu + 0.5 * max(near - soft_hu, 0.0))
        fill_hu = np.unique(np.append(np.linspace(least, max(_DENSEST_HU, near), _LEVELS), max(near, least)))
        models = expected(level, gap, float(now.sigma_mm[patch]), WIDTHS_MM, fill_hu, soft_hu)
        white = _whitening(covariance[patch][np.ix_(use, use)])
        cut = Models(models.profiles[:, :, use] @ white.T, models.fills)
        hollow = _is_hollow(profile, level, soft_hu)
        judged[patch] = _judge(white @ profile[use], cut, max(near, least), gap, hollow)
    return _verdicts(judged, bone_hu, evidence_min)


def _is_hollow(profile: FloatArray, level: FloatArray, soft_hu: float) -> bool:
    """True where the tissue next to the metal has the HU of soft tissue though bone was planned there."""
    low, high = _BESIDE_MM
    known = np.isfinite(profile) & np.isfinite(level)
    beside = (low <= STEPS_MM) & (high >= STEPS_MM) & known
    planned = float((level[beside] - soft_hu).sum())
    return planned > 0.0 and float((profile[beside] - soft_hu).sum()) < _HALF * planned


def _whitening(covariance: FloatArray) -> FloatArray:
    """(S, S) matrix that turns departures of ``covariance`` into independent ones of unit size."""
    return np.asarray(np.linalg.inv(np.linalg.cholesky(covariance)))


def _before(base: Profiles, host: Host, patch: int, soft_hu: float) -> FloatArray:
    """(S,) what the baseline must have shown: soft tissue up to the host, the host as planned beyond."""
    gap = float(host.gap_mm[patch])
    if not np.isfinite(gap):
        return np.full(len(STEPS_MM), np.nan)
    width = np.array([max(gap, 0.0)])
    sigma = float(base.sigma_mm[patch])
    models = expected(host.level_hu[patch], gap, sigma, width, np.array([soft_hu]), soft_hu)
    return np.asarray(models.profiles[0, 0])


@dataclass(frozen=True)
class _Judged:
    """Chi-squares of one patch: ``fused`` and ``best`` of all, per degree of freedom ``typical``, ``whole`` of soft
    tissue up to the host, ``by_width`` (W,) of the best with each width, and ``hidden`` (W,) by which gaps of each
    width would show. ``hollow``: no bone is seen beside the metal, so that without a gap that fits the patch says
    nothing.
    """

    width_mm: float
    fill_hu: float
    fused: float
    best: float
    typical: float
    whole: float
    by_width: FloatArray
    hidden: FloatArray
    hollow: bool


def _judge(seen: FloatArray, models: Models, near_hu: float, gap_mm: float, hollow: bool) -> _Judged:
    """Lay all models of one patch against what is seen, both whitened."""
    chi = _chi(seen, models.profiles)
    best = np.unravel_index(int(np.argmin(chi)), chi.shape)
    # The gap that is hardest to tell from bone: bone as before behind it.
    typical = int(np.argmin(np.abs(models.fills[:, 0] - near_hu)))
    hidden = np.array([_chi(gap, models.profiles[0]).min() for gap in models.profiles[:, typical]])
    whole = max(gap_mm, WIDTHS_MM[1]) <= WIDTHS_MM
    return _Judged(
        float(WIDTHS_MM[best[0]]),
        float(models.fills[int(np.argmin(chi[0])), 0]),
        float(chi[0].min()),
        float(chi.min()),
        float(chi.min()) / max(len(seen) - _FREE, 1),
        float(chi[whole].min()) if whole.any() else np.inf,
        chi.min(axis=1),
        hidden,
        hollow,
    )


def _verdicts(judged: list[_Judged | None], bone_hu: float, evidence_min: float) -> Reading:
    """Readings with chi-squares in units of what the patches of this face are missed by even by their best model.

    The doubt learnt elsewhere on the implant may be too small here; the face's own misfit corrects it.
    """
    found = np.full((7, len(judged)), np.nan)
    misfits = [one.typical for one in judged if one is not None]
    typical = float(np.clip(np.median(misfits), *_MISFIT)) if misfits else 1.0
    for patch, one in enumerate(judged):
        if one is None:
            continue
        # A patch that even its best model misses by more than is usual here is trusted less.
        unit = max(typical, one.typical)
        evidence = (one.fused - one.best) / unit
        shown = np.flatnonzero(one.hidden / unit >= (np.sqrt(evidence_min) + _FOUND_Z) ** 2)
        least = float(WIDTHS_MM[shown[0]]) if len(shown) else np.nan
        # A width below the limit is no finding: the limit says that it cannot be told from contact.
        lucent = evidence >= evidence_min and one.width_mm >= least
        if lucent != one.hollow and (one.hollow or one.width_mm >= _BESIDE_MM[1]):
            # No gap fits and no bone is seen, or a wide gap fits and bone is seen in it: it cannot be told, and must
            # count neither as contact nor as a gap.
            found[1:4, patch] = evidence, np.nan, one.fill_hu
            continue
        found[:, patch] = (
            one.width_mm if lucent else 0.0,
            evidence,
            least + _WIDTH_ERROR_MM,
            one.fill_hu,
            lucent,
            not lucent and one.fill_hu >= bone_hu and (one.whole - one.fused) / unit >= evidence_min,
            WIDTHS_MM[np.argmax((one.by_width - one.best) / unit < evidence_min)] if lucent else 0.0,
        )
    width, chi_square, limit, fill, gap, bone, at_least = found
    return Reading(width, chi_square, limit, fill, gap, bone, at_least, typical)


def _chi(seen: FloatArray, models: FloatArray) -> FloatArray:
    rest = seen - models
    return np.asarray(np.einsum("...s,...s->...", rest, rest))
