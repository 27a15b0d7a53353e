"""The page: escaped, self-contained, the same bytes twice, and made whatever is missing."""

from __future__ import annotations

import re
import shutil
import socket
from html.parser import HTMLParser
from pathlib import Path

import pytest
import report_fabricated as made
import yaml

from implantflow.artifacts import read_json
from implantflow.audit import ledger
from implantflow.errors import InputError
from implantflow.jobs import Job
from implantflow.report.command import render, render_case
from implantflow.report.run_record import run_record, write_run_record
from implantflow.report.stage import report_case

FIGURES = [
    "segmentation-planes",
    "si-joints",
    "bones-3d",
    "tumour-over-time",
    "registration-checkerboard",
    "plan-3d",
    "plan-planes",
    "iterations",
    "implant-specimen",
    "fit-planes",
    "radiographs",
    "layers",
]


def page_of(case_dir: Path) -> str:
    return (case_dir / "report/index.html").read_text(encoding="utf-8")


class _Links(HTMLParser):
    """Every address the page's own markup asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [
            v or "" for k, v in attrs if k in {"src", "href", "srcset", "data", "action", "poster"}
        ]


def test_complete_page_has_every_figure_and_no_problem(rendered_case: Path) -> None:
    page = page_of(rendered_case)
    for key in FIGURES:
        assert f'id="figure-{key}"' in page, key
    assert "could not be" not in page
    assert "SIMULATED PATIENT · NOT FOR CLINICAL USE" in page
    assert len(page) < 15e6


def test_page_asks_for_nothing_but_the_comparison(rendered_case: Path) -> None:
    page = page_of(rendered_case)
    links = _Links()
    links.feed(page)
    outside = [a for a in links.found if not a.startswith(("#", "data:"))]
    assert outside == ["comparison.js"]
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL).replace(
        "http://www.w3.org/2000/svg", ""
    )
    assert not re.search(r"https?:|//[a-z]+\.[a-z]|@import|url\((?!data:)", markup)


def test_a_persons_case_has_no_comparison(case_copy: Path) -> None:
    config = {k: v for k, v in made.CONFIG.items() if k != "simulated"}
    for folder in ("ingest", "segment", "plan", "prototype", "implant", "build"):
        shutil.rmtree(case_copy / folder)
    (case_copy / "config.resolved.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    render_case(case_copy, case_copy / "report")
    page = page_of(case_copy)
    assert "<script src=" not in page
    assert "SIMULATED" not in page.split("</header>")[0]
    assert "NOT FOR CLINICAL USE" in page


def test_made_images_that_came_as_files_are_called_simulated(case_copy: Path) -> None:
    config = {k: v for k, v in made.CONFIG.items() if k != "simulated"}
    config["ingest"] = config["ingest"] | {"made_images": "CT made from atlas pelvis 2"}
    (case_copy / "config.resolved.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    render_case(case_copy, case_copy / "report")
    page = page_of(case_copy)
    assert "simulated (CT made from atlas pelvis 2)" in page
    assert "SIMULATED PATIENT" in page.split("</header>")[0]
    assert "of a person" not in page
    assert "<script src=" not in page, "there is no truth to compare with"
    assert 'class="truth' not in page.split("<body")[1]
    assert read_json(case_copy / "report" / "case.json")["simulated"] is True


def test_hostile_text_is_shown_not_run(tmp_path: Path) -> None:
    case_dir = tmp_path / "results" / "hostile"
    case_dir.mkdir(parents=True)
    attack = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'</textarea>"
    made.fail(case_dir, "segment_bones", attack, fix=attack)
    render_case(case_dir, case_dir / "report")
    page = page_of(case_dir)
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_failed_stage_is_rendered_with_reason_and_next_step(case_copy: Path) -> None:
    for folder in (
        "implant",
        "ingest/ct_planning",
        "ingest/mr_diagnosis",
        "prototype/rp1",
        "lattice",
        "build",
    ):
        shutil.rmtree(case_copy / folder)
    made.fail(case_copy, "design_implant", "gap of 4.0 mm", fix="lower the clearance")
    render_case(case_copy, case_copy / "report")
    page = page_of(case_copy)
    summary = page.split('id="summary"')[1].split("</section>")[0]
    assert "✕ failed" in summary
    assert "gap of 4.0 mm" in summary
    assert "lower the clearance" in summary
    assert 'id="figure-plan-3d"' in page
    assert made.case_json(case_copy)["lattice"]["status"] == "awaiting_input"


def test_damaged_files_cost_their_pictures_only(case_copy: Path) -> None:
    victims = [
        "segment/l5.stl",
        "ingest/ct_planning/volume.nii.gz",
        "build/r1/build.cli",
        "implant/regions.json",
    ]
    for victim in victims:
        path = case_copy / victim
        path.write_bytes(path.read_bytes()[:100])
    render_case(case_copy, case_copy / "report")
    page = page_of(case_copy)
    for victim in victims:
        assert victim in page or Path(victim).name in page, victim
    assert 'id="figure-layers"' not in page
    assert 'id="figure-iterations"' in page


def test_stage_function_writes_its_two_outputs_and_the_same_bytes(
    rendered_case: Path, case_copy: Path
) -> None:
    out = {"index": case_copy / ".tmp-index.html", "case_json": case_copy / ".tmp-case.json"}
    before = {p for p in case_copy.rglob("*") if p.is_file()}
    job = Job(
        rule="report_case",
        case_dir=case_copy,
        wildcards={"case": "made_up"},
        inputs={},
        outputs=out,
        settings={"config": made.CONFIG},
        function="implantflow.report.stage:report_case",
        code_digest="",
    )
    report_case(job)
    assert {p for p in case_copy.rglob("*") if p.is_file()} - before == set(out.values())
    assert out["index"].read_bytes() == (rendered_case / "report/index.html").read_bytes()
    assert out["case_json"].read_bytes() == (rendered_case / "report/case.json").read_bytes()


def test_command_refuses_what_is_no_case(tmp_path: Path) -> None:
    for name in ("absent", "../etc", ""):
        with pytest.raises(InputError):
            render(name, tmp_path)


def test_run_record_reads_benchmarks(case_copy: Path) -> None:
    folder = case_copy / "benchmarks"
    folder.mkdir()
    (folder / "segment_bones.tsv").write_text("s\tmax_rss\tcpu_time\n12.5\t900.0\t11.0\n", encoding="utf-8")
    record = run_record(case_copy)
    assert record["wall_sum_s"] == pytest.approx(12.5)
    assert record["jobs"][0]["job"] == "segment_bones"
    assert record["hosts"] == {}
    ledger.append(case_copy, {"event": "job", "rule": "segment_bones", "inputs": {}, "outputs": {}})
    (case_copy / "report").mkdir(exist_ok=True)
    write_run_record(case_copy)
    assert read_json(case_copy / "report" / "run.json")["hosts"] == {socket.gethostname(): 1}
