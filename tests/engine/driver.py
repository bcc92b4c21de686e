"""A deploy in a process of its own, to be stopped in the middle.

Reads the room and the plan from its input, so that no secret is in its arguments.
"""

import json
import sys

from trackstack.cloud_plan import Aws
from trackstack.errors import TrackstackError
from trackstack.targets import engine


def main() -> int:
    told = json.load(sys.stdin)
    try:
        engine.up(engine.Room.model_validate(told["room"]), Aws.model_validate(told["plan"]))
    except TrackstackError as error:
        print(f"{type(error).__name__}: {error.sentence}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
