"""The figures of a fuzzing run as a Markdown page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.fuzz.pool import LIMIT_MB
from tests.fuzz.verdict import GOOD, MEANING

_HEAD = """# Fuzzing the reader

Made by `python -m tests.fuzz.ingest --count {count} --table docs/validation/fuzz.md`; do not edit. Each folder is a
small good series (single- and multi-frame CT, MR; native, big endian, deflated, RLE, JPEG 2000, JPEG-LS) with one to
three of the damages below, most of them in its first or last file, or in the folder. The reader runs in a process of
its own with {limit} MB of address space beside its libraries; only folders that meet this limit are read again with
more, to see what they really take. State of the reader: `{digest}`.
"""

_LIMITS = """
## What no reader can see

- **STREAM**: a bit that flips inside a compressed stream often gives another valid stream (in RLE it is a pixel as it
  stands, in JPEG-LS and JPEG 2000 a few coded bits). DICOM has no checksum for it. Only values of the frame that was
  hit change, never a place. Uncompressed pixels ("pixel bits") are the same case.
- **ALONE**: what a multi-frame file states once for all frames (pixel spacing, stored bits, padding) has nothing to be
  compared with. In a series of single files the same damage is refused: its neighbours contradict it, as do the other
  frames where each frame states its own. A reconstruction diameter that repeats the spacing is wrong
  too often in good scans to refuse by: where the two differ, the manifest and the report say so ("DOUBT").
- A first or last file that is gone, or that two damages have made into something else. Where the header counts the
  images of the acquisition, or the first one is not number 1, the manifest says so too.
"""


def write_table(path: Path, records: Sequence[dict[str, Any]], digest: str) -> None:
    """Write verdicts by damage, by kind of series, times and memory, and the seeds of what failed."""
    verdicts = [v for v in MEANING if any(r["verdict"] == v for r in records)]
    parts = [_HEAD.format(count=len(records), digest=digest[:16], limit=LIMIT_MB), _summary(records)]
    damages = sorted({d for r in records for d in r["damages"]})
    by_damage = [(d, [r for r in records if d in r["damages"]]) for d in damages]
    parts.append("\n## By damage\n\n" + _counts("damage", by_damage, verdicts))
    kinds = sorted({r["base"] for r in records})
    by_kind = [(k, [r for r in records if r["base"] == k]) for k in kinds]
    parts.append("\n## By kind of series\n\n" + _counts("series", by_kind, verdicts))
    parts += [_LIMITS, _failures(records)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(parts), encoding="utf-8")


def _summary(records: Sequence[dict[str, Any]]) -> str:
    count = Counter(r["verdict"] for r in records)
    lines = ["| verdict | folders | meaning |", "|---|---:|---|"]
    lines += [f"| {v} | {count[v]} | {meaning} |" for v, meaning in MEANING.items()]
    slowest, largest = max(r["cpu_s"] for r in records), max(r["peak_mb"] for r in records)
    lines.append(
        f"\nSlowest folder {slowest:.2f} s of processor time; most memory {largest:.0f} MB beside the libraries."
    )
    return "\n".join(lines)


def _counts(what: str, groups: Iterable[tuple[str, list[dict[str, Any]]]], verdicts: Sequence[str]) -> str:
    lines = [f"| {what} | folders | {' | '.join(verdicts)} |", "|---|---:" + "|---:" * len(verdicts) + "|"]
    for name, members in groups:
        count = Counter(r["verdict"] for r in members)
        lines.append(f"| {name} | {len(members)} | " + " | ".join(str(count[v]) for v in verdicts) + " |")
    return "\n".join(lines)


def _failures(records: Sequence[dict[str, Any]]) -> str:
    lines = ["## What failed or could not be seen\n"]
    for verdict in (v for v in MEANING if v not in GOOD):
        failed = [r for r in records if r["verdict"] == verdict]
        if failed:
            seeds = ", ".join(str(r["seed"]) for r in failed[:40]) + (" ..." if len(failed) > 40 else "")
            told = sum(bool(r.get("told")) for r in failed)
            lines.append(
                f"- {verdict} ({len(failed)}, of these {told} with a DOUBT in the manifest): seeds {seeds}"
            )
    return "\n".join(lines if len(lines) > 1 else [*lines, "Nothing."]) + "\n"
