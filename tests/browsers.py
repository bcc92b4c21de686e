"""A headless Chromium, and what it notes of the pages that it opens."""

import json
import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    NoSuchElementException,
    StaleElementReferenceException,
)
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

# A page of 1500 by 875 in a picture of 1200 by 700.
SCREEN = {"width": 1500, "height": 875, "deviceScaleFactor": 0.8, "mobile": False}
_HERE = "EXCLUDE localhost, EXCLUDE *.localhost, EXCLUDE 127.0.0.1"
_SECONDS = 60
_SCRIPT_SECONDS = 120

_SHUT = (
    "/ajax-api/3.0/mlflow/assistant/",
    "/ajax-api/3.0/mlflow/gateway/",
    "/ajax-api/2.0/mlflow/gateway-proxy",
)
"""nginx shuts these: they run programs, or spend money, on the server."""
_NOT_IN_MLFLOW = ("/favicon.ico", "/ajax-api/2.0/mlflow/users/current")
"""MLflow has these only with a login of its own, or not at all."""
NOT_SERVED = _SHUT + _NOT_IN_MLFLOW
"""What MLflow's pages ask for by themselves and do not get."""


@contextmanager
def chromium(
    folder: Path, flags: Sequence[str] = (), before: Sequence[str] = ()
) -> Iterator[Chrome]:
    """One with a profile of its own; the test is skipped where there is none.

    Args:
        folder: for its profile.
        flags: of its command, besides those that every test needs.
        before: the words that its command comes after, such as those that lead to a network.
    """
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    missing = [name for name, found in programs.items() if found is None]
    if missing:
        pytest.skip(f"the pages are tried in Chromium; missing here: {', '.join(missing)}")
    folder.mkdir(exist_ok=True)
    starter = folder / "chromium"
    starter.write_text(f'#!/bin/sh\nexec {shlex.join([*before, str(programs["chromium"])])} "$@"\n')
    starter.chmod(0o755)
    options = ChromeOptions()
    options.binary_location = str(starter)
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        # Its own first page looks for a server elsewhere, and waits where nobody refuses it.
        f"--host-resolver-rules=MAP * ~NOTFOUND, {_HERE}",
        # It may be in another network than its driver.
        "--remote-debugging-pipe",
        f"--user-data-dir={folder / 'profile'}",
        *flags,
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = Chrome(options, Service(str(programs["chromedriver"])))
    try:
        started.set_script_timeout(_SCRIPT_SECONDS)
        started.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", SCREEN)
        yield started
    finally:
        started.quit()


def waiting(browser: Chrome, seconds: float = _SECONDS) -> WebDriverWait[Chrome]:
    """Looks at a page until something is so, while the page's scripts make parts of it anew."""
    passing = (
        ElementClickInterceptedException,
        NoSuchElementException,
        StaleElementReferenceException,
    )
    return WebDriverWait(browser, seconds, ignored_exceptions=passing)


def wait_for_text(browser: Chrome, text: str, seconds: float = _SECONDS) -> None:
    """Wait until the page shows a text."""

    def shows(driver: Chrome) -> bool:
        return text in shown(driver)

    waiting(browser, seconds).until(shows, f"the page does not show {text!r}")


def shown(browser: Chrome) -> str:
    """The page's text, as a person sees it."""
    return str(browser.find_element(By.TAG_NAME, "body").text)


def events(browser: Chrome) -> list[dict[str, Any]]:
    """The browser's own network log, since it was asked for last."""
    return [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]


def answered(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The answers in a network log."""
    return [
        event["params"]["response"]
        for event in events
        if event["method"] == "Network.responseReceived"
    ]


def servers(events: list[dict[str, Any]]) -> set[str]:
    """The servers in a network log; what is inside an address comes from none."""
    requests = [
        urlsplit(event["params"]["request"]["url"])
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    inside = ("chrome", "chrome-extension", "data", "blob")
    return {f"{url.hostname}:{url.port}" for url in requests if url.scheme not in inside}


def severe(browser: Chrome) -> set[str]:
    """What pages complained of, since that was asked for last, but for what is not served."""
    told = {entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"}
    return {each for each in told if not any(path in each for path in NOT_SERVED)}
