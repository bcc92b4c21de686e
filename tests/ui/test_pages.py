"""MLflow's pages in a real browser: the login is asked for, and behind it everything works."""

import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from selenium.webdriver import Chrome
from servers import ADA, Server

from browsers import (
    NOT_SERVED,
    answered,
    chromium,
    events,
    servers,
    severe,
    shown,
    wait_for_text,
    waiting,
)

PICTURE = Path(__file__).parents[2] / "docs" / "pictures" / "experiments.png"


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
    complaints: set[str]


@pytest.fixture(scope="module")
def visit(
    server: Server, ada: str, logged: Logged, tmp_path_factory: pytest.TempPathFactory
) -> Visit:
    """A walk past the experiments, one with its runs, and the models."""
    with chromium(tmp_path_factory.mktemp("browser")) as browser:
        _log_in(browser, server, ada)
        for page, text in (
            ("experiments", "house prices"),
            (f"experiments/{logged.experiment}/runs", logged.run),
            ("models", "Registered Models"),
        ):
            browser.get(f"{server.url}/#/{page}")
            wait_for_text(browser, text)
        return Visit(events(browser), severe(browser))


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    """A headless Chromium with a profile of its own."""
    with chromium(tmp_path) as started:
        yield started


def test_without_a_login_the_browser_is_asked_for_one(browser: Chrome, server: Server) -> None:
    browser.get(f"{server.url}/")
    asked = [
        (each["status"], {name.lower(): value for name, value in each["headers"].items()})
        for each in answered(events(browser))
        if each["url"] == f"{server.url}/"
    ]
    assert asked
    for status, headers in asked:
        assert (status, headers["www-authenticate"]) == (401, 'Basic realm="MLflow"')


def test_without_a_login_nothing_of_mlflow_is_shown(browser: Chrome, server: Server) -> None:
    browser.get(f"{server.url}/")
    assert "MLflow" not in browser.title + shown(browser)


def test_with_a_login_the_experiments_page_shows_the_runs(
    browser: Chrome, server: Server, ada: str, logged: Logged
) -> None:
    _log_in(browser, server, ada)
    browser.get(f"{server.url}/#/experiments/{logged.experiment}/runs")
    wait_for_text(browser, logged.run)
    if os.environ.get("TRACKSTACK_WRITE_PICTURES") == "1":
        _take_picture(browser)


def test_the_pages_miss_nothing_but_what_is_shut_on_purpose(visit: Visit) -> None:
    answers = [(each["status"], urlsplit(each["url"]).path) for each in answered(visit.events)]
    missed = {each for each in answers if each[0] >= 400}
    assert {each for each in missed if not each[1].startswith(NOT_SERVED)} == set()


def test_the_pages_complain_of_nothing_but_what_is_shut_on_purpose(visit: Visit) -> None:
    assert visit.complaints == set()


def test_the_pages_ask_no_other_server(visit: Visit, server: Server) -> None:
    assert servers(visit.events) == {f"127.0.0.1:{server.port}"}


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
    wait_for_text(browser, "matching runs")
    waiting(browser).until(
        lambda driver: "404" not in shown(driver),
        "the page goes on telling of an error",
    )
    PICTURE.parent.mkdir(exist_ok=True)
    assert browser.save_screenshot(PICTURE)
