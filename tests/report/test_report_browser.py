"""The page in a real Chromium without a network: it opens, asks for nothing, and its parts can be switched."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import report_fabricated as made

from implantflow.artifacts import read_json, write_json
from implantflow.report.cohort import render_cohort

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


def test_view_of_the_scene_follows_the_keyboard(browser: Any, with_comparison: Path) -> None:
    visit = Visit(browser, with_comparison)
    visit.page.locator("#scene").scroll_into_view_if_needed()
    visit.page.wait_for_selector("#scene-frame[data-ready]", timeout=60_000)

    def camera() -> list[float]:
        """Eye relative to the target, mm LPS."""
        found = visit.page.evaluate("""async () => {
            const k = await document.getElementById('scene-frame').contentWindow.K3DInstance, w = k.getWorld();
            return w.camera.position.clone().sub(w.controls.target).toArray();
        }""")
        return [float(v) for v in found]

    def press(name: str) -> list[float]:
        visit.page.get_by_role("button", name=name, exact=True).focus()
        visit.page.keyboard.press("Enter")
        visit.page.wait_for_timeout(400)
        return camera()

    first = camera()
    far = math.dist(first, (0, 0, 0))
    assert press("Left") == pytest.approx([far, 0, 0], abs=0.01 * far), "patient's left is +x in LPS"
    assert press("Anterior") == pytest.approx([0, -far, 0], abs=0.01 * far)
    assert press("From above") == pytest.approx([0, 0, far], abs=0.01 * far)
    assert press("Start") == pytest.approx(first, abs=0.01 * far)
    assert math.dist(press("Closer"), (0, 0, 0)) == pytest.approx(0.8 * far, rel=0.01)
    assert visit.errors == []


def test_layers_follow_the_keyboard(browser: Any, with_comparison: Path) -> None:
    visit = Visit(browser, with_comparison)
    box = visit.page.locator(".frames").first
    before = box.evaluate("b => getComputedStyle(b.querySelector('img')).transform")
    box.get_by_role("slider").focus()
    visit.page.keyboard.press("ArrowRight")
    assert box.evaluate("b => getComputedStyle(b.querySelector('img')).transform") != before


@pytest.mark.parametrize("width", [1300, 390])
def test_axe_finds_nothing(browser: Any, with_comparison: Path, width: int) -> None:
    """axe-core: names, roles, contrast, landmarks, order of headings, reach by keyboard."""
    if os.environ.get("CI") == "true":
        import axe_playwright_python.sync_playwright as axe
    else:
        axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    visit = Visit(browser, with_comparison, width)
    found = axe.Axe().run(visit.page).response
    assert len(found["passes"]) > 20, "axe looked at hardly anything"
    told = [(v["id"], v["help"], [n["target"] for n in v["nodes"][:3]]) for v in found["violations"]]
    assert told == []


def test_focus_goes_through_the_page_in_its_order(browser: Any, with_comparison: Path) -> None:
    visit = Visit(browser, with_comparison)
    seen: list[float] = []
    for step in range(60):
        visit.page.keyboard.press("Tab")
        where = visit.page.evaluate("""() => {
            const e = document.activeElement;
            return [e.tagName, [...document.querySelectorAll('*')].indexOf(e), e.getAttribute('href')];
        }""")
        if step == 0:
            assert where[2] == "#summary", "the first stop skips the menu"
        seen.append(where[1])
    assert seen == sorted(seen) and len(set(seen)) == len(seen), "no trap, no jump"


def test_prints_to_pdf_without_controls(browser: Any, with_comparison: Path, tmp_path: Path) -> None:
    visit = Visit(browser, with_comparison)
    visit.page.emulate_media(media="print")
    assert not visit.page.locator("nav[aria-label=Sections]").is_visible()
    assert visit.page.locator(".banner").is_visible()
    assert not any(f.is_visible() for f in visit.page.locator("input[type=range]").all())
    visit.page.pdf(path=tmp_path / "page.pdf", format="A4", print_background=True)
    assert (tmp_path / "page.pdf").read_bytes().count(b"/Type /Page\n") >= 5


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


def test_cohort_is_sorted_and_filtered(browser: Any, rendered_case: Path, tmp_path: Path) -> None:
    for name, margin in (("left_one", 12.0), ("left_two", 9.5), ("right_one", None)):
        data = read_json(rendered_case / "report/case.json")
        data["side"] = name.split("_")[0]
        data["plan"]["osteotomy_margin_min_mm"] = margin
        (tmp_path / name / "report").mkdir(parents=True)
        write_json(tmp_path / name / "report" / "case.json", data)
    visit = Visit(browser, render_cohort([], tmp_path))
    page = visit.page

    def shown() -> list[str]:
        return [t for t in page.locator("#table tbody th").all_inner_texts() if t]

    button = page.get_by_role("button", name="Margin, mm")
    button.focus()
    page.keyboard.press("Enter")
    assert shown() == ["left_two", "left_one", "right_one"]
    button.click()
    assert shown() == ["left_one", "left_two", "right_one"], "a case without the figure stays last"
    assert page.locator('th[aria-sort="descending"]').inner_text().startswith("Margin, mm")
    page.locator("#filter").fill("left one")
    assert page.locator("#table tbody tr:visible").count() == 1
    assert page.locator("#shown").inner_text() == "1 of 3"
    assert visit.errors == [] and len(visit.requests) == 1
