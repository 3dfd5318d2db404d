"""The pictures of the README, taken in Chromium after `make run`: `make pictures`. Every photo on them is a drawing of the sample."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from playwright.sync_api import sync_playwright

from components.common import tracking_store
from components.common.store import home

FOLDER = Path(__file__).parent
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--hide-scrollbars"]
PATIENCE = 90.0


def main() -> None:
    """Take all pictures."""
    evaluations = sorted(home().glob("runs/*-sample-*/*/evaluate/evaluation/report.html"))
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not evaluations or not chromium:
        sys.exit("needs a finished run of the recipe sample (`make run`) and Chromium on this machine")
    tracking_store.configure()
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as folder:
        browser = driver.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        window = browser.new_context(viewport={"width": 1500, "height": 900}).new_page()
        _take_report(window, evaluations[-1])
        _take_run_tree(window)
        _take_photo_page(window, evaluations[-1].parents[2], Path(folder))
        browser.close()


def _take_report(window: Any, report: Path) -> None:
    window.goto(report.as_uri())
    window.screenshot(path=FOLDER / "evaluation.png")


def _take_run_tree(window: Any) -> None:
    store = os.environ["MLFLOW_TRACKING_URI"]
    with _running(["mlflow", "server", "--backend-store-uri", store, "--no-serve-artifacts", "--workers", "1"], "/health") as address:
        experiment = requests.get(
            f"{address}/api/2.0/mlflow/experiments/get-by-name", params={"experiment_name": "sample"}, timeout=PATIENCE
        ).json()["experiment"]["experiment_id"]
        window.goto(f"{address}/#/experiments/{experiment}/runs")
        parent = window.get_by_role("link", name=re.compile(r"^sample \w+$"))
        box = parent.bounding_box(timeout=1000 * PATIENCE)
        # The box with the plus before the name has neither a name nor a role.
        window.mouse.click(box["x"] - 32, box["y"] + box["height"] / 2)
        window.get_by_text("evaluate", exact=True).first.wait_for()
        # Of the assistant that MLflow opens beside the runs.
        window.get_by_role("button", name="Close").first.click()
        window.screenshot(path=FOLDER / "run-tree.png")


def _take_photo_page(window: Any, run: Path, folder: Path) -> None:
    with zipfile.ZipFile(run / "fuse" / "dataset" / "test-originals.zip") as archive:
        photos = []
        for name in archive.namelist()[:2]:
            photos.append(folder / Path(name).name)
            photos[-1].write_bytes(archive.read(name))
    with _running(["serving.gateway", "--model", "sample"], "/readyz") as address:
        window.goto(address)
        window.set_input_files("#files", photos)
        window.locator(".opinion .verdict").nth(len(photos) - 1).wait_for()
        # The heat maps are drawn a moment after the answers.
        window.wait_for_timeout(1500)
        window.screenshot(path=FOLDER / "photo-page.png")


@contextmanager
def _running(module: list[str], ready: str) -> Iterator[str]:
    """Start a server on a free port, and wait until it answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with subprocess.Popen([sys.executable, "-m", *module, "--port", str(port)], start_new_session=True) as server:
        try:
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline:
                try:
                    requests.get(address + ready, timeout=5).raise_for_status()
                    break
                except requests.RequestException:
                    time.sleep(0.5)
            yield address
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
