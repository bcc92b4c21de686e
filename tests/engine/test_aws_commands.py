"""The command as a person types it, on AWS: from an empty home to a verified server, and back."""

import json
import os
import signal
import ssl
import subprocess
import threading
from pathlib import Path

import httpx
import pytest

from engine.cloud import Refused
from engine.rooms import IMAGE
from engine.world.aws import AwsWorld, Laptop

READ = "/api/2.0/mlflow/experiments/search?max_results=1"


def deploy(world: AwsWorld, laptop: Laptop, *more: str, ok: bool = True) -> str:
    """Deploy for ada from this computer's own network, without a question; what was said."""
    allow = () if "--allow" in more else ("--allow", f"{world.network.laptop}/32")
    done = laptop.run("deploy", "aws", "-e", "team", "--yes", *allow, *more, ok=ok)
    assert (done.returncode == 0) is ok, f"{done.stdout}\n{done.stderr}\n{console(world)}"
    return done.stdout + done.stderr


def console(world: AwsWorld) -> str:
    return "\n".join(machine.console for machine in world.machines.all.values())


def first(world: AwsWorld, laptop: Laptop, *more: str) -> str:
    """A first deploy, with ada's password."""
    deploy(world, laptop, "--user", "ada", "--password-file", "ada.txt", *more)
    return (laptop.home.parent / "ada.txt").read_text().strip().partition(":")[2]


def status_of(world: AwsWorld, laptop: Laptop, user: str, password: str) -> int:
    """What a client of the machine gets that trusts only the environment's own authority."""
    authority = laptop.folder("team") / "ca.pem"
    with httpx.Client(
        verify=ssl.create_default_context(cafile=authority), trust_env=False
    ) as client:
        url = f"https://{world.machine().address}{READ}"
        return client.get(url, auth=(user, password)).status_code


def kept_by(world: AwsWorld) -> str:
    """All that the account's buckets hold, as one text."""
    s3 = world.client("s3")
    found = []
    for bucket in s3.list_buckets()["Buckets"]:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket["Name"])
        keys = [each["Key"] for page in pages for each in page.get("Contents", [])]
        for key in keys:
            body = s3.get_object(Bucket=bucket["Name"], Key=key)["Body"].read()
            found.append(body.decode(errors="replace"))
    return "\n".join(found)


def test_what_is_deployed_is_verified_and_stays_as_it_is_from_any_laptop(
    aws: AwsWorld, tmp_path: Path
) -> None:
    laptop = aws.laptop(tmp_path / "first")
    password = first(aws, laptop)
    assert status_of(aws, laptop, "ada", password) == 200
    (receipt,) = (laptop.folder("team") / "receipts").iterdir()
    assert all(check["held"] for check in json.loads(receipt.read_text())["checks"])
    with pytest.raises(ConnectionError):
        stranger_connects(aws)

    # A newer image is out, another laptop with nothing on it, fewer flags: nothing changes.
    aws.cloud.images = {"ami-0aaaaaaaaaaaaaaaa": "x86_64", IMAGE: "x86_64"}
    aws.cloud.calls.clear()
    other = aws.laptop(tmp_path / "other")
    assert "team" in other.run("list", "--account", "aws").stdout
    other.run("attach", "team")
    again = other.run("deploy", "aws", "--yes")
    assert "Nothing changed" in again.stdout, again.stdout + again.stderr
    assert aws.cloud.calls == []
    assert "Nothing would change" in other.run("plan", "aws").stdout

    # People come and go without a change of the infrastructure.
    other.run("users", "add", "grace", "--password-file", "grace.txt")
    grace = (other.home.parent / "grace.txt").read_text().strip().partition(":")[2]
    assert status_of(aws, laptop, "grace", grace) == 200
    laptop.run("users", "rotate", "ada", "--password-file", "new.txt")
    new = (laptop.home.parent / "new.txt").read_text().strip().partition(":")[2]
    assert status_of(aws, laptop, "ada", password) in {401, 429}
    assert status_of(aws, laptop, "ada", new) == 200
    laptop.run("users", "remove", "grace")
    assert status_of(aws, laptop, "grace", grace) in {401, 429}
    assert aws.cloud.calls == []
    (ada,) = json.loads(laptop.run("users", "list", "--json").stdout)
    assert ada["last_seen"], "the machine has not told that ada was there"

    assert "Uvicorn running on unix socket" in laptop.run("logs", "mlflow").stdout
    told = json.loads(laptop.run("status", "--json").stdout)
    assert (told["state"], told["answers"]) == ("running", True)

    # Neither state nor record nor log holds a secret; the machine asked for nothing it may not.
    kept = kept_by(aws)
    assert "pulumi" in kept, "the state was not looked into"
    assert "user/deployer" in kept, "the audit does not say who"
    for secret in (password, grace, new, *aws.secrets()):
        assert secret not in kept
        assert secret not in console(aws)
    refused = [
        call for call in aws.front.calls_of("-machine") if call.status == 403 and call.refused
    ]
    assert refused == []
    unused = {action for action, _ in aws.unused_permissions()}
    # What only a failed upload needs.
    assert unused <= {"s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"}

    # Nothing moves runs from one kind of database to the other.
    moved = laptop.run("deploy", "aws", "--yes", "--database", "postgres", ok=False)
    assert moved.returncode == 2
    assert "nothing moves them to postgres" in moved.stderr


def stranger_connects(world: AwsWorld) -> None:
    from_ = world.network.address_here()
    transport = httpx.HTTPTransport(local_address=from_, verify=False)
    with httpx.Client(transport=transport, timeout=3) as client:
        try:
            client.get(f"https://{world.machine().address}/livez")
        except httpx.TransportError as error:
            raise ConnectionError from error


def test_who_is_not_let_in_is_told_the_command_and_the_machine_speaks_for_itself(
    aws: AwsWorld, tmp_path: Path
) -> None:
    laptop = aws.laptop(tmp_path / "home")
    said = deploy(aws, laptop, "--user", "ada", "--allow", "10.200.0.0/24")
    assert "its machine looked at itself" in said, said
    assert "trackstack allow add me" in said.replace(str(laptop.command[0]), "trackstack")
    assert "from_machine" in next((laptop.folder("team") / "receipts").iterdir()).read_text()
    aws.cloud.calls.clear()
    laptop.run("allow", "add", "me", "--for", "12h", "--yes")
    assert aws.cloud.calls == [("update", "ec2.SecurityGroup")]
    assert "is proven" in laptop.run("verify", "--quick").stdout
    listed = json.loads(laptop.run("allow", "list", "--json").stdout)
    assert [each["network"] for each in listed] == [
        "10.200.0.0/24",
        f"{aws.network.laptop}/32",
    ]
    assert [bool(each["until"]) for each in listed] == [False, True]
    assert "Nothing would change" in laptop.run("plan", "aws").stdout
    laptop.run("allow", "remove", "me", "--yes")
    only = laptop.run("allow", "remove", "10.200.0.0/24", "--yes", ok=False)
    assert "Add another one first" in only.stderr
    assert "by its machine's own word" in laptop.run("verify").stdout


def test_a_deploy_that_was_refused_or_killed_goes_on_where_it_was(
    aws: AwsWorld, tmp_path: Path
) -> None:
    laptop = aws.laptop(tmp_path / "home")
    aws.cloud.refuse(
        "create", "ec2.Instance", "InsufficientInstanceCapacity: no sufficient t3.small capacity"
    )
    said = deploy(aws, laptop, "--user", "ada", ok=False)
    assert "machine (Instance) failed: InsufficientInstanceCapacity" in said
    assert "another machine type" in said

    # Signed in for too short a time: the engine cannot even take its lock away.
    session = aws.signed_in()

    def expire() -> None:
        session.expired = True
        raise Refused("ExpiredToken: The security token included in the request is expired")

    aws.cloud.trouble("create", "ec2.Instance", before=expire)
    said = deploy(aws, aws.laptop(tmp_path / "session", session), ok=False)
    assert "The credentials expired. Sign in again" in said
    assert "trackstack unlock -e team" in said
    assert laptop.run("deploy", "aws", "-e", "team", "--yes", ok=False).returncode == 5
    laptop.run("unlock", "--yes")

    # Killed while the machine is being made: the cloud makes it, and nobody hears of it.
    reached, gone = threading.Event(), threading.Event()

    def wait() -> None:
        reached.set()
        assert gone.wait(240)

    aws.cloud.trouble("create", "ec2.Instance", before=wait)
    with subprocess.Popen(
        [*laptop.command, "deploy", "aws", "-e", "team", "--yes"],
        env=laptop.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        assert reached.wait(240), "the deploy never came so far"
        second = aws.laptop(tmp_path / "second")
        held = second.run("deploy", "aws", "-e", "team", "--yes", ok=False)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
        gone.set()
    assert held.returncode == 5, held.stderr
    assert f"on {os.uname().nodename} is changing this environment since" in held.stderr
    told = laptop.run("unlock", "--yes")
    assert "it is gone" in told.stderr
    deploy(aws, laptop)
    assert len(aws.cloud.of("ec2.Instance")) == 1, "the machine was made twice"
    assert len(aws.machines.all) == 1


def test_what_cannot_be_is_told_before_anything_is_touched(aws: AwsWorld, tmp_path: Path) -> None:
    expired = aws.signed_in()
    expired.expired = True
    nobody = aws.person("nobody", json.dumps({"Version": "2012-10-17", "Statement": []}))
    team = ("deploy", "aws", "-e", "team")
    allow = ("--allow", "10.0.0.0/8")
    table = [
        (expired, [*team, *allow, "--yes"], 1, "The AWS credentials have expired"),
        (nobody, [*team, *allow, "--yes"], 1, "does not permit"),
        (None, [*team, "--yes"], 2, "Nobody has said who may connect"),
        (None, [*team, "--allow", "0.0.0.0/0", "--yes"], 2, "--allow-anywhere"),
        (None, [*team, *allow], 2, "Say `--yes`"),
        (None, [*team, *allow, "--machine", "t3.smal", "--yes"], 2, "Did you mean 't3.small'?"),
        (None, [*team, *allow, "--profile", "none", "--yes"], 2, "There is no AWS profile 'none'"),
        (None, ["attach", "tean"], 2, "There is no environment 'tean'"),
        (None, ["status", "-e", "team"], 2, "There is no environment 'team'"),
    ]
    for number, (who, words, code, sentence) in enumerate(table):
        laptop = aws.laptop(tmp_path / f"home{number}", who)
        done = laptop.run(*words, ok=False)
        assert done.returncode == code, f"{words}: {done.stderr}"
        assert sentence in done.stderr, f"{words}: {done.stderr}"
    assert aws.cloud.calls == []
    assert aws.client("s3").list_buckets()["Buckets"] == []


def test_the_plan_says_what_would_be_made_and_a_request_what_must_be_permitted(
    aws: AwsWorld, tmp_path: Path
) -> None:
    laptop = aws.laptop(tmp_path / "home")
    words = ("plan", "aws", "-e", "team", "--allow", "10.0.0.0/8")
    told = laptop.run(*words, "--detailed-exitcode", ok=False)
    assert told.returncode == 6
    assert "make     31 resources" in told.stdout
    asked = tmp_path / "request.md"
    laptop.run(*words, "--admin-request", asked)
    assert "ec2:RunInstances" in asked.read_text()
    assert "given.permissions_boundary" in asked.read_text()
    assert aws.cloud.calls == []


def test_a_state_that_is_another_s_or_emptied_stops_every_command_that_would_act_on_it(
    aws: AwsWorld, tmp_path: Path
) -> None:
    laptop = aws.laptop(tmp_path / "home")
    deploy(aws, laptop)
    s3, key = aws.client("s3"), ".pulumi/stacks/trackstack/team.json"
    place = {"Bucket": f"trackstack-state-{aws.cloud.account}-{aws.cloud.region}", "Key": key}
    whole = s3.get_object(**place)["Body"].read()
    aws.cloud.calls.clear()
    deploys, refreshes = ("deploy", "aws", "--yes"), ("plan", "aws", "--refresh")
    changes, removes = ("allow", "add", "10.9.0.0/24", "--yes"), ("destroy", "--yes")
    others = whole.replace(b"urn:pulumi:team::", b"urn:pulumi:other::")
    # They look by one function: what each does of one, some do of the others.
    for kept, told, commands in (
        (others, "of environment 'other'", (deploys, refreshes, changes, removes)),
        (b"{}", "is empty, although it was made", (deploys, removes)),
        (whole[:1000], "is damaged", (changes,)),
    ):
        s3.put_object(**place, Body=kept)
        for words in commands:
            done = laptop.run(*words, ok=False)
            assert done.returncode == 1, f"{words}: {done.stdout}{done.stderr}"
            assert told in done.stderr, f"{words}: {done.stderr}"
            assert "Put back an earlier version" in done.stderr, f"{words}: {done.stderr}"
    s3.put_object(**place, Body=whole)
    assert aws.cloud.calls == []
    assert json.loads(laptop.run("status", "--json").stdout)["state"] == "running"
    laptop.run("deploy", "aws", "--yes", "--allow", f"{aws.network.laptop}/32")
    assert "Nothing would change" in laptop.run("plan", "aws", "--refresh").stdout

    # What somebody removed by hand is shown, and made again.
    gone = aws.cloud.one("ec2.VpcEndpoint")
    del aws.cloud.things[gone.kind, gone.id]
    assert "Nothing would change" in laptop.run("plan", "aws").stdout
    assert "make     1 resource: s3" in laptop.run("plan", "aws", "--refresh").stdout
    laptop.run("deploy", "aws", "--yes", "--refresh")
    assert len(aws.cloud.of("ec2.VpcEndpoint")) == 1

    # Ctrl-C in a removal: what was begun is finished, and the next one goes on.
    reached, stopped = threading.Event(), threading.Event()

    def wait() -> None:
        reached.set()
        assert stopped.wait(240)

    aws.cloud.trouble("delete", "ec2.Instance", before=wait)
    with subprocess.Popen(
        [*laptop.command, "destroy", "--purge", "--confirm", "team"],
        env=laptop.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert reached.wait(240), "the removal never came so far"
        os.killpg(process.pid, signal.SIGINT)
        stopped.set()
        _, said = process.communicate(timeout=240)
    assert process.returncode == 130, said
    assert "goes on from there" in said
    assert "Traceback" not in said
    laptop.run("destroy", "--purge", "--confirm", "team")
    assert aws.cloud.kinds() == []
