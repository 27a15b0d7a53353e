"""What people and scanners write, opened in a real Chromium: shown as text, nothing runs, nothing is asked for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_case import Made

from implantflow.audit.stage import audit_case
from implantflow.errors import InputError

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"

attack = pytest.mark.attack("hostile text")
pytestmark = [
    pytest.mark.skipif(
        not Path(CHROMIUM).exists() and os.environ.get("CI") != "true",
        reason="chromium is not installed (apt-get install chromium); CI must have it",
    ),
]

TEXTS = {
    "image_with_a_handler": "<img src=x onerror=window.owned=1>",
    "script": "</td></table><script>window.owned=1</script>",
    "attribute_break": "\" onmouseover=window.owned=1 autofocus onfocus=window.owned=1 x=\"",
    "svg": "<svg onload=window.owned=1><animate onbegin=window.owned=1 attributeName=x dur=1s>",
    "template": "{{ cycler.__init__.__globals__.os.system('touch pwned') }}{% raw %}",
    "frame_and_link": "<iframe srcdoc='<script>parent.owned=1</script>'></iframe>"
    "<a href='javascript:window.owned=1'>x</a><base href=//example.invalid/>",
    "style": "<style>@import url(//example.invalid/x.css)</style><link rel=stylesheet href=//example.invalid>",
}  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield opened
        opened.close()


def open_page(browser: Any, path: Path) -> tuple[Any, list[str]]:
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.resolve().as_uri())
    # Hover and focus whatever there is: handlers that wait for a person get their chance.
    page.evaluate(
        "document.querySelectorAll('*').forEach(e => { for (const n of ['mouseover', 'focus', 'click', 'load'])"
        " e.dispatchEvent(new Event(n)) })"
    )
    page.wait_for_timeout(100)
    return page, [url for url in asked if not url.startswith(("file:", "data:", "blob:"))]


@attack
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_reviewers_reason_and_a_jobs_error(made: Made, browser: Any, text: str) -> None:
    """In the reason of a signature and in an error that quotes a DICOM description; audit page in Chromium."""
    made.policy = "signed"
    made.run("segment_bones")
    made.sign("labels", "emil", reason=text)
    made.run("gate_labels")
    made.policy = "auto"

    def refuse(job: Any) -> None:
        # As a stage that quotes a DICOM description it cannot use.
        raise InputError(f"series '{text}' is not an axial CT", where=text, fix=text)

    write = made._write
    made._write = refuse  # type: ignore[method-assign]
    made.attempt("plan_resection")
    made._write = write  # type: ignore[method-assign]
    made.run(
        "plan_resection", "make_prototype", "gate_review", "design_implant", "make_lattice", "gate_design",
        "build_part", "audit_case",
    )  # fmt: skip
    page, asked = open_page(browser, made.folder / "audit/trace.html")
    assert page.evaluate("window.owned") is None
    assert asked == []
    shown = page.inner_text("body")
    assert text.split("{%")[0].strip()[:30] in shown.replace("\n", " "), "the text is shown as it was written"
    assert not Path("pwned").exists()
    page.close()


@attack
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_report_of_a_failed_case(tmp_path: Path, browser: Any, text: str) -> None:
    """In what a failed job left for the report; its page in Chromium: nothing runs or is asked for."""
    from implantflow.artifacts import write_json
    from implantflow.report.command import render_case

    case = tmp_path / "results" / "hostile"
    write_json(
        case / "logs/ingest_series.ct_planning.status.json",
        {"rule": "ingest_series", "wildcards": {"case": "hostile", "series": "ct_planning"}, "status": "failed",
         "error": "InputError", "reason": text, "where": text, "next": text},
    )  # fmt: skip
    page, asked = open_page(browser, render_case(case, case / "report"))
    assert page.evaluate("window.owned") is None
    assert asked == []
    page.close()


def test_audit_function_is_the_one_the_ledger_names() -> None:
    """The page above was made by the stage that runs in a case."""
    from implantflow.audit.verify import AUDIT_FUNCTION

    assert f"{audit_case.__module__}:{audit_case.__qualname__}" == AUDIT_FUNCTION
