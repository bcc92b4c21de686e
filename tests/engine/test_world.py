"""The world around the program: what it makes really runs, and is really gone."""

import hashlib
import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from botocore.exceptions import ClientError

from engine.rooms import DATABASE, KEY, a_plan, program
from engine.world.aws import AwsWorld, aws_world
from trackstack import agent_archive, lock
from trackstack.cloud_plan import Aws
from trackstack.desired import content_id
from trackstack.targets import aws_left, engine
from trackstack.targets.account import Unfinished
from trackstack.targets.engine import Room
from trackstack.targets.engine_failures import ResourceError

BOOT = """
import http.server, pathlib, sys
count = pathlib.Path(sys.argv[2], "boots")
count.write_text(count.read_text() + "x" if count.exists() else "x")
print("booted with", sys.argv[1], flush=True)
http.server.HTTPServer(("0.0.0.0", 443), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
"""In the agent's place: says what it was started with, and answers at the agent's port."""

STATE = "trackstack-state-123456789012-eu-central-1"


def user_data(boot: str = BOOT) -> str:
    files = {
        "/usr/local/lib/trackstack/boot.py": boot,
        "/etc/trackstack/machine.json": json.dumps({"store": "s3://x", "cloud": "aws"}),
    }
    written = [{"path": path, "content": content} for path, content in files.items()]
    return "#cloud-config\n" + yaml.safe_dump({"write_files": written})


def room_in(world: AwsWorld, folder: Path) -> Room:
    """The engine's room with its state in a bucket of the world."""
    if not world.client("s3").list_buckets()["Buckets"]:
        world.client("s3").create_bucket(
            Bucket=STATE, CreateBucketConfiguration={"LocationConstraint": world.cloud.region}
        )
    return Room(
        stack="team",
        state=f"s3://{STATE}?region={world.cloud.region}&awssdk=v2",
        home=folder / "home",
        key=KEY,
        program=program(),
        variables=world.environment(folder / "home"),
    )


def refusal(action: Callable[[], object]) -> str:
    with pytest.raises(ClientError) as caught:
        action()
    return str(caught.value.response["Error"]["Code"])


def connects(address: str, from_: str, port: int = 443) -> bool:
    try:
        socket.create_connection((address, port), timeout=2, source_address=(from_, 0)).close()
    except OSError:
        return False
    return True


def eventually(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + 20
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)
    return condition()


def plan_for(world: AwsWorld, **changes: object) -> Aws:
    allowed = (f"{world.network.laptop}/32",)
    return a_plan(**{"allow": allowed, "user_data": user_data(), "protect": False, **changes})


def test_a_machine_runs_and_lets_in_whom_the_plan_says(aws: AwsWorld, tmp_path: Path) -> None:
    here, stranger = room_in(aws, tmp_path), aws.network.address_here()
    done = engine.up(here, plan_for(aws))
    address = str(done.outputs["address"])
    assert aws.machine().address == address
    assert eventually(lambda: connects(address, aws.network.laptop)), aws.machine().console
    assert not connects(address, stranger)
    engine.up(here, plan_for(aws, allow=(f"{stranger}/32",)))
    assert connects(address, stranger)
    assert not connects(address, aws.network.laptop)
    kept = aws.client("s3").list_objects_v2(Bucket=STATE)
    assert any(each["Key"].endswith("team.json") for each in kept["Contents"])


def test_another_machine_type_boots_again_with_address_and_volume(
    aws: AwsWorld, tmp_path: Path
) -> None:
    here = room_in(aws, tmp_path)
    address = engine.up(here, plan_for(aws)).outputs["address"]
    (volume,) = aws.machine().volumes
    boots = aws.machines.volume(volume) / "boots"
    assert eventually(boots.exists), aws.machine().console
    before = aws.machine().id
    engine.up(here, plan_for(aws, machine_type="t3.medium"))
    assert eventually(lambda: boots.read_text() == "xx"), aws.machine().console
    assert (aws.machine().id, aws.machine().address) == (before, address)


def test_another_image_replaces_the_machine_and_keeps_address_and_volume(
    aws: AwsWorld, tmp_path: Path
) -> None:
    here = room_in(aws, tmp_path)
    address = engine.up(here, plan_for(aws)).outputs["address"]
    (volume,) = aws.machine().volumes
    boots, before = aws.machines.volume(volume) / "boots", aws.machine().id
    assert eventually(boots.exists), aws.machine().console
    engine.up(here, plan_for(aws, image=list(aws.cloud.images)[1]))
    assert aws.machine().id != before
    assert eventually(lambda: boots.read_text() == "xx"), aws.machine().console
    assert (aws.machine().address, aws.machine().volumes) == (address, [volume])


def test_a_machine_may_do_what_its_role_says_and_no_more(aws: AwsWorld, tmp_path: Path) -> None:
    plan = plan_for(aws)
    engine.up(room_in(aws, tmp_path), plan)
    role = next(iter(aws.cloud.of("iam.InstanceProfile"))).inputs["role"]
    told = aws.metadata(aws.machine().address) or {}
    keys = json.loads(told[f"meta-data/iam/security-credentials/{role}"])
    machine = aws.front.identities.of(keys["AccessKeyId"])
    assert machine is not None
    s3, control = aws.client("s3", machine), plan.control_bucket
    aws.client("s3").put_object(Bucket=control, Key="desired/users.json", Body=b"{}")
    assert s3.get_object(Bucket=control, Key="desired/users.json")["Body"].read() == b"{}"
    s3.put_object(Bucket=control, Key="observed/machines/i-1.json", Body=b"{}")
    denied = [
        refusal(lambda: s3.put_object(Bucket=control, Key="desired/users.json", Body=b"[]")),
        refusal(lambda: s3.list_objects_v2(Bucket=STATE)),
        refusal(
            lambda: s3.get_object(
                Bucket=control, Key="desired/users.json", ExpectedBucketOwner="210987654321"
            )
        ),
        refusal(lambda: aws.client("ec2", machine).describe_instances()),
    ]
    assert denied == ["AccessDenied"] * 3 + ["UnauthorizedOperation"]
    done = {action for call in aws.front.calls_of(role) for action, _ in call.actions}
    assert done == {"s3:GetObject", "s3:PutObject", "s3:ListBucket", "ec2:DescribeInstances"}
    unused = aws.unused_permissions()
    assert ("s3:PutObject", f"arn:aws:s3:::{control}/audit/*") in unused
    assert ("s3:GetObject", f"arn:aws:s3:::{control}/desired/*") not in unused


def test_a_new_volume_holds_the_packages_of_the_agent_and_of_a_release(
    aws: AwsWorld, tmp_path: Path
) -> None:
    engine.up(room_in(aws, tmp_path), plan_for(aws))
    volume = aws.machines.volume(aws.machine().volumes[0])
    agent = hashlib.sha256(agent_archive.lock("aws").encode()).hexdigest()
    release = content_id(
        lock.for_mlflow(lock.DEFAULT_MLFLOW, [lock.POSTGRESQL_DRIVER, lock.S3_CLIENT])
    )
    python = volume / "agent" / agent / "bin" / "python"
    subprocess.run([python, "-P", "-c", "import boto3, supervisor"], check=True)
    packages = volume / "machine" / "packages" / release
    assert (packages / ".whole").is_file()
    python = packages / "bin" / "python"
    versions = "import boto3, mlflow.version, psycopg; print(mlflow.version.VERSION)"
    told = subprocess.run(
        [python, "-P", "-c", versions], capture_output=True, text=True, check=True
    )
    assert told.stdout == f"{lock.DEFAULT_MLFLOW}\n"


def test_an_upload_that_asks_first_is_told_to_go_on(aws: AwsWorld) -> None:
    place = urlsplit(aws.front.url)
    asks = f"PUT /bucket/key HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: 1\r\n"
    with socket.create_connection((place.hostname, place.port), timeout=10) as connection:
        connection.sendall(f"{asks}Expect: 100-continue\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"x")
        assert connection.recv(100).startswith(b"HTTP/1.1 403 ")


def test_who_may_not_list_is_not_told_what_is_missing(aws: AwsWorld) -> None:
    place = {"CreateBucketConfiguration": {"LocationConstraint": aws.cloud.region}}
    aws.client("s3").create_bucket(Bucket="some-bucket", **place)
    reads = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::some-bucket/*"}
    reader = aws.person("reader", json.dumps({"Version": "2012-10-17", "Statement": reads}))
    asks = [
        partial(aws.client("s3", who).get_object, Bucket="some-bucket", Key="a")
        for who in (reader, aws.deployer)
    ]
    assert [refusal(ask) for ask in asks] == ["AccessDenied", "NoSuchKey"]


def test_a_person_sees_the_same_account_with_the_clouds_own_clients(
    aws: AwsWorld, tmp_path: Path
) -> None:
    plan = plan_for(aws)
    engine.up(room_in(aws, tmp_path), plan)
    s3, ec2, iam = aws.client("s3"), aws.client("ec2"), aws.client("iam")
    control = plan.control_bucket
    assert s3.get_bucket_versioning(Bucket=control)["Status"] == "Enabled"
    rules = s3.get_bucket_lifecycle_configuration(Bucket=control)["Rules"]
    assert {rule["ID"] for rule in rules} == {"desired", "observed"}
    (reservation,) = ec2.describe_instances(InstanceIds=[aws.machine().id])["Reservations"]
    assert reservation["Instances"][0]["State"]["Name"] == "running"
    assert eventually(
        lambda: "booted with" in ec2.get_console_output(InstanceId=aws.machine().id)["Output"]
    )
    assert refusal(lambda: ec2.describe_instances(InstanceIds=["i-0"])) == (
        "InvalidInstanceID.NotFound"
    )
    assert refusal(lambda: iam.get_role(RoleName="nobody")) == "NoSuchEntity"
    assert all(each["RoleName"].startswith("trackstack") for each in iam.list_roles()["Roles"])
    tagged = aws.client("resourcegroupstaggingapi").get_resources(
        TagFilters=[{"Key": "trackstack:environment", "Values": ["team"]}]
    )["ResourceTagMappingList"]
    kinds = {each["ResourceARN"].split(":", 5)[2] for each in tagged}
    assert kinds == {"dlm", "ec2", "s3"}
    image = "/aws/service/debian/release/13/latest/amd64"
    found = aws.client("ssm").get_parameter(Name=image)["Parameter"]["Value"]
    assert aws.cloud.images[found] == "x86_64"


def test_what_was_made_is_found_by_its_tags_or_its_name(aws: AwsWorld, tmp_path: Path) -> None:
    engine.up(room_in(aws, tmp_path), plan_for(aws, database=DATABASE))
    for thing in aws.cloud.things.values():
        module, _, name = thing.kind.partition(".")
        type_ = f"aws:{module}/{name[0].lower()}{name[1:]}:{name}"
        left = Unfinished(
            urn="", resource="", type=type_, what="creating", inputs=dict(thing.inputs)
        )
        # RDS knows a database by its identifier too.
        wanted = thing.inputs.get("identifier", thing.id) if "tags" in thing.inputs else None
        assert aws_left.find(aws.client, left) == wanted, thing.kind


def test_without_capacity_there_is_no_machine_and_the_next_deploy_makes_it(
    aws: AwsWorld, tmp_path: Path
) -> None:
    here = room_in(aws, tmp_path)
    aws.cloud.refuse("create", "ec2.Instance", "InsufficientInstanceCapacity: none is left")
    with pytest.raises(ResourceError):
        engine.up(here, plan_for(aws))
    assert not aws.machines.all
    address = str(engine.up(here, plan_for(aws)).outputs["address"])
    assert eventually(lambda: connects(address, aws.network.laptop)), aws.machine().console


def test_two_worlds_do_not_see_each_other(aws: AwsWorld, tmp_path: Path) -> None:
    place = {"CreateBucketConfiguration": {"LocationConstraint": aws.cloud.region}}
    aws.client("s3").create_bucket(Bucket="only-here", **place)
    with aws_world(tmp_path / "other") as other:
        assert not other.client("s3").list_buckets()["Buckets"]
        assert other.network.laptop != aws.network.laptop


def test_who_asks_counts(aws: AwsWorld) -> None:
    me = aws.client("sts").get_caller_identity()
    assert (me["Account"], me["Arn"]) == ("123456789012", aws.deployer.arn)
    gone, nobody = aws.signed_in(), aws.person("nobody")
    gone.expired = True
    assert refusal(aws.client("sts", gone).get_caller_identity) == "ExpiredToken"
    assert refusal(aws.client("s3", gone).list_buckets) == "ExpiredToken"
    assert refusal(aws.client("s3", nobody).list_buckets) == "AccessDenied"
    simulated = aws.client("iam").simulate_principal_policy(
        PolicySourceArn=nobody.arn, ActionNames=["ec2:CreateVpc"]
    )
    assert simulated["EvaluationResults"][0]["EvalDecision"] == "implicitDeny"


def test_a_bucket_that_is_not_empty_stays(aws: AwsWorld, tmp_path: Path) -> None:
    here, plan = room_in(aws, tmp_path), plan_for(aws)
    engine.up(here, plan)
    aws.client("s3").put_object(Bucket=plan.artifact_bucket, Key="1/model", Body=b"precious")
    with pytest.raises(ResourceError, match="artifacts"):
        engine.destroy(here)
    assert aws.client("s3").head_bucket(Bucket=plan.artifact_bucket)


def test_the_database_takes_its_master_only_with_tls_and_from_machines(
    aws: AwsWorld, tmp_path: Path
) -> None:
    here, plan = room_in(aws, tmp_path), plan_for(aws, database=DATABASE)
    done = engine.up(here, plan)
    secret = aws.client("secretsmanager").get_secret_value(SecretId=done.outputs["database_secret"])
    known = json.loads(secret["SecretString"])
    (database,) = aws.databases.values()
    computer = aws.machine().computer
    assert computer is not None

    def asks(sslmode: str, host: str) -> list[str | Path]:
        place = f"host={host} dbname=mlflow user={known['username']} sslmode={sslmode}"
        return [database.programs / "psql", place, "-X", "-A", "-t", "-c", "SELECT 'let in'"]

    keys = {"PGPASSWORD": known["password"], "PATH": os.environ["PATH"]}
    name = str(done.outputs["database_host"])
    from_machine = computer.run(*asks("require", name), environment=keys)
    assert from_machine.stdout == "let in\n", from_machine.stderr
    assert "pg_hba" in computer.run(*asks("disable", name), environment=keys).stderr
    outside = subprocess.run(
        asks("require", database.address), env=keys, capture_output=True, text=True, check=False
    )
    assert "pg_hba" in outside.stderr
    aws.rotate_master_secret()
    assert "password" in computer.run(*asks("require", name), environment=keys).stderr


def test_a_database_comes_back_from_its_last_snapshot(aws: AwsWorld, tmp_path: Path) -> None:
    here, plan = room_in(aws, tmp_path), plan_for(aws, database=DATABASE)
    engine.up(here, plan)
    (database,) = aws.databases.values()
    database.sql("CREATE TABLE runs (name text); INSERT INTO runs VALUES ('first')", "mlflow")
    going = plan.for_removal(datetime.now(UTC))
    engine.up(here, going, only=engine.databases(here))
    engine.unprotect(here)
    engine.destroy(here)
    (kept,) = aws.client("rds").describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
    again = DATABASE.model_copy(update={"from_snapshot": kept["DBSnapshotIdentifier"]})
    engine.up(here, plan_for(aws, database=again))
    (database,) = aws.databases.values()
    assert database.sql("SELECT name FROM runs", "mlflow") == "first"


def test_nothing_of_a_world_is_left(tmp_path: Path) -> None:
    def traces(world: str) -> list[str]:
        shown = subprocess.run(["ip", "-br", "link"], capture_output=True, text=True, check=True)
        etc = sorted(Path("/etc").glob("netns/*"))
        names = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
        # Another world's name may begin with this one's.
        return re.findall(rf"\b{world}\b", f"{shown.stdout}{names.stdout}{etc}")

    with aws_world(tmp_path / "aws") as world:
        bridge = world.network.bridge
        engine.up(room_in(world, tmp_path), plan_for(world, database=DATABASE))
        computer = world.machine().computer
        assert computer is not None
        assert eventually(lambda: bool(computer.pids()))
        pids = computer.pids()
        assert traces(bridge)
    assert traces(bridge) == []
    # Who has no parent any more is waited for by the computer's first process, when it comes to it.
    there = lambda: [pid for pid in pids if Path(f"/proc/{pid}").exists()]  # noqa: E731
    assert eventually(lambda: there() == []), there()
