"""The review sheet in a real Chromium without a network: the 3-D view draws, turns, switches parts, and prints."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]

pytestmark = pytest.mark.skipif(
    not Path(CHROMIUM).exists() and os.environ.get("CI") != "true",
    reason="chromium is not installed (apt-get install chromium); CI must have it",
)


def test_sheet_draws_and_asks_for_nothing(rp2: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1000, "height": 900})
        asked: list[str] = []
        errors: list[str] = []
        page.on("request", lambda r: asked.append(r.url))
        page.on("pageerror", lambda e: errors.append(str(e)))
        address = (rp2 / "sheet.html").resolve().as_uri()
        page.goto(address)
        assert page.evaluate("document.documentElement.dataset.scene") == "drawn"
        canvas = page.locator("#scene")
        pictures = [canvas.screenshot()]
        assert _sides(page) == ["R", "L", "H", "F"]
        page.click("text=from the feet")
        assert _sides(page) == ["R", "L", "A", "P"]
        # 20 mm of the frame, whose shorter side is the height.
        reach = page.evaluate("JSON.parse(document.getElementById('scene-data').textContent).reach_mm")
        tall = page.evaluate("document.getElementById('scene').clientHeight")
        wide = float(page.evaluate("getComputedStyle(document.getElementById('bar')).width")[:-2])
        assert wide == pytest.approx(20.0 * tall / (2.0 * reach), rel=0.01)
        page.click("text=from behind")
        assert _sides(page) == ["L", "R", "H", "F"]
        pictures.append(canvas.screenshot())
        page.locator('[data-part="2"]').check()
        pictures.append(canvas.screenshot())
        page.locator('[data-part="0"]').uncheck()
        page.locator('[data-part="2"]').uncheck()
        pictures.append(canvas.screenshot())
        assert len(set(pictures)) == 4, "each view and part looks different"
        assert len(pictures[3]) < 0.5 * len(pictures[0]), "nothing shown: an empty frame"
        page.emulate_media(media="print")
        assert not page.locator("button").first.is_visible() and canvas.is_visible()
        assert [a for a in asked if not a.startswith("data:")] == [address]
        assert errors == []
        browser.close()


def _sides(page: Any) -> list[str]:
    """Letters at the left, right, top and bottom of the 3-D view."""
    return [page.inner_text(f"#side-{edge}") for edge in ("left", "right", "top", "bottom")]
