"""Sojourn: asynchronous reinforcement learning for policies whose actions take time."""

import os

__version__ = "0.1.0"

# Read when gRPC loads, which is later than this: otherwise it prints a line whenever a process starts another one (ffmpeg).
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
