"""What an answer of the reader is worth."""

from __future__ import annotations

from typing import Any

from tests.fuzz.bases import KINDS, SLICES
from tests.fuzz.cases import Case
from tests.fuzz.pool import LIMIT_MB, LIMIT_S
from tests.fuzz.worker import MAX_SHIFT_MM

#: Verdicts that are no failure.
GOOD = ("refused", "identical", "pixel bits")

MEANING = {
    "refused": "refused with one error that says what and where",
    "identical": "accepted, every voxel at its place with its value",
    "pixel bits": "accepted; the bits flipped in uncompressed pixel data are in it, nothing else",
    "STREAM": "accepted; a damaged compressed stream decoded to other values in the planes it holds, geometry kept",
    "ALONE": "accepted with another place or value that a single multi-frame file states once: nothing to compare with",
    "HU": "accepted with other values",
    "GEOMETRY": "accepted with other places or another number of slices",
    "MESSAGE": "refused, but the message cannot be shown as it is",
    "CRASH": "an error that is no refusal, or the process died",
    "SLOW": f"more than {LIMIT_S:g} s",
    "MEMORY": f"more than {LIMIT_MB} MB",
}


def judge(case: Case, answer: dict[str, Any]) -> str:
    """One of :data:`MEANING`; capitals are failures."""
    kind = answer["kind"]
    if kind == "hung" or answer["cpu_s"] > LIMIT_S:
        return "SLOW"
    if answer["peak_mb"] > LIMIT_MB:
        return "MEMORY"
    if kind in ("crashed", "died"):
        return "CRASH"
    if kind == "refused":
        return "MESSAGE" if answer["flaw"] else "refused"
    if "shape" in answer:
        return "GEOMETRY"
    moved = answer["shift_mm"] >= MAX_SHIFT_MM
    if not moved and answer["voxels"] == 0:
        return "identical"
    if not moved and answer["voxels"] <= case.pixel_bits:
        return "pixel bits"
    if not moved and case.stream:
        return "STREAM"
    # The stated value holds for all planes at once: one frame against the others would be a failure.
    if KINDS[case.base][4] and (moved or answer["planes"] == SLICES):
        return "ALONE"
    return "GEOMETRY" if moved else "HU"
