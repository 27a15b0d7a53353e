"""A case grows with its config: it may end before a stage, but no stage may be left out in between."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import new_workspace

from implantflow.config.load import parse, read_yaml
from implantflow.config.models import LATER, CaseConfig
from implantflow.config.selection import ends_before
from implantflow.errors import ConfigError

TINY = Path(__file__).parents[2] / "config/cases/tiny.yaml"
SECTIONS = [name for group in LATER for name in group]


@pytest.fixture(scope="module")
def tiny() -> dict[str, Any]:
    return read_yaml(TINY)


def without(data: dict[str, Any], *names: str) -> dict[str, Any]:
    """The tiny case's config without these sections; the follow-up goes with the build it is made on."""
    kept = {k: copy.deepcopy(v) for k, v in data.items() if k not in names}
    if "build" in names:
        for key in ("followup", "simulated_followup", "simulated_print"):
            kept.pop(key, None)
        # Scans after the operation are nobody's any more.
        kept["ingest"]["series"] = {
            k: v for k, v in kept["ingest"]["series"].items() if not k.startswith("ct_m")
        }
    return kept


@pytest.mark.parametrize("last", range(len(LATER)))
def test_a_case_may_end_before_any_of_them(tiny: dict[str, Any], last: int) -> None:
    dropped = [name for group in LATER[last:] for name in group]
    case = parse(CaseConfig, without(tiny, *dropped), "tiny")
    assert [name for name in SECTIONS if getattr(case, name) is None] == dropped


@pytest.mark.parametrize(
    ("missing", "who"),
    [
        (("plan",), "release"),
        (("lattice", "inspect", "release"), "implant and strength and build"),
        (("tumour", *SECTIONS[3:]), "prototype"),
    ],
)
def test_none_may_be_left_out_in_between(tiny: dict[str, Any], missing: tuple[str, ...], who: str) -> None:
    with pytest.raises(ConfigError, match=f"section `{missing[0]}` is missing, and {who} builds on it"):
        parse(CaseConfig, without(tiny, *missing), "tiny")


def test_followup_needs_the_lattice_it_reads(tiny: dict[str, Any]) -> None:
    early = without(tiny, *SECTIONS[1:]) | {"followup": tiny["followup"]}
    with pytest.raises(ConfigError, match="section `lattice` is missing, and followup builds on it"):
        parse(CaseConfig, early, "tiny")


def test_a_stage_that_no_case_has_is_refused(tiny: dict[str, Any], tmp_path: Path) -> None:
    whole = parse(CaseConfig, tiny, "tiny")
    bones = parse(CaseConfig, without(tiny, *SECTIONS), "tiny")
    planned = parse(CaseConfig, without(tiny, *SECTIONS[2:]), "tiny")
    assert ends_before("build", {"a": whole}, tmp_path) == []
    assert ends_before("build", {"a": whole, "b": bones}, tmp_path) == ["build is not configured in b"]
    with pytest.raises(
        ConfigError, match="build is not configured in b; build is not configured in c"
    ) as error:
        ends_before("build", {"b": planned, "c": planned}, tmp_path)
    assert error.value.fix.startswith("fill in `prototype`, `implant`, `strength`, `lattice`, `build` there")
    assert str(tmp_path / "b.yaml") in error.value.where
    with pytest.raises(ConfigError, match="followup is not configured in b") as error:
        ends_before("followup", {"b": bones}, tmp_path)
    assert "`tumour`" in error.value.fix and "`followup`" in error.value.fix


@pytest.mark.slow
def test_targets_beyond_the_end_of_a_case(tiny: dict[str, Any], tmp_path: Path) -> None:
    work = new_workspace(tmp_path / "w")
    work.write_case("bones_only", without(tiny, *SECTIONS))
    done = work.snakemake("build", "--dry-run", cases="bones_only")
    assert done.returncode == 2 and "build is not configured in bones_only" in done.stderr
    assert "Traceback" not in done.stderr and "fill in `tumour`" in done.stderr
    done = work.snakemake("build", "--dry-run", cases="bones_only,tiny")
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("build is not configured in bones_only") == 1
    assert "build_part" in done.stdout + done.stderr
    assert work.snakemake("report", "--dry-run", cases="bones_only").returncode == 0


#: What a config leaves out, the last job of that case, and one that is not run.
ENDS = {
    "bones": (SECTIONS, "gate_labels", "measure_tumour"),
    "planned": (SECTIONS[2:], "plan_resection", "make_prototype"),
    "modelled": (SECTIONS[3:], "gate_review", "design_implant"),
    "printed": (SECTIONS[3:], "print_prototype", "design_implant"),
}


@pytest.fixture(scope="module")
def planned(tiny: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Rules of a dry run of all these cases, by case."""
    work = new_workspace(tmp_path_factory.mktemp("ends") / "w")
    for name, (dropped, *_) in ENDS.items():
        case = without(tiny, *dropped)
        if name == "printed":
            case["prototype"]["printer"] = "prusa-mk4"
        work.write_case(name, case)
    done = work.snakemake("report", "--dry-run", cases=",".join(ENDS))
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, set[str]] = {name: set() for name in ENDS}
    for block in re.split(r"^ *(?:local)?rule (?=\w+:)", done.stdout + done.stderr, flags=re.M)[1:]:
        case = re.search(r"^ *wildcards: case=(\w+)", block, flags=re.M)
        if case is not None:
            found[case[1]].add(block.partition(":")[0])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ENDS)
def test_the_pipeline_runs_as_far_as_the_config(name: str, planned: dict[str, set[str]]) -> None:
    _, last, not_run = ENDS[name]
    assert {"segment_bones", last, "audit_case", "report_case"} <= planned[name]
    assert not any(rule.startswith(not_run) for rule in planned[name])
