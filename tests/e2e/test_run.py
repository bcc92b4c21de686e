"""`trackstack run`: MLflow projects against a real server, from folders and from git.

What they import comes from the packages that the tests keep, so nothing is downloaded twice.
"""

import json
import os
import signal
import subprocess
from pathlib import Path
from textwrap import dedent
from typing import Any

import psutil
import pytest
from servers import OWNER, Server, ended_after

from kits import eventually
from trackstack.lock import DEFAULT_MLFLOW

EXAMPLE = Path(__file__).parents[2] / "examples" / "projects" / "decision-tree"
MLPROJECT = """
    name: small
    entry_points:
      main:
        parameters:
          depth: {type: float, default: 3}
          file: {type: path, default: /}
          place: {type: uri, default: "https://example.com"}
          label: string
        command: "echo before; python train.py {depth} {label}; ended=$?; echo after; exit $ended"
"""
TRAIN = """
    import os, sys, time
    import mlflow
    depth, label = sys.argv[1:]
    with mlflow.start_run():
        mlflow.log_metric("depth", float(depth))
        mlflow.log_text(label, "label.txt")
        print(f"label is {label}", flush=True)
        if label == "fail":
            sys.exit("it is lost")
        while label == "wait":
            time.sleep(0.1)
    sys.exit(label == "late")
"""
PYTHON_ENV = f'python: "3.11"\ndependencies: ["mlflow=={DEFAULT_MLFLOW}"]\n'
# As projects from before python_env have it: some packages from conda, MLflow by pip.
CONDA = """
    name: tutorial
    channels: [conda-forge]
    dependencies:
      - python=3.11
      - pip
      - conda-forge::numpy>=2
      - scikit-learn
      - pip: ["mlflow>=1.0"]
"""

pytestmark = pytest.mark.filterwarnings("ignore:.*forkpty:DeprecationWarning")


def a_project(folder: Path, **files: str) -> Path:
    """A small project in a folder, whose files may be replaced; a '_' stands for the dot."""
    folder.mkdir(parents=True)
    whole = {"MLproject": MLPROJECT, "train_py": TRAIN, **files}
    for name, content in whole.items():
        (folder / name.replace("_yaml", ".yaml").replace("_py", ".py")).write_text(dedent(content))
    return folder


def run_of(server: Server, run: str) -> dict[str, Any]:
    """A run as the server has it; its data by name."""
    with server.api(OWNER, server.owner_password()) as api:
        found = api.get("runs/get", params={"run_id": run}).json()["run"]
    named = {
        kind: {each["key"]: each["value"] for each in found["data"].get(kind, [])}
        for kind in ("params", "metrics", "tags")
    }
    return {**named, **found["info"]}


def runs(server: Server) -> set[str]:
    """The ids of all runs of the default experiment."""
    with server.api(OWNER, server.owner_password()) as api:
        found = api.post("runs/search", json={"experiment_ids": ["0"], "max_results": 1000}).json()
    return {each["info"]["run_id"] for each in found.get("runs", [])}


def test_the_example_runs_with_what_it_asks_for_and_its_model_is_registered(
    server: Server,
) -> None:
    done = server.run("run", EXAMPLE, "-P", "tree_depth=2", "--experiment-name", "run", "--json")
    told = json.loads(done.stdout)
    run = run_of(server, told["run"])
    assert told == {
        "run": run["run_id"],
        "experiment": run["experiment_id"],
        "status": "FINISHED",
        "url": f"{server.url}/#/experiments/{run['experiment_id']}/runs/{run['run_id']}",
        "succeeded": True,
        "why": None,
    }
    assert (run["params"]["tree_depth"], run["status"], run["user_id"]) == ("2", "FINISHED", OWNER)
    assert "Created version" in done.stderr


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"python_env_yaml": PYTHON_ENV},
        {"conda_yaml": CONDA, "train_py": f"    import numpy, sklearn{TRAIN}"},
    ],
    ids=["no word", "python_env", "conda"],
)
def test_a_project_runs_with_what_its_files_ask_for(
    server: Server, tmp_path: Path, files: dict[str, str]
) -> None:
    folder = a_project(tmp_path / "a project", **files)
    done = server.run("run", folder, "-P", "label=it's $HOME", "-P", "depth=2.5")
    assert "label is it's $HOME\n" in done.stdout
    address = done.stdout.splitlines()[-1].removeprefix("The project ran. Its run: ")
    run = run_of(server, address.rpartition("/")[2])
    assert (run["status"], run["metrics"]) == ("FINISHED", {"depth": 2.5})
    assert not list((server.account / "tmp").glob("trackstack-*"))


def git(folder: Path, *words: str) -> str:
    """Run git as nobody in particular."""
    names = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    done = subprocess.run(
        ["git", *names, *words], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository whose default branch has the project; its branch `deep` another depth."""
    root = tmp_path_factory.mktemp("repository")
    project = a_project(root / "below" / "project")
    git(root, "init", "--quiet", "--initial-branch", "trunk")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "one")
    git(root, "checkout", "--quiet", "-b", "deep")
    (project / "MLproject").write_text(dedent(MLPROJECT).replace("default: 3", "default: 7"))
    git(root, "commit", "--quiet", "--all", "--message", "two")
    git(root, "checkout", "--quiet", "trunk")
    return root


@pytest.mark.parametrize(
    ("version", "branch", "depth"), [([], "trunk", 3), (["--version", "deep"], "deep", 7)]
)
def test_a_project_from_git_runs_and_its_run_says_from_which_commit(
    server: Server, repository: Path, version: list[str], branch: str, depth: int
) -> None:
    source = f"file://{repository}#below/project"
    done = server.run("run", source, *version, "-P", "label=git", "--json")
    run = run_of(server, json.loads(done.stdout)["run"])
    assert run["metrics"] == {"depth": depth}
    assert run["tags"]["mlflow.source.name"] == source
    assert run["tags"]["mlflow.source.git.commit"] == git(repository, "rev-parse", branch)
    assert not list((server.account / "tmp").glob("trackstack-*"))


REFUSED: list[tuple[list[str], dict[str, str], int, str]] = [
    # how it is called, the project's files, exit code, words of the sentence
    (["-P", "label"], {}, 2, "'label' is no parameter."),
    (["-P", "label=a", "-P", "label=b"], {}, 2, "'label' was given twice."),
    ([], {}, 2, "'main' needs a value for label."),
    (["-P", "lable=a"], {}, 2, "has no parameter 'lable'; it has depth, file, place, label."),
    (["-P", "label=a", "-P", "depth=deep"], {}, 2, "'depth' is of type float, and 'deep' is not."),
    (["-P", "label=a", "-P", "file=/nowhere"], {}, 2, "'file' is of type path"),
    (["-P", "label=a", "-P", "place=here"], {}, 2, "'place' is of type uri"),
    (["--entry-point", "mian"], {}, 2, "has no entry point 'mian'; it has main."),
    (["--version", "trunk"], {}, 2, "--version goes with the address of a git repository."),
    (["-P", "label=a"], {"MLproject": "docker_env: {image: x}"}, 2, "runs in a Docker image"),
    (["-P", "label=a"], {"MLproject": "a: [b"}, 2, "is no YAML at line 1."),
    (["-P", "label=a"], {"conda_yaml": "dependencies: [cudatoolkit]"}, 2, "takes 'cudatoolkit'"),
    (["-P", "label=a"], {"python_env_yaml": "python: 3.1"}, 2, "python_env.yaml is damaged"),
    (["-P", "label=a"], {"python_env_yaml": "python: '3.2'"}, 4, "wants Python 3.2, which"),
    (
        ["-P", "label=a"],
        {"python_env_yaml": "dependencies: [no-such-package-of-trackstack]"},
        2,
        "no-such-package-of-trackstack was not found",
    ),
]


@pytest.mark.parametrize("refused", REFUSED, ids=lambda refused: refused[3])
def test_what_cannot_be_run_is_refused_before_the_server_hears_of_it(
    server: Server, tmp_path: Path, refused: tuple[list[str], dict[str, str], int, str]
) -> None:
    flags, files, code, told = refused
    before = runs(server)
    done = server.run("run", a_project(tmp_path / "project", **files), *flags, ok=False)
    (sentence, *_) = done.stderr.partition("error: ")[2].splitlines()
    assert (done.returncode, done.stdout) == (code, "")
    assert told in sentence
    assert runs(server) == before


def test_a_repository_that_is_not_there_is_told_without_the_login_in_its_address(
    server: Server,
) -> None:
    done = server.run("run", "http://ada:geheim@127.0.0.1:9/none.git", ok=False)
    assert done.returncode == 2
    assert "error: http://127.0.0.1:9/none.git could not be fetched: " in done.stderr
    assert "geheim" not in done.stderr


def test_a_project_that_fails_ends_with_1_and_its_own_words_before_the_sentence(
    server: Server, tmp_path: Path
) -> None:
    done = server.run(
        "run", a_project(tmp_path / "project"), "-P", "label=fail", "--json", ok=False
    )
    told = json.loads(done.stdout)
    own, _, sentence = done.stderr.partition("error: ")
    assert (done.returncode, told["status"], told["why"]) == (1, "FAILED", None)
    assert all(word in own for word in ("before\n", "label is fail\n", "it is lost\n", "after\n"))
    assert sentence.splitlines() == ["The project failed.", f"  Its run is FAILED: {told['url']}"]
    assert run_of(server, told["run"])["status"] == "FAILED"


def test_a_project_that_fails_when_its_own_code_has_ended_its_run_has_failed(
    server: Server, tmp_path: Path
) -> None:
    folder = a_project(tmp_path / "project")
    done = server.run("run", folder, "-P", "label=late", "--json", ok=False)
    told = json.loads(done.stdout)
    assert (done.returncode, told["succeeded"]) == (1, False)


def family(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def test_ctrl_c_at_a_terminal_ends_the_project_and_its_run_is_marked(
    server: Server, tmp_path: Path
) -> None:
    before = runs(server)
    terminal = server.at_terminal("run", str(a_project(tmp_path / "p")), "-P", "label=wait")
    terminal.expect_exact("label is wait")
    members = family(terminal.pid)
    terminal.sendintr()
    shown = str(terminal.read())
    terminal.close()
    (run,) = runs(server) - before
    assert terminal.exitstatus == 130, shown
    assert f"The project was stopped. Its run is FAILED: {server.url}" in shown
    assert run_of(server, run)["status"] == "FAILED"
    assert eventually(lambda: not any(each.is_running() for each in members))


def test_an_interrupt_of_the_command_alone_does_the_same_and_no_process_shows_a_password(
    server: Server, tmp_path: Path
) -> None:
    before = runs(server)
    process = server.start("run", a_project(tmp_path / "p"), "-P", "label=wait")
    assert process.stdout is not None
    with ended_after(process):
        shown = iter(process.stdout)
        assert any("label is wait" in line for line in shown)
        members = family(process.pid)
        lines = [each.cmdline() for each in [psutil.Process(process.pid), *members]]
        os.kill(process.pid, signal.SIGINT)
        _, told = process.communicate()
    (run,) = runs(server) - before
    assert any("train.py" in word for line in lines for word in line), lines
    assert server.owner_password() not in str(lines)
    assert process.returncode == 130, told
    assert run_of(server, run)["status"] == "FAILED"
    assert eventually(lambda: not any(each.is_running() for each in members))
