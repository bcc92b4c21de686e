"""MLflow's pages in a real browser: the login is asked for, and behind it everything works."""

import json
import math
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from servers import ADA, Server

PICTURE = Path(__file__).parents[2] / "docs" / "pictures" / "experiments.png"
# A page of 1500 by 875 in a picture of 1200 by 700.
SCREEN = {"width": 1500, "height": 875, "deviceScaleFactor": 0.8, "mobile": False}

# What the pages ask for by themselves and do not get, and why.
SHUT = (
    "/ajax-api/3.0/mlflow/assistant/",
    "/ajax-api/3.0/mlflow/gateway/",
    "/ajax-api/2.0/mlflow/gateway-proxy",
)
"""nginx shuts these: they run programs, or spend money, on the server."""
NOT_IN_MLFLOW = ("/favicon.ico", "/ajax-api/2.0/mlflow/users/current")
"""MLflow has these only with a login of its own, or not at all."""
KNOWN = SHUT + NOT_IN_MLFLOW


@dataclass(frozen=True)
class Logged:
    """An experiment with runs."""

    experiment: str
    run: str


@pytest.fixture(scope="session")
def logged(server: Server, ada: str) -> Logged:
    """Some runs, as a person would have logged them."""
    with server.api(ADA, ada) as api:

        def call(method: str, **body: object) -> dict[str, Any]:
            return dict(api.post(method, json=body).raise_for_status().json())

        experiment = call("experiments/create", name="house prices")["experiment_id"]
        now_ms = int(time.time() * 1000)
        for depth in (2, 3, 4, 6, 8):
            name = f"tree of depth {depth}"
            started = {"start_time": now_ms - (9 - depth) * 60_000, "run_name": name}
            run = call("runs/create", experiment_id=experiment, **started)["run"]["info"]["run_id"]
            r2 = round(1 - math.exp(-depth / 2), 3)
            call(
                "runs/log-batch",
                run_id=run,
                params=[{"key": "tree_depth", "value": str(depth)}],
                metrics=[{"key": "r2", "value": r2, "timestamp": 1, "step": 0}],
                tags=[{"key": "mlflow.user", "value": "ada"}],
            )
            ended = {"status": "FINISHED", "end_time": started["start_time"] + 4_200}
            call("runs/update", run_id=run, **ended)
    return Logged(experiment, name)


@dataclass(frozen=True)
class Visit:
    """What a browser noted on a walk through the pages."""

    events: list[dict[str, Any]]
    console: list[dict[str, Any]]


@pytest.fixture(scope="module")
def visit(
    server: Server, ada: str, logged: Logged, tmp_path_factory: pytest.TempPathFactory
) -> Visit:
    """A walk past the experiments, one with its runs, and the models."""
    with _chromium(tmp_path_factory.mktemp("browser")) as browser:
        _log_in(browser, server, ada)
        for page, text in (
            ("experiments", "house prices"),
            (f"experiments/{logged.experiment}/runs", logged.run),
            ("models", "Registered Models"),
        ):
            browser.get(f"{server.url}/#/{page}")
            _wait_for_text(browser, text)
        return Visit(_events(browser), browser.get_log("browser"))


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    """A headless Chromium with a profile of its own."""
    with _chromium(tmp_path) as started:
        yield started


@contextmanager
def _chromium(folder: Path) -> Iterator[Chrome]:
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    missing = [name for name, found in programs.items() if found is None]
    if missing:
        pytest.skip(f"the pages are tried in Chromium; missing here: {', '.join(missing)}")
    options = ChromeOptions()
    options.binary_location = str(programs["chromium"])
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        f"--user-data-dir={folder / 'profile'}",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = Chrome(options, Service(str(programs["chromedriver"])))
    try:
        started.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", SCREEN)
        yield started
    finally:
        started.quit()


def test_without_a_login_the_browser_is_asked_for_one(browser: Chrome, server: Server) -> None:
    browser.get(f"{server.url}/")
    asked = [
        (each["status"], {name.lower(): value for name, value in each["headers"].items()})
        for each in _answered(_events(browser))
        if each["url"] == f"{server.url}/"
    ]
    assert asked
    for status, headers in asked:
        assert (status, headers["www-authenticate"]) == (401, 'Basic realm="MLflow"')


def test_without_a_login_nothing_of_mlflow_is_shown(browser: Chrome, server: Server) -> None:
    browser.get(f"{server.url}/")
    assert "MLflow" not in browser.title + browser.find_element(By.TAG_NAME, "body").text


def test_with_a_login_the_experiments_page_shows_the_runs(
    browser: Chrome, server: Server, ada: str, logged: Logged
) -> None:
    _log_in(browser, server, ada)
    browser.get(f"{server.url}/#/experiments/{logged.experiment}/runs")
    _wait_for_text(browser, logged.run)
    if os.environ.get("TRACKSTACK_WRITE_PICTURES") == "1":
        _take_picture(browser)


def test_the_pages_miss_nothing_but_what_is_shut_on_purpose(visit: Visit) -> None:
    answers = [(each["status"], urlsplit(each["url"]).path) for each in _answered(visit.events)]
    assert {each for each in answers if each[0] >= 400 and not each[1].startswith(KNOWN)} == set()


def test_the_pages_complain_of_nothing_but_what_is_shut_on_purpose(visit: Visit) -> None:
    severe = {entry["message"] for entry in visit.console if entry["level"] == "SEVERE"}
    assert {told for told in severe if not any(path in told for path in KNOWN)} == set()


def test_the_pages_ask_no_other_server(visit: Visit, server: Server) -> None:
    asked = [
        urlsplit(event["params"]["request"]["url"])
        for event in visit.events
        if event["method"] == "Network.requestWillBeSent"
    ]
    # Chromium's own pages, and what is inside an address, come from no server.
    no_server = ("chrome", "data", "blob")
    servers = {(url.hostname, url.port) for url in asked if url.scheme not in no_server}
    assert servers == {("127.0.0.1", server.port)}


def _log_in(browser: Chrome, server: Server, password: str) -> None:
    """Give name and password, as somebody does who answers the browser's question."""
    host = server.url.removeprefix("http://")
    # Not on a page itself: scripts may fetch nothing from an address with a password in it.
    browser.get(f"http://{quote(ADA)}:{quote(password)}@{host}/version")


_TIDY = """
localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false')
for (const [key, value] of Object.entries(localStorage)) {
    if (key.includes('ExperimentPage')) {
        const columns = ['metrics.`r2`', 'params.`tree_depth`', 'attributes.`User`']
        const shown = {...JSON.parse(value), selectedColumns: columns}
        localStorage.setItem(key, JSON.stringify(shown))
    }
}
"""


def _take_picture(browser: Chrome) -> None:
    """Take the picture for the docs, once what MLflow unfolds at a first visit is closed."""
    browser.execute_script(_TIDY)
    browser.refresh()
    _wait_for_text(browser, "matching runs")
    WebDriverWait(browser, 60).until(
        lambda driver: "404" not in driver.find_element(By.TAG_NAME, "body").text,
        "the page goes on telling of an error",
    )
    PICTURE.parent.mkdir(exist_ok=True)
    assert browser.save_screenshot(PICTURE)


def _wait_for_text(browser: Chrome, text: str) -> None:
    def shows(driver: Chrome) -> bool:
        return text in driver.find_element(By.TAG_NAME, "body").text

    WebDriverWait(browser, 60).until(shows, f"the page does not show {text!r}")


def _events(browser: Chrome) -> list[dict[str, Any]]:
    """The browser's own network log."""
    return [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]


def _answered(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        event["params"]["response"]
        for event in events
        if event["method"] == "Network.responseReceived"
    ]
