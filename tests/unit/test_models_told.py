"""What is told of served models, whose code may write whatever it likes."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from trackstack.agent.machine import StepError
from trackstack.agent.models.trouble import told_by
from trackstack.control.base import change
from trackstack.desired import Models, ModelTrial, ServedModel
from trackstack.environment import Environment
from trackstack.operations import models, verify_model
from trackstack.operations.receipt import MissError
from trackstack.targets.local import Local
from unit.making import Called

TITLE = "\x1b]0;owned\x07"
SHOWN = "\\x1b]0;owned\\x07"


@pytest.fixture
def churn(environment: Environment) -> Environment:
    """An environment that is to serve a model as 'churn', and is stopped."""

    def apply(_: Models | None) -> dict[str, Any]:
        wanted = ServedModel(uri="models:/churn/3")
        return {"code_allowed": True, "models": {"churn": wanted}, "trials": {}}

    change(environment.target.store, Models, "a test", apply)
    return environment


@pytest.mark.usefixtures("churn")
def test_a_model_s_log_is_shown_as_no_terminal_obeys_it(
    command: Callable[..., Called], monkeypatch: pytest.MonkeyPatch
) -> None:
    def logs(*_: object) -> Iterator[str]:
        yield from ("up", f"{TITLE}down")

    monkeypatch.setattr(Local, "logs", logs)
    assert command("models", "logs", "churn").out.splitlines() == ["up", f"{SHOWN}down"]


@pytest.mark.parametrize("walls", [True, False, None])
@pytest.mark.usefixtures("churn")
def test_the_json_of_the_list_says_whether_there_are_walls(
    command: Callable[..., Called], monkeypatch: pytest.MonkeyPatch, walls: bool | None
) -> None:
    listed = models.listed

    def with_walls(of: Environment) -> models.Listed:
        return listed(of).model_copy(update={"walls": walls})

    monkeypatch.setattr(models, "listed", with_walls)
    told = json.loads(command("models", "list", "--json").out)
    assert (told["walls"], list(told["models"])) == (walls, ["churn"])
    assert told["models"]["churn"]["uri"] == "models:/churn/3"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError(f"{TITLE}x"), f"ValueError: {SHOWN}x"),
        (ValueError("one\n  two"), "ValueError: one two"),
        (OSError(2, "No such file", f"{TITLE}x"), f"No such file: {SHOWN}x"),
        (StepError("it failed", f"{TITLE}x"), f"it failed: {SHOWN}x"),
    ],
)
def test_whatever_fails_is_told_in_a_line_that_no_terminal_obeys(
    error: Exception, told: str
) -> None:
    assert told_by(error) == told


@pytest.mark.parametrize("alike", [True, False])
def test_what_a_model_answers_is_shown_as_no_terminal_obeys_it(alike: bool) -> None:
    answer = '["\x7f\x9b"]'  # JSON lets these through, and the last begins a sequence
    told = ModelTrial(
        desired=1,
        version="3",
        example={},
        prediction=json.loads(answer) if alike else [0],
    )
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text=answer))
    with httpx.Client(transport=transport, base_url="http://localhost") as client:
        if alike:
            said = verify_model._answers_alike(client, "/serve/churn/invocations", told)
        else:
            with pytest.raises(MissError) as missed:
                verify_model._answers_alike(client, "/serve/churn/invocations", told)
            said = str(missed.value)
    assert said.isprintable()
    assert "\\x7f\\x9b" in said
