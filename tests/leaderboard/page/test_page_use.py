"""The page in a real browser: sorting, filters, the address, themes, keyboard, narrow screens, paper, no scripts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from nas360.leaderboard.board import Board, rank
from nas360.leaderboard.table import build_table
from nas360.results import ResultFile
from nas360.task import TaskSpec

if TYPE_CHECKING:
    from selenium.webdriver import Chrome


def _names(driver: Chrome) -> list[str]:
    found: list[str] = driver.execute_script(
        "return [...document.querySelectorAll('#board-table tbody th bdi:first-of-type')]"
        ".filter((node) => node.closest('button')).map((node) => node.textContent)"
    )
    return found


def _click(driver: Chrome, selector: str) -> None:
    driver.execute_script("document.querySelector(arguments[0]).click()", selector)


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


def test_methods_that_did_not_run_all_tasks_bear_an_asterisk(show: Callable[..., Chrome], paper_board: Board) -> None:
    driver = show(paper_board)
    rows = driver.execute_script(
        "return [...document.querySelectorAll('#board-table tbody tr')]"
        ".map((row) => [...row.querySelectorAll('td:not(.task)')].map((cell) => cell.textContent))"
    )
    starred = [[text for text in row if text.endswith("*") or text.startswith("on ")] for row in rows]
    assert starred[0] == ["1.0*", "1.33*", "20.0 %*", "on 3"]
    assert starred[-1] == ["6.0*", "4.67*", "\N{MINUS SIGN}75.3 %*", "on 3"]
    assert not any(starred[1:-1])
    assert "* A method that did not run every task" in driver.find_element("id", "board-notes").text


def test_a_filter_changes_the_table_and_is_announced(
    show: Callable[..., Chrome], paper: dict[str, ResultFile], paper_board: Board, specs: Mapping[str, TaskSpec]
) -> None:
    driver = show(paper_board)
    for task in ("cifar100", "spherical"):
        _click(driver, f"[data-key='tasks:{task}']")
    board = rank(build_table(paper, specs, [task for task in specs if task not in ("cifar100", "spherical")]))
    assert _names(driver) == [standing.line.name for standing in board.standings]
    medians = driver.execute_script(
        "return [...document.querySelectorAll('#board-table .lead-number')].map((node) => parseFloat(node.textContent))"
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


@pytest.mark.parametrize("methods", [[], ["wrn"], ["amber", "autodl"]])
@pytest.mark.parametrize("tasks", [[], ["ecg"]])
def test_few_results_are_borne(
    show: Callable[..., Chrome],
    paper: dict[str, ResultFile],
    specs: Mapping[str, TaskSpec],
    methods: list[str],
    tasks: list[str],
) -> None:
    files = {name: content for name, content in paper.items() if content.method.name in methods}
    board = rank(build_table(files, specs, tasks))
    driver = show(board)
    assert _names(driver) == [standing.line.name for standing in board.standings]
    assert "NaN" not in driver.execute_script("return document.body.innerText")


def test_intervals_are_left_out_where_they_do_not_hold(show: Callable[..., Chrome], paper_board: Board) -> None:
    driver = show(paper_board)
    heads = "return [...document.querySelectorAll('#board-table [data-sort]')].map((node) => node.dataset.sort)"
    assert {"low", "ties"} <= set(driver.execute_script(heads))
    _click(driver, "[data-key='tasks:ecg']")
    assert not {"low", "ties"} & set(driver.execute_script(heads))
    assert "left out" in driver.execute_script("return document.querySelector('#board-notes').textContent")
