"""Pictures of the product for the documents, made of the sample: ``python -m clustering_assets_tests.screenshots``."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import requests
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from clustering_assets_tests.conftest import Shop
from clustering_assets_tests.processes import CHECKOUT, environment_of, free_port, running, until

IMAGES = CHECKOUT / "docs" / "images"
IN_THE_UI = {
    "graph": ("/assets/gold/customer_segments?view=lineage&lineageScope=upstream&lineageDepth=9", (1700, 800)),
    "asset": ("/assets/gold/scaled_features?view=overview", (1500, 1000)),
    "automation": ("/automation", (1500, 800)),
}
"""Name of a picture -> page of the UI, and width and height of the window."""

_REPORT_WINDOW = (1280, 1600)
_SETTLES = 6_000
"""Milliseconds that a page gets to place what is on it."""


def take(browser: Browser, name: str, url: str, window: tuple[int, int]) -> None:
    page = browser.new_page(viewport={"width": window[0], "height": window[1]})
    page.goto(url)
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(_SETTLES)
    path = IMAGES / f"{name}.png"
    page.screenshot(path=path)
    page.close()
    Image.open(path).convert("P", palette=Image.Palette.ADAPTIVE).save(path, optimize=True)
    print(f"{path.relative_to(CHECKOUT)}: {path.stat().st_size / 1e3:.0f} kB")


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        shop, dagster_home = Shop(CHECKOUT / "data", Path(place) / "home"), Path(place) / "dagster"
        dagster_home.mkdir()
        shutil.copy(CHECKOUT / "dagster.yaml", dagster_home)
        environment = environment_of(shop, dagster_home)
        subprocess.run([sys.executable, "-m", "clustering_assets.run"], env=environment, cwd=CHECKOUT, check=True)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), chromium_sandbox=False)
        newest = max((shop.home / "exports").glob("segment_report_*.html"))
        take(browser, "report", newest.as_uri(), _REPORT_WINDOW)
        port = free_port()
        command = [sys.executable, "-m", "dagster", "dev", "--workspace", str(CHECKOUT / "workspace.yaml")]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        with running(command, environment, dagster_home, Path(place) / "log"):
            until(lambda: requests.get(f"http://127.0.0.1:{port}/server_info", timeout=60).ok, "the UI")
            for name, (path, window) in IN_THE_UI.items():
                take(browser, name, f"http://127.0.0.1:{port}{path}", window)
        browser.close()


if __name__ == "__main__":
    main()
