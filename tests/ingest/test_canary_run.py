"""Planted strings after a real run: none in results, logs, ledger, reports or Snakemake's own folder."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pydicom
import pytest
from canary_set import Planted, plant, planted_report, save_planted
from leak_search import leaks
from synthetic_series import make_slices
from tests.e2e.conftest import Workspace, new_workspace

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

#: What a person's files may leave traces in: everything a run writes but the sealed folder.
SEARCHED = ("results", ".snakemake", "data/template")


def scanned_case(work: Workspace, name: str, folders: dict[str, str]) -> None:
    """The tiny case read from DICOM folders, up to the implant, as a case of research."""
    config = work.read_case("tiny")
    for section in ("simulated", "simulated_print", "simulated_followup", "inspect", "release", "followup"):
        config.pop(section)
    config["ingest"]["series"] = {
        series: {"modality": series[:2].upper(), "dicom": folder} for series, folder in folders.items()
    }
    config["purpose"] = "research"
    work.write_case(name, config)


def found(work: Workspace, planted: Planted, *outputs: str) -> list[str]:
    """Needles in all that the run wrote or printed."""
    (work.path / "results" / "printed.txt").write_text("\n".join(outputs))
    return [
        f"{folder}/{leak}"
        for folder in SEARCHED
        if (work.path / folder).is_dir()
        for leak in leaks(work.path / folder, planted.needles)
    ]


def canary_workspace(tmp_path: Path) -> Workspace:
    work = new_workspace(tmp_path / "w")
    site = work.path / "config/site.yaml"
    site.write_text(re.sub(r"data_root:.*", f"data_root: {tmp_path / 'scans'}", site.read_text()))
    return work


def spheres(planted: Planted, root: Path, **odd: str) -> dict[str, str]:
    """A planted CT and two planted MR of one patient; ``odd`` values go where only codes and numbers belong."""
    folders = {}
    for number, series in enumerate(("ct_planning", "mr_diagnosis", "mr_preoperative"), 1):
        modality = series[:2].upper()
        stored = {} if modality == "CT" else {"intercept": 0.0, "signed": True}
        datasets = make_slices(modality=modality, series=number, **stored)
        plant(datasets, planted, series)
        for ds in datasets:
            ds.PatientID, ds.PatientName, ds.PatientSex = NAMES[0], NAMES[1], "F"
            ds.StudyInstanceUID = datasets[0].StudyInstanceUID
            for keyword, vr in odd.items():
                ds.add_new(keyword, vr, planted_odd(planted, keyword))
        folder = save_planted(datasets, root, planted)
        planted_report(planted).save_as(root / folder / "report", enforce_file_format=True)
        folders[series] = folder
    return folders


#: Identity that all series share, or the case would stop where it should not.
NAMES = ("ZQKANARYSAMEID", "ZQKANARYSAME^NAME")


def planted_odd(planted: Planted, keyword: str) -> str:
    known = {place: word for word, place in planted.places.items()}
    return known.get(f"odd {keyword}") or planted.text(f"odd {keyword}", 16)


@pytest.mark.requirement("no-identity-outside")
def test_no_planted_string_leaves_the_scans(tmp_path: Path) -> None:
    """Three cases in one run: the bones cannot be told (no bones there), a slice is missing, codes are words."""
    planted = Planted()
    for name in NAMES:
        planted.places[name] = "identity of all series"
    work = canary_workspace(tmp_path)
    scans = tmp_path / "scans"
    folders = spheres(planted, scans / "a")
    scanned_case(work, "canary_whole", {k: f"a/{v}" for k, v in folders.items()})
    folders = spheres(planted, scans / "b")
    victims = sorted((scans / "b" / folders["ct_planning"]).rglob("*.dcm"))
    victims[12].unlink()
    cut = sorted((scans / "b" / folders["mr_diagnosis"]).rglob("*.dcm"))[3]
    cut.write_bytes(cut.read_bytes()[:-900])
    scanned_case(work, "canary_damaged", {k: f"b/{v}" for k, v in folders.items()})
    odd = {"Modality": "LO", "AcquisitionNumber": "LO", "ImageType": "LO", "PhotometricInterpretation": "LO"}
    folders = spheres(planted, scans / "c", **odd)
    scanned_case(work, "canary_odd", {k: f"c/{v}" for k, v in folders.items()})

    done = work.snakemake("report", cases="canary_whole,canary_damaged,canary_odd")
    assert done.returncode != 0
    assert (work.path / "results/canary_whole/ingest/ingest.json").exists(), done.stderr[-3000:]
    assert not (work.path / "results/canary_damaged/ingest/ct_planning/manifest.json").exists()
    assert "file_0000" in done.stderr and "slices are missing" in done.stderr
    assert len(planted.places) >= 80
    assert found(work, planted, done.stdout, done.stderr) == []
    # The searcher does find them where they belong.
    assert leaks(work.path / "data/sealed/canary_whole", [NAMES[0]])
    sealed = work.path / "data/sealed"
    assert sealed.stat().st_mode & 0o077 == 0
    assert all(p.stat().st_mode & 0o077 == 0 for p in sealed.rglob("*.json"))


@pytest.mark.long_e2e
def test_no_planted_string_after_a_whole_case(tmp_path: Path) -> None:
    """The simulated patient's scans, planted and read as a person's, through every stage up to the report."""
    work = canary_workspace(tmp_path)
    done = work.snakemake("ingest")
    assert done.returncode == 0, done.stderr[-3000:]
    planted, folders = Planted(), {}
    made = work.path / "data/simulated/tiny/dicom"
    for series in ("ct_planning", "mr_diagnosis", "mr_preoperative"):
        datasets = [pydicom.dcmread(path) for path in sorted((made / series).glob("*.dcm"))]
        plant(datasets, planted, series)
        for ds in datasets:
            ds.PatientID, ds.PatientName, ds.PatientSex = NAMES[0], NAMES[1], "F"
        folders[series] = save_planted(datasets, tmp_path / "scans", planted)
    for name in NAMES:
        planted.places[name] = "identity of all series"
    shutil.rmtree(work.path / "data/simulated")
    scanned_case(work, "person", folders)
    done = work.snakemake("report", cases="person")
    assert done.returncode == 0, done.stderr[-3000:]
    for command in (["verify", "results/person"], ["cohort"], ["times", "results/person"]):
        told = work.implantflow(*command)
        assert told.returncode == 0, told.stderr
        done.stdout += told.stdout + told.stderr
    assert found(work, planted, done.stdout, done.stderr) == []


def test_intake_follows_what_changes(tmp_path: Path) -> None:
    """A file edited in place, whose folder's own time does not change, is read again."""
    planted = Planted()
    work = canary_workspace(tmp_path)
    folders = spheres(planted, tmp_path / "scans")
    scanned_case(work, "canary_change", folders)
    assert work.snakemake("ingest", cases="canary_change").returncode == 0
    again = work.snakemake("ingest", cases="canary_change")
    assert "Nothing to be done" in again.stdout + again.stderr
    victim = next((tmp_path / "scans" / folders["ct_planning"]).rglob("*.dcm"))
    victim.write_bytes(victim.read_bytes() + b"\0")
    third = work.snakemake("ingest", "--dry-run", cases="canary_change")
    assert "ingest_series" in third.stdout + third.stderr


def test_missing_folder_is_named_by_its_key_only(tmp_path: Path) -> None:
    planted = Planted()
    work = canary_workspace(tmp_path)
    name = planted.text("folder that is not there")
    scanned_case(work, "canary_gone", {"ct_planning": name, "mr_diagnosis": name, "mr_preoperative": name})
    done = work.snakemake("ingest", cases="canary_gone")
    assert done.returncode == 3 or done.returncode == 2
    assert "ingest.series.ct_planning.dicom" in done.stderr and name not in done.stdout + done.stderr


def test_name_of_edited_labels_leaves_no_trace(template_file: Path, tmp_path: Path) -> None:
    """A file named after the patient is read, refused by its neutral name, and gone is noticed beside old results."""
    planted = Planted()
    for name in NAMES:
        planted.places[name] = "identity of all series"
    work = canary_workspace(tmp_path)
    scanned_case(work, "canary_edited", spheres(planted, tmp_path / "scans"))
    # No job of this case makes the template, which has no scan among its inputs.
    template = work.path / "data/template/template.npz"
    template.parent.mkdir(parents=True)
    shutil.copyfile(template_file, template)
    edited = tmp_path / f"{planted.text('name of the edited labels')}.nii.gz"
    edited.write_bytes(b"no label map")
    config = work.read_case("canary_edited")
    config["segment"]["edited_labels"] = str(edited)
    work.write_case("canary_edited", config)
    targets = ("results/canary_edited/config.resolved.yaml", "segment")
    done = work.snakemake(*targets, cases="canary_edited")
    assert done.returncode != 0
    resolved = work.path / "results/canary_edited/config.resolved.yaml"
    assert "edited_labels: data/sealed/canary_edited/files/edited_labels.nii.gz" in resolved.read_text()
    assert (work.path / "results/canary_edited/logs/segment_bones.status.json").exists()
    assert found(work, planted, done.stdout, done.stderr) == []
    edited.unlink()
    done = work.snakemake(targets[0], cases="canary_edited")
    assert done.returncode in (2, 3) and "segment.edited_labels" in done.stderr
    assert "Nothing to be done" not in done.stdout + done.stderr


def test_sealed_folder_open_to_others_is_refused(tmp_path: Path) -> None:
    work = canary_workspace(tmp_path)
    (work.path / "data/sealed").mkdir(parents=True)
    (work.path / "data/sealed").chmod(0o755)
    done = work.snakemake("ingest", "--dry-run")
    assert done.returncode != 0 and "chmod 700" in done.stderr


def test_environment_is_not_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials for archives come from the environment: the record of a run must not keep it."""
    work = canary_workspace(tmp_path)
    word = "ZQKANARYPASSWORD"
    monkeypatch.setenv("IMPLANTFLOW_PACS_ARCHIVE_PASSWORD", word)
    done = work.snakemake("results/tiny/config.resolved.yaml")
    assert done.returncode == 0, done.stderr[-2000:]
    assert leaks(work.path / ".snakemake", [word]) == leaks(work.path / "results", [word]) == []
