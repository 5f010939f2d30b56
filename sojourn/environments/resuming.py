"""Which environments can go on elsewhere? Those that give their state as bytes, and take it back in another process.

An environment says so by having both methods of `Resumable`; no registration, no base class. Pure; runs the environment's own code.
"""

from typing import Any, Protocol, runtime_checkable

import gymnasium as gym


@runtime_checkable
class Resumable(Protocol):
    """An environment, or a wrapper, whose state is bytes."""

    def save_state(self) -> bytes:
        """Everything that the coming steps depend on, its random generator included. Called between steps."""

    def restore_state(self, state: bytes) -> tuple[Any, dict[str, Any]]:
        """Go on from there, in a new instance, without a reset. Returns observation and info, as `reset` does."""


def resumable(environment: gym.Env[Any, Any]) -> Resumable | None:
    """The outermost layer that can be saved and restored; None if there is none.

    Wrappers outside of it begin anew when it is restored (a time limit counts from there): one whose state matters has to have the two
    methods itself.
    """
    layer: gym.Env[Any, Any] = environment
    while not isinstance(layer, Resumable):
        if not isinstance(layer, gym.Wrapper):
            return None
        layer = layer.env
    return layer
