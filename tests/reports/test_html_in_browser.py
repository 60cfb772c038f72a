"""The HTML report in headless Chromium, opened from a file: sorting, filtering, provenance, colour scheme, no console error, no request."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sample_ledger import sample
from test_pages_and_scale import big

from db import open_ledger
from reports.boards import Question, load_boards
from reports.document import Document, Section
from reports.files import write
from reports.html import render as render_html
from reports.leaderboard import board_table
from reports.report import report
from reports.standings import standing

webdriver = pytest.importorskip("selenium.webdriver")
ui = pytest.importorskip("selenium.webdriver.support.ui")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="Chromium is not installed (apt-get install chromium chromium-driver)")

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("browser")
    ledger = sample(folder / "sample.db")
    page = next(iter(list(write(report(ledger), folder / "out"))))
    ledger.close()
    return page, folder / "sample.db"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}", "--window-size=1400,1000"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def open_page(browser: Any, page: Path, anchor: str) -> None:
    browser.get("about:blank")
    browser.get(f"{page.as_uri()}#{anchor}")


def opened(browser: Any, page: str) -> None:
    """Wait until `page` is the one that is shown: the event that opens it comes after the click has changed the address."""
    ids = "return [...document.querySelectorAll('.page.open')].map(p => p.id)"
    ui.WebDriverWait(browser, 30).until(lambda _: browser.execute_script(ids) == [page], f"{page} is not the page that is shown")


def column(browser: Any, table: str, number: int) -> list[str]:
    script = (
        "return [...document.getElementById(arguments[0]).tBodies[0].rows].filter(r=>!r.hidden).map(r=>r.cells[arguments[1]].textContent)"
    )
    return browser.execute_script(script, table, number)


@pytest.fixture
def table(browser: Any, files: tuple[Path, Path]) -> str:
    open_page(browser, files[0], "family-quantization")
    return browser.execute_script("return document.querySelector('.page.open table').id")


def test_columns_sort_by_value_in_both_directions(browser: Any, table: str) -> None:
    heads = browser.execute_script("return [...document.getElementById(arguments[0]).tHead.rows[0].cells].map(c=>c.textContent)", table)
    at = next(number for number, head in enumerate(heads) if head.startswith("bits_per_weight"))
    button = browser.find_element("css selector", f"#{table} th:nth-child({at + 1}) button")
    button.click()
    up = [float(text) for text in column(browser, table, at)]
    button.click()
    down = [float(text) for text in column(browser, table, at)]
    assert up == sorted(up)
    assert down == sorted(down, reverse=True)
    assert button.find_element("xpath", "..").get_attribute("aria-sort") == "descending"


def test_filter_keeps_rows_with_every_word_and_says_how_many(browser: Any, table: str) -> None:
    browser.find_element("css selector", f"input[data-table='{table}']").send_keys("rtn bits=3")
    assert column(browser, table, 1) == ["RTN"]
    assert browser.find_element("css selector", ".page.open .count").text == "1 of 13 rows"


def test_every_cell_shows_the_same_sql_as_the_library_and_it_selects_its_trials(browser: Any, files: tuple[Path, Path], table: str) -> None:
    for button in browser.find_elements("css selector", ".page.open button.columns"):
        button.click()
    with open_ledger(str(files[1]), read_only=True) as ledger:
        [board] = load_boards(ledger, Question("quantization"))
        for at, metric in ((0, "bits_per_byte_increase"), (5, "output_error")):
            where = board.coordinates(at, metric)
            cell = browser.find_element("css selector", f"#{table} button[data-id='{where.short_id()}']")
            cell.click()
            opened = browser.find_element("css selector", "tr.why")
            assert opened.find_element("tag name", "code").text == where.sql()
            assert cell.get_attribute("aria-expanded") == "true"
            trials = ledger.query(where.sql())["trial"].to_pylist()
            assert set(trials) == set(opened.find_element("css selector", ".keys").text.split(": ")[1].split())
            cell.click()
            assert not browser.find_elements("css selector", "tr.why")


def test_navigation_shows_one_page_and_marks_it(browser: Any, files: tuple[Path, Path]) -> None:
    open_page(browser, files[0], "overview")
    browser.find_element("link text", "Calibration").click()
    opened(browser, "family-calibration")
    assert browser.find_element("css selector", "nav [aria-current=page]").text == "Calibration"
    browser.back()
    opened(browser, "overview")


def test_colour_scheme_follows_the_system_and_can_be_switched(browser: Any, files: tuple[Path, Path]) -> None:
    background = "return getComputedStyle(document.body).backgroundColor"
    seen = {}
    for scheme in ("light", "dark"):
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        open_page(browser, files[0], "overview")
        seen[scheme] = browser.execute_script(background)
    browser.find_element("id", "theme").click()
    assert browser.execute_script(background) == seen["light"] != seen["dark"]
    browser.execute_script("localStorage.clear()")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast_in_both_schemes(browser: Any, files: tuple[Path, Path], scheme: str) -> None:
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    open_page(browser, files[0], "family-quantization")
    script = """
    const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => { const f = [r, g, b].map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
      return .2126 * f[0] + .7152 * f[1] + .0722 * f[2]; };
    const back = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
    const low = [];
    for (const e of document.querySelectorAll('.page.open *, .side *')) {
      if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) || !e.getClientRects().length) continue;
      const style = getComputedStyle(e), ink = rgb(e.namespaceURI.endsWith('svg') ? style.fill : style.color);
      const [a, b] = [light(ink), light(back(e))].sort((x, y) => y - x);
      if ((a + .05) / (b + .05) < 4.5) low.push([e.tagName, e.className.baseVal ?? e.className, e.textContent.slice(0, 40)]);
    }
    return low;"""
    assert browser.execute_script(script) == []
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_keyboard_reaches_and_opens_a_cell(browser: Any, table: str) -> None:
    cell = browser.find_element("css selector", f"#{table} td button")
    cell.send_keys("\ue007")
    assert browser.find_elements("css selector", "tr.why")
    cell.send_keys("\ue00c")
    assert not browser.find_elements("css selector", "tr.why")
    assert browser.switch_to.active_element == cell


def test_plots_are_described_and_offer_their_data(browser: Any, files: tuple[Path, Path]) -> None:
    open_page(browser, files[0], "family-pruning")
    script = """return [...document.querySelectorAll('figure')].map(f => [f.querySelector('svg desc').textContent.length > 20,
      f.querySelector('svg').getAttribute('role'), atob(f.querySelector('a[download]').href.split(',')[1]).split('\\n')[0]])"""
    found = browser.execute_script(script)
    assert len(found) >= 6
    assert all(row == [True, "img", "panel,series,label,x,x_low,x_high,y,low,high,mark"] for row in found)


def test_nothing_leaves_the_page_and_the_console_is_silent(browser: Any, files: tuple[Path, Path]) -> None:
    browser.get_log("browser")
    browser.get_log("performance")
    for anchor in ("overview", "family-quantization", "family-calibration"):
        open_page(browser, files[0], anchor)
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = {m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"}
    assert {url.split(":")[0] for url in urls} <= {"file", "about", "data"}
    assert len({url.split("#")[0] for url in urls if url.startswith("file:")}) == 1
    assert browser.get_log("browser") == []


def test_a_narrow_screen_does_not_scroll_sideways(browser: Any, files: tuple[Path, Path]) -> None:
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True})
    open_page(browser, files[0], "family-quantization")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_printing_shows_every_page(browser: Any, files: tuple[Path, Path]) -> None:
    open_page(browser, files[0], "overview")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    shown = browser.execute_script("return [...document.querySelectorAll('.page')].map(p => getComputedStyle(p).display)")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert set(shown) == {"block"}


def test_a_table_too_wide_for_the_page_shows_its_other_columns_when_asked(browser: Any, files: tuple[Path, Path]) -> None:
    open_page(browser, files[0], "family-quantization")
    button = browser.find_element("css selector", ".page.open button.columns")
    wide = """const t = document.getElementById(arguments[0]);
      return [[...t.tHead.rows[0].cells].filter(c => getComputedStyle(c).display === 'none').length, t.parentElement.scrollWidth,
        t.parentElement.clientWidth]"""
    table = button.get_attribute("data-table")
    hidden, needed, room = browser.execute_script(wide, table)
    assert hidden == int(button.text.split()[0]) > 0
    assert needed <= room
    button.click()
    assert browser.execute_script(wide, table)[0] == 0
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    assert browser.execute_script(wide, table)[0] == hidden


def test_a_method_has_a_page_of_its_own_that_leads_back_to_the_index(browser: Any, files: tuple[Path, Path]) -> None:
    open_page(browser, files[0], "methods")
    browser.find_element("css selector", ".page.open").find_element("link text", "HIGGS").click()
    opened(browser, "method-quantization-2f-higgs")
    assert browser.title.startswith("HIGGS")
    assert browser.find_element("css selector", "nav [aria-current=page]").text == "Methods"
    browser.find_element("css selector", ".page.open .up a").click()
    opened(browser, "methods")


def test_a_report_of_500_methods_answers_in_the_browser(browser: Any, tmp_path: Path) -> None:
    """Rows that wait as JSON come with their links, cells and SQL; sorting and filtering see all of them."""
    sections = tuple(
        Section(board.name, f"b{number}", (board_table(standing(board), linked=True),)) for number, board in enumerate(big(500, 8))
    )
    (tmp_path / "big.html").write_text(render_html(Document("big", (Section("fam", "fam", (), sections),))))
    open_page(browser, tmp_path / "big.html", "b7")
    table = browser.execute_script("return document.querySelector('#b7 table').id")
    assert len(column(browser, table, 1)) == 20
    browser.execute_script("document.querySelector('#b7 button.all').click()")
    assert len(column(browser, table, 1)) == 500
    browser.find_element("css selector", f"input[data-table='{table}']").send_keys("method 499")
    assert "Method 499" in column(browser, table, 1)
    assert len(column(browser, table, 1)) < 100
    row = browser.find_element("xpath", f"//table[@id='{table}']/tbody/tr[not(@hidden)][td//a[substring-after(@href, '-method-')='499']]")
    browser.execute_script("arguments[0].querySelector('button[data-id]').click()", row)
    assert "method = 'fam/method-499'" in browser.find_element("css selector", "tr.why code").text


def test_a_cell_of_the_live_page_leads_to_its_rows_without_a_complaint_of_the_browser(browser: Any, files: tuple[Path, Path]) -> None:
    """The policy of `assay serve` (nonces, no inline script) lets the page work: a cell's SQL runs on the SQL page."""
    command = [sys.executable, "-m", "harness.cli", "serve", "--port", "0", "--db", str(files[1])]
    server = subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        address = re.search(r"http://\S+", server.stderr.readline())
        assert address
        browser.get_log("browser")
        browser.get(f"{address[0]}#family-pruning")
        browser.execute_script("document.querySelector('.page.open td button[data-id]').click()")
        trials = browser.find_element("css selector", "tr.why .keys").text.split(": ")[1].split()
        browser.execute_script("document.querySelector('tr.why a.copy').click()")
        ui.WebDriverWait(browser, 30).until(lambda _: browser.find_elements("css selector", "#rows"))
        assert set(trials) == set(column(browser, "rows", 3))
        assert browser.find_element("css selector", "nav [aria-current=page]").text == "SQL"
        assert browser.get_log("browser") == []
    finally:
        server.terminate()
        server.wait(30)
        if server.stderr is not None:
            server.stderr.close()
