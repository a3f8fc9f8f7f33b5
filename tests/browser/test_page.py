"""The page in a real browser: it is drawn, it asks nobody for anything, and it fits on a phone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import report_demo
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.wait import WebDriverWait

from kubedrill import history, report
from kubedrill.history import Run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="no Chromium with chromedriver here: apt-get install chromium chromium-driver"
    ),
]
# Elements that stick out of the window to the right, as 'tag.class'.
STICKING_OUT = """
return [...document.querySelectorAll("main *")]
  .filter((item) => item.getClientRects().length && item.getBoundingClientRect().right > innerWidth + 1)
  .filter((item) => !item.closest("#timeline") && !item.closest("thead"))
  .map((item) => item.tagName + "." + item.className)
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    options = ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(DRIVER))
    # The page for new tabs that Chromium starts with loads parts of its own.
    driver.get("about:blank")
    yield driver
    driver.quit()


Show = Callable[..., None]


@pytest.fixture
def show(browser: Chrome, tmp_path: Path) -> Iterator[Show]:
    """Open the page of a run; when the test is over, nothing may have been asked for, and nothing complained."""

    def opened(run: Run, samples: report_demo.Samples, *, width: int = 1280, scheme: str = "light") -> None:
        screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 700}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        wanted = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wanted})
        browser.get(report.write(run, samples, tmp_path).absolute().as_uri())
        WebDriverWait(browser, 20).until(lambda _: script(browser, "return timeline.dataset.drawn") == "yes")

    browser.get_log("browser")
    browser.get_log("performance")
    yield opened
    assert browser.get_log("browser") == []
    asked = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = {item["params"]["request"]["url"] for item in asked if item["method"] == "Network.requestWillBeSent"}
    assert {url for url in urls if not url.startswith("data:")} == {(tmp_path / "index.html").absolute().as_uri()}


def script(browser: Chrome, source: str, *arguments: Any) -> Any:
    return browser.execute_script(source, *arguments)  # type: ignore[no-untyped-call]


def shown(browser: Chrome) -> list[float]:
    return [round(value, 1) for value in script(browser, "return timeline.layout.xaxis.range")]


def test_each_lane_each_fault_and_each_event_is_drawn(browser: Chrome, show: Show) -> None:
    run, samples = report_demo.failover()
    show(run, samples)
    drawn = script(browser, "return [...timeline.querySelectorAll('.annotation-text')].map((item) => item.textContent)")
    for lane in run.lanes:
        assert any(text.startswith(lane.title) for text in drawn), lane.title
    for number, fault in enumerate(run.faults, 1):
        assert any(text.startswith(f"F{number} {fault.name} {fault.target}") for text in drawn)
    shapes = script(browser, "return timeline.querySelectorAll('.shapelayer path').length")
    assert shapes == len(run.faults) + len(run.phases)
    assert script(browser, "return timeline.querySelectorAll('.scatterlayer .point').length") == len(run.events)
    assert script(browser, "return timeline.querySelectorAll('.barlayer .point').length") >= 2 * len(run.lanes)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_readers_choice(browser: Chrome, show: Show, scheme: str) -> None:
    show(*report_demo.failover(), scheme=scheme)
    body, plot = script(
        browser,
        "return [getComputedStyle(document.body).color,"
        " getComputedStyle(timeline.querySelector('.annotation-text')).fill]",
    )
    assert body == plot
    assert body == {"light": "rgb(27, 31, 36)", "dark": "rgb(230, 233, 237)"}[scheme]


@pytest.mark.parametrize("width", [375, 768, 1100, 1280])
@pytest.mark.parametrize("demo", [report_demo.failover, report_demo.nothing])
def test_nothing_sticks_out(browser: Chrome, show: Show, width: int, demo: Callable[[], Any]) -> None:
    run, samples = demo()
    show(run, samples, width=width)
    script(browser, "document.querySelectorAll('details').forEach((item) => { item.open = true; })")
    assert script(browser, "return document.documentElement.scrollWidth <= innerWidth")
    assert script(browser, STICKING_OUT) == []
    plot = script(
        browser,
        "return [...timeline.querySelectorAll('.annotation-text, .xtick text')]"
        ".map((item) => item.getBoundingClientRect()).filter((box) => box.right > innerWidth).length",
    )
    assert plot == 0


def test_the_buttons_zoom_and_move(browser: Chrome, show: Show) -> None:
    show(*report_demo.failover())

    def press(name: str) -> list[float]:
        script(
            browser,
            "[...document.querySelectorAll('.tools button')].find((b) => b.textContent === arguments[0]).click()",
            name,
        )
        return shown(browser)

    assert shown(browser) == [0, 150]
    assert press("Fault 2") == pytest.approx([106.5, 114.6], abs=0.11)
    assert press("Zoom out") == pytest.approx([102.4, 118.7], abs=0.11)
    assert press("Later") == pytest.approx([110.5, 126.8], abs=0.11)
    assert press("Earlier") == pytest.approx([102.4, 118.7], abs=0.11)
    assert press("Zoom in") == pytest.approx([106.5, 114.6], abs=0.11)
    assert press("Whole run") == [0, 150]
    assert press("Zoom out") == [0, 150]


def test_details_are_shown_where_the_mouse_is(browser: Chrome, show: Show) -> None:
    show(*report_demo.failover())
    # The bar of the outage is in the middle of what is shown once its fault's first seconds are.
    script(browser, "return Plotly.relayout(timeline, {'xaxis.range': [42.4, 44.8]})")
    place = script(
        browser,
        "const row = timeline.data.find((trace) => trace.name === 'api-read failed').y[0];"
        "timeline.scrollIntoView({block: 'center'});"
        "const box = timeline.querySelector('.nsewdrag').getBoundingClientRect();"
        "return [box.left + box.width / 2, box.top + box.height * row / timeline.layout.yaxis.range[0]]",
    )
    for step in (0, 3):
        position = {"type": "mouseMoved", "x": place[0] + step, "y": place[1]}
        browser.execute_cdp_cmd("Input.dispatchMouseEvent", position)
    look = "return timeline.querySelector('.hoverlayer').textContent"
    text = WebDriverWait(browser, 5).until(lambda _: script(browser, look))
    assert "API read through the balancer" in text
    assert "connection refused" in text


def test_hostile_text_does_nothing(browser: Chrome, show: Show) -> None:
    run, samples = report_demo.failover()
    hostile = "</script><img src=x onerror='document.title=\"owned\"'><a href=x>"
    lanes = tuple(history.Lane(lane.name, hostile, lane.interval, lane.kind, lane.connection) for lane in run.lanes)
    events = (history.ClusterEvent(3, hostile, hostile, hostile),)
    show(history.Run(**{**vars(run), "reason": hostile, "lanes": lanes, "events": events}), samples)
    assert script(browser, "return document.querySelectorAll('main img, main a').length") == 0
    assert browser.title == "ha-failover: passed"
    assert hostile in script(browser, "return document.body.textContent")
