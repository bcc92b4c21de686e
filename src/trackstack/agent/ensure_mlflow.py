"""MLflow: the release's server runs and answers, beside an older one until nginx has switched."""

from trackstack.agent import folders
from trackstack.agent.ensure_release import place_service
from trackstack.agent.machine import StepError, ask, tail, wait_for
from trackstack.agent.round import Round
from trackstack.desired import Release

_START_SECONDS = 120


def ensure_mlflow(this: Round) -> None:
    """Have the release's MLflow answer a real question on its socket."""
    release = this.wanted_release()
    if release is None:
        return
    service = release.mlflow

    def answers() -> bool:
        return mlflow_answers(release)

    def down() -> bool:
        return not this.machine.running(service)

    place_service(release, service)
    if not answers():
        if down():
            this.machine.start(service)
        elif not wait_for(answers, _START_SECONDS, gone=down):
            # Up for long and mute: a fresh start is the only cure known.
            this.machine.stop(service)
            this.machine.start(service)
        if not wait_for(answers, _START_SECONDS, gone=down):
            raise StepError("MLflow does not come up", tail(folders.MLFLOW_LOG))


def mlflow_answers(release: Release) -> bool:
    """Whether MLflow reads from its database.

    /health and /version would answer before the database is asked, and to any Host.
    """
    answer = ask(
        folders.mlflow_socket(release.mlflow),
        "/api/2.0/mlflow/experiments/search",
        host=release.host,
        body={"max_results": 1},
    )
    return answer is not None and answer[0] == 200
