"""The page in headless Chromium: no error, no request, and everything on it that can be worked works.

Skipped, with that reason, where there is no Chromium or no driver for it.
"""

from __future__ import annotations

import json
import re
import shutil

import pytest

from harness.analysis.report.page import render
from tests.analysis.conftest import Bench
from tests.analysis.report.conftest import filled, material, run

selenium = pytest.importorskip("selenium", reason="selenium is not installed")
from selenium import webdriver  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

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


def chart(page, name):
    """A chart once it is drawn, scrolled into view."""
    host = page.find_element(By.ID, f"chart-{name}")
    WebDriverWait(page, 20).until(lambda _: host.find_elements(By.CSS_SELECTOR, "svg.marks"))
    page.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", host)
    return host


def told(page, element):
    """The tooltip of an element: {name: value}."""
    ActionChains(page).move_to_element(element).perform()
    shown = WebDriverWait(page, 5).until(lambda _: page.find_elements(By.CSS_SELECTOR, ".vg-tooltip.visible tr"))
    return {
        row.find_element(By.CLASS_NAME, "key").text.rstrip(":"): row.find_element(By.CLASS_NAME, "value").text
        for row in shown
    }


def test_every_chart_is_drawn_and_says_what_it_shows(page):
    names = [host.get_attribute("id") for host in page.find_elements(By.CSS_SELECTOR, ".chart")]
    assert len(names) == 7
    drawn = [chart(page, name.removeprefix("chart-")) for name in names]
    documents = [host.find_element(By.XPATH, "descendant-or-self::*[@role='graphics-document']") for host in drawn]
    labels = [document.get_attribute("aria-label") for document in documents]
    assert labels[0] == "linear top-1 %, 5-NN % of 4 rows, a point for each run"
    assert all(labels)


def test_a_curve_tells_its_values_under_the_pointer(page):
    marks = chart(page, "curves").find_elements(By.CSS_SELECTOR, ".mark-symbol.role-mark path")
    tip = told(page, next(mark for mark in marks if "cheap" in mark.get_attribute("aria-label")))
    assert (tip["row"], tip["5-NN %"], tip["low"], tip["high"]) == ("cheap", "41", "40", "42")
    assert (tip["epochs"], tip["views seen in training"]) == ("1", "100")


def test_the_axis_of_the_curves(page):
    host = chart(page, "curves")

    def titles():
        return {text.text for text in host.find_elements(By.CSS_SELECTOR, ".role-title-text text")}

    assert "epochs" in titles()
    Select(host.find_element(By.CSS_SELECTOR, ".vega-bindings select")).select_by_visible_text("seconds of training")
    WebDriverWait(page, 5).until(lambda _: "seconds of training" in titles())
    assert "epochs" not in titles()


def test_a_row_chosen_in_the_legend_stands_out(page):
    host = chart(page, "curves")

    def faded():
        lines = host.find_elements(By.CSS_SELECTOR, ".mark-line.role-mark path")
        return {float(line.get_attribute("opacity") or 1) < 0.5 for line in lines}

    assert faded() == {False}
    ActionChains(page).move_to_element(host.find_element(By.XPATH, ".//*[text()='cheap']")).click().perform()
    WebDriverWait(page, 5).until(lambda _: faded() == {True, False})


def test_the_frontier_of_another_metric(page):
    host = chart(page, "frontier")

    def values():
        marks = host.find_elements(By.CSS_SELECTOR, ".mark-symbol.role-mark path")
        labels = [mark.get_attribute("aria-label") for mark in marks]
        return {re.search("mean: ([0-9.]+)", label)[1] for label in labels if "row: good" in label}

    assert values() == {"73"}
    Select(host.find_element(By.CSS_SELECTOR, ".vega-bindings select")).select_by_visible_text("5-NN %")
    WebDriverWait(page, 5).until(lambda _: values() == {"71"})


def test_one_class_alone_in_the_plane(page):
    host = chart(page, "projection-0")
    images = host.find_elements(By.CSS_SELECTOR, ".mark-text.role-mark text")
    assert len(images) == 4 * 60
    ActionChains(page).move_to_element(host.find_element(By.XPATH, ".//*[text()='0 plane']")).click().perform()

    def faded():
        images = host.find_elements(By.CSS_SELECTOR, ".mark-text.role-mark text")
        return sum(float(image.get_attribute("opacity") or 1) < 0.5 for image in images)

    WebDriverWait(page, 5).until(lambda _: faded() == 4 * 40)


def test_a_name_with_markup_is_text_in_a_chart_and_its_tooltip(browser, tmp_path):
    name = "<img src=x onerror=document.title='run'>"
    bench = Bench(tmp_path)
    run(bench, name, 0, [40.0, 50.0, 61.0])
    (tmp_path / "report.html").write_text(render(material(bench.records())), encoding="utf-8")
    browser.get((tmp_path / "report.html").as_uri())
    host = chart(browser, "curves")
    assert host.find_elements(By.XPATH, f'.//*[text()="{name}"]')
    tip = told(browser, host.find_element(By.CSS_SELECTOR, ".mark-symbol.role-mark path"))
    assert tip["row"] == name
    assert browser.find_elements(By.TAG_NAME, "img") == []
    assert browser.title == "A <toy>"


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


def test_charts_are_dark_on_a_dark_page_and_light_in_print(page):
    host = chart(page, "accuracy")

    def label():
        text = host.find_element(By.CSS_SELECTOR, ".role-axis-label text")
        return page.execute_script("return getComputedStyle(arguments[0]).fill", text)

    page.execute_script("document.documentElement.dataset.theme = 'light'")
    assert label() == "rgb(27, 31, 35)"
    page.execute_script("document.documentElement.dataset.theme = 'dark'")
    assert label() == "rgb(232, 234, 237)"
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert label() == "rgb(27, 31, 35)"
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


@pytest.mark.parametrize("width", [360, 1200])
def test_the_page_never_scrolls_sideways(page, width):
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    chart(page, "projection-0")
    page.execute_script("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    root, inner = "document.documentElement", page.execute_script("return window.innerWidth")
    scroll, client = page.execute_script(f"return [{root}.scrollWidth, {root}.clientWidth]")
    assert (scroll, inner) == (client, width)  # a phone lays out a page that is too wide on a wider window
