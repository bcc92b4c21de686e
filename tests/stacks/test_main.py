"""The project as the plain pulumi CLI runs it, with Pulumi's own stand-in for the engine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from engine.rooms import DATABASE, GCP_DATABASE, PASSWORD, a_gcp_plan, a_plan
from trackstack.cloud_plan import Aws, Gcp

HERE = Path(__file__).parent
PROGRAM = HERE.parents[1] / "stacks" / "__main__.py"
CLI = """
import json, runpy, sys
import pulumi

told = json.load(sys.stdin)
made = []

class Engine(pulumi.runtime.Mocks):
    def new_resource(self, args):
        made.append([args.typ, args.name])
        return f"{args.name}-id", args.inputs
    def call(self, args):
        return {}

# As in a preview, what only the cloud knows is not known.
pulumi.runtime.set_mocks(Engine(), project="trackstack", stack="team", preview=True)
pulumi.runtime.set_all_config(told["config"])

@pulumi.runtime.test
def run():
    runpy.run_path(told["program"], run_name="__main__")

run()
print(json.dumps(made))
"""


@pytest.mark.parametrize(
    ("plan", "golden"),
    [
        (a_plan(), "golden/plain/aws.json"),
        (a_plan(database=DATABASE), "golden/database/aws.json"),
        (a_gcp_plan(database=GCP_DATABASE), "golden-gcp/database/gcp.json"),
    ],
    ids=["aws", "aws-database", "gcp-database"],
)
def test_the_plan_in_the_stack_s_configuration_makes_what_the_kit_makes(
    plan: Aws | Gcp, golden: str
) -> None:
    config = {
        "trackstack:plan": plan.model_dump_json(),
        "trackstack:database-password": PASSWORD,
    }
    done = subprocess.run(
        [sys.executable, "-c", CLI],
        input=json.dumps({"config": config, "program": str(PROGRAM)}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = {(type_, name) for type_, name in json.loads(done.stdout)}
    kept = {(each["type"], each["name"]) for each in json.loads((HERE / golden).read_text())}
    assert made - {("pulumi:pulumi:Stack", "trackstack-team")} == kept
