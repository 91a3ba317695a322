"""The page in a real browser: what it computes is what Python computes, and it can be used by anyone."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nas360.leaderboard.board import Board, rank
from nas360.leaderboard.page import page
from nas360.leaderboard.pairwise import win_rate
from nas360.leaderboard.pareto import cost_points, front
from nas360.leaderboard.statistics import analyse
from nas360.leaderboard.table import MARKS, Table, build_table
from nas360.results import ResultFile
from nas360.task import TaskSpec

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"),
)

# numbers that JSON lacks cross as text
COMPUTE = """
const exact = (value) => typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
return arguments[0].map((state) => {
  const board = App.compute({ ...App.view.state, ...state });
  const plain = {
    baseline: board.baseline,
    unranked: board.unranked.map((line) => line.id),
    standings: board.standings.map((one) => ({
      id: one.line.id, median: one.medianRank, mean: one.meanRank, gain: one.improvement, areas: one.areas,
      ranks: one.ranks, ratios: one.ratios, steps: Ranks.steps(one.ratios), n: one.nTasks,
      rho: [0.5, 1, 1.05, 1.5, 2, 100].map((tau) => Ranks.rho(one.ratios, tau)),
    })),
    wins: board.standings.map((a) => board.standings.map((b) => Ranks.winRate(a.errors, b.errors))),
    costs: Object.fromEntries(["gpu_hours", "parameters"].map((measure) => {
      const found = Costs.points(board.standings, board.tasks, measure);
      return [measure, { points: Object.fromEntries(found), front: Costs.front(found, board.tasks.length) }];
    })),
  };
  return JSON.parse(JSON.stringify(plain, (_, value) => exact(value)));
});
"""


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def crowd_board(crowd: dict[str, ResultFile], specs: Mapping[str, TaskSpec]) -> Board:
    return rank(build_table(crowd, specs))


@pytest.fixture(scope="module")
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
        return browser

    browser.get_log("browser")
    yield open_
    assert browser.get_log("browser") == []


def _names(driver: Chrome) -> list[str]:
    found: list[str] = driver.execute_script(
        "return [...document.querySelectorAll('#board-table tbody th bdi:first-of-type')]"
        ".filter((node) => node.closest('button')).map((node) => node.textContent)"
    )
    return found


def _click(driver: Chrome, selector: str) -> None:
    driver.execute_script("document.querySelector(arguments[0]).click()", selector)


def _number(value: float | str | None) -> float:
    return {"Infinity": np.inf, "-Infinity": -np.inf, "NaN": np.nan, None: np.nan}.get(value, value)  # type: ignore[arg-type, return-value]  # a number is its own value


def _close(got: list[Any], wanted: list[Any]) -> None:
    np.testing.assert_allclose([_number(v) for v in got], [_number(v) for v in wanted], rtol=1e-12, atol=1e-12)


def test_the_browser_computes_what_python_computes(
    show: Callable[..., Chrome], crowd_board: Board, specs: Mapping[str, TaskSpec]
) -> None:
    """Over random choices of tasks, methods, conditions and baseline."""
    driver = show(crowd_board)
    rng = np.random.default_rng(3)
    lines = [line.id for line in crowd_board.table.lines]
    states: list[dict[str, Any]] = []
    for _ in range(60):
        tasks = [task for task in specs if rng.random() < 0.6] or ["ecg"]
        methods = [line for line in lines if rng.random() < 0.7] or lines
        include = [mark for mark in MARKS if rng.random() < 0.4]
        states.append(
            {"tasks": tasks, "methods": methods, "include": include, "baseline": methods[rng.integers(len(methods))]}
        )
    for state, got in zip(states, driver.execute_script(COMPUTE, states), strict=True):
        table = _chosen(crowd_board.table, state["tasks"], state["methods"])
        free = rank(table, include=state["include"])
        ranked = {standing.line.id for standing in free.standings}
        wanted = rank(table, state["baseline"], state["include"]) if state["baseline"] in ranked else free
        _same(got, wanted, has_baseline=state["baseline"] in ranked)


def _chosen(table: Table, tasks: list[str], lines: list[str]) -> Table:
    return replace(
        table,
        specs={task: table.specs[task] for task in tasks},
        lines=tuple(line for line in table.lines if line.id in lines),
        cells={(line, task): cell for (line, task), cell in table.cells.items() if line in lines and task in tasks},
    )


def _same(got: dict[str, Any], wanted: Board, has_baseline: bool) -> None:
    tasks = list(wanted.table.specs)
    assert [one["id"] for one in got["standings"]] == [standing.line.id for standing in wanted.standings]
    assert sorted(got["unranked"]) == sorted(entry.line.id for entry in wanted.unranked)
    assert got["baseline"] == (wanted.baseline if has_baseline else None)
    for one, standing in zip(got["standings"], wanted.standings, strict=True):
        _close([one["median"], one["mean"], one["n"]], [standing.median_rank, standing.mean_rank, len(standing.cells)])
        _close(one["areas"], [standing.profile.area(2.0), standing.profile.area(4.0)])
        _close([one["gain"]], [standing.improvement if has_baseline else None])
        _close(one["ranks"], [standing.ranks.get(task) for task in tasks])
        _close(one["ratios"], list(standing.profile.ratios))
        _close([tau for tau, _ in one["steps"]], list(standing.profile.tau))
        _close([rho for _, rho in one["steps"]], list(standing.profile.rho))
        _close(one["rho"], [standing.profile(tau) for tau in (0.5, 1, 1.05, 1.5, 2, 100)])
    ranked = [standing.line for standing in wanted.standings]
    errors = wanted.table.errors(ranked)
    for row, expected in zip(got["wins"], win_rate(errors), strict=True):
        _close([value for value in row], expected.tolist())
    for measure, found in got["costs"].items():
        costs = [[getattr(standing.cells.get(task), measure, None) for task in tasks] for standing in wanted.standings]
        points = cost_points(errors, np.asarray(costs, dtype=float).reshape(errors.shape))
        assert set(found["points"]) == {line.id for line, point in zip(ranked, points, strict=True) if point}
        for point, line in zip(points, ranked, strict=True):
            if point:
                shown = found["points"][line.id]
                _close([shown["cost"], shown["error"], shown["nTasks"]], [point.cost, point.error, point.n_tasks])
        assert found["front"] == [ranked[index].id for index in front(points, len(tasks))]


def test_columns_sort_both_ways_and_say_so(show: Callable[..., Chrome], paper_board: Board) -> None:
    driver = show(paper_board)
    by_rank = [standing.line.name for standing in paper_board.standings]
    assert _names(driver) == by_rank
    _click(driver, "[data-sort='task.spherical']")
    by_error = sorted(
        (s for s in paper_board.standings if "spherical" in s.cells), key=lambda s: s.cells["spherical"].error
    )
    names = [standing.line.name for standing in by_error]
    assert _names(driver)[: len(names)] == names
    sort = "return document.querySelector('[data-sort=\"task.spherical\"]').closest('th').getAttribute('aria-sort')"
    assert driver.execute_script(sort) == "ascending"
    _click(driver, "[data-sort='task.spherical']")
    assert _names(driver)[: len(names)] == names[::-1]
    assert driver.execute_script(sort) == "descending"
    assert driver.execute_script("return document.querySelectorAll('#board-table [aria-sort]').length") == 1


def test_every_column_sorts(show: Callable[..., Chrome], crowd_board: Board) -> None:
    driver = show(crowd_board)
    wrong = driver.execute_script(
        """return Table.columns(App.view).filter((column) => [false, true].some((down) => {
          const values = Table.sorted(App.view.board.standings, column, down).map(column.value);
          const known = values.filter((value) => value !== "" && !Number.isNaN(value));
          const ordered = known.every((value, at) => !at || (down ? known[at - 1] >= value : known[at - 1] <= value));
          return !ordered || values.slice(0, known.length).some((value, at) => !Object.is(value, known[at]));
        })).map((column) => column.id)"""
    )
    assert wrong == []


def test_a_filter_changes_the_table_and_is_announced(
    show: Callable[..., Chrome], paper: dict[str, ResultFile], paper_board: Board, specs: Mapping[str, TaskSpec]
) -> None:
    driver = show(paper_board)
    for task in ("cifar100", "spherical"):
        _click(driver, f"[data-key='tasks:{task}']")
    board = rank(build_table(paper, specs, [task for task in specs if task not in ("cifar100", "spherical")]))
    assert _names(driver) == [standing.line.name for standing in board.standings]
    medians = driver.execute_script(
        "return [...document.querySelectorAll('#board-table .lead-number')].map((node) => Number(node.textContent))"
    )
    assert medians == [round(standing.median_rank, 2) for standing in board.standings]
    status = "return document.querySelector('[role=status][aria-live=polite]').textContent"
    assert "over 8 tasks" in driver.execute_script(status)
    _click(driver, "[data-key='quick:methods:None']")
    assert "0 methods" in driver.execute_script(status)
    assert "Nothing to rank" in driver.execute_script("return document.querySelector('#board-table').textContent")
    _click(driver, "[data-key=reset]")
    assert _names(driver) == [standing.line.name for standing in paper_board.standings]


def test_the_address_holds_the_state(show: Callable[..., Chrome], paper_board: Board) -> None:
    driver = show(paper_board)
    for selector in ("[data-key='tasks:ecg']", "[data-sort=mean]", "[data-key='legend:wrn']", "input[value=ratio]"):
        _click(driver, selector)
    read = "return JSON.stringify(App.view.state)"
    state, address = driver.execute_script(read), driver.current_url
    assert "#tasks=" in address
    driver.get("about:blank")
    driver.get(address)
    assert driver.execute_script(read) == state
    _click(driver, "nav a[href='#submit']")  # a link within the page does not cost the state
    driver.execute_async_script("setTimeout(arguments[0], 60)")
    assert driver.current_url == address and driver.execute_script(read) == state


@pytest.mark.parametrize(
    "state", ["#tasks=x,,%E0%A4%A&sort=<b>:down&task=%00&tau=nan", "#=&==&methods", "#cells=rank%20"]
)
def test_a_broken_address_is_borne(show: Callable[..., Chrome], paper_board: Board, state: str) -> None:
    driver = show(paper_board, state)
    assert driver.execute_script("return document.querySelectorAll('.js[hidden]').length") == 0


def test_downloads_are_what_is_shown(
    show: Callable[..., Chrome], paper: dict[str, ResultFile], specs: Mapping[str, TaskSpec]
) -> None:
    board = rank(build_table(paper, specs))
    first = board.standings[0]
    hostile = replace(first, line=replace(first.line, name='=cmd|"x", \n'))
    driver = show(replace(board, standings=(hostile, *board.standings[1:])), "#tasks=ecg,satellite,deepsea")
    got = list(csv.DictReader(io.StringIO(driver.execute_script("return Downloads.csvText(App.view)"))))
    wanted = rank(build_table(paper, specs, ["ecg", "satellite", "deepsea"]))
    assert [line["method"] for line in got] == [standing.line.id for standing in wanted.standings]
    _close([float(line["mean_rank"]) for line in got], [standing.mean_rank for standing in wanted.standings])
    assert [line["name"][0] for line in got if line["method"] == first.line.id] == ["'"]
    content = json.loads(driver.execute_script("return Downloads.jsonText(App.view)"))
    assert [entry["method"] for entry in content["methods"]] == [standing.line.id for standing in wanted.standings]
    assert all(cell["sources"] for entry in content["methods"] for cell in entry["tasks"].values())


def test_foreign_names_run_nothing(show: Callable[..., Chrome], paper_board: Board) -> None:
    names = ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "\u202eabc\u2066", "x" * 3000, "</script>")
    standings = [
        replace(
            old,
            line=replace(
                old.line,
                name=name,
                method=old.line.method.model_copy(update={"reference_url": "javascript:alert(3)", "command": name}),
            ),
            cells={task: replace(cell, notes=(name,), sources=(name,)) for task, cell in old.cells.items()},
        )
        for old, name in zip(paper_board.standings, names, strict=False)
    ]
    driver = show(replace(paper_board, standings=tuple(standings)), width=390)
    assert _names(driver) == list(names)
    for index in range(len(names)):
        _click(driver, f"#board-table tbody tr:nth-child({index + 1}) button.method")
        assert driver.execute_script("return document.querySelector('dialog[open] h2').textContent") == names[index]
        _click(driver, "dialog form button")
    assert driver.execute_script("return document.querySelectorAll('img, script:not(#data)').length") == 1
    assert driver.execute_script("return document.querySelectorAll('a[href^=javascript]').length") == 0
    assert _overflow(driver) <= 0


def _overflow(driver: Chrome) -> int:
    wide: int = driver.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
    return wide


@pytest.mark.parametrize("width", [320, 390, 768, 1300])
def test_nothing_is_wider_than_the_screen(show: Callable[..., Chrome], crowd_board: Board, width: int) -> None:
    assert _overflow(show(crowd_board, width=width)) <= 0


def test_dark_is_the_systems_choice_or_the_readers(show: Callable[..., Chrome], paper_board: Board) -> None:
    ground = "return getComputedStyle(document.documentElement).backgroundColor"
    light = show(paper_board, prefers_color_scheme="light").execute_script(ground)
    driver = show(paper_board, prefers_color_scheme="dark")
    dark = driver.execute_script(ground)
    assert light != dark
    _click(driver, "#theme")
    assert driver.execute_script(ground) == light
    driver.refresh()
    assert driver.execute_script(ground) == light
    driver.execute_script("localStorage.clear()")


def test_the_keyboard_reaches_everything(show: Callable[..., Chrome], paper_board: Board) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    driver = show(paper_board)
    ActionChains(driver).send_keys(Keys.TAB).perform()
    assert driver.switch_to.active_element.text == "Skip to the table"
    ActionChains(driver).send_keys(Keys.ENTER, Keys.TAB, Keys.TAB).perform()
    driver.execute_script("document.querySelector('[data-sort=mean]').focus()")
    ActionChains(driver).send_keys(Keys.ENTER).perform()
    # the table was drawn again, and the focus is where it was
    assert driver.switch_to.active_element.get_attribute("data-sort") == "mean"
    assert driver.execute_script("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    driver.execute_script("document.querySelector('[data-key=\"tasks:ecg\"]').focus()")
    ActionChains(driver).send_keys(Keys.SPACE).perform()
    assert driver.switch_to.active_element.get_attribute("data-key") == "tasks:ecg"
    driver.execute_script("document.querySelector('#profile-tau').focus()")
    before = driver.execute_script("return document.querySelector('#profile-at').textContent")
    ActionChains(driver).send_keys(Keys.ARROW_RIGHT * 20).perform()
    assert driver.execute_script("return document.querySelector('#profile-at').textContent") != before
    driver.execute_script("document.querySelector('button.method').focus()")
    ActionChains(driver).send_keys(Keys.ENTER).perform()
    assert driver.execute_script("return document.querySelector('dialog').open")
    ActionChains(driver).send_keys(Keys.ESCAPE).perform()
    assert not driver.execute_script("return document.querySelector('dialog').open")


def test_controls_and_tables_have_names(show: Callable[..., Chrome], crowd_board: Board) -> None:
    """As the browser's own accessibility tree has them."""
    driver = show(crowd_board)
    nodes = driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = {
        "button",
        "checkbox",
        "radio",
        "combobox",
        "slider",
        "link",
        "columnheader",
        "rowheader",
        "region",
        "dialog",
    }
    nameless = [
        node["role"]["value"]
        for node in nodes
        if not node.get("ignored") and node["role"]["value"] in named and not node.get("name", {}).get("value")
    ]
    assert nameless == []
    assert driver.execute_script("return [...document.querySelectorAll('th')].every((node) => node.scope)")
    ids = driver.execute_script("return [...document.querySelectorAll('[id]')].map((node) => node.id)")
    assert len(ids) == len(set(ids))


def test_the_profile_is_read_off_under_the_pointer(show: Callable[..., Chrome], paper_board: Board) -> None:
    driver = show(paper_board)
    driver.execute_script(
        """const svg = document.querySelector('#profile-svg');
        const box = svg.getBoundingClientRect();
        const at = box.left + svg.scaleTau.x(2);
        svg.dispatchEvent(new PointerEvent('pointermove', { clientX: at, clientY: box.top + 20, bubbles: true }));"""
    )
    assert driver.execute_script("return document.querySelector('#profile-at').textContent").endswith("at τ = 2.00")
    for standing in paper_board.standings:
        shown = driver.execute_script(
            "return document.querySelector(`[data-rho='${arguments[0]}']`).textContent", standing.line.id
        )
        assert float(shown) == pytest.approx(standing.profile(2.0), abs=0.005)
    curves = "return document.querySelectorAll('#profile-svg .curve').length"
    assert driver.execute_script(curves) == len(paper_board.standings)
    _click(driver, "[data-key='legend:wrn']")
    assert driver.execute_script(curves) == len(paper_board.standings) - 1
    pressed = "return document.querySelector('[data-key=\"legend:wrn\"]').getAttribute('aria-pressed')"
    assert driver.execute_script(pressed) == "false"


def test_a_task_shows_its_seeds_and_sources(show: Callable[..., Chrome], crowd_board: Board) -> None:
    driver = show(crowd_board, "#task=psicov")
    text = driver.execute_script("return document.querySelector('#task-table').textContent")
    for standing in crowd_board.standings:
        if "psicov" in standing.cells:
            cell = standing.cells["psicov"]
            assert cell.sources[0] in text
            for seed in cell.seeds:
                assert (f"{seed:.3f}" if np.isfinite(seed) else "failed") in text


def test_without_scripts_the_tables_are_there(show: Callable[..., Chrome], paper_board: Board) -> None:
    driver = show(paper_board)
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        driver.refresh()
        text = driver.find_element("id", "board-table").text
        assert all(standing.line.name in text for standing in paper_board.standings)
        assert not driver.find_element("id", "controls").is_displayed()
        assert driver.find_element("id", "submit").is_displayed()
    finally:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_it_prints(show: Callable[..., Chrome], paper_board: Board) -> None:
    driver = show(paper_board)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    hidden = (
        "return ['#controls', '#theme', 'nav'].map((name) => getComputedStyle(document.querySelector(name)).display)"
    )
    assert driver.execute_script(hidden) == ["none"] * 3
    document = driver.execute_cdp_cmd("Page.printToPDF", {"landscape": True})["data"]
    assert document.startswith("JVBERi0")  # %PDF-
