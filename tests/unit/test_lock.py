"""The package lock: the shipped one is whole, a fresh one comes from uv or fails in a sentence."""

import hashlib
import re
import zipfile
from pathlib import Path

import pytest

from trackstack import bundle, lock
from trackstack.errors import TrackstackError, UsageError

SHIPPED = sorted(bundle.templates().glob("requirements/mlflow-*.txt"))


def packages(text: str) -> list[str]:
    """Each package of a requirements file with all of its lines as one."""
    return [part for part in text.replace("\\\n", " ").splitlines() if part.strip()]


def wheel(folder: Path, name: str, version: str, *needs: str) -> str:
    """Build a wheel that holds nothing; returns its sha256."""
    folder.mkdir(exist_ok=True)
    file = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = {
        "METADATA": about + "".join(f"Requires-Dist: {need}\n" for need in needs),
        "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(file, "w") as archive:
        for path, text in files.items():
            archive.writestr(f"{info}/{path}", text)
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that is all uv may look in."""
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "wheels").mkdir()
    return tmp_path / "wheels"


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_every_package_of_a_shipped_lock_has_its_version_and_hashes(file: Path) -> None:
    pinned = re.compile(r"[A-Za-z0-9._-]+==[^ ;]+( ; [^#]+?)?(\s+--hash=sha256:[0-9a-f]{64})+\s*")
    loose = [each for each in packages(file.read_text()) if not pinned.fullmatch(each)]
    assert loose == []


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_a_shipped_lock_pins_the_mlflow_it_is_named_after(file: Path) -> None:
    assert lock.versions(file.read_text())["mlflow"] == file.stem.split("-")[1]


def test_the_default_mlflow_comes_with_a_shipped_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "resolve", lambda _: pytest.fail("it was resolved anew"))
    assert lock.versions(lock.for_mlflow(lock.DEFAULT_MLFLOW))["mlflow"] == lock.DEFAULT_MLFLOW


def test_a_version_without_a_shipped_lock_is_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "resolve", lambda wanted: f"resolved {wanted}")
    assert lock.for_mlflow("3.0.1") == "resolved ['mlflow==3.0.1']"


def test_the_versions_of_a_lock_are_read_past_markers_hashes_and_comments() -> None:
    text = (
        "# alpha==9\n"
        "alpha==1.0 \\\n    --hash=sha256:aa\n"
        "Beta.x==2.0+local ; sys_platform == 'win32' \\\n    --hash=sha256:bb\n"
        "gamma==3\n"
        "delta==1 ; python_full_version < '3.12' \\\n    --hash=sha256:cc\n"
        "delta==2 ; python_full_version >= '3.12' \\\n    --hash=sha256:dd\n"
        "    # via alpha==1\n"
    )
    assert lock.versions(text) == {
        "alpha": "1.0",
        "Beta.x": "2.0+local",
        "gamma": "3",
        "delta": "1 or 2",
    }


def test_a_fresh_lock_holds_what_is_needed_with_hashes_and_markers(index: Path) -> None:
    first = wheel(index, "alpha", "1.0", "beta>=1", "gamma>=1; sys_platform == 'win32'")
    wheel(index, "beta", "0.9")
    second = wheel(index, "beta", "1.5")
    third = wheel(index, "gamma", "1.0")
    made = lock.resolve(["alpha==1.0"])
    assert packages(made) == [
        f"alpha==1.0      --hash=sha256:{first}",
        f"beta==1.5      --hash=sha256:{second}",
        f"gamma==1.0 ; sys_platform == 'win32'      --hash=sha256:{third}",
    ]


def test_the_same_wheels_give_the_same_lock(index: Path) -> None:
    wheel(index, "alpha", "1.0", "beta")
    wheel(index, "beta", "1.0")
    assert lock.resolve(["alpha"]) == lock.resolve(["alpha"])


def test_packages_that_exclude_each_other_are_told_in_one_sentence(index: Path) -> None:
    wheel(index, "alpha", "1.0", "gamma<2")
    wheel(index, "beta", "1.0", "gamma>=2")
    wheel(index, "gamma", "1.0")
    wheel(index, "gamma", "2.0")
    with pytest.raises(UsageError) as refused:
        lock.resolve(["alpha==1.0", "beta==1.0"])
    sentence = refused.value.sentence
    assert sentence.startswith(
        "These packages cannot be installed together: alpha==1.0, beta==1.0. "
    )
    assert "gamma<2" in sentence
    assert "\n" not in sentence
    assert "╰" not in sentence


def test_a_version_that_does_not_exist_is_told(index: Path) -> None:
    wheel(index, "alpha", "1.0")
    with pytest.raises(UsageError, match=r"alpha==9\.9") as refused:
        lock.resolve(["alpha==9.9"])
    assert "\n" not in refused.value.sentence


def test_an_index_that_cannot_be_reached_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")  # discard: nobody listens
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(TrackstackError) as failed:
        lock.resolve(["alpha==1.0"])
    assert failed.value.exit_code == 1
    assert failed.value.sentence.startswith("The packages alpha==1.0 could not be looked up: ")
    assert "127.0.0.1:9" in failed.value.sentence
    assert "\n" not in failed.value.sentence
