"""Bad input: one clear error that names the cause, a non-zero exit, nothing half-written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet
import pytest
from tests.e2e.conftest import Workspace, new_workspace

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def as_scanned(work: Workspace, name: str, folder: str) -> dict:
    """The tiny patient's config as a case read from DICOM folders instead of simulated."""
    config = work.read_case("tiny")
    # Before the operation only: nothing that is simulated is left.
    for section in ("simulated", "simulated_print", "simulated_followup", "inspect", "release", "followup"):
        config.pop(section)
    for later in ("ct_m0", "ct_m12"):
        config["ingest"]["series"].pop(later)
    config["purpose"] = "research"
    for series, entry in config["ingest"]["series"].items():
        entry["dicom"] = f"{folder}/{series}"
    work.write_case(name, config)
    return config


def files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))


def truncate(ct: Path) -> None:
    victim = files(ct)[7]
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])


def drop_slice(ct: Path) -> None:
    import pydicom

    by_z = sorted(
        files(ct), key=lambda p: pydicom.dcmread(p, stop_before_pixels=True).ImagePositionPatient[2]
    )
    by_z[len(by_z) // 2].unlink()


def second_patient(ct: Path) -> None:
    import pydicom

    for path in files(ct.parent / "mr_diagnosis"):
        dataset = pydicom.dcmread(path)
        dataset.PatientID = "SOMEBODY-ELSE"
        dataset.save_as(path)


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "bad_truncated": (truncate, "cut short"),
    "bad_missing": (drop_slice, "missing|gap|irregular"),
    "bad_patients": (second_patient, "patient"),
}


def test_damaged_series_are_refused_and_others_go_on(tiny_run: Workspace, tmp_path: Path) -> None:
    import re

    work = tiny_run.copy(tmp_path / "w")
    source = work.path / "data/simulated/tiny/dicom"
    site = work.path / "config/site.yaml"
    site.write_text(re.sub(r"data_root:.*", "data_root: data/scans", site.read_text()))
    for name, (damage, _) in DAMAGE.items():
        shutil.copytree(source, work.path / "data/scans" / name)
        damage(work.path / "data/scans" / name / "ct_planning")
        as_scanned(work, name, name)
    shutil.copytree(source, work.path / "data/scans/good")
    as_scanned(work, "good", "good")
    done = work.snakemake("ingest", cases=",".join([*DAMAGE, "good"]))
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    table = pyarrow.parquet.read_table(work.path / "results/cohort/cohort.parquet").to_pylist()
    states = {row["case"]: (row["state"], row["at"]) for row in table}
    assert states == {**dict.fromkeys(DAMAGE, ("failed", "ingest")), "good": ("unfinished", "segment")}
    assert all(row["problem"] for row in table if row["case"] in DAMAGE)
    assert (work.path / "results/good/ingest/ingest.json").exists()
    for name, (_, pattern) in DAMAGE.items():
        results = work.path / "results" / name
        statuses = [json.loads(p.read_text()) for p in results.glob("logs/*.status.json")]
        assert len(statuses) == 1, (name, statuses)
        assert re.search(pattern, statuses[0]["reason"], re.I), (name, statuses[0])
        assert statuses[0]["reason"].splitlines()[0] in done.stderr
        assert not (results / "ingest/ingest.json").exists()
        assert not list(results.rglob(".tmp-*"))


CONFIG_ERRORS: dict[str, tuple[Callable[[dict], object], str]] = {
    "unknown_key": (lambda c: c["segment"].update(treshold_hu=226), "did you mean 'threshold_hu'"),
    "threshold": (lambda c: c["segment"].update(threshold_hu=-3000), "segment.threshold_hu = -3000"),
}


def test_config_errors_stop_before_any_job(tmp_path: Path) -> None:
    work = new_workspace(tmp_path / "w")
    for name, (change, _) in CONFIG_ERRORS.items():
        config = work.read_case("tiny")
        change(config)
        work.write_case(name, config)
    done = work.snakemake("report", cases=",".join(CONFIG_ERRORS))
    assert done.returncode != 0
    for _, text in CONFIG_ERRORS.values():
        assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert not (work.path / "results").exists()


@pytest.mark.long_e2e
def test_tumour_outside_the_image_and_wrong_side(tiny_run: Workspace, tmp_path: Path) -> None:
    work = tiny_run.copy(tmp_path / "w")
    config = work.read_case("tiny")
    shutil.rmtree(work.path / "results/tiny/plan")
    config["side"] = "right"
    work.write_case("tiny", config)
    done = work.snakemake("plan")
    assert done.returncode != 0
    assert "right" in done.stderr and "left" in done.stderr
    assert not (work.path / "results/tiny/plan/p1/plan.json").exists()

    config["side"] = "left"
    config["tumour"]["timepoints"] = [
        {
            "name": "diagnosis",
            "method": "ellipsoid",
            "centre_lps_mm": [0, 0, 900],
            "axes_mm": [30, 40, 50],
        }
    ]
    config["tumour"].pop("reported", None)
    work.write_case("tiny", config)
    done = work.snakemake("tumour")
    assert done.returncode != 0
    assert "outside" in done.stderr
    assert not (work.path / "results/tiny/tumour/tumour.json").exists()
