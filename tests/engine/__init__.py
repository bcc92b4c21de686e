"""The real engine over clouds in memory, and over a world around it."""

import os

# The doubles answer the engine while they start machines: gRPC would say so at each fork.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
