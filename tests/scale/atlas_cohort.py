"""The pelves of the atlas as a cohort: CT scans, configs, one run, one table.

    python -m tests.scale.atlas_cohort --state FOLDER [--members 2,8,14] [--cores 2] [--prepare | --table docs/scale.md]

SIMULATED: shapes of real bones, invented densities, neighbours and tumours (tests/segment/atlas_ct.py). The atlas ends
within S3 and has no L5, so each case is partial: scanned down to the end of its sacrum, cut at S2, planned, built and
reported, without prints and follow-up. The shape prior of a case holds the other nineteen members only.

Everything lies below FOLDER: scans, priors, configs (tags ``atlas`` and ``simulated``), results. The same command goes
on where it stopped. ``--table`` writes what the jobs of finished runs took into a page, and runs nothing.
"""

from __future__ import annotations

import argparse
import copy
import os
import shutil
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from implantflow import benchmarks
from implantflow.artifacts import read_json, write_json
from implantflow.phantom.dicom_writer import Person, Series, write_series
from implantflow.volumes import Volume

sys.path.insert(0, str(Path(__file__).parents[1] / "segment"))
sys.path.insert(0, str(Path(__file__).parents[1] / "plan"))

import atlas
import atlas_ct
from validate_resections import HALF_MM, tumour_in

ROOT = Path(__file__).parents[2]
#: The scan ends so far above the end of the atlas' sacrum (mm): within S3, as far as the case knows.
INSIDE_MM = 3.0
TAKEN = date(2025, 4, 24)
#: The coarse settings of the tiny case for everything after the plan.
SECTIONS = ("implant", "strength", "lattice", "build", "review")
DROPPED_KEYS = ("simulated", "simulated_print", "simulated_followup", "inspect", "release", "followup")


def name_of(member: int) -> str:
    """Name of a member's case."""
    return f"atlas_{member:02d}"


def prepare(member: int, folder: Path) -> None:
    """Scan, prior and config of one member; what is there already stays."""
    scan = folder / "scans" / name_of(member)
    config = folder / "config" / "cases" / f"{name_of(member)}.yaml"
    if config.exists():
        return
    made = atlas_ct.make(member)
    sacrum = made.solids["sacrum"]
    shutil.rmtree(scan, ignore_errors=True)
    write_series(scan, _person(member), _series(_cropped(made.ct, float(sacrum.vertices[:, 2].min()))))
    _prior_without(member, folder / "priors" / name_of(member))
    tumour = tumour_in(sacrum)
    centre = np.round(tumour.bounds_mm.mean(axis=0), 1).tolist()
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(yaml.safe_dump(case_config(member, centre), sort_keys=False))


def case_config(member: int, tumour_lps_mm: list[float]) -> dict[str, Any]:
    """The config of a case: the tiny case's coarse settings, cut at S2."""
    tiny = yaml.safe_load((ROOT / "config" / "cases" / "tiny.yaml").read_text(encoding="utf-8"))
    data = copy.deepcopy({k: v for k, v in tiny.items() if k not in DROPPED_KEYS})
    data |= {"case": name_of(member), "purpose": "research", "tags": ["atlas", "simulated"]}
    data["ingest"] = {
        "planning_ct": "ct_planning",
        "made_images": f"CT made from the bones of atlas pelvis {member}",
        "series": {"ct_planning": {"modality": "CT", "dicom": f"scans/{name_of(member)}"}},
    }
    data["segment"] = {
        "threshold_hu": 226,
        "prior": {"kind": "atlas", "path": f"priors/{name_of(member)}"},
    }
    axes = [round(2.0 * float(half), 1) for half in HALF_MM]
    data["tumour"] = {
        "max_bone_gap_mm": 2.0,
        "timepoints": [
            {"name": "virtual", "method": "ellipsoid", "centre_lps_mm": tumour_lps_mm, "axes_mm": axes}
        ],
    }
    data["plan"]["revisions"][0]["caudal_level"] = "S2"
    data["implant"]["cable_passages"] = []  # the piece down to S2 is too short for the tiny case's two
    # Nobody corrects the fit of these: what the first prototype leaves between bones and implant is let pass.
    data["implant"]["limits"] |= {"gap_p95_mm": 5.0}
    data["build"]["limits"] |= {"island_join_max_mm": 4.0}
    first = data["prototype"]["iterations"][0]
    data["prototype"] = {"iterations": [first], "approved": first["id"]}
    data["build"]["revisions"] = [{"id": "r1"}]
    return data


def _cropped(ct: Volume, bottom_mm: float) -> Volume:
    first = max(int(np.ceil((bottom_mm + INSIDE_MM - ct.affine_lps[2, 3]) / ct.affine_lps[2, 2])), 0)
    affine = ct.affine_lps.copy()
    affine[2, 3] += first * affine[2, 2]
    return Volume(ct.array[first:], affine)


def _person(member: int) -> Person:
    return Person(f"SIMULATED^ATLAS {member}", f"SIM-ATLAS-{member:03d}", None, "O")


def _series(ct: Volume) -> Series:
    return Series(
        modality="CT",
        array=ct.array,
        affine_lps=np.round(ct.affine_lps, 6),
        frame="ct_planning",
        number=1,
        description="SIMULATED CT of an atlas pelvis",
        taken=TAKEN,
        extra={"KVP": "120", "ConvolutionKernel": "STANDARD", "GantryDetectorTilt": "0"},
    )


def _prior_without(member: int, folder: Path) -> None:
    """Links to the surfaces of the other members: a prior must not be the answer."""
    shutil.rmtree(folder, ignore_errors=True)
    for path in sorted((atlas.FOLDER / "surface").rglob("*.vtk")):
        if int("".join(c for c in path.stem if c.isdigit())) != member:
            link = folder / "surface" / path.parent.name / path.name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path.resolve())


def prepare_site(folder: Path) -> None:
    """The site's config with scans and priors below the cohort's folder, and the presets."""
    shutil.copytree(
        ROOT / "config", folder / "config", ignore=shutil.ignore_patterns("cases"), dirs_exist_ok=True
    )
    site = yaml.safe_load((ROOT / "config" / "site.yaml").read_text(encoding="utf-8"))
    (folder / "config" / "site.yaml").write_text(yaml.safe_dump(site | {"data_root": "."}))


def write_table(folder: Path, page: Path) -> None:
    """A row a case: what its jobs took, where it ended and why; the sum above."""
    found = pd.read_parquet(folder / "results/cohort/cohort.parquet")
    lines = [
        "| case | jobs | CPU-s | largest job, MB | which | ends | why |",
        "|---|---|---|---|---|---|---|",
    ]
    cpu_s, peak_mb = 0.0, 0.0
    for case in found.itertuples():
        jobs = benchmarks.read(folder / "results" / str(case.case))
        largest = max(jobs, key=lambda job: job["peak_rss_mb"] or 0.0)
        spent = sum(job["cpu_s"] or 0.0 for job in jobs)
        cpu_s, peak_mb = cpu_s + spent, max(peak_mb, largest["peak_rss_mb"])
        ends = case.state if case.state == "complete" else f"{case.state} at {case.at}"
        lines.append(
            f"| {case.case} | {len(jobs)} | {spent:.0f} | {largest['peak_rss_mb']:.0f} | {largest['job']} | {ends} | "
            f"{case.problem if isinstance(case.problem, str) else ''} |"
        )
    states = ", ".join(f"{count} {state}" for state, count in found["state"].value_counts().items())
    total = f"{len(found)} cases: {states}. {cpu_s:.0f} CPU-s in all jobs, {peak_mb:.0f} MB at most in one."
    if (folder / "run.json").exists():
        run = read_json(folder / "run.json")
        total += f" One run from nothing on {run['cores']} cores: {run['wall_s'] / 60:.1f} minutes."
    text = page.read_text(encoding="utf-8")
    before, after = text.split("<!-- cohort -->")[0], text.split("<!-- end of cohort -->")[1]
    body = "\n".join(lines)
    page.write_text(
        f"{before}<!-- cohort -->\n{total}\n\n{body}\n<!-- end of cohort -->{after}", encoding="utf-8"
    )
    print(total)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--state", type=Path, required=True, help="folder of scans, configs and results")
    parser.add_argument("--members", help="numbers, separated by commas; default: all")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--prepare", action="store_true", help="scans and configs only")
    parser.add_argument("rest", nargs="*", help="further arguments for snakemake, after --")
    parser.add_argument("--table", type=Path, help="page to write the table into, between its markers")
    options = parser.parse_args()
    folder = options.state.resolve()
    if options.table is not None:
        write_table(folder, options.table)
        return 0
    numbers = [int(n) for n in options.members.split(",")] if options.members else atlas.subjects()
    prepare_site(folder)
    for member in numbers:
        prepare(member, folder)
        print(f"{name_of(member)}: prepared", flush=True)
    if options.prepare:
        return 0
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "cohort"]
    command += ["--directory", str(folder), "--cores", str(options.cores), "--keep-going", *options.rest]
    command += ["--config", "cases=" + ",".join(map(name_of, numbers))]
    whole, start = not (folder / "results").exists(), time.monotonic()
    code = subprocess.run(command, cwd=folder, env=os.environ.copy()).returncode
    if whole:
        write_json(folder / "run.json", {"wall_s": time.monotonic() - start, "cores": options.cores})
    return code


if __name__ == "__main__":
    raise SystemExit(main())
