"""What a project's files say, as far as tables show it; the rest is in tests/e2e/test_run.py."""

from pathlib import Path

import pytest

from trackstack.errors import UsageError
from trackstack.operations import project
from trackstack.operations.project import Imports
from trackstack.operations.project_source import at_hand, without_login

CONDA = [
    # what conda is asked for, what uv is asked for
    ("numpy", "numpy"),
    ("conda-forge::numpy", "numpy"),
    ("numpy=1.26", "numpy==1.26.*"),
    ("numpy=1.26.4=py311h64a7726_0", "numpy==1.26.4.*"),
    ("numpy==1.26.4", "numpy==1.26.4"),
    ("numpy 1.26.4", "numpy==1.26.4"),
    ("numpy=1.26.*", "numpy==1.26.*"),
    ("numpy >=1.20,<3", "numpy<3,>=1.20"),
    ("scikit_learn", "scikit_learn"),
    ("setuptools<81", "setuptools<81"),
]
PYTHON = [
    ("python", None),
    ("python=3.11", "3.11"),
    ("python=3.11.*", "3.11"),
    ("python==3.11.7", "3.11.7"),
    ("python >=3.10,<3.13", "<3.13,>=3.10"),
]
KNOWN = {"numpy": "2.4.1", "scikit-learn": "1.8.0"}


def imports_of(folder: Path, text: str, file: str = "conda.yaml") -> Imports | None:
    (folder / file).write_text(text)
    return project.imports(project.read(folder), folder, KNOWN)


@pytest.mark.parametrize(("asked", "wanted"), CONDA)
def test_a_package_from_conda_is_asked_of_pypi(tmp_path: Path, asked: str, wanted: str) -> None:
    found = imports_of(tmp_path, f"dependencies: [{asked!r}, {{pip: [mlflow]}}]".replace("'", '"'))
    assert found == Imports(requirements=(wanted, "mlflow"))


@pytest.mark.parametrize(("asked", "wanted"), PYTHON)
def test_conda_s_python_is_asked_of_uv(tmp_path: Path, asked: str, wanted: str | None) -> None:
    assert imports_of(tmp_path, f'dependencies: ["{asked}"]') == Imports(python=wanted)


def test_what_only_conda_may_have_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="takes 'pytorch' from conda"):
        imports_of(tmp_path, "dependencies: [numpy, pytorch=2.1]")


@pytest.mark.parametrize(
    "text",
    [
        *("dependencies: [3]", "dependencies: ['numpy=>1']", "dependencies: [{npm: [x]}]"),
        *("dependencies: 5", "dependencies: numpy", "dependencies: [{pip: [3]}]", "- numpy"),
    ],
)
def test_a_damaged_environment_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=r"conda\.yaml is damaged"):
        imports_of(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        *("dependencies: 5", "dependencies: mlflow", "dependencies: [3]"),
        *("dependencies: {mlflow: 3}", "build_dependencies: pip", "python: 3.1"),
    ],
)
def test_a_damaged_environment_of_python_s_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=r"python_env\.yaml is damaged"):
        imports_of(tmp_path, text, "python_env.yaml")


def test_what_builds_comes_along(tmp_path: Path) -> None:
    text = "python: '3.11'\nbuild_dependencies: [setuptools<81]\ndependencies: [mlflow]\n"
    wanted = Imports(python="3.11", requirements=("setuptools<81", "mlflow"))
    assert imports_of(tmp_path, text, "python_env.yaml") == wanted


def test_a_project_without_a_word_imports_nothing_of_its_own(tmp_path: Path) -> None:
    assert project.imports(project.read(tmp_path), tmp_path, KNOWN) is None


MLPROJECTS = [
    # the file, words of the sentence
    ("entry_points: {main: {}}", "is damaged"),
    ("entry_points: [main]", "is damaged"),
    ("entry_points: {main: {command: 'echo {depth'}}", "is damaged"),
    ("entry_points: {main: {command: 'echo {depth}'}}", "names {depth}, which is none of its"),
    ("python_env: a\nconda_env: b", "names both python_env and conda_env"),
    ("databricks_spark_job: {}", "as a job of Databricks"),
    ("python_env: none.yaml", "names none.yaml, and there is no such file"),
    ("name: 2026-99-99", "it holds a date or a number that is none"),
    ("name: !!int abc", "it holds a date or a number that is none"),
    ("name: !!bool abc", "it holds a date or a number that is none"),
    ("name: !!timestamp abc", "it holds a date or a number that is none"),
    ("name: [", "is no YAML at line 1"),
]


@pytest.mark.parametrize(("text", "told"), MLPROJECTS)
def test_an_mlproject_that_cannot_be_run_is_told(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "MLproject").write_text(text)
    with pytest.raises(UsageError) as refused:
        project.imports(project.read(tmp_path), tmp_path, KNOWN)
    assert told in refused.value.sentence


def test_a_script_is_an_entry_point_that_takes_any_parameter(tmp_path: Path) -> None:
    (tmp_path / "train.py").touch()
    project.check(project.read(tmp_path), tmp_path, "train.py", {"depth": "3"})


def test_a_near_name_is_suggested(tmp_path: Path) -> None:
    (tmp_path / "MLproject").write_text(
        "entry_points: {main: {parameters: {tree_depth: {type: int, default: 3}}, command: x}}"
    )
    with pytest.raises(UsageError) as refused:
        project.check(project.read(tmp_path), tmp_path, "main", {"tree_dept": "3"})
    assert refused.value.hint == "Did you mean 'tree_depth'?"


@pytest.mark.parametrize("kind", ["uri", "path"])
def test_an_address_that_cannot_be_taken_apart_is_no_value(tmp_path: Path, kind: str) -> None:
    (tmp_path / "MLproject").write_text(
        f"entry_points: {{main: {{parameters: {{data: {kind}}}, command: x}}}}"
    )
    with pytest.raises(UsageError, match=f"is of type {kind}, and 'http://\\[' is not"):
        project.check(project.read(tmp_path), tmp_path, "main", {"data": "http://["})


ADDRESSES = [
    ("https://ada:geheim@git.example.com/a.git", "https://git.example.com/a.git"),
    ("https://git.example.com/a@b.git", "https://git.example.com/a@b.git"),
    ("git@git.example.com:team/a.git", "git@git.example.com:team/a.git"),
]


@pytest.mark.parametrize(("address", "shown"), ADDRESSES)
def test_an_address_is_shown_without_its_login(address: str, shown: str) -> None:
    assert without_login(address) == shown


@pytest.mark.parametrize("address", ["https://[x/y.git", "https://ada:geheim@[x/y.git"])
def test_a_repository_s_address_that_cannot_be_taken_apart_is_refused(address: str) -> None:
    with pytest.raises(UsageError) as refused, at_hand(address, None):
        pass
    assert refused.value.sentence == "That is no address of a git repository."
