"""The project as the plain pulumi CLI runs it: the plan stands in the stack's configuration."""

import sys
from pathlib import Path

import pulumi

# The CLI runs this file by its path, and then its own folder is the only one it imports from.
sys.path.append(str(Path(__file__).resolve().parent.parent))

from stacks import aws
from trackstack.cloud_plan import Aws

aws.declare(Aws.model_validate_json(pulumi.Config("trackstack").require("plan")))
