"""Where a run's parts live: what the supervisor asks of Ray, or of threads in this process."""

from dataclasses import dataclass
from typing import Protocol

from sojourn.launcher.wiring import Part


@dataclass(frozen=True)
class Ended:
    """A part's run came back. error: what it raised, None if it returned."""

    name: str
    error: BaseException | None


class Host(Protocol):
    """Starts and ends parts. Not thread-safe: one supervisor calls it.

    A part is known by its name, which is free again after `remove`.
    """

    def start(self, part: Part) -> None:
        """Begin a part's first or next life; does not wait for it."""

    def ended(self, timeout_s: float) -> list[Ended]:
        """Parts whose run came back since the last call, waiting up to `timeout_s` for the first. Each is reported once."""

    def ask_to_stop(self, name: str) -> None:
        """Set the part's `context.stop`. Asking again does no harm."""

    def remove(self, name: str) -> None:
        """Forget the part, and end its process if there still is one."""
