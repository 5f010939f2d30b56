"""Sojourn: asynchronous reinforcement learning for policies whose actions take time."""

__version__ = "0.1.0"
