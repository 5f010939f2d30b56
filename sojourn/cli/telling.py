"""What does the launcher say aloud while a run goes? Its events, put into sentences above the display."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from sojourn.cli.display import Display


@contextmanager
def told(display: Display) -> Iterator[None]:
    """Show the launcher's warnings, and why the run ends, while inside; everything goes to the run's log in any case."""
    teller, launcher = _Teller(display), logging.getLogger("sojourn.launcher")
    launcher.addHandler(teller)
    try:
        yield
    finally:
        launcher.removeHandler(teller)


class _Teller(logging.Handler):
    """Prints each chosen event as one sentence."""

    def __init__(self, display: Display) -> None:
        super().__init__(logging.INFO)
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING or record.name == "sojourn.launcher.drive":
            self._display.say(record.getMessage())
