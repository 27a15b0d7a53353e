"""`new-case` writes a config whose only errors are the keys a person must fill in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from pydantic_core import to_jsonable_python

from implantflow.config.load import load, read_yaml
from implantflow.config.models import CaseConfig
from implantflow.config.plan import PlaneOverrides, PlanRevision
from implantflow.config.skeleton import skeleton
from implantflow.errors import ConfigError
from implantflow.newcase import write_case


@pytest.fixture
def site(tmp_path: Path, shared_data: Path) -> Path:
    path = tmp_path / "site.yaml"
    text = (Path(__file__).parents[2] / "config/site.yaml").read_text()
    path.write_text(text.replace("data_root: ../shared/data", f"data_root: {shared_data}"))
    return path


def test_config_is_yaml_with_the_series_and_asks_for_the_rest(
    tmp_path: Path, site: Path, shared_data: Path
) -> None:
    path = write_case("case_017", [shared_data / "vhf-pelvis-ct/dicom"], tmp_path / "c.yaml", site)
    data = read_yaml(path)
    assert data["case"] == "case_017"
    assert data["ingest"]["series"]["ct_planning"] == {"dicom": "vhf-pelvis-ct/dicom", "modality": "CT"}
    assert "150 images 512x512" in path.read_text()
    with pytest.raises(ConfigError) as caught:
        load(CaseConfig, path)
    text = str(caught.value)
    assert "plan.revisions.0.margin_mm: not filled in; wanted: a valid number" in text
    assert text.splitlines()[0].endswith(("review 1", "review 2", "review 3")), "counted by section"
    assert "the surgeon's decision" in text
    assert "unknown key" not in text
    with pytest.raises(ConfigError, match="exists already"):
        write_case("case_017", [shared_data / "vhf-pelvis-ct/dicom"], path, site)


def test_a_first_run_asks_for_the_bones_only(tmp_path: Path, site: Path, shared_data: Path) -> None:
    path = write_case(
        "case_017", [shared_data / "vhf-pelvis-ct/dicom"], tmp_path / "c.yaml", site, until="segment"
    )
    asked = {
        "purpose": "research",
        "side": "left",
        "  threshold_hu": "226",
        "    kind": "template",
        "  policy": "auto",
    }
    text = path.read_text()
    assert len(re.findall(r"^ *\w+:    # REQUIRED$", text, flags=re.M)) == len(asked) == 5
    for key, value in asked.items():
        assert text.count(f"\n{key}:    # REQUIRED\n") == 1
        text = text.replace(f"\n{key}:    # REQUIRED\n", f"\n{key}: {value}\n")
    # The sixth depends on the kind, and the file says so: without it the case is refused.
    assert "    # path: null    # REQUIRED with kind 'atlas' or 'label_map'\n" in text
    assert "    # landmarks: null    # REQUIRED with kind 'template', or landmarks_file\n" in text
    path.write_text(text)
    with pytest.raises(
        ConfigError, match=r"1 error\(s\)[^1]*1\. segment\.prior: kind 'template' needs landmarks"
    ):
        load(CaseConfig, path)
    path.write_text(text.replace("    # landmarks: null", "    landmarks: {s1: [0, 0, 0]}", 1))
    case = load(CaseConfig, path)
    assert case.tumour is None and case.build is None
    # Without its comment signs a later section asks for its keys.
    before, tumour = path.read_text().split("# tumour:\n")
    tumour, after = tumour.split("# Resection plans")
    path.write_text(f"{before}tumour:\n{re.sub(r'^# (?= )', '', tumour, flags=re.M)}# {after}")
    with pytest.raises(ConfigError, match=r"tumour\.timepoints\.0\.grow\.seed_lps_mm: not filled in"):
        load(CaseConfig, path)


def test_every_default_in_a_comment_is_the_default(tmp_path: Path) -> None:
    """Taken out of its comment, a line means what leaving the key out means."""
    lines = skeleton(PlanRevision, {})
    shown = {m[1]: yaml.safe_load(m[2]) for line in lines if (m := re.match(r"# (\w+): (\S.*)$", line))}
    defaults = [name for name, field in PlanRevision.model_fields.items() if not field.is_required()]
    assert "planes" in defaults and set(defaults) <= set(shown)
    for name in defaults:
        field = PlanRevision.model_fields[name]
        assert shown[name] == to_jsonable_python(field.get_default(call_default_factory=True)), name
    assert PlaneOverrides.model_validate(shown["planes"]) == PlaneOverrides()


def test_names_of_patients_are_no_case_names(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no case name"):
        write_case("DOE^JOHN", [tmp_path], None)
