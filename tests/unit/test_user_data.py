"""User-data: small, without a secret, the same bytes each time, and good shell and units."""

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from supervised import unpack
from trackstack import bundle
from trackstack.user_data import FILES, SCRIPT, render_user_data, without_remarks

LONGEST = {
    "aws": f"s3://{'b' * 63}?region=ap-southeast-2&owner=123456789012",
    "gcp": f"gs://{'b' * 63}",
}
CLOUDS = sorted(LONGEST)


def _user_data(cloud: str) -> str:
    return render_user_data(cloud, LONGEST[cloud])


def _written(script: str) -> dict[str, str]:
    written = r"^cd (\S+)\ncat >(\S+)\.new <<'END'\n(.*?\n)END$"
    found = re.findall(written, script, re.M | re.S)
    return {f"{folder}/{name}": text for folder, name, text in found}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_user_data_is_below_8_kb(cloud: str) -> None:
    assert len(_user_data(cloud).encode()) < 8192


@pytest.mark.parametrize("cloud", CLOUDS)
def test_user_data_packs_what_a_reviewer_reads_without_its_remarks(cloud: str) -> None:
    packed = unpack(_user_data(cloud))
    assert packed.pop(SCRIPT).startswith("#!/bin/sh\n")
    assert packed == {
        name: without_remarks((bundle.templates() / source).read_text())
        for name, source in FILES.items()
    }


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_machine_is_told_its_store_and_its_cloud_and_no_more(cloud: str) -> None:
    told = json.loads(_written(_user_data(cloud))["/etc/trackstack/machine.json"])
    assert told == {"cloud": cloud, "store": LONGEST[cloud]}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_user_data_is_a_script_that_a_shell_can_read(cloud: str) -> None:
    for script in (_user_data(cloud), unpack(_user_data(cloud))[SCRIPT]):
        assert script.startswith("#!/bin/sh\n")
        checked = subprocess.run(
            ["sh", "-n"], input=script, capture_output=True, text=True, check=False
        )
        assert (checked.returncode, checked.stderr) == (0, "")


def test_what_is_packed_is_written_and_run(tmp_path: Path) -> None:
    """The script as a shell runs it, but that every path begins in a folder of the test's."""
    script = _user_data("aws")
    begin = script.index("python3 -c")
    moved = script[begin:].replace("pathlib.Path(name)", f'pathlib.Path("{tmp_path}" + name)')
    moved = moved.replace(f"exec sh {SCRIPT}", f"exec echo {SCRIPT}")
    done = subprocess.run(["sh", "-ec", moved], capture_output=True, text=True, check=True)
    assert done.stdout == f"{SCRIPT}\n"
    for name, text in unpack(script).items():
        assert Path(f"{tmp_path}{name}").read_text() == text


def test_who_reads_while_it_is_run_again_finds_whole_files(tmp_path: Path) -> None:
    """The agent, and systemd, start beside it at every boot."""
    etc = tmp_path / "etc"
    script = _user_data("aws").replace("/etc/trackstack", str(etc))
    script = script.replace("pathlib.Path(name)", f'pathlib.Path("{tmp_path}" + name)')
    file = tmp_path / "script"
    file.write_text(script.replace(f"exec sh {SCRIPT}", "exit"))
    subprocess.run(["sh", file], check=True)
    written = [etc / "machine.json", *(Path(f"{tmp_path}{name}") for name in unpack(script))]
    with ExitStack() as stack:
        opened = [stack.enter_context(path.open()) for path in written]
        texts = [path.read_text() for path in written]
        file.write_text(file.read_text().replace('"cloud": "aws"', '"cloud": "gcp"'))
        subprocess.run(["sh", file], check=True)
        assert [each.read() for each in opened] == texts
        assert all(
            path.stat().st_ino != os.fstat(each.fileno()).st_ino
            for path, each in zip(written, opened, strict=True)
        )
    assert '"gcp"' in written[0].read_text()


UNITS = [
    "trackstack.service",
    "trackstack-nginx.service",
    "trackstack-mlflow@.service",
    "var-lib-trackstack.mount",
]


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_nothing_wrong_with(tmp_path: Path, unit: str) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is missing")
    packed = unpack(_user_data("aws"))
    text = packed[f"/etc/systemd/system/{unit}"]
    if unit.endswith(".service"):
        text += packed["/etc/systemd/system/trackstack.service.d/walls.conf"]
    # Of what only the machine has, something that is everywhere.
    text = re.sub(r"^ExecStart=.*$", "ExecStart=/bin/true", text, flags=re.M)
    (tmp_path / unit).write_text(text)
    for told in _verify(analyze, tmp_path / unit):
        assert unit not in told, told


def test_systemd_would_have_found_a_misspelled_key(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is missing")
    unit = tmp_path / "trackstack.service"
    unit.write_text("[Service]\nExecStart=/bin/true\nNoNewPrivilegs=yes\n")
    assert any("NoNewPrivilegs" in told for told in _verify(analyze, unit))


def _verify(analyze: str, unit: Path) -> list[str]:
    done = subprocess.run(
        [analyze, "verify", unit], capture_output=True, text=True, check=False, cwd=unit.parent
    )
    return (done.stdout + done.stderr).splitlines()


AGAIN = "sleep 5; "
DISK = """
blkid() {{ return {code}; }}
mkfs.ext4() {{ echo "formatted $*"; }}
device=/dev/data
"""


def _beginning(rest: str, script: str = "", until: str = "export ") -> str:
    """The script's own first lines, which see to failures, before other commands."""
    script = script or unpack(_user_data("aws"))[SCRIPT]
    first = script[: script.index(until)]
    assert AGAIN in first
    return first.replace(AGAIN, "") + rest


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (0, ""),
        (2, "formatted -q -L trackstack /dev/data\n"),
        (4, "trackstack waits: cannot tell what is on /dev/data\n"),
        (8, "trackstack waits: cannot tell what is on /dev/data\n"),
    ],
)
def test_a_disk_is_formatted_only_when_it_says_that_it_is_blank(
    tmp_path: Path, code: int, told: str
) -> None:
    script = unpack(_user_data("gcp"))[SCRIPT]
    begin, end = script.index('step="tell'), script.index('step="mount')
    again = f"[ ! -e {tmp_path}/tried ] || exit 0\ntouch {tmp_path}/tried\n"
    file = tmp_path / "script"
    file.write_text(_beginning(again + DISK.format(code=code) + script[begin:end]))
    # A function of dash may not have a dot in its name.
    done = subprocess.run(["bash", file], capture_output=True, text=True, check=False)
    assert done.stdout == told


@pytest.mark.parametrize("failing", ["false", "[ '' ]", "exit 3", "cat /nowhere", "echo $nothing"])
def test_whatever_fails_is_told_and_tried_again_from_the_beginning(
    tmp_path: Path, failing: str
) -> None:
    file = tmp_path / "script"
    file.write_text(
        _beginning(
            f"echo begun\nstep='try it'\n"
            f"[ -e {tmp_path}/tried ] || {{ touch {tmp_path}/tried; {failing}; }}\necho done\n"
        )
    )
    done = subprocess.run(["sh", file], capture_output=True, text=True, check=False)
    told = "begun\ntrackstack waits: cannot try it\nbegun\ndone\n"
    assert (done.returncode, done.stdout) == (0, told)


@pytest.mark.parametrize(("folder", "linked"), [("instance/scripts", True), ("elsewhere", False)])
def test_where_cloud_init_runs_it_once_it_sees_to_it_that_it_is_run_at_every_boot(
    tmp_path: Path, folder: str, linked: bool
) -> None:
    cloud = tmp_path / "cloud"
    (cloud / "scripts" / "per-boot").mkdir(parents=True)
    file = (cloud if linked else tmp_path) / folder / "part-001"
    file.parent.mkdir(parents=True)
    script = _beginning("", _user_data("aws"), "mkdir -p /etc/trackstack")
    file.write_text(script.replace("/var/lib/cloud", str(cloud)))
    subprocess.run(["sh", file], check=True)
    at_each_boot = cloud / "scripts" / "per-boot"
    for each in [*at_each_boot.iterdir()] * 2:
        subprocess.run(["sh", each], check=True)
    assert [each.readlink() for each in at_each_boot.iterdir()] == ([file] if linked else [])


def test_a_boot_program_that_cannot_even_begin_says_why(tmp_path: Path) -> None:
    boot = bundle.templates() / "cloud-init" / "boot.py"
    machine = tmp_path / "machine.json"
    machine.write_text(json.dumps({"cloud": "aws", "store": str(tmp_path)}))
    done = subprocess.run(
        [sys.executable, boot, machine, tmp_path / "nowhere"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert re.fullmatch(r"trackstack waits: .*No such file.*nowhere/agent'\n", done.stdout)
