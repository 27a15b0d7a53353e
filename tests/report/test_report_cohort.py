"""The table over cases: figures, failures with reasons, cases without a report, the same bytes twice."""

from __future__ import annotations

import math
import re
import shutil
from pathlib import Path

import pyarrow.parquet
import pytest

from implantflow.artifacts import read_json, write_json
from implantflow.cli import main
from implantflow.report.cohort import case_row, render_cohort
from implantflow.report.strip import strip


@pytest.fixture
def results(rendered_case: Path, tmp_path: Path) -> Path:
    """One good case, one failed case, one folder without a report."""
    folder = tmp_path / "results"
    for name in ("good", "bad"):
        (folder / name / "report").mkdir(parents=True)
        shutil.copy(rendered_case / "report/case.json", folder / name / "report/case.json")
    data = read_json(folder / "bad/report/case.json")
    data["plan"] = {"status": "failed", "reason": "margin <b>too small</b>", "next": "extend"}
    write_json(folder / "bad/report/case.json", data)
    (folder / "unfinished").mkdir()
    return folder


def test_rows_hold_figures_and_reasons(results: Path) -> None:
    good, bad, unfinished = (case_row(results, n) for n in ("good", "bad", "unfinished"))
    assert good["problem"] is None
    assert good["osteotomy_margin_min_mm"] == pytest.approx(11.2)
    assert good["build_time_h"] == pytest.approx(21.0)
    assert bad["osteotomy_margin_min_mm"] is None
    assert "margin" in bad["problem"]
    assert "not been made" in unfinished["problem"]


def test_a_case_is_as_far_as_its_worst_stage(results: Path) -> None:
    path = results / "bad/report/case.json"
    data = read_json(path) | {"tags": ["atlas"]}
    data["segment"] = {"status": "awaiting_review", "reason": "labels wait", "next": "review"}
    write_json(path, data)
    good, bad, unfinished = (case_row(results, n) for n in ("good", "bad", "unfinished"))
    assert (bad["state"], bad["at"], bad["tags"]) == ("failed", "plan", "atlas")
    assert (good["state"], unfinished["state"]) == ("complete", "missing")
    data["plan"] = {"status": "done"}
    write_json(path, data)
    waiting = case_row(results, "bad")
    assert (waiting["state"], waiting["at"]) == ("waiting", "segment")
    assert "labels wait" in waiting["problem"]


def test_page_and_table(results: Path) -> None:
    page = render_cohort([], results).read_text(encoding="utf-8")
    assert "3 cases" in page
    assert "../good/report/index.html" in page
    assert "margin &lt;b&gt;too small&lt;/b&gt;" in page
    table = pyarrow.parquet.read_table(results / "cohort/cohort.parquet")
    assert table["case"].to_pylist() == ["bad", "good", "unfinished"]
    assert table["status_plan"].to_pylist() == ["failed", "done", None]


@pytest.mark.parametrize("name", ["nope", "../good", "Good", "", "good\n", "cohort"])
def test_a_case_that_is_none_is_refused(
    name: str, results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(results.parent)
    assert main(["cohort", "good", name]) == 3
    told = capsys.readouterr().err
    assert "no case" in told and "fix:" in told
    assert not (results / "cohort").exists()


def test_a_case_with_a_config_only_has_a_row(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(results.parent)
    Path("config/cases").mkdir(parents=True)
    Path("config/cases/planned.yaml").write_text("case: planned\n")
    assert main(["cohort", "good", "planned"]) == 0
    table = pyarrow.parquet.read_table(results / "cohort/cohort.parquet")
    assert table["state"].to_pylist() == ["complete", "missing"]


def test_spread_tells_every_case(results: Path) -> None:
    drawn = strip("Margin, mm", [10.0, 10.0, 10.1, 12.0, 15.0, 15.0], list("abcdef"))
    dots = re.findall(r'cx="([\d.]+)" cy="([\d.]+)" r="[\d.]+"[^>]*><title>(\w): ([\d.]+)', drawn)
    assert {(name, float(value)) for _, _, name, value in dots} == set(
        zip("abcdef", [10.0, 10.0, 10.1, 12.0, 15.0, 15.0], strict=True)
    )
    places = [(float(x), float(y)) for x, y, _, _ in dots]
    apart = min(math.dist(a, b) for n, a in enumerate(places) for b in places[:n])
    assert apart > 8.0, "dots cover one another"
    assert "median 11.1" in drawn


def test_same_bytes_twice(results: Path) -> None:
    render_cohort(["good", "bad"], results)
    first = {p.name: p.read_bytes() for p in (results / "cohort").iterdir()}
    render_cohort(["good", "bad"], results)
    assert {p.name: p.read_bytes() for p in (results / "cohort").iterdir()} == first
