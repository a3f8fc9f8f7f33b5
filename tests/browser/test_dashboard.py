"""The dashboard in a real browser, fed by a test: it draws what it is told, changes without a reload, is harmless."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.wait import WebDriverWait

from kubedrill import history
from kubedrill.dashboard.hub import Hub
from kubedrill.dashboard.server import Server

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="no Chromium with chromedriver here: apt-get install chromium chromium-driver"
    ),
]


def node(name: str, ready: bool | None = True, state: str = "running", **more: Any) -> dict[str, Any]:
    said = {"name": f"lab-{name}", "ready": ready, "why": "because", "cordoned": False, "taints": [], "created": 1}
    role = name.rpartition("-")[0]
    return {"name": f"lab-{name}", "role": role, "address": "x", "state": state, "node": {**said, **more}}


def pod(name: str, node: str = "lab-worker-1", **more: Any) -> dict[str, Any]:
    return {"namespace": "default", "name": name, "node": node, "status": "Running", "ready": "1/1", "well": True,
            "restarts": 0, "why": "", "created": 1, **more}  # fmt: skip


def event(reason: str, message: str = "", at: float = 1) -> dict[str, Any]:
    return {"at": at, "warning": True, "kind": "Pod", "namespace": "default", "name": "web", "reason": reason,
            "message": message, "count": 1}  # fmt: skip


def control(answers: bool = True, why: str = "", lost: dict[str, str] | None = None) -> dict[str, Any]:
    said = {"answers": answers, "since": 1, "why": why}
    servers = [{"node": f"lab-control-plane-{n}", **said, "answers": n < 3} for n in (1, 2, 3)]
    roles = ("follows", "leads", "no answer")
    members = [{"node": f"lab-control-plane-{n}", "role": role, "term": 3, "size": 2**21, "problems": ""}
               for n, role in enumerate(roles, 1)]  # fmt: skip
    return {"api": said, "servers": servers, "members": members, "etcd": "", "lost": lost or {}}


def drill(status: str = "running", **more: Any) -> dict[str, Any]:
    lanes = [
        {"name": "api-read", "title": "API read", "strip": " " * 100 + "o" * 10 + "f" * 9 + "u", "sampled": True,
         "gap": 4.5, "longest": 4.5, "counts": [100, 45, 1], "detail": "connection refused"},
        {"name": "dns", "title": "DNS", "strip": "o" * 120, "sampled": True, "gap": 0, "longest": 0,
         "counts": [600, 0, 0], "detail": ""},
    ]  # fmt: skip
    steps = [{"time": 12.0, "phase": "fault", "text": "etcd has another leader", "kind": "wait", "expected": 2.0,
              "measured": 2.5}]  # fmt: skip
    run = {"drill": "ha-failover", "title": "Kill it.", "started": 1, "status": status, "reason": "", "pid": 1,
           "phase": "fault", "phases": history.PHASES, "waiting": "reads: none yet", "step": 0.5, "lanes": lanes,
           "steps": steps, **more}  # fmt: skip
    return {"run": run, "broken": [{"fault": "kill the node lab-control-plane-3", "since": 1}], "left": []}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    options = ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service(DRIVER))
    driver.get("about:blank")
    yield driver
    driver.quit()


@pytest.fixture
def hub() -> Hub:
    made = Hub()
    made.publish("cluster", {"name": "lab", "problem": "", "removed": 0, "kubernetes": "v1.37.2"})
    made.publish("nodes", [node("control-plane-1"), node("control-plane-2"), node("control-plane-3"), node("worker-1")])
    made.publish("pods", [pod("web-1"), pod("etcd-lab-control-plane-1", "lab-control-plane-1")])
    leaders = [{"namespace": "kube-system", "name": "kube-scheduler", "holder": "lab-control-plane-2", "renewed": 1,
                "duration": 15, "transitions": 0}]  # fmt: skip
    made.publish("leases", {"leaders": leaders, "nodes": []})
    made.publish("events", [event("Unhealthy", "probe failed")])
    made.publish("control", control())
    return made


@pytest.fixture
def page(browser: Chrome, hub: Hub) -> Iterator[Chrome]:
    """The page, open; when the test is over nothing may have complained."""
    browser.get_log("browser")
    size = {"width": 1280, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    with Server(hub) as server:
        server.start()
        browser.get(server.url)
        script(browser, "window.sameAsBefore = true")
        wait(browser, "document.getElementById('name').textContent === 'lab'")
        yield browser
        assert script(browser, "return window.sameAsBefore") is True
        browser.get("about:blank")
        hub.close()
        server.shutdown()
    assert browser.get_log("browser") == []


def script(browser: Chrome, source: str, *arguments: Any) -> Any:
    return browser.execute_script(source, *arguments)  # type: ignore[no-untyped-call]


def wait(browser: Chrome, condition: str) -> None:
    WebDriverWait(browser, 10, 0.05).until(lambda _: script(browser, f"return {condition}"), condition)


def text(browser: Chrome, selector: str) -> list[str]:
    """The text of all that match, as it is seen."""
    found = "return [...document.querySelectorAll(arguments[0])].map((one) => one.innerText.replace(/\\s+/g, ' '))"
    return [str(one) for one in script(browser, found, selector)]


def test_nodes_pods_roles_and_events_are_drawn(page: Chrome) -> None:
    assert [row.split()[0] for row in text(page, "#nodes th")] == [
        "control-plane-1", "control-plane-2", "control-plane-3", "worker-1"
    ]  # fmt: skip
    assert text(page, ".place h3") == [
        "control-plane-1 1 of 1 well", "control-plane-2 0 of 0 well", "control-plane-3 0 of 0 well",
        "worker-1 1 of 1 well",
    ]  # fmt: skip
    assert text(page, ".place:first-child .pod")[0].startswith("etcd kube") is False
    assert text(page, ".place:first-child .pod")[0].startswith("etcd default")
    rows = text(page, "#control tr")
    assert "answers" in rows[0]
    assert "follows" in rows[0]
    assert "leads" in rows[1]
    assert "kube-scheduler" in rows[1]
    assert "silent" in rows[2]
    assert "no answer" in rows[2]
    assert "Unhealthy" in text(page, "#events tr")[0]
    assert text(page, "#about") == ["Kubernetes v1.37.2, 4 of 4 nodes Ready"]
    assert text(page, "#drill-title") == ["No drill is running"]


def test_a_change_is_shown_without_a_reload_and_what_stays_is_left_alone(page: Chrome, hub: Hub) -> None:
    script(page, "window.before = document.querySelector('#nodes tr')")
    loose = pod("loose", "", status="Pending", ready="0/1", well=False, why="no node fits")
    hub.publish("pods", [pod("web-1"), pod("web-2", restarts=3, well=False, status="CrashLoopBackOff"), loose])
    hub.publish(
        "nodes", [node("control-plane-1"), node("worker-1", None, "stopped", cordoned=True, taints=["a/b=c:NoExecute"])]
    )
    wait(page, "document.querySelectorAll('.pod').length === 3")
    assert text(page, ".unplaced")[0].startswith("Without a node 0 of 1 well loose")
    assert "CrashLoopBackOff" in text(page, ".pod.ill")[0]
    assert "3 restarts" in text(page, ".pod.ill")[0]
    worker = text(page, "#nodes tr")[1]
    assert all(word in worker for word in ("stopped", "Unknown", "cordoned", "a/b=c:NoExecute")), worker
    assert script(page, "return window.before === document.querySelector('#nodes tr')") is True
    hub.publish("events", [event("Killing", at=2), event("Unhealthy", "probe failed")])
    wait(page, "document.querySelectorAll('#events tr').length === 2")
    assert "Killing" in text(page, "#events tr")[0]


def test_the_lanes_and_the_story_of_a_running_drill(page: Chrome, hub: Hub) -> None:
    hub.publish("drill", drill())
    wait(page, "document.querySelectorAll('#lanes tr').length === 2")
    assert text(page, "#drill-title") == ["Drill ha-failover"]
    assert text(page, "#phases [aria-current]") == ["fault"]
    assert text(page, "#broken li")[0].startswith("Broken now: kill the node lab-control-plane-3, for ")
    first, second = text(page, "#lanes tr")
    assert "connection refused" in first
    assert "4.5 s" in first
    assert "none" in second
    parts = script(page, "return [...document.querySelectorAll('#lanes tr:first-child .strip span')]"
                         ".map((one) => [one.className, Math.round(one.getBoundingClientRect().width * 120"
                         " / one.parentElement.clientWidth)])")  # fmt: skip
    assert parts == [["", 100], ["is-ok", 10], ["is-failed", 9], ["is-unknown", 1]]
    background = "getComputedStyle(document.querySelector('#lanes .is-{}')).background"
    assert script(page, f"return {background.format('ok')} !== {background.format('failed')}") is True
    assert text(page, "#steps li")[0].endswith("waiting: reads: none yet")
    assert "expected after about 2 s, seen after 2.5 s" in text(page, "#steps li")[1]
    hub.publish("drill", {**drill("passed", reason="5 requirements met"), "broken": []})
    wait(page, "document.getElementById('drill-state').textContent === 'passed'")
    assert text(page, "#broken li") == []


def test_a_silent_api_a_removed_cluster_and_an_ended_dashboard_are_said_so(page: Chrome, hub: Hub) -> None:
    hub.publish("control", control(False, "refused"))
    wait(page, "document.getElementById('state').textContent === 'API silent'")
    assert "The API has not answered since" in text(page, "#notices")[0]
    hub.publish("control", control())
    wait(page, "document.getElementById('state').textContent === 'live'")
    assert text(page, "#notices") == [""]
    hub.publish("cluster", {"name": "lab", "problem": "", "removed": 5, "kubernetes": ""})
    wait(page, "document.getElementById('state').textContent === 'removed'")
    assert "The cluster lab was removed at" in text(page, "#notices")[0]
    hub.close()
    wait(page, "document.body.className === 'stale' && state.textContent === 'dashboard ended'")


def test_hostile_text_does_nothing(page: Chrome, hub: Hub) -> None:
    hub.publish("pods", [pod(HOSTILE, why=HOSTILE, namespace=HOSTILE, status=HOSTILE, well=False)])
    hub.publish("events", [event(HOSTILE, HOSTILE)])
    hub.publish("nodes", [node("worker-1", False, why=HOSTILE, taints=[HOSTILE])])
    hub.publish("drill", {**drill(drill=HOSTILE, title=HOSTILE, waiting=HOSTILE), "left": [HOSTILE]})
    hub.publish("control", control(False, HOSTILE))
    wait(page, "document.querySelectorAll('.pod').length === 1 && document.querySelectorAll('#lanes tr').length === 2")
    assert script(page, "return document.querySelectorAll('main img, main script').length") == 0
    assert "owned" not in page.title.replace(HOSTILE, "")
    assert HOSTILE in script(page, "return document.body.textContent")


@pytest.mark.parametrize("width", [375, 768, 1280])
def test_nothing_sticks_out(page: Chrome, hub: Hub, width: int) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 700}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    hub.publish("drill", drill())
    wait(page, "document.querySelectorAll('#lanes tr').length === 2")
    assert script(page, "return document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_readers_choice(page: Chrome, scheme: str) -> None:
    wanted = [{"name": "prefers-color-scheme", "value": scheme}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wanted})
    colour = script(page, "return getComputedStyle(document.body).color")
    assert colour == {"light": "rgb(27, 31, 36)", "dark": "rgb(230, 233, 237)"}[scheme]
