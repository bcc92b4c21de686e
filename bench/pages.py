"""What a browser fetches for the first page, and what it asks again the next time."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from bench.contenders import Contenders, Server
from bench.figures import Sample

CHROMEDRIVER = "/usr/bin/chromedriver"
LOAD_SECONDS = 60
QUIET_SECONDS = 2


def pages(these: Contenders) -> Iterator[Sample]:
    """Megabytes of the first load and requests of the second, ours and the tutorial's."""
    ours, theirs = _visits(these.ours), _visits(these.apr1)
    yield Sample("page", ours[0], theirs[0])
    yield Sample("again", ours[1], theirs[1])


def _visits(server: Server) -> tuple[float, int]:
    with _browser() as browser:
        _log_in(browser, server)
        cold = _load(browser, server)
        warm = _load(browser, server)
    received = [e for e in cold if e["method"] == "Network.loadingFinished"]
    sent = [
        e
        for e in warm
        if e["method"] == "Network.responseReceived"
        and not e["params"]["response"].get("fromDiskCache")
        and e["params"]["response"]["url"].startswith("http")
    ]
    return sum(e["params"]["encodedDataLength"] for e in received) / 1e6, len(sent)


def _log_in(browser: Chrome, server: Server) -> None:
    """Give name and password, as somebody does who answers the browser's question."""
    login = f"{server.login.user}:{server.login.password}"
    browser.get(f"http://{login}@{server.place.host}:{server.place.port}/version")


def _load(browser: Chrome, server: Server) -> list[dict[str, Any]]:
    """Open the first page, and wait until nothing comes any more."""
    browser.get("about:blank")
    browser.get_log("performance")
    browser.get(f"http://{server.place.host}:{server.place.port}/#/experiments")
    WebDriverWait(browser, LOAD_SECONDS).until(
        lambda page: "Default" in page.find_element(By.TAG_NAME, "body").text
    )
    told: list[dict[str, Any]] = []
    while True:
        time.sleep(QUIET_SECONDS)
        more = browser.get_log("performance")
        if not more:
            return told
        told += (json.loads(line["message"])["message"] for line in more)


@contextmanager
def _browser() -> Iterator[Chrome]:
    options = ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"):
        options.add_argument(flag)
    options.add_argument("--disable-background-networking")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    with TemporaryDirectory() as profile:
        options.add_argument(f"--user-data-dir={Path(profile)}")
        browser = Chrome(options, Service(CHROMEDRIVER))
        try:
            yield browser
        finally:
            browser.quit()
