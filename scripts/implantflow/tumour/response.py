"""Response to treatment from sizes: RECIST 1.1 and WHO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

#: RECIST 1.1 (doi:10.1016/j.ejca.2008.10.026), target lesions: partial response, progression.
RECIST_PARTIAL_PCT = -30.0
RECIST_PROGRESS_PCT = 20.0
RECIST_PROGRESS_MM = 5.0
#: WHO 1979 (doi:10.1002/1097-0142(19810101)47:1<207::AID-CNCR2820470134>3.0.CO;2-6), product of diameters.
WHO_PARTIAL_PCT = -50.0
WHO_PROGRESS_PCT = 25.0

WEAK_SIGN = "size is a weak sign of response in osteosarcoma: necrosis and mineralised matrix do not shrink"


def change_pct(before: float, after: float) -> float:
    """Change from ``before`` to ``after`` in percent of ``before``."""
    return 100.0 * (after - before) / before


def recist(longest_mm: Sequence[float]) -> tuple[float, str]:
    """RECIST 1.1 category of one target lesion.

    Parameters
    ----------
    longest_mm : longest diameter at each time point, first one the baseline, at least two

    Returns
    -------
    change against the baseline in percent, and CR, PR, SD or PD at the last time point. Progression counts
    from the smallest earlier diameter and needs 5 mm more as well as 20 %.
    """
    last, smallest = longest_mm[-1], min(longest_mm[:-1])
    change = change_pct(longest_mm[0], last)
    grown = change_pct(smallest, last) if smallest > 0 else float("inf")
    if last == 0:
        return change, "CR"
    if grown >= RECIST_PROGRESS_PCT and last - smallest >= RECIST_PROGRESS_MM:
        return change, "PD"
    return change, "PR" if change <= RECIST_PARTIAL_PCT else "SD"


def who(products_mm2: Sequence[float]) -> tuple[float, str]:
    """WHO category, as :func:`recist`, from products of the longest diameter and its perpendicular."""
    last, smallest = products_mm2[-1], min(products_mm2[:-1])
    change = change_pct(products_mm2[0], last)
    grown = change_pct(smallest, last) if smallest > 0 else float("inf")
    if last == 0:
        return change, "CR"
    if grown >= WHO_PROGRESS_PCT:
        return change, "PD"
    return change, "PR" if change <= WHO_PARTIAL_PCT else "SD"


def response(timepoints: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Contract keys ``tumour.response`` without the flags, from measured time points in order.

    ``axes_mm`` of a time point is (longest axial diameter, its perpendicular, craniocaudal): RECIST takes the
    first, WHO the product of the first two.
    """
    if len(timepoints) < 2:
        return {
            **dict.fromkeys(("volume_change_pct", "recist_change_pct", "recist", "who_change_pct", "who")),
            "reason": "one time point only: no response can be told",
        }
    axes = [t["axes_mm"] for t in timepoints]
    recist_change, recist_category = recist([a[0] for a in axes])
    who_change, who_category = who([a[0] * a[1] for a in axes])
    volumes = [t["volume_mm3"] for t in timepoints]
    return {
        "from": timepoints[0]["name"],
        "to": timepoints[-1]["name"],
        "volume_change_pct": change_pct(volumes[0], volumes[-1]),
        "recist_change_pct": recist_change,
        "recist": recist_category,
        "who_change_pct": who_change,
        "who": who_category,
        "note": WEAK_SIGN,
    }
