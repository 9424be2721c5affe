"""The page in headless Chromium: no error, no request, and everything on it that can be worked works.

Skipped, with that reason, where there is no Chromium or no driver for it.
"""

from __future__ import annotations

import json
import shutil

import pytest

from harness.analysis.report.page import render
from tests.analysis.report.conftest import filled

selenium = pytest.importorskip("selenium", reason="selenium is not installed")
from selenium import webdriver  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="no browser: needs Debian's chromium and chromium-driver"
)
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
    *("--disable-default-apps", "--window-size=1200,900"),
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SE_OFFLINE", "true")  # selenium looks for no driver elsewhere, and counts nobody
        patch.setenv("SE_AVOID_STATS", "true")
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    root = tmp_path_factory.mktemp("page")
    (root / "report.html").write_text(render(filled(root)), encoding="utf-8")
    return root / "report.html"


@pytest.fixture
def page(browser, path):
    """The page, just opened. Whatever a test did with it, it made no error and asked for nothing."""
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.get(path.as_uri())
    yield browser
    errors = [entry["message"] for entry in browser.get_log("browser")]
    assert errors == []
    # chrome: the browser's own pages
    assert {url.partition(":")[0] for url in requested(browser)} <= {"file", "data", "chrome"}


def requested(browser):
    """Addresses that the page asked for since this was last called."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


def first_column(page):
    return [cell.text for cell in page.find_elements(By.CSS_SELECTOR, "#table-1 tbody tr:not([hidden]) th[scope=row]")]


def heading(page, text):
    return next(h for h in page.find_elements(By.CSS_SELECTOR, "#table-1 thead th") if text in h.text)


def test_it_opens_without_an_error_and_asks_for_its_own_file_alone(browser, path):
    browser.get("about:blank")
    requested(browser)
    browser.get(path.as_uri())
    assert browser.title == "A <toy>"
    assert [url for url in requested(browser) if not url.startswith("data:")] == [path.as_uri()]
    assert browser.get_log("browser") == []


def test_the_log_would_show_a_request_and_the_policy_would_stop_it(browser, path):
    browser.get(path.as_uri())
    blocked = browser.execute_async_script(
        "const done = arguments[0]; fetch('http://127.0.0.1:9/').then(() => done('sent'), (e) => done(e.name))"
    )
    assert blocked == "TypeError"
    assert any("Content Security Policy" in entry["message"] for entry in browser.get_log("browser"))


def test_sorting_by_click_and_by_keyboard(page):
    assert first_column(page)[:3] == ["good", "cheap", "flat"]
    accuracy = heading(page, "linear top-1 %")
    accuracy.find_element(By.TAG_NAME, "button").click()
    assert accuracy.get_attribute("aria-sort") == "descending"
    assert first_column(page)[:4] == ["good", "cheap", "random", "flat"]  # 73, 54, 33, 21
    accuracy.find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
    assert accuracy.get_attribute("aria-sort") == "ascending"
    assert first_column(page)[:4] == ["flat", "random", "cheap", "good"]  # what has no number stays below
    method = heading(page, "method")
    method.find_element(By.TAG_NAME, "button").click()
    assert accuracy.get_attribute("aria-sort") is None
    assert method.get_attribute("aria-sort") == "ascending"


def test_filtering_by_text_and_by_method(page):
    form = page.find_element(By.CSS_SELECTOR, "form.filter")
    form.find_element(By.NAME, "text").send_keys("COLLAPSED")
    assert first_column(page) == ["flat"]
    form.find_element(By.NAME, "text").clear()
    form.find_element(By.NAME, "text").send_keys(Keys.SPACE)
    Select(form.find_element(By.NAME, "method")).select_by_visible_text("cheap")
    assert first_column(page) == ["cheap"]
    assert form.find_element(By.TAG_NAME, "output").text == "1 of 7 rows"


def test_a_curve_tells_its_values_under_the_pointer_and_by_arrow_keys(page):
    chart = page.find_element(By.CSS_SELECTOR, "#curve-chart svg")
    page.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", chart)
    mark = chart.find_element(By.CSS_SELECTOR, "path.mark")
    tip = page.find_element(By.CSS_SELECTOR, "#curve-chart .tip")
    assert not tip.is_displayed()
    ActionChains(page).move_to_element(mark).perform()
    assert tip.is_displayed()
    assert tip.text.splitlines() == [
        "good",
        "51",
        "epoch 1, 100 views, 3.333 s",
        "seed 0: 50",
        "seed 1: 51",
        "seed 2: 52",
    ]
    chart.send_keys(Keys.ARROW_RIGHT)
    assert tip.text.splitlines()[:3] == ["good", "61", "epoch 2, 200 views, 6.667 s"]
    chart.send_keys(Keys.ARROW_DOWN)
    assert tip.text.splitlines()[:2] == ["cheap", "46"]
    chart.send_keys(Keys.ESCAPE)
    assert not tip.is_displayed()


def test_the_axis_and_the_measure_of_the_curves(page):
    def title():
        return page.find_element(By.CSS_SELECTOR, "#curve-chart svg").get_attribute("aria-label")

    assert "5-NN % over epochs, a line for each of 3 rows" in title()
    Select(page.find_element(By.ID, "curve-axis")).select_by_value("seconds")
    assert "over seconds of training" in title()
    assert page.find_element(By.ID, "curve-note").text == "Seconds on cpu, 2 threads, host here."
    Select(page.find_element(By.ID, "curve-measure")).select_by_value("loss")
    assert "training loss" in title()


def test_the_legend_hides_a_row_in_every_figure(page):
    def lines():
        return len(page.find_elements(By.CSS_SELECTOR, "#curve-chart path.line"))

    assert lines() == 3
    page.find_element(By.CSS_SELECTOR, "#curve-legend button").send_keys(Keys.ENTER)
    assert lines() == 2
    assert page.switch_to.active_element.get_attribute("aria-pressed") == "false"
    assert "a point for each of 2 rows" in page.find_element(By.CSS_SELECTOR, "#cost-chart svg").get_attribute(
        "aria-label"
    )


def test_the_frontier_and_its_axes(page):
    def label():
        return page.find_element(By.CSS_SELECTOR, "#cost-chart svg").get_attribute("aria-label")

    assert "on the front: cheap, good." in label()
    assert not page.find_element(By.ID, "cost-hardware").is_displayed()
    Select(page.find_element(By.ID, "cost-axis")).select_by_value("train_seconds")
    assert page.find_element(By.ID, "cost-hardware").is_displayed()
    assert "Only rows measured on cpu, 2 threads, host here" in page.find_element(By.ID, "cost-note").text
    assert "on the front: good." in label()


def test_the_spectrum_at_step_0_is_a_thin_line_below_that_at_the_end(page):
    panel = page.find_element(By.CSS_SELECTOR, "[data-spectrum='0']")
    lines = panel.find_elements(By.CSS_SELECTOR, "path.line")
    assert [line.get_attribute("class") for line in lines] == ["line thin", "line"]
    panel.find_element(By.TAG_NAME, "svg").send_keys(Keys.ARROW_RIGHT)
    assert panel.find_element(By.CSS_SELECTOR, ".tip").text.splitlines()[0] == "encoder output h at step 0"


def test_one_class_alone_in_the_plane(page):
    assert page.find_element(By.ID, "projection-control-name").text == "random, seed 0"
    assert len(page.find_elements(By.CSS_SELECTOR, "#projection-own svg text")) == 60
    page.find_element(By.CSS_SELECTOR, "#projection-legend button").send_keys(Keys.ENTER)
    assert len(page.find_elements(By.CSS_SELECTOR, "#projection-own svg text.faded")) == 40
    assert page.switch_to.active_element.text.split() == ["0", "plane"]


def test_light_and_dark(page):
    def paper():
        return page.execute_script("return getComputedStyle(document.body).backgroundColor")

    button = page.find_element(By.ID, "theme")
    before, offered = paper(), button.text
    button.click()
    assert paper() != before
    assert {offered, button.text} == {"Dark", "Light"}
    button.click()
    assert paper() == before


@pytest.mark.parametrize("width", [360, 1200])
def test_the_page_never_scrolls_sideways(page, width):
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.execute_script("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    root, inner = "document.documentElement", page.execute_script("return window.innerWidth")
    scroll, client = page.execute_script(f"return [{root}.scrollWidth, {root}.clientWidth]")
    assert (scroll, inner) == (client, width)  # a phone lays out a page that is too wide on a wider window
