"""A workspace's two pages in a real browser: what a person does there, and what a page may not."""

import base64
import hashlib
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from selenium.common.exceptions import TimeoutException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from browsers import chromium, events, servers, severe, shown, wait_for_text, waiting
from compose.workspace import Workspace
from trackstack.tracking import http_client

PICTURE = Path(__file__).parents[2] / "docs" / "pictures" / "jupyterlab.png"
EXAMPLE = "lab/tree/mlflow-example.ipynb"
RUN_SECONDS = 120
"""For the example, on a computer that does much else."""
TOLD = ("MLflow Example", "alpha", "0.05", "mae", "mlflow-example.ipynb", "Finished")
"""What the run's page shows, of which each part comes when its own request is answered."""


@dataclass(frozen=True)
class Visit:
    """What a person saw who ran the example in JupyterLab and followed its link.

    Attributes:
        stranger: JupyterLab, before the token was given.
        printed: what the notebook's cells showed.
        run: the page that the link leads to, once its login was given.
        complaints: what the pages' scripts complained of.
        servers: who was asked for something, with the port.
    """

    stranger: str
    printed: list[str]
    run: str
    complaints: set[str]
    servers: set[str]


@pytest.fixture(scope="module")
def browser(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """One on the engine's host, which trusts the workspace."""
    trusted = "--ignore-certificate-errors-spki-list=" + ",".join(certificates(workspace))
    network = ("nsenter", f"--net=/run/netns/{workspace.engine.namespace}")
    with chromium(tmp_path_factory.mktemp("browser"), (trusted,), network) as started:
        yield started


def certificates(workspace: Workspace) -> list[str]:
    """The keys of the server's certificates, which the environment's authorities vouch for."""

    def of(name: str) -> str:
        context = ssl.create_default_context(cafile=workspace.authorities)
        with (
            socket.create_connection(("127.0.0.1", workspace.port), timeout=30) as plain,
            context.wrap_socket(plain, server_hostname=name) as encrypted,
        ):
            shown = encrypted.getpeercert(binary_form=True)
        assert shown is not None
        key = x509.load_der_x509_certificate(shown).public_key()
        info = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(hashlib.sha256(info).digest()).decode()

    names = ("127.0.0.1", "tracking.localhost")
    return [workspace.engine.inside(lambda name=name: of(name)) for name in names]


def log_in(browser: Chrome, workspace: Workspace, server: str) -> None:
    """Give MLflow's name and password, as somebody does who answers the browser's question."""
    client = workspace.client_variables()
    user, password = client["MLFLOW_TRACKING_USERNAME"], client["MLFLOW_TRACKING_PASSWORD"]
    browser.get(f"https://{quote(user)}:{quote(password)}@{server}/version")


@pytest.fixture(scope="module")
def visit(browser: Chrome, workspace: Workspace) -> Visit:
    """A walk from JupyterLab's login to the run's page, by one who has both logins."""
    browser.execute_cdp_cmd("Network.clearBrowserCookies", {})
    browser.get(f"{workspace.lab}/lab")
    wait_for_text(browser, "Password or token")
    stranger = shown(browser)
    browser.get(f"{workspace.lab}/{EXAMPLE}?token={workspace.token()}")
    run_all(browser)
    addresses = waiting(browser, RUN_SECONDS).until(links, "no link to the run's page")
    waiting(browser).until(
        lambda page: "most weight" in "\n".join(outputs(page)), "the last cell shows nothing"
    )
    printed = waiting(browser).until(outputs)
    if os.environ.get("TRACKSTACK_WRITE_PICTURES") == "1":
        assert browser.save_screenshot(PICTURE)
    log_in(browser, workspace, urlsplit(addresses[0]).netloc)
    browser.get(addresses[0])
    wait_for_text(browser, "l1_ratio")
    with suppress(TimeoutException):  # a test tells what is not there
        waiting(browser).until(lambda page: all(text in shown(page) for text in TOLD))
    return Visit(stranger, printed, shown(browser), severe(browser), servers(events(browser)))


def outputs(browser: Chrome) -> list[str]:
    """What the cells of the notebook that is open show."""
    found = browser.find_elements(By.CSS_SELECTOR, ".jp-OutputArea-output")
    return [output.text for output in found]


def links(browser: Chrome) -> list[str]:
    """Where the links to pages of runs lead that they show."""
    found = browser.find_elements(By.CSS_SELECTOR, ".jp-OutputArea-output a[href*='/runs/']")
    return [link.get_attribute("href") or "" for link in found]


def run_all(browser: Chrome) -> None:
    """Run all cells of the notebook that is open, with the menu."""

    def there(kind: str, text: str) -> bool:
        found = browser.find_elements(By.XPATH, f"//div[{has(kind)} and text()='{text}']")
        if found:
            found[0].click()
        return bool(found)

    def has(name: str) -> str:
        return f"contains(@class, '{name}')"

    wait = waiting(browser, RUN_SECONDS)
    # Before its kernel is ready JupyterLab would ask for another one.
    wait.until(lambda page: "Python 3 (ipykernel) | Idle" in shown(page), "there is no kernel")
    wait.until(lambda _: there("lm-MenuBar-itemLabel", "Run"))
    wait.until(lambda _: there("lm-Menu-itemLabel", "Run All Cells"))
    wait.until(
        lambda page: "[4]:" in page.find_element(By.CSS_SELECTOR, ".jp-Notebook").text,
        "the fourth and last cell of code did not end",
    )


def test_without_the_token_jupyterlab_shows_its_login_only(visit: Visit) -> None:
    assert "mlflow-example" not in visit.stranger


def test_the_example_runs_in_jupyterlab_with_a_click(visit: Visit) -> None:
    printed = "\n".join(visit.printed)
    assert "Error" not in printed
    assert "most weight: bmi" in printed


def test_its_link_leads_to_the_runs_page(visit: Visit) -> None:
    for text in TOLD:
        assert text in visit.run


def test_the_pages_complain_of_nothing(visit: Visit) -> None:
    assert visit.complaints == set()


def test_the_pages_ask_no_other_server(visit: Visit, workspace: Workspace) -> None:
    assert visit.servers == {
        f"127.0.0.1:{workspace.jupyter_port}",
        f"tracking.localhost:{workspace.port}",
    }


@pytest.fixture(scope="module")
def inside(browser: Chrome, workspace: Workspace) -> Chrome:
    """The browser, of one who is logged in at both."""
    browser.get(f"{workspace.lab}/lab?token={workspace.token()}")
    log_in(browser, workspace, f"127.0.0.1:{workspace.port}")
    return browser


@pytest.fixture
def api(workspace: Workspace) -> Iterator[httpx.Client]:
    """JupyterLab's own answers."""
    with http_client(workspace.lab, workspace.authorities) as http:
        http.headers["Authorization"] = f"token {workspace.token()}"
        yield http


@pytest.fixture
def terminal(workspace: Workspace, api: httpx.Client) -> Iterator[str]:
    """The name of a shell that JupyterLab runs."""
    name = workspace.engine.inside(lambda: str(api.post("api/terminals").json()["name"]))
    yield name
    workspace.engine.inside(lambda: api.delete(f"api/terminals/{name}"))


# Each with the session's cookies, which a browser sends to every port of a host, and with the word
# against forged requests that JupyterLab keeps in one that any page of the host may read.
COMES = {
    "reads files": "return (await fetch(lab + '/api/contents', {credentials: 'include'})).ok",
    "opens a websocket to a shell": """return new Promise(end => {
        const socket = new WebSocket(lab.replace('https', 'wss') + '/terminals/websocket/' + shell)
        socket.onopen = () => end(true)
        socket.onerror = () => end(false)
    })""",
    "looks into a frame": """return new Promise(end => {
        const frame = document.createElement('iframe')
        frame.src = lab + '/lab'
        frame.onload = () => end(frame.contentDocument?.title === 'JupyterLab')
        document.body.append(frame)
    })""",
    "shows its pictures": """return new Promise(end => {
        const picture = new Image()
        picture.src = lab + '/static/favicons/favicon.ico'
        picture.onload = () => end(true)
        picture.onerror = () => end(false)
    })""",
    "makes a shell": """
        const word = /_xsrf=([^;]+)/.exec(document.cookie)[1]
        const asked = {method: 'POST', mode: 'no-cors', credentials: 'include'}
        await fetch(lab + '/api/terminals?_xsrf=' + encodeURIComponent(word), asked)
        return null""",
}


def comes_to(page: Chrome, script: str, lab: str, shell: str) -> object:
    """What a script comes to in the page that is open."""
    body = f"""
        const [lab, shell, end] = arguments;
        (async () => {{ {script} }})().then(end, () => end(false))"""
    return page.execute_async_script(body, lab, shell)


@pytest.mark.parametrize("what", COMES)
def test_a_page_of_mlflows_comes_to_nothing_of_jupyterlab(
    inside: Chrome, workspace: Workspace, api: httpx.Client, terminal: str, what: str
) -> None:
    def shells() -> set[str]:
        return {each["name"] for each in api.get("api/terminals").json()}

    came = {}
    for origin, page in (("JupyterLab", f"{workspace.lab}/lab"), ("MLflow", workspace.url)):
        inside.get(f"{page}/version" if page == workspace.url else page)
        before = workspace.engine.inside(shells)
        answered = comes_to(inside, COMES[what], workspace.lab, terminal)
        made = workspace.engine.inside(shells) - before
        came[origin] = bool(answered or made)
        for name in made:
            workspace.engine.inside(lambda name=name: api.delete(f"api/terminals/{name}"))
    assert came == {"JupyterLab": True, "MLflow": False}


def test_a_page_of_jupyterlabs_reads_nothing_with_mlflows_login(
    inside: Chrome, workspace: Workspace
) -> None:
    read = f"return (await fetch('{workspace.url}/version', {{credentials: 'include'}})).ok"
    inside.get(f"{workspace.url}/version")
    assert comes_to(inside, read, "", "") is True
    inside.get(f"{workspace.lab}/lab")
    assert comes_to(inside, read, "", "") is False
