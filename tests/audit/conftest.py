"""A small case made by real jobs (temporary names, ledger, gates); its stages write two lines each."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from made_case import CASE, Made

from implantflow.config.site import SiteConfig
from implantflow.review import command


@pytest.fixture
def site(tmp_path: Path) -> tuple[SiteConfig, dict[str, Path]]:
    """A registry of three persons and their key files."""
    folder = tmp_path / "home"
    reviewers, keys = [], {}
    for who, role in (("anna", "surgeon"), ("emil", "engineer"), ("rita", "radiologist")):
        keys[who] = folder / f"{who}.pem"
        entry = yaml.safe_load(command.keygen(keys[who], who, f"{who.title()} Weber", role))[0]  # type: ignore[arg-type]
        reviewers.append({**entry, "valid_from": "2026-01-01"})
    gates = {"labels": ["engineer"], "review": ["surgeon"], "design": ["surgeon", "engineer"]}
    rules = {**gates, "release": ["surgeon"]}
    two = {gate: ["surgeon", "engineer"] for gate in rules}
    return SiteConfig.model_validate(
        {
            "data_root": "data",
            "reviewers": reviewers,
            "signatures": {"demo": rules, "research": rules, "clinical": two},
            "imaging_max_age": {"ct_days": 90, "mr_days": 42},
        }
    ), keys


@pytest.fixture
def made(tmp_path: Path, site: tuple[SiteConfig, dict[str, Path]], monkeypatch: pytest.MonkeyPatch) -> Made:
    """An empty project with one DICOM folder; ``made.run()`` runs the whole road."""
    root = tmp_path / "project"
    dicom = root / "data" / "simulated" / CASE / "dicom" / "ct"
    dicom.mkdir(parents=True)
    (dicom / "a.dcm").write_bytes(b"slice")
    monkeypatch.chdir(root)
    return Made(root, *site)


@pytest.fixture
def finished(made: Made) -> Made:
    """The whole road, all gates passed automatically."""
    made.run()
    return made


@pytest.fixture
def signed(made: Made) -> Made:
    """The whole road, every gate signed."""
    made.policy = "signed"
    made.run("segment_bones")
    made.sign("labels", "emil")
    made.run("gate_labels", "plan_resection", "make_prototype")
    made.sign("rp1", "anna")
    made.run("gate_review", "design_implant", "make_lattice")
    made.sign("design", "anna")
    made.sign("design", "emil")
    made.run("gate_design", "build_part", "audit_case", "report_case")
    return made
