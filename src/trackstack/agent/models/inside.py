"""What is run within the walls: a model's server, and its own prediction."""

from trackstack.agent.models.settings import Settings
from trackstack.agent.models.walls import View

EXAMPLE = "serving_input_example.json"
"""What MLflow keeps of a model's input example: the body of a request."""

_SERVE = """\
import importlib.util, os, signal, socket, sys
signal.signal(signal.SIGTERM, signal.SIG_DFL)  # until it serves there is nothing to end well
where, most, seconds = sys.argv[1:]
if not where.isdigit():
    with socket.socket(socket.AF_UNIX) as door:
        door.connect(where)
        where = str(socket.recv_fds(door, 1, 1)[1][0])
    os.set_inheritable(int(where), True)
if importlib.util.find_spec("mlflow.pyfunc.scoring_server.app") is None:  # before MLflow 2.22
    gunicorn = ["-m", "gunicorn", "--bind", "fd://" + where, "--timeout", seconds]
    served = "mlflow.pyfunc.scoring_server.wsgi:app"
    os.execv(sys.executable, [sys.executable, "-P", *gunicorn, served])
import uvicorn
from mlflow.pyfunc.scoring_server.app import app


async def limited(scope, receive, send):
    if scope["type"] != "http":
        return await app(scope, receive, send)
    told = dict(scope["headers"]).get(b"content-length", b"0")
    if int(told) <= int(most):
        return await app(scope, receive, send)
    await send({"type": "http.response.start", "status": 413, "headers": []})
    await send({"type": "http.response.body", "body": b"Too large for this model.\\n"})


uvicorn.run(limited, fd=int(where), access_log=False, server_header=False)
"""
"""Run by the model's own Python: what `mlflow models serve` runs, on a socket that is open."""


def server(view: View, settings: Settings, where: str) -> list[str]:
    """The command of a model's server.

    Args:
        view: what it sees.
        settings: its own.
        where: the number of the open socket, or the path of the socket at which it is handed out.
    """
    most = str(settings.request_mb << 20)
    return [*_python(view), "-c", _SERVE, where, most, str(settings.seconds)]


def server_variables(view: View, settings: Settings) -> dict[str, str]:
    """The environment of a model's server: nothing of MLflow's or the machine's."""
    return {
        **variables(view),
        "MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT": str(settings.seconds),
        "__pyfunc_model_path__": view.files.as_uri(),
    }


def prediction(view: View) -> list[str]:
    """The command that reads a request's body and prints what the model's own code answers.

    Documented: https://mlflow.org/docs/latest/cli.html#mlflow-models-predict
    """
    command = [*_python(view), "-m", "mlflow", "models", "predict", "--env-manager", "local"]
    return [*command, "--content-type", "json", "--model-uri", view.files.as_uri()]


def variables(view: View) -> dict[str, str]:
    """The environment of all that runs a model's code."""
    return {
        "PATH": f"{view.environment / 'bin'}:/usr/bin:/bin",
        "HOME": str(view.scratch),
        "TMPDIR": str(view.scratch),
        "USER": "model",  # there may be no entry for it in the system's list
        "PYTHONUNBUFFERED": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }


def _python(view: View) -> list[str]:
    return [str(view.environment / "bin" / "python"), "-P"]
