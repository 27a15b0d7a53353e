"""The second reading of the faces, on the artefact-reduced image, beside the truth; kept in a file of its own.

    python -m tests.followup.validation.nmar --state FOLDER --root CASES --states demo_s01,demo_s03

reads the development half, or with ``--held-out`` all of it. ``nmar_{protocol}.json`` carries the digest of what it
rests on, so that a change of the reduction does not make the main readings be done again, nor the other way round.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tests.followup.validation import naive
from tests.followup.validation.plan import CASES, PROTOCOLS, State, months, states
from tests.followup.validation.read import Bench, patch_truth
from tests.followup.validation.score import clustered, share
from tests.followup.validation.world import Case, read_scan

from implantflow import followup
from implantflow.artifacts import plain, read_json
from implantflow.followup.compare import Baseline, FacesRead, read_faces
from implantflow.followup.found import Protocol
from implantflow.followup.motion import displacement
from implantflow.followup.second_reading import reduced_baseline, without_artefact

#: What makes the reduced image, and what reads faces; where the poses come from is the main readings' matter.
MODULES = (
    "nmar", "nmar_kernels", "second_reading", "tissue", "profile", "lucency", "bloom", "departure", "faces",
)  # fmt: skip


def code() -> str:
    """Digest of the second reading."""
    folder = Path(str(followup.__file__)).parent
    text = b"".join((folder / f"{name}.py").read_bytes() for name in MODULES)
    return hashlib.sha256(text).hexdigest()[:12]


def kept(state: Path, one: State, protocol: str) -> Path:
    """File of the second reading of one scan."""
    return state / one.key / f"nmar_{protocol}.json"


def read(bench: Bench, state: State, protocol: str) -> dict[str, Any]:
    """Patches of every face as read on the original and on the reduced image, with their truth."""
    folder, base_folder = bench.state / state.key, bench.state / f"{state.case}_m0"
    located, _ = bench.located(state, protocol)
    baseline = bench.baseline(state, protocol)
    mine, theirs = (read_json(f / f"{protocol}.json") for f in (folder, base_folder))
    differences = Protocol.of(mine, "none").differences(Protocol.of(theirs, "none"))
    baseline = replace(baseline, differences=differences, kvp=theirs["header"]["kvp"])
    settings = bench.settings(state)
    since = displacement(bench.place(located), baseline.place)
    first = read_faces(bench.inputs, located.scan, baseline, settings, since)
    volume, _ = read_scan(folder, protocol)
    start = time.process_time()
    reduced, _ = without_artefact(bench.inputs, volume, located.scan, settings.metal.threshold_hu)
    cpu_one = time.process_time() - start
    base = _reduced_baseline(bench, baseline, protocol, state)
    again_start = time.process_time()
    again = read_faces(bench.inputs, reduced, base, settings, since)
    with np.load(folder / "truth.npz") as arrays:
        grids = dict(arrays)
    return {
        "code": code(),
        "case": state.case,
        "state": state.name,
        "half": state.half,
        "protocol": protocol,
        "months": months(state),
        "cpu_s": {"reduce_one_scan": cpu_one, "read": time.process_time() - again_start},
        "faces": {
            face.name: {
                "soft_mm": patch_truth(state, face, grids).tolist(),
                "area": face.lines.patch_areas.tolist(),
                "original": _patches(first, face.name, settings.grade.limit_max_mm),
                "reduced": _patches(again, face.name, settings.grade.limit_max_mm),
            }
            for face in first.faces
            if face.name in first.readings and face.name in again.readings
        },
    }


def _reduced_baseline(bench: Bench, baseline: Baseline, protocol: str, state: State) -> Baseline:
    """Made once per protocol of a case."""
    made: dict[str, Baseline] = bench.__dict__.setdefault("_reduced", {})
    if protocol not in made:
        volume, _ = read_scan(bench.state / f"{bench.case.name}_m0", protocol)
        found = reduced_baseline(bench.inputs, baseline, volume, bench.settings(state))
        assert found is not None
        made[protocol] = found
    return made[protocol]


def _patches(read_: FacesRead, name: str, limit_max_mm: float) -> dict[str, list[float]]:
    reading = read_.readings[name]
    return {
        "limit_mm": reading.limit_mm.tolist(),
        "width_mm": reading.width_mm.tolist(),
        "lucent": reading.lucent.tolist(),
        "readable": reading.readable(limit_max_mm).tolist(),
        "threshold_mm": naive.width(read_.profiles[name]).tolist(),
    }


def items(found: Sequence[dict[str, Any]], by: str) -> list[dict[str, Any]]:
    """One item per patch that the reading ``by`` (original, reduced) can read and that has bone opposite in truth."""
    out = []
    for r in found:
        for face in r["faces"].values():
            for n, soft in enumerate(face["soft_mm"]):
                if soft is None or not np.isfinite(soft) or not face[by]["readable"][n]:
                    continue
                limit = face[by]["limit_mm"][n]
                reduced, original = face["reduced"], face["original"]
                out.append(
                    {
                        "cluster": f"{r['case']}_{r['state']}",
                        "soft_mm": soft,
                        "limit_mm": float("nan") if limit is None else limit,
                        "lucent": bool(face[by]["readable"][n]) and face[by]["lucent"][n] == 1.0,
                        "reduced_lucent": bool(reduced["readable"][n]) and reduced["lucent"][n] == 1.0,
                        "threshold_mm": original["threshold_mm"][n],
                        "reduced_threshold_mm": reduced["threshold_mm"][n],
                    }
                )
    return out


def score(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Gaps found and bridged patches not called: by threshold and by our reading, on both images.

    The first four figures are over the same patches, those that the original lets read, with a gap at or above the
    limit stated there, so that the methods can be compared; ``own`` is over those that the reduced image lets read.
    """
    same, own = items(found, "original"), items(found, "reduced")
    out: dict[str, Any] = {
        "scans": len(found),
        "cpu_s": float(np.median([r["cpu_s"]["reduce_one_scan"] for r in found])) if found else None,
    }
    calls: dict[str, Callable[[dict[str, Any]], bool]] = {
        "threshold": lambda i: bool(i["threshold_mm"] > 0),
        "reduced_threshold": lambda i: bool(i["reduced_threshold_mm"] > 0),
        "original": lambda i: bool(i["lucent"]),
        "reduced": lambda i: bool(i["reduced_lucent"]),
    }
    for name, call in calls.items():
        out[name] = _called(same, call)
    out["own"] = _called(own, calls["reduced"])
    return out


def _called(patches: Sequence[dict[str, Any]], call: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    gaps = [i for i in patches if i["soft_mm"] > 0 and i["soft_mm"] >= i["limit_mm"] - 1e-9]
    none = [i for i in patches if i["soft_mm"] == 0]
    return {
        "sensitivity": clustered([{**i, "hit": call(i)} for i in gaps], share),
        "specificity": clustered([{**i, "hit": not call(i)} for i in none], share),
        "patches_with_gap": len(gaps),
        "patches_bridged": len(none),
    }


def scores(wanted: Sequence[State], state: Path) -> dict[str, dict[str, Any]]:
    """Scores by half of the second readings that are there and of this code."""
    paths = [(one, kept(state, one, protocol.name)) for one in wanted for protocol in PROTOCOLS]
    found = [(one, json.loads(path.read_text())) for one, path in paths if path.exists()]
    found = [(one, reading) for one, reading in found if reading["code"] == code()]
    return {
        half: score([r for one, r in found if one.half == half]) for half in {one.half for one, _ in found}
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--states", default=None)
    parser.add_argument("--held-out", action="store_true")
    options = parser.parse_args()
    benches: dict[str, Bench] = {}
    for one in states():
        if one.half == "baseline" or one.case not in options.cases.split(",") or months(one) < 6:
            continue
        if one.half == "held_out" and not options.held_out:
            continue
        if options.states is not None and one.key not in options.states.split(","):
            continue
        bench = benches.setdefault(one.case, Bench(Case.of(one.case, options.root), options.state))
        for protocol in PROTOCOLS:
            path = kept(options.state, one, protocol.name)
            if path.exists() and json.loads(path.read_text())["code"] == code():
                continue
            found = read(bench, one, protocol.name)
            path.write_text(json.dumps(plain(found)))
            print(f"{one.key} {protocol.name}: {found['cpu_s']}", flush=True)
    print(json.dumps(scores(states(), options.state), indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
