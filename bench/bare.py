"""The bare automation API running the kit's own program: what a deploy costs without the kit.

Reads stack, state, key, engine's home and plan from its input, so that no secret is in its
arguments.
"""

import json
import sys

from pulumi import automation as auto

from stacks import aws
from trackstack.cloud_plan import KIT, Aws


def main() -> None:
    told = json.load(sys.stdin)
    plan = Aws.model_validate(told["plan"])
    workspace = auto.LocalWorkspace(
        work_dir=told["work"],
        pulumi_home=told["home"],
        program=lambda: aws.declare(plan, {}),
        env_vars={"PULUMI_CONFIG_PASSPHRASE": told["key"], "PULUMI_SKIP_UPDATE_CHECK": "true"},
        project_settings=auto.ProjectSettings(
            name=KIT, runtime="python", backend=auto.ProjectBackend(told["state"])
        ),
    )
    stack = auto.Stack.create_or_select(told["stack"], workspace)
    done = stack.up(on_output=lambda _: None)
    changed = dict(done.summary.resource_changes or {})
    changed.pop("same", None)
    if changed:
        sys.exit(f"it changed something: {changed}")


if __name__ == "__main__":
    main()
