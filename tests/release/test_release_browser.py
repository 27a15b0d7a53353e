"""The traveller's form in a real Chromium, offline: what a person fills and saves there is accepted."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from release_room import Room

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"

pytestmark = pytest.mark.skipif(
    not Path(CHROMIUM).exists() and os.environ.get("CI") != "true",
    reason="chromium is not installed (apt-get install chromium); CI must have it",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


class Form:
    """The page, everything it asked for, and everything it complained about."""

    def __init__(self, browser: Any, path: Path) -> None:
        self.page = browser.new_page(viewport={"width": 1200, "height": 1000}, accept_downloads=True)
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda r: self.requests.append(r.url))
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))
        self.page.goto(path.resolve().as_uri())

    def fill(self, filled: dict[str, Any]) -> None:
        for name in ("powder_lot", "powder_reuse_count", "machine_serial", "build_job"):
            self.page.fill(f"[name='{name}']", str(filled[name]))
        for step in filled["steps"]:
            self.page.fill(f"[name='{step['step']}.who']", step["who"])
            self.page.fill(f"[name='{step['step']}.when']", step["when"])
            self.page.check(f"[name='{step['step']}.accepted'][value={'yes' if step['accepted'] else 'no'}]")
            self.page.fill(f"[name='{step['step']}.remarks']", step["remarks"])

    def save(self, path: Path) -> dict[str, Any]:
        with self.page.expect_download() as waiting:
            self.page.click("#save")
        waiting.value.save_as(path)
        self.name = waiting.value.suggested_filename
        return json.loads(path.read_text())  # type: ignore[no-any-return]

    @property
    def message(self) -> str:
        return str(self.page.inner_text("#message"))


def test_filled_form_is_accepted_by_the_release(browser: Any, room: Room, tmp_path: Path) -> None:
    form = Form(browser, room.form())
    assert "28 open: powder lot is missing" in form.message
    filled = room.filled()
    form.fill(filled)
    assert form.message == "Complete."
    saved = form.save(tmp_path / "filled.json")
    assert saved == filled and form.name == "traveller.demo.r2.json"
    assert form.errors == []
    assert [u for u in form.requests if not u.startswith(("file:", "blob:"))] == []
    room.hand_in(saved)
    assert room.release()["complete"] is True


def test_half_filled_form_is_saved_loaded_and_refused(browser: Any, room: Room, tmp_path: Path) -> None:
    form = Form(browser, room.form())
    form.page.fill("[name='powder_lot']", "P-77")
    form.page.fill("[name='powder.who']", "A. Öz <x>")
    saved = form.save(tmp_path / "half.json")
    again = Form(browser, room.form())
    again.page.set_input_files("#load", tmp_path / "half.json")
    again.page.wait_for_function("document.querySelector('[name=\"powder_lot\"]').value !== ''")
    assert again.page.input_value("[name='powder.who']") == "A. Öz <x>"
    assert again.message.startswith("26 open")
    assert saved["powder_reuse_count"] is None
    room.hand_in(saved)
    with pytest.raises(Exception, match="not a filled traveller"):
        room.release()


def test_form_tells_dates_out_of_order_and_refused_steps(browser: Any, room: Room) -> None:
    form = Form(browser, room.form())
    filled = room.filled()
    filled["steps"][5]["when"] = "2025-05-01"
    filled["steps"][6]["accepted"] = False
    form.fill(filled)
    assert "cleaning is dated before machining" in form.message
    assert "sterilisation was not accepted" in form.message


def test_file_of_another_part_is_not_loaded(browser: Any, room: Room, tmp_path: Path) -> None:
    form = Form(browser, room.form())
    (tmp_path / "other.json").write_text(json.dumps(room.filled(revision="r1")))
    form.page.set_input_files("#load", tmp_path / "other.json")
    form.page.wait_for_function("document.getElementById('message').textContent.startsWith('Not loaded')")
    assert "revision is not that of this part" in form.message
    assert form.page.input_value("[name='powder_lot']") == ""
