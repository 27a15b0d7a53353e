"""Surfaces: CT and bone labels to one STL per bone, ours and dicom2stl in one run, each a whole process.

Part of ``make bench``; alone: ``python -m tests.bench.surface``. Needs the atlas (SIMULATED CT of one of its pelves, so
that the error is known). Writes results/bench/surface.json.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.bench.measure import installed, ours, run

OUT = Path("results/bench")
MEMBER = 2
BONES = ("sacrum", "hip_left", "hip_right")
_MAKE = """
import sys; from pathlib import Path
sys.path.insert(0, 'tests/segment')
import atlas_ct; from implantflow.artifacts import write_stl; from implantflow.volumes import write_volume
case, out = atlas_ct.make(int(sys.argv[1])), Path(sys.argv[2])
labels = case.labels.array; labels[labels == 9] = 0
write_volume(out / 'ct.nii.gz', case.ct); write_volume(out / 'labels.nii.gz', case.labels)
for name, solid in case.solids.items(): write_stl(out / f'{name}-truth.stl', solid.vertices, solid.faces, name)
"""


def main() -> list[dict[str, Any]]:
    """Measure, print, write the JSON."""
    if not (Path(__file__).parents[3] / "shared" / "data" / "pelvis-atlas").is_dir():
        print("surface: the atlas is not there, no rows")
        return []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        subprocess.run([sys.executable, "-c", _MAKE, str(MEMBER), folder], check=True)
        ct, labels = str(work / "ct.nii.gz"), str(work / "labels.nii.gz")
        command = ours("segment", ct, folder, "--threshold", "226", "--labels", labels)
        run("surface", "implantflow", command, work=1, repeats=1)
        rows = [
            asdict(run("surface", "implantflow", command, work=1, repeats=2, note="four bones apart, labels"))
        ]
        rows[0] |= _judge(work, [work / f"{name}.stl" for name in BONES])
        theirs = work / "theirs.stl"
        command = [installed("dicom2stl"), "-i", "226", "-T", folder, "-o", str(theirs), ct]
        note = "its defaults at 226 HU: all bone in one mesh, no labels"
        rows.append(asdict(run("surface", "dicom2stl", command, work=1, repeats=2, note=note)))
        rows[1] |= _judge(work, [theirs])
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "surface.json").write_text(json.dumps(rows, indent=2) + "\n")
    for row in rows:
        print(
            f"surface {row['name']:<12}{row['cpu_s']:>7.1f} CPU-s{row['wall_s']:>7.1f} s{row['peak_mb']:>7.0f} MB  "
            f"closed {row['closed']}  off: mean {row['mean_mm']:.2f}, 95 % {row['p95_mm']:.2f} mm  {row['note']}"
        )
    return rows


def _judge(work: Path, meshes: list[Path]) -> dict[str, Any]:
    """Whether all meshes are closed, and how far the true surfaces lie from the nearest of them."""
    import numpy as np

    from implantflow.artifacts import read_stl
    from implantflow.solids.distance import Surface
    from implantflow.solids.mesh import Solid, open_edges

    parts = [read_stl(path) for path in meshes]
    away = []
    for name in BONES:
        truth, _ = read_stl(work / f"{name}-truth.stl")
        nearest = [
            Surface(Solid.of(v.astype(float), f)).nearest(truth[::5], 20.0, signed=False).distance_mm
            for v, f in parts
        ]
        away.append(np.abs(nearest).min(axis=0))
    errors = np.concatenate(away)
    return {
        "closed": all(open_edges(f) == 0 for _, f in parts),
        "mean_mm": float(errors.mean()),
        "p95_mm": float(np.quantile(errors, 0.95)),
    }


if __name__ == "__main__":
    main()
