"""Makes a machine a trackstack server: fetches the agent, which does all the rest.

boot.py MACHINE_JSON FOLDER becomes the agent of FOLDER/machine, each time its unit starts.

desired/agent.json in the control store names the wanted agent by the SHA-256 of its archive and of
its packages' lock; nothing with another hash is run. Beside an agent that proved itself another is
tried first: unless it reports before its alarm, the first comes back. See agent/itself.py.
"""

import ensurepip
import hashlib
import hmac
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

DEBIAN_WHEELS = Path("/usr/share/python-wheels")
TRIAL_SECONDS = 40
AGAIN_SECONDS = 600
MACHINE, FOLDER = Path(sys.argv[1]), Path(sys.argv[2])
AGENTS = FOLDER / "agent"
STATE = AGENTS / "state.json"
SETTINGS = json.loads(MACHINE.read_text())
STORE = urllib.parse.urlsplit(SETTINGS["store"])


def ask(url, method="GET", **headers):
    request = urllib.request.Request(url, None, headers, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def metadata(path):
    """What the cloud tells a machine of itself; AWS only with a session's token (IMDSv2)."""
    if SETTINGS["cloud"] == "gcp":
        host = os.environ.get("GCE_METADATA_HOST", "169.254.169.254")
        url = f"http://{host}/computeMetadata/v1/instance/{path}"
        return ask(url, **{"Metadata-Flavor": "Google"}).decode()
    host = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://169.254.169.254").rstrip("/")
    ttl = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    token = ask(f"{host}/latest/api/token", "PUT", **ttl).decode()
    url = f"{host}/latest/meta-data/{path}"
    return ask(url, **{"X-aws-ec2-metadata-token": token}).decode()


def machine_id():
    return metadata({"s3": "instance-id", "gs": "id"}[STORE.scheme]) if STORE.scheme else "local"


def fetch(key):
    """What lies in the control store under a key, read with the machine's own identity."""
    if STORE.scheme == "s3":
        return ask_s3(key, **dict(urllib.parse.parse_qsl(STORE.query)))
    if STORE.scheme == "gs":
        token = json.loads(metadata("service-accounts/default/token"))["access_token"]
        host = os.environ.get("STORAGE_EMULATOR_HOST", "https://storage.googleapis.com")
        name = urllib.parse.quote(key, safe="")
        url = f"{host}/download/storage/v1/b/{STORE.netloc}/o/{name}?alt=media"
        return ask(url, Authorization=f"Bearer {token}")
    return Path(SETTINGS["store"], key).read_bytes()


def ask_s3(key, region, owner=None):
    """One GET, signed: docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html."""
    roles = "iam/security-credentials/"
    keys = json.loads(metadata(roles + metadata(roles).split()[0]))
    given = os.environ.get("AWS_ENDPOINT_URL")
    end = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    base = f"{given}/{STORE.netloc}" if given else f"https://{STORE.netloc}.s3.{region}.{end}"
    place = urllib.parse.urlsplit(f"{base}/{key}")
    at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    headers = {
        "host": place.netloc,
        "x-amz-content-sha256": sha256(b""),
        "x-amz-date": at,
        "x-amz-security-token": keys["Token"],
    }
    if owner:
        headers["x-amz-expected-bucket-owner"] = owner
    lines = [f"{name}:{headers[name]}" for name in sorted(headers)]
    signed = ";".join(sorted(headers))
    request = "\n".join(["GET", place.path, "", *lines, "", signed, sha256(b"")])
    scope = f"{at[:8]}/{region}/s3/aws4_request"
    key = f"AWS4{keys['SecretAccessKey']}".encode()
    text = f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{sha256(request.encode())}"
    for part in (*scope.split("/"), text):
        key = hmac.digest(key, part.encode(), "sha256")
    who = f"Credential={keys['AccessKeyId']}/{scope}"
    proof = f"AWS4-HMAC-SHA256 {who}, SignedHeaders={signed}, Signature={key.hex()}"
    return ask(place.geturl(), Authorization=proof, **headers)


def write(path, data, mode=0o600):
    """The file is whole under its name, or not there, even after a power cut."""
    new = path.with_name(path.name + ".new")
    with new.open("wb") as file:
        file.write(data)
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
    new.replace(path)


def uptime():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def wanted():
    named = json.loads(fetch("desired/agent.json"))
    return f"{named['archive']}.{named['lock']}"


def have(name):
    """A file named by its hash, from here or from the store, and checked."""
    path = AGENTS / name
    if not path.is_file() or sha256(path.read_bytes()) != path.stem:
        data = fetch(f"desired/agent/{name}")
        if sha256(data) != path.stem:
            raise ValueError(f"desired/agent/{name} has another hash than its name")
        write(path, data)
    return path


def prepare(agent):
    """Have an agent and its packages here; returns how it is called."""
    archive, lock = agent.split(".")
    program, packages = have(f"{archive}.pyz"), AGENTS / lock
    if not packages.is_dir():
        new = AGENTS / "new"  # until it is whole
        shutil.rmtree(new, ignore_errors=True)
        locked, python = have(f"{lock}.txt"), f"{new}/bin/python"
        uv = re.search(r"^uv==.*(\n .*)*", locked.read_text(), re.M)
        if not uv:
            raise ValueError(f"{locked.name} lacks uv")
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", new], check=True)
        (new / "uv.txt").write_text(uv[0])
        # pip is not installed, and installs uv only, which is the quicker one for the rest.
        common = ["-q", "--only-binary=:all:", "--require-hashes"]
        pip = [f"{pip_wheel()}/pip", "install", "--no-cache-dir", "--disable-pip-version-check"]
        sync = ["-m", "uv", "pip", "sync", "--cache-dir", new / "cache"]  # there is no TMPDIR yet
        for fill in ([*pip, *common, "-r", new / "uv.txt"], [*sync, *common, locked]):
            subprocess.run([python, *fill], check=True, timeout=300)
        shutil.rmtree(new / "cache")
        os.sync()
        new.rename(packages)
    return [f"{packages}/bin/python", "-P", str(program)]


def pip_wheel():
    """What ensurepip would install; Debian keeps it elsewhere."""
    own = Path(ensurepip.__file__).parent / "_bundled"
    return next(each for place in (own, DEBIAN_WHEELS) for each in place.glob("pip-*.whl"))


def patiently(attempt):
    pause = 1
    while True:
        try:
            return attempt()
        except Exception as problem:
            print("trackstack waits:", problem, flush=True)
        time.sleep(pause)
        pause = min(2 * pause, 5)


def become_agent(state):
    agent, program = choose(state)
    kept = [agent, state.get("kept") or agent]
    for path in AGENTS.iterdir():
        if not any(path.stem in each for each in kept) and path != STATE:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    os.environ |= {
        "TRACKSTACK_AGENT": agent,
        "TRACKSTACK_AGENT_STATE": str(STATE),
        "TRACKSTACK_STORE": SETTINGS["store"],
        "TRACKSTACK_MACHINE_ID": patiently(machine_id),
    }
    os.execv(program[0], [*program, "agent"])


def choose(state):
    """The agent to become and how it is called; with an alarm when it is on trial."""
    kept, trial, refused = state.get("kept"), state.get("trial"), state.get("refused")
    if not kept:  # nothing to go back to
        agent = patiently(wanted)
        return agent, patiently(lambda: prepare(agent))
    try:
        agent = wanted()
    except Exception as problem:
        print("trackstack keeps its agent:", problem, flush=True)
        time.sleep(5)
        return kept, prepare(kept)
    attempt, why = 1, None
    if refused and refused["agent"] == agent and time.time() < (refused["again"] or 1e12):
        why, again = refused["problem"], refused["again"]
    elif trial and trial["agent"] == agent:  # back here, so it ended unproven: a kill is forgiven
        attempt, again = trial["attempt"] + 1, None
        if uptime() - trial["since"] >= TRIAL_SECONDS:
            why = f"the new agent did not report within {TRIAL_SECONDS} seconds"
        elif attempt > 2:
            why = "the new agent ended before it reported"
    if agent != kept and not why:
        try:
            program = prepare(agent)
        except Exception as problem:
            why, again = f"the new agent cannot be had: {problem}", time.time() + AGAIN_SECONDS
    if agent != kept and why:
        refused = {"agent": agent, "problem": why, "again": again}
    trying = agent != kept and not why
    trial = {"agent": agent, "attempt": attempt, "since": uptime()} if trying else None
    write(STATE, json.dumps({"kept": kept, "trial": trial, "refused": refused}).encode())
    if not trying:
        return kept, prepare(kept)
    signal.alarm(TRIAL_SECONDS)  # outlives the exec
    return agent, program


if __name__ == "__main__":
    try:
        AGENTS.mkdir(exist_ok=True)
        become_agent(json.loads(STATE.read_text()) if STATE.is_file() else {})
    except Exception as problem:
        print("trackstack waits:", problem)
        sys.exit(1)  # to be started again
