"""The page in a real Chromium without a network: it opens, asks for nothing, and its parts can be switched."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import report_fabricated as made

from implantflow.artifacts import write_json

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
]

pytestmark = pytest.mark.skipif(
    not Path(CHROMIUM).exists() and os.environ.get("CI") != "true",
    reason="chromium is not installed (apt-get install chromium); CI must have it",
)


class Visit:
    """A page opened from disk, with everything it asked for and complained about."""

    def __init__(self, browser: Any, path: Path, width: int = 1300) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900})
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda r: self.requests.append(r.url))
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))
        self.page.goto(path.resolve().as_uri())


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def with_comparison(rendered_case: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page with a comparison beside it."""
    folder = tmp_path_factory.mktemp("page")
    shutil.copy(rendered_case / "report/index.html", folder / "index.html")
    entry = {
        "shown_value": "11.2 mm",
        "shown_truth": "11.0 mm",
        "shown_error": "+1.8 %",
        "text": "11.0 mm (+1.8 %)",
    }
    write_json(folder / "c.json", {"available": True, "figures": {"plan.osteotomy_margin_min_mm": entry}})
    text = (folder / "c.json").read_text(encoding="utf-8")
    (folder / "comparison.js").write_text(f"window.implantflowComparison = {text};", encoding="utf-8")
    return folder / "index.html"


def test_opens_without_errors_and_without_requests(
    browser: Any, with_comparison: Path, tmp_path: Path
) -> None:
    visit = Visit(browser, with_comparison)
    visit.page.locator("#scene").scroll_into_view_if_needed()
    visit.page.wait_for_selector("#scene-frame[data-ready]", timeout=60_000)
    visit.page.wait_for_timeout(500)
    assert visit.errors == []
    assert [u for u in visit.requests if not u.startswith(("file:", "blob:", "data:"))] == []
    assert visit.page.evaluate("document.images.length") >= 10
    broken = "[...document.images].filter(i => !i.complete || i.naturalWidth === 0).length"
    assert visit.page.evaluate(broken) == 0
    visit.page.screenshot(path=tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 10_000


def test_parts_of_the_scene_can_be_switched(browser: Any, with_comparison: Path) -> None:
    visit = Visit(browser, with_comparison)
    visit.page.locator("#scene").scroll_into_view_if_needed()
    visit.page.wait_for_selector("#scene-frame[data-ready]", timeout=60_000)
    box = visit.page.locator("label", has_text="implant").locator("input").first
    number = box.get_attribute("data-part")
    state = f"""async () => {{
        const k = await document.getElementById('scene-frame').contentWindow.K3DInstance;
        return k.getWorld().ObjectsListJson[{number}].visible;
    }}"""
    visit.page.wait_for_timeout(500)
    assert visit.page.evaluate(state) is True
    box.uncheck()
    visit.page.wait_for_timeout(500)
    assert visit.page.evaluate(state) is False


def test_truth_stands_beside_its_figure(browser: Any, with_comparison: Path) -> None:
    visit = Visit(browser, with_comparison)
    shown = visit.page.locator('[data-truth="plan.osteotomy_margin_min_mm"]').text_content()
    assert shown == "11.0 mm (+1.8 %)"
    assert visit.page.locator("#comparison-table tbody tr").count() == 1


def test_narrow_screen_does_not_scroll_sideways(browser: Any, with_comparison: Path) -> None:
    visit = Visit(browser, with_comparison, width=390)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 392


def test_hostile_reason_runs_nothing(browser: Any, tmp_path: Path) -> None:
    from implantflow.report.command import render_case

    case_dir = tmp_path / "results" / "hostile"
    case_dir.mkdir(parents=True)
    made.fail(
        case_dir, "segment_bones", "<img src=x onerror='window.owned=1'><script>window.owned=1</script>"
    )
    visit = Visit(browser, render_case(case_dir, case_dir / "report"))
    visit.page.wait_for_timeout(300)
    assert visit.page.evaluate("window.owned") is None
    assert visit.errors == []
