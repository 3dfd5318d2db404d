"""The page of suspects in a real Chromium, where the machine has one: what a person chooses is what fuse reads."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from components.common.dataset import Dataset
from components.evaluate.suspects import PAGE, find_suspects, write_page
from components.fuse.decisions import Decision, read_decisions
from tests.components.evaluate.conftest import CLASSES, PREFIX, doubt_everything, predict

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
playwright = pytest.importorskip("playwright.sync_api", reason="`make test-browser` installs playwright")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]

Open = Callable[[Dataset, pd.DataFrame], Any]


@pytest.fixture(params=[{}, PHONE], ids=["desktop", "phone"])
def open_page(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Open the page of a table; it must ask for nothing, say nothing in the console, and fit its window."""
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_context(**request.param).new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda sent: complaints.append(sent.url) if not sent.url.startswith(("file:", "data:", "blob:")) else None)

        def open_it(dataset: Dataset, table: pd.DataFrame) -> Any:
            write_page(dataset, table, "frozen", tmp_path / PAGE)
            page.goto((tmp_path / PAGE).as_uri())
            return page

        yield open_it
        assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
        assert complaints == []
        browser.close()


def download(page: Any, folder: Path) -> list[Decision]:
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download decisions.yaml").press("Enter")
    assert waiting.value.suggested_filename == "decisions.yaml"
    waiting.value.save_as(folder / "decisions.yaml")
    assert (folder / "decisions.yaml").read_text() == page.get_by_label("decisions.yaml", exact=True).input_value()
    return read_decisions(folder / "decisions.yaml")


def test_choices_become_a_file_that_fuse_reads(open_page: Open, decided: Dataset, tmp_path: Path) -> None:
    page = open_page(decided, find_suspects(decided, predict(decided, {f"{PREFIX}cat.3.jpg", f"{PREFIX}cat.5.jpg"})))
    before = {decision.id: decision.action for decision in download(page, tmp_path)}
    assert before == {f"{PREFIX}dog.40.jpg": "drop", f"{PREFIX}dog.42.jpg": "relabel", f"{PREFIX}dog.44.jpg": "keep"}
    first, second = (page.get_by_role("group", name=f"What is cat.{number}.jpg?") for number in (4085, 3))
    first.get_by_role("radio", name="is dog").check()
    # By keyboard: from one group to the next, then past "open" to "keep".
    first.get_by_role("radio", checked=True).press("Tab")
    page.keyboard.press("ArrowRight")
    playwright.expect(second.get_by_role("radio", checked=True)).to_be_focused()
    playwright.expect(page.locator("#count")).to_have_text("5 of 6 decided")
    page.get_by_role("group", name="What is dog.40.jpg?").get_by_role("radio", name="open").check()
    after = {decision.id: (decision.action, decision.label) for decision in download(page, tmp_path)}
    assert after == {
        f"{PREFIX}cat.4085.jpg": ("relabel", "dog"),
        f"{PREFIX}cat.3.jpg": ("keep", None),
        f"{PREFIX}dog.42.jpg": ("relabel", "cat"),
        f"{PREFIX}dog.44.jpg": ("keep", None),
    }


def test_any_of_many_classes_can_be_given(open_page: Open, many: Dataset, tmp_path: Path) -> None:
    page = open_page(many, doubt_everything(many))
    for number, name in enumerate(CLASSES):
        page.get_by_role("combobox").nth(number).select_option(name)
    assert [decision.label for decision in download(page, tmp_path)] == CLASSES
