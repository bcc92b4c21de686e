"""The project as the plain pulumi CLI runs it: the plan stands in the stack's configuration."""

import sys
from pathlib import Path

import pulumi
from pydantic import TypeAdapter

# The CLI runs this file by its path, and then its own folder is the only one it imports from.
sys.path.append(str(Path(__file__).resolve().parent.parent))

from stacks import aws, gcp
from trackstack.cloud_plan import Aws, Cloud, Gcp

config = pulumi.Config("trackstack")
plan: Aws | Gcp = TypeAdapter(Cloud).validate_json(config.require("plan"))
if isinstance(plan, Gcp):
    # A first password, needed with a database only: pulumi config set --secret …
    gcp.declare(plan, {"database_password": config.get("database-password") or ""})
else:
    aws.declare(plan, {})
