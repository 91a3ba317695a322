"""A browser, and boards to show in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nas360.leaderboard.board import Board, rank
from nas360.leaderboard.page import page
from nas360.leaderboard.stats.statistics import analyse
from nas360.leaderboard.table import build_table
from nas360.results import ResultFile
from nas360.task import TaskSpec

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"),
)


@pytest.fixture(scope="session")
def crowd(
    specs: Mapping[str, TaskSpec], make_row: Callable[..., dict[str, Any]], make_file: Callable[..., ResultFile]
) -> dict[str, ResultFile]:
    """20 methods × 10 tasks × 3 seeds with ties, tasks not run, failed seeds, perfect scores, notes, costs and other
    conditions: whatever a board can hold."""
    rng = np.random.default_rng(7)
    files = {}
    for method in range(20):
        rows = []
        for task, spec in specs.items():
            if rng.random() < 0.15:
                continue
            high = 1.0 if spec.unit in ("fraction", "ratio") else 90.0
            level = round(float(rng.uniform(0.05, 0.9)), 1) * high * (rng.random() > 0.04)
            conditions = {"budget": "small"} if rng.random() < 0.1 else {}
            conditions |= {"provenance": "generated"} if rng.random() < 0.1 else {}
            for seed in range(3):
                score = None if rng.random() < 0.02 else min(high, level * float(rng.choice([1.0, 1.05])))
                if score is not None and spec.direction == "higher":
                    score = 1.0 - score
                hours = float(rng.lognormal(2)) if method % 3 else None
                cost = {"search_seconds": 1.0, "train_seconds": 1.0, "gpu_hours": hours}
                notes = "a smaller batch" if method % 5 == 2 else ""
                changes = {"seed": seed, "cost": cost, "notes": notes, **conditions}
                if score is not None:
                    changes["architecture"] = {"space": "a space", "params": int(rng.lognormal(12))}
                rows.append(make_row(task, score, **changes))
        name = "wrn" if method == 4 else f"method-{method}"
        files[f"{name}.json"] = make_file(name, rows, run_id=f"run-{method}", display_name=f"Method {method}")
    return files


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Headless Chromium; NAS360_CHROMIUM names another than the one that is found."""
    binary = os.environ.get("NAS360_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    chromedriver = shutil.which("chromedriver")
    if binary is None or chromedriver is None:
        pytest.skip("no Chromium with chromedriver; install Debian's chromium and chromium-driver to test the page")
    selenium = pytest.importorskip("selenium.webdriver", reason="selenium drives the browser; install nas360[dev]")
    options = selenium.ChromeOptions()
    options.binary_location = binary
    downloads = tmp_path_factory.mktemp("downloads")
    for flag in (*QUIET, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver: Chrome = selenium.Chrome(options=options, service=selenium.ChromeService(chromedriver))
    try:
        driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)})
        yield driver
    finally:
        driver.quit()


@pytest.fixture(scope="session")
def crowd_board(crowd: dict[str, ResultFile], specs: Mapping[str, TaskSpec]) -> Board:
    return rank(build_table(crowd, specs))


@pytest.fixture(scope="session")
def paper_board(paper: dict[str, ResultFile], specs: Mapping[str, TaskSpec]) -> Board:
    return rank(build_table(paper, specs))


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Chrome]]:
    """(board, hash, width, **media) → the browser with the page in it. In the end, the console must be empty."""

    def open_(board: Board, state: str = "", width: int = 1300, **media: str) -> Chrome:
        path = tmp_path / "page.html"
        path.write_text(page(board, analyse(board, draws=20)), encoding="utf-8")
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        features = [{"name": name.replace("_", "-"), "value": value} for name, value in media.items()]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": features})
        browser.get("about:blank")
        browser.get(f"{path.as_uri()}{state}")
        browser.execute_script("localStorage.clear()")
        driver: Chrome = browser
        return driver

    browser.get_log("browser")
    yield open_
    assert browser.get_log("browser") == []
