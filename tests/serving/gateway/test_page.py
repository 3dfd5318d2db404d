"""The web page in a real Chromium, where the machine has one: `make test-browser`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving.drift import MEASURES
from serving.gateway.sources import FolderSource
from serving.predictor import CARD_FILE, ModelCard
from tests.serving.gateway.conftest import StartGateway
from tests.serving.gateway.test_monitoring import describe
from tests.serving.http import Client, draw

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
playwright = pytest.importorskip("playwright.sync_api", reason="`make test-browser` installs playwright")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def client(start_gateway: StartGateway, two_models: FolderSource, tmp_path: Path) -> Client:
    for name in ("bright", "dark"):
        card = tmp_path / name / CARD_FILE
        replace(ModelCard.read(card), unfamiliar_below=0.5).write(card)
    describe(tmp_path / "bright")
    return start_gateway(two_models, flagged=tmp_path / "flagged")


@pytest.fixture(params=[{}, PHONE], ids=["desktop", "phone"])
def page(browser: Any, client: Client, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page, which must load nothing from elsewhere, say nothing in the console, and fit its window."""
    context = browser.new_context(**request.param)
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("request", lambda sent: complaints.append(sent.url) if not sent.url.startswith((client.address, "blob:")) else None)
    opened.goto(client.address)
    playwright.expect(opened.locator("#served")).to_contain_text("bright, version")
    yield opened
    assert not opened.evaluate("document.documentElement.scrollWidth > innerWidth")
    assert [text for text in complaints if "400 (Bad Request)" not in text] == []
    context.close()


def give(page: Any, *photos: tuple[str, bytes]) -> None:
    page.set_input_files("#files", [{"name": name, "mimeType": "image/png", "buffer": data} for name, data in photos])


def test_a_photo_is_answered_by_both_versions(page: Any, two_models: FolderSource) -> None:
    give(page, ("bright.png", draw(255)))
    opinions = page.locator(".opinion")
    playwright.expect(opinions).to_have_count(2)
    playwright.expect(opinions.nth(0)).to_contain_text(f"champion version {two_models.read_aliases()['champion']}", ignore_case=True)
    assert [opinions.nth(index).locator(".label").text_content() for index in range(2)] == ["dog", "cat"]
    assert opinions.nth(0).locator("li").all_text_contents() == ["dog98.2 %", "cat1.8 %"]
    playwright.expect(page.locator("#spoken")).to_have_text("bright.png. champion: dog, 98.2 %. challenger: cat, 98.2 %")
    page.get_by_label("Heat map", exact=True).fill("25")
    assert page.locator("canvas").evaluate("(canvas) => [canvas.width, getComputedStyle(canvas).opacity]") == [32, "0.25"]
    page.get_by_role("button", name="challenger: cat").click()
    playwright.expect(page.get_by_role("button", name="challenger: cat")).to_have_attribute("aria-pressed", "true")


def test_a_small_photo_is_enlarged_in_its_own_shape(page: Any) -> None:
    give(page, ("small.png", draw(255, (32, 64))))
    playwright.expect(page.locator(".label").first).to_have_text("dog")
    assert page.locator(".picture img").evaluate("(image) => [image.clientWidth, image.clientHeight]") == [160, 320]


def test_doubt_is_shown(page: Any) -> None:
    give(page, ("grey.png", draw(130)))
    playwright.expect(page.locator(".badge").first).to_be_visible()


def test_where_nothing_is_known_there_is_no_heat_map(page: Any, tmp_path: Path) -> None:
    give(page, ("grey.png", draw(130)), ("white.png", draw(255)))
    playwright.expect(page.locator(".label")).to_have_count(4)
    assert page.locator(".no-heat").evaluate_all("(notes) => notes.map((note) => note.checkVisibility())") == [True, False]
    assert page.locator(".heat").evaluate_all("(maps) => maps.map((map) => map.checkVisibility())") == [False, True]


def test_the_page_of_what_was_asked(page: Any, client: Client) -> None:
    for _ in range(3):
        assert client.post("/predict", files=[("image", draw(0))] * 50).status_code == 200
    page.get_by_role("link", name="Monitoring").click()
    playwright.expect(page.locator(".watched")).to_have_count(2)
    champion, challenger = page.locator(".watched").all()
    playwright.expect(champion).to_contain_text("150 photos, 0.0 % not sure; moved: brightness, ")
    playwright.expect(champion.locator(".labels li").first).to_have_text("cat150")
    counts = champion.locator(".labels li").evaluate_all("(rows) => rows.map((row) => [row.textContent, row.querySelectorAll('i').length])")
    assert counts == [["cat150", 1], ["dog0", 0]], "what was never answered has no bar"
    playwright.expect(champion.locator(".measures > li")).to_have_count(len(MEASURES))
    brightness = champion.locator(".measures > li").first
    playwright.expect(brightness.locator(".badge")).to_be_visible()
    assert brightness.locator(".chart span").first.get_attribute("title") == "below 80: 0.0 % held out, 100.0 % of late"
    playwright.expect(challenger).to_contain_text("no readable reference")
    playwright.expect(page.get_by_text("its last 1,000 photos beside")).to_be_visible()
    playwright.expect(brightness.locator(".index")).to_contain_text(", limit 0.")


def test_several_photos_and_one_that_is_none(page: Any) -> None:
    give(page, ("a.png", draw(255)), ("b.png", b"camera shy"), ("c.png", draw(0)))
    playwright.expect(page.locator(".card")).to_have_count(3)
    playwright.expect(page.locator(".failed")).to_have_text(
        "The 10 bytes are not an image in any accepted format (JPEG, PNG, GIF, WEBP, BMP, TIFF)"
    )
    playwright.expect(page.locator(".opinion")).to_have_count(4)
    page.get_by_role("button", name="Remove this photo").first.press("Enter")
    playwright.expect(page.locator(".card")).to_have_count(2)


def test_an_empty_file_is_called_one(page: Any) -> None:
    give(page, ("zero.png", b""))
    playwright.expect(page.locator(".failed")).to_contain_text("The file is empty (0 bytes)")


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_photos_can_be_dropped_and_pasted(page: Any, event: str) -> None:
    page.evaluate(
        """([kind, bytes]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], "given.png", { type: "image/png" }));
            document.dispatchEvent(kind === "drop" ? new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true })
                : new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true }));
        }""",
        [event, list(draw(255))],
    )
    playwright.expect(page.locator(".label").first).to_have_text("dog")


def test_a_misjudged_photo_is_kept_only_with_consent(page: Any, tmp_path: Path) -> None:
    give(page, ("bright.png", draw(255)))
    page.locator(".flag summary").press("Enter")
    page.get_by_label("What is it really?").select_option("cat")
    page.get_by_role("button", name="Send").click()
    assert not (tmp_path / "flagged").exists()
    page.locator("[name=consent]").press("Space")
    page.get_by_role("button", name="Send").press("Enter")
    playwright.expect(page.locator(".outcome")).to_contain_text("Thank you")
    assert ".png,cat,bright," in (tmp_path / "flagged" / "labels.csv").read_text()


def test_a_key_is_asked_for_once(browser: Any, start_gateway: StartGateway, two_models: FolderSource) -> None:
    client = start_gateway(two_models, api_key="secret")
    opened = browser.new_page()
    opened.goto(client.address)
    opened.get_by_role("textbox", name="API key").fill("secret")
    opened.get_by_role("button", name="Continue").click()
    playwright.expect(opened.locator("#served")).to_contain_text("bright, version")
    give(opened, ("bright.png", draw(255)))
    playwright.expect(opened.locator(".label").first).to_have_text("dog")
    opened.close()
