"""The reader in a process of its own, under limits: reads folders named on stdin, answers in JSON lines.

Run by :mod:`tests.fuzz.pool`. The address space is limited to what the loaded libraries take plus the limit given as
first argument (MB).
"""

from __future__ import annotations

import json
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from implantflow.errors import ImplantflowError
from implantflow.ingest.read import take_series
from implantflow.volumes import Volume

#: An image may be accepted when no voxel lies further than this from where it was.
MAX_SHIFT_MM = 0.02 + 1e-9

_originals: dict[str, Volume] = {}


def _status_mb(key: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return float(line.split()[1]) / 1024
    return 0.0


def _reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _corners(volume: Volume) -> np.ndarray:
    last = np.array(volume.array.shape[::-1]) - 1
    return volume.index_to_lps(np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * last)


def _compare(volume: Volume, original: Volume) -> dict[str, Any]:
    if volume.array.shape != original.array.shape:
        return {"shape": list(volume.array.shape)}
    shift = float(np.linalg.norm(_corners(volume) - _corners(original), axis=1).max())
    different = volume.array != original.array
    planes = int(different.any(axis=(1, 2)).sum())
    return {"shift_mm": shift, "voxels": int(different.sum()), "planes": planes}


def _message(error: ImplantflowError) -> dict[str, Any]:
    """The refusal as a user sees it, and what is wrong with it as text."""
    text = str(error)
    flaw = ""
    if not error.what.strip():
        flaw = "empty message"
    elif any((ord(c) < 32 and c != "\n") or 0x7F <= ord(c) < 0xA0 or 0xD800 <= ord(c) < 0xE000 for c in text):
        flaw = "control characters in the message"
    elif "\n" in error.where or "\u202e" in text:
        flaw = "a file name breaks the message"
    elif len(text) > 6000:
        flaw = "message too long"
    return {
        "error": type(error).__name__,
        "text": text.encode("utf-8", "backslashreplace").decode()[:400],
        "flaw": flaw,
    }


def read(request: dict[str, Any]) -> dict[str, Any]:
    """One folder: accepted (and how it differs), refused (and how), or crashed."""
    _reset_peak()
    before_mb = _status_mb("VmRSS")
    started = time.process_time()
    try:
        found = take_series(Path(request["folder"]), request["series_uid"])
        told = any(note.startswith("DOUBT") for note in found.manifest["notes"])
        answer = {"kind": "accepted", "told": told, **_compare(found.volume, _originals[request["base"]])}
    except ImplantflowError as error:
        answer = {"kind": "refused", **_message(error)}
    except BaseException:
        answer = {"kind": "crashed", "text": traceback.format_exc()[-1500:]}
    answer["cpu_s"] = time.process_time() - started
    answer["peak_mb"] = _status_mb("VmHWM") - before_mb
    return answer


def main() -> None:
    """Answer until stdin ends."""
    limit_mb, originals = float(sys.argv[1]), Path(sys.argv[2])
    for folder in sorted(originals.iterdir()):
        _originals[folder.name] = take_series(folder).volume
    limit = int((_status_mb("VmSize") + limit_mb) * 2**20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(read(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
