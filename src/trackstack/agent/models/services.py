"""The servers of models: what they are called, which one nginx asks, and their end."""

import http.client
import shutil
from pathlib import Path

from trackstack.agent import folders
from trackstack.agent.ensure_nginx import link
from trackstack.agent.machine import ask
from trackstack.agent.models.registry import Found
from trackstack.agent.models.settings import Settings, settings_file, settings_of, socket_of
from trackstack.agent.models.walls import Walls
from trackstack.desired import ServedModel, content_id

_PING_SECONDS = 5


def service_of(name: str, found: Found, wanted: ServedModel, walled: bool) -> str:
    """The name of the service that serves a version with its limits, within walls or not."""
    limits = wanted.model_dump(mode="json", exclude={"uri"})
    return f"model-{name}.{content_id([found.id, limits, *([] if walled else [walled])])[:8]}"


def services_of(name: str) -> set[str]:
    """The services of a model that are there."""
    return {file.stem for file in folders.SERVICES.glob(f"model-{name}.*.json")}


def all_services() -> set[str]:
    """The services of all models."""
    return {file.stem for file in folders.SERVICES.glob("model-*.*.json")}


def served(name: str) -> str | None:
    """The service that nginx asks for a model."""
    place = folders.SERVED / name
    return place.readlink().name if place.is_symlink() else None


def have_nginx_ask(name: str, service: str) -> None:
    """Have requests for a model go to a server from now on."""
    link(
        folders.SERVED / name,
        Path("..") / (folders.MODEL_SERVERS / service).relative_to(folders.RUN),
    )


def known(service: str | None) -> Settings | None:
    """A server's settings; None of what is not served, or was left half by a power cut."""
    try:
        return settings_of(service) if service else None
    except (OSError, ValueError):
        return None


def version_of(service: str | None) -> str | None:
    """The version of a model that a service serves."""
    settings = known(service)
    return settings.version if settings else None


def environment_is_there(service: str) -> bool:
    """Whether a server's packages can be used: an update may have taken their Python away."""
    settings = known(service)
    return settings is not None and (Path(settings.environment) / "bin" / "python").exists()


def pings(service: str) -> bool:
    """Whether a model's server has loaded it and answers."""
    answer = ask(socket_of(service), "/ping", timeout=_PING_SECONDS)
    return answer is not None and answer[0] == http.client.OK


def takes_more_than(megabytes: int, service: str, walls: Walls) -> bool:
    """Whether a server has more in memory than it may."""
    return (walls.memory(service) or 0) > megabytes << 20


def stop_serving(walls: Walls, name: str) -> None:
    """Have nginx find no such model, then end its servers."""
    (folders.SERVED / name).unlink(missing_ok=True)
    for service in services_of(name):
        retire_model(walls, service)


def retire_model(walls: Walls, service: str) -> None:
    """End one server, and forget it."""
    walls.stop(service)
    for log in folders.LOGS.glob(f"{service}.log*"):
        log.unlink(missing_ok=True)
    walls.forget(service)
    shutil.rmtree(folders.MODEL_SERVERS / service, ignore_errors=True)
    # Last: by it the service is known.
    settings_file(service).unlink(missing_ok=True)
