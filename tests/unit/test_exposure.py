"""Beyond this computer: which settings go together, and what plan and release make of them."""

import json
import re
from typing import Any

import pytest
from pydantic import ValidationError

from trackstack import spec
from trackstack.desired import Release
from trackstack.errors import UsageError
from trackstack.outputs import Outputs
from trackstack.plan import Plan
from trackstack.release import render_release
from trackstack.targets.local import Local
from unit import golden
from unit.making import content, plan

LAN, NAME = "192.168.1.20", "mlflow.example.com"
PEM = {"certificate": "/etc/ssl/my certificate.pem", "key": "/etc/ssl/my key.pem"}
KINDS: dict[str, dict[str, Any]] = {
    "none": {},
    "own": {"listen": LAN, "hostnames": [NAME, "10.0.0.9"]},
    "everywhere": {"listen": "0.0.0.0", "hostnames": [NAME]},
    "files": {"listen": LAN, "hostnames": [NAME, "gpu1"], "tls": "files", **PEM},
    "upstream": {
        "listen": LAN,
        "hostnames": [NAME],
        "tls": "upstream",
        "trusted_proxies": ["10.0.0.0/24", "192.168.1.2/32"],
    },
    "upstream-here": {
        "hostnames": [NAME],
        "tls": "upstream",
        "trusted_proxies": ["127.0.0.1/32"],
    },
}


def rendered(of: Plan) -> dict[str, Any]:
    return render_release(of, Outputs(url=url(of), machine="local"))


def url(of: Plan) -> str:
    return Local.outputs(None, of).url  # type: ignore[arg-type]  # it asks nothing of a target


def files(of: Plan) -> dict[str, str]:
    """The release's files by what they are, without the names that follow from their content."""
    made = rendered(of)
    return {
        file.path.replace(made["mlflow"], "mlflow"): file.content.replace(
            made["mlflow"], "NAME"
        ).replace(made["nginx"], "SETTINGS")
        for file in made["files"]
    }


def variable(of: Plan, name: str) -> list[str]:
    found = re.search(rf"(?m)^{name}=(.*)$", files(of)["services/mlflow.env"])
    assert found is not None
    return found[1].split(",")


TOGETHER = [
    # what is asked of the server, a part of the sentence
    ({"listen": "0.0.0.0"}, "with listen 0.0.0.0 say in hostnames by which names"),
    ({"tls": "files"}, "certificate and key go with tls: files, and tls: files with both"),
    (PEM, "certificate and key go with tls: files, and tls: files with both"),
    (
        {**KINDS["files"], "key": None},
        "certificate and key go with tls: files, and tls: files with both",
    ),
    ({"tls": "upstream", "hostnames": [NAME]}, "tls: upstream with trusted_proxies"),
    ({"trusted_proxies": ["10.0.0.0/8"]}, "trusted_proxies goes with tls: upstream"),
    ({**KINDS["files"], "hostnames": []}, "tls: files needs in hostnames the names clients use"),
    ({**KINDS["upstream"], "hostnames": []}, "tls: upstream needs in hostnames the names clients"),
    (
        {**KINDS["files"], "listen": "127.0.0.1"},
        "tls: files needs in listen an address beyond this computer",
    ),
    (
        {"listen": LAN, "hostnames": ["localhost"]},
        "localhost in hostnames is what every computer calls itself",
    ),
    (
        {"listen": LAN, "hostnames": [NAME, "127.0.0.1"]},
        "127.0.0.1 in hostnames is what every computer calls itself",
    ),
]


@pytest.mark.parametrize(("server", "told"), TOGETHER)
def test_what_does_not_go_together_is_told_with_its_group(
    server: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError) as refused:
        spec.validate(content(**server), "The test")
    assert refused.value.sentence.startswith("The test: server: ")
    assert told in refused.value.sentence
    assert "Value error" not in refused.value.sentence


def test_an_endpoint_without_a_bucket_is_told() -> None:
    whole = content() | {"stores": {"artifacts_endpoint": "https://s3.example.com"}}
    with pytest.raises(UsageError, match="stores: artifacts_endpoint goes with artifacts: say"):
        spec.validate(whole, "The test")


@pytest.mark.parametrize("kind", KINDS)
def test_what_goes_together_is_taken(kind: str) -> None:
    assert spec.validate(content(**KINDS[kind]), "The test").server.port == 8080


@pytest.mark.parametrize(
    ("listen", "beyond"), [("127.0.0.1", False), (LAN, True), ("0.0.0.0", True)]
)
def test_only_loopback_is_this_computer(listen: str, beyond: bool) -> None:
    server = spec.Server(listen=listen, hostnames=[NAME], port=8080, workers=1, mlflow="3.17.2")
    assert server.beyond_loopback == beyond


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "none"])
def test_the_plan_and_the_settings_of_each_kind_of_tls_are_the_golden_ones(kind: str) -> None:
    of = plan(**KINDS[kind])
    kept = {
        "plan.json": json.dumps(of.nginx.model_dump(), indent=1) + "\n",
        "nginx.conf": files(of)["nginx/nginx.conf"],
        "url": url(of) + "\n",
    }
    golden.compare(f"exposure/{kind}", kept)


@pytest.mark.parametrize("kind", KINDS)
def test_how_it_is_exposed_changes_nginx_settings_and_the_names_mlflow_knows_and_nothing_else(
    kind: str,
) -> None:
    before, after = files(plan()), files(plan(**KINDS[kind]))
    assert set(before) == set(after)
    different = {path for path in before if before[path] != after[path]}
    expected = {"nginx/nginx.conf", "services/mlflow.env"} if kind != "none" else set()
    assert different == expected
    unlike = [
        one.partition("=")[0]
        for one, other in zip(
            before["services/mlflow.env"].splitlines(),
            after["services/mlflow.env"].splitlines(),
            strict=True,
        )
        if one != other
    ]
    hosts, origins = "MLFLOW_SERVER_ALLOWED_HOSTS", "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"
    assert unlike == ([hosts, origins] if expected else [])
    beyond = plan(**KINDS[kind]).model_dump()
    assert {**beyond, "nginx": 0} == {**plan().model_dump(), "nginx": 0}


CERTIFICATES = [
    ("none", ()),
    ("own", (NAME, "10.0.0.9", LAN)),
    ("everywhere", (NAME,)),
    ("files", ()),
    ("upstream", ()),
]


@pytest.mark.parametrize(("kind", "names"), CERTIFICATES)
def test_a_certificate_of_its_own_is_made_for_every_name_it_goes_by(
    kind: str, names: tuple[str, ...]
) -> None:
    assert rendered(plan(**KINDS[kind]))["certificates"] == names


def shown(of: Plan) -> list[tuple[str, str]]:
    """The certificates in nginx's settings, in their order, with the names they are for."""
    text = files(of)["nginx/nginx.conf"]
    pairs = re.findall(r'ssl_certificate "(.*)";\s+ssl_certificate_key "(.*)";', text)
    assert len(pairs) == text.count("ssl_certificate ")
    return pairs


def test_who_names_nobody_is_shown_the_certificate_of_an_address() -> None:
    """Clients that call an address send no name along."""
    chains = [chain for chain, _ in shown(plan(**KINDS["own"]))]
    assert chains[0] == "data/tls/10.0.0.9/leaf.pem"
    assert set(chains) == {f"data/tls/{name}/leaf.pem" for name in (NAME, "10.0.0.9", LAN)}


def test_with_files_every_name_is_shown_the_given_certificate() -> None:
    assert set(shown(plan(**KINDS["files"]))) == {(PEM["certificate"], PEM["key"])}


ADDRESSES = [
    ("none", "http://127.0.0.1:8080"),
    ("own", f"https://{NAME}:8080"),
    ("everywhere", f"https://{NAME}:8080"),
    ("files", f"https://{NAME}:8080"),
    ("upstream", f"https://{NAME}"),
]


@pytest.mark.parametrize(("kind", "expected"), ADDRESSES)
def test_clients_get_the_address_that_others_reach(kind: str, expected: str) -> None:
    assert url(plan(**KINDS[kind])) == expected


def test_an_address_alone_is_its_own_name() -> None:
    assert url(plan(listen=LAN)) == f"https://{LAN}:8080"
    assert rendered(plan(listen=LAN))["certificates"] == (LAN,)


@pytest.mark.parametrize("kind", KINDS)
def test_pages_of_this_server_may_call_mlflow_and_in_clear_only_on_this_computer(
    kind: str,
) -> None:
    of = plan(**KINDS[kind])
    origins = variable(of, "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS")
    assert url(of) in origins
    assert len(set(origins)) == len(origins)
    hosts = {origin.partition("://")[2] for origin in origins}
    assert hosts - {url(of).partition("://")[2]} <= set(variable(of, "MLFLOW_SERVER_ALLOWED_HOSTS"))
    for origin in origins:
        scheme, _, host = origin.partition("://")
        here = host.partition(":")[0] in ("127.0.0.1", "localhost")
        assert scheme == ("http" if here else "https"), origin


@pytest.mark.parametrize("kind", KINDS)
def test_the_agent_reaches_nginx_on_loopback_whatever_others_see(kind: str) -> None:
    made = rendered(plan(**KINDS[kind]))
    assert made["url"] == "http://127.0.0.1:8080"
    assert made["host"] == "127.0.0.1:8080"
    assert made["host"] in variable(plan(**KINDS[kind]), "MLFLOW_SERVER_ALLOWED_HOSTS")


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_served_in_clear_to_other_computers_but_to_a_proxy(kind: str) -> None:
    text = files(plan(**KINDS[kind]))["nginx/nginx.conf"]
    listening = re.findall(r"(?m)^ +listen ([0-9.]+):8080(.*);$", text)
    assert listening
    for address, options in listening:
        in_clear = "ssl" not in options
        assert in_clear == (address == "127.0.0.1" or kind.startswith("upstream")), address


def test_a_name_that_nginx_knows_already_is_not_said_twice() -> None:
    asked = {**KINDS["upstream-here"], "hostnames": ["localhost", NAME]}
    text = files(plan(**asked))["nginx/nginx.conf"]
    assert f"server_name 127.0.0.1 localhost {NAME};" in text


def test_a_certificate_for_a_name_that_is_a_path_is_refused_by_the_wire_too() -> None:
    for name in ("../x", "a/b", ".hidden", "", "A"):
        with pytest.raises(ValidationError, match="certificates"):
            Release.model_validate({**rendered(plan()), "certificates": (name,), "change": None})
